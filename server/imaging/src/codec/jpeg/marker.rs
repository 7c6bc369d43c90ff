//! Marker segments (T.81 annex B): the tables and headers around the entropy-coded data.

use super::huffman::HuffmanTable;
use crate::codec::{CodecError, MalformedSnafu, Result, TruncatedSnafu, UnsupportedSnafu};
use snafu::{OptionExt, ensure};

/// What stands between two calls of [`Parser::next_segment`] that a decoder must act on.
pub(super) enum Segment {
    /// A frame header.
    Frame(FrameHeader),
    /// A scan header; entropy-coded data follow.
    Scan(ScanHeader),
    /// Tables or application data, taken in.
    Other,
    /// The end of the image.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Dct,
    Lossless,
}

pub(super) struct FrameHeader {
    pub process: Process,
    pub precision: u8,
    pub rows: usize,
    pub columns: usize,
    /// 1 or 3.
    pub components: Vec<Component>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    id: u8,
    /// Horizontal and vertical sampling factors, 1 to 4.
    pub horizontal: usize,
    pub vertical: usize,
    pub quantisation: usize,
}

pub(super) struct ScanHeader {
    /// Index into the frame's components, DC (or lossless) table, AC table.
    pub components: Vec<(usize, usize, usize)>,
    /// Ss: the predictor of a lossless scan.
    pub start: u8,
    /// Al: the point transform of a lossless scan.
    pub low: u8,
}

/// Walks the segments and keeps the tables.
pub(super) struct Parser<'a> {
    pub bytes: &'a [u8],
    pub position: usize,
    pub quantisation: [Option<[u16; 64]>; 4],
    pub dc_tables: [Option<HuffmanTable>; 4],
    pub ac_tables: [Option<HuffmanTable>; 4],
    /// In minimum coded units; 0 for none.
    pub restart_interval: usize,
    /// Colour transform of an Adobe APP14 segment.
    pub adobe_transform: Option<u8>,
    pub jfif: bool,
}

impl<'a> Parser<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            quantisation: [None; 4],
            dc_tables: [const { None }; 4],
            ac_tables: [const { None }; 4],
            restart_interval: 0,
            adobe_transform: None,
            jfif: false,
        }
    }

    /// Reads up to and including the next segment. `frame`: the frame header, once there was one.
    pub fn next_segment(&mut self, frame: Option<&FrameHeader>) -> Result<Segment> {
        let marker = self.next_marker()?;
        match marker {
            0xD8 | 0x01 | 0xD0..=0xD7 => return Ok(Segment::Other),
            0xD9 => return Ok(Segment::End),
            _ => {}
        }
        let mut body = self.body()?;
        match marker {
            0xC0 | 0xC1 | 0xC3 => {
                ensure!(frame.is_none(), MalformedSnafu { what: "it has two frame headers" });
                return frame_header(marker, body).map(Segment::Frame);
            }
            0xC4 => {
                while !body.is_empty() {
                    body = self.huffman_table(body)?;
                }
            }
            0xC2 => return UnsupportedSnafu { what: "progressive DCT" }.fail(),
            0xC5..=0xC7 | 0xDE | 0xDF => return UnsupportedSnafu { what: "hierarchical coding" }.fail(),
            0xC9..=0xCF => return UnsupportedSnafu { what: "arithmetic coding" }.fail(),
            0xDA => {
                let frame =
                    frame.context(MalformedSnafu { what: "a scan stands before the frame header" })?;
                return scan_header(frame, body).map(Segment::Scan);
            }
            0xDB => {
                while !body.is_empty() {
                    body = self.quantisation_table(body)?;
                }
            }
            0xDD => self.restart_interval = usize::from(u16_at(body, 0)?),
            0xE0 => self.jfif |= body.starts_with(b"JFIF\0"),
            0xEE if body.starts_with(b"Adobe") => self.adobe_transform = body.get(11).copied(),
            _ => {}
        }
        Ok(Segment::Other)
    }

    /// Skips to a marker, over fill bytes and whatever an entropy-coded segment left, and returns its code.
    fn next_marker(&mut self) -> Result<u8> {
        loop {
            let rest = self.bytes.get(self.position..).context(TruncatedSnafu)?;
            let skip = rest.iter().position(|byte| *byte == 0xFF).context(TruncatedSnafu)?;
            self.position += skip + 1;
            match self.bytes.get(self.position).context(TruncatedSnafu)? {
                0x00 => self.position += 1,
                0xFF => {}
                code => {
                    self.position += 1;
                    return Ok(*code);
                }
            }
        }
    }

    /// The parameters of a segment, its length taken off.
    fn body(&mut self) -> Result<&'a [u8]> {
        let length = usize::from(u16_at(self.bytes, self.position)?);
        ensure!(length >= 2, MalformedSnafu { what: "a marker segment is shorter than its length" });
        let body = self.bytes.get(self.position + 2..self.position + length).context(TruncatedSnafu)?;
        self.position += length;
        Ok(body)
    }

    /// One table of a DHT segment (T.81 B.2.4.2); returns what follows it.
    fn huffman_table<'b>(&mut self, body: &'b [u8]) -> Result<&'b [u8]> {
        let (class_and_place, rest) = body.split_first().context(TruncatedSnafu)?;
        let (counts, rest) = rest.split_first_chunk::<16>().context(TruncatedSnafu)?;
        let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
        ensure!(total <= 256, MalformedSnafu { what: "a Huffman table has too many codes" });
        let (symbols, rest) = rest.split_at_checked(total).context(TruncatedSnafu)?;
        let tables = if class_and_place >> 4 == 0 { &mut self.dc_tables } else { &mut self.ac_tables };
        let place = tables
            .get_mut(usize::from(class_and_place & 15))
            .context(MalformedSnafu { what: "a Huffman table has no such place" })?;
        *place = Some(HuffmanTable::new(counts, symbols)?);
        Ok(rest)
    }

    /// One table of a DQT segment (T.81 B.2.4.1), in zig-zag order; returns what follows it.
    fn quantisation_table<'b>(&mut self, body: &'b [u8]) -> Result<&'b [u8]> {
        let (size_and_place, rest) = body.split_first().context(TruncatedSnafu)?;
        let width = if size_and_place >> 4 == 0 { 1 } else { 2 };
        let (values, rest) = rest.split_at_checked(64 * width).context(TruncatedSnafu)?;
        let mut table = [0u16; 64];
        for (entry, value) in table.iter_mut().zip(values.chunks_exact(width)) {
            *entry = value.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte));
        }
        let place = self
            .quantisation
            .get_mut(usize::from(size_and_place & 15))
            .context(MalformedSnafu { what: "a quantisation table has no such place" })?;
        *place = Some(table);
        Ok(rest)
    }
}

/// T.81 B.2.2.
fn frame_header(marker: u8, body: &[u8]) -> Result<FrameHeader> {
    let process = if marker == 0xC3 { Process::Lossless } else { Process::Dct };
    let (precision, rest) = body.split_first().context(TruncatedSnafu)?;
    let allowed = match process {
        Process::Dct => matches!(precision, 8 | 12),
        Process::Lossless => (2..=16).contains(precision),
    };
    ensure!(allowed, MalformedSnafu { what: "its precision is not one of its process" });
    let (rows, columns) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
    ensure!(rows > 0 && columns > 0, UnsupportedSnafu { what: "its size left open" });
    let count = usize::from(*rest.get(4).context(TruncatedSnafu)?);
    ensure!(matches!(count, 1 | 3), UnsupportedSnafu { what: "neither 1 nor 3 components" });
    let (specifications, _) = rest.get(5..).context(TruncatedSnafu)?.as_chunks::<3>();
    let components: Vec<Component> = specifications
        .iter()
        .take(count)
        .map(|[id, factors, quantisation]| Component {
            id: *id,
            horizontal: usize::from(factors >> 4),
            vertical: usize::from(factors & 15),
            quantisation: usize::from(*quantisation),
        })
        .collect();
    ensure!(components.len() == count, TruncatedSnafu);
    let factors_fit = |c: &Component| (1..=4).contains(&c.horizontal) && (1..=4).contains(&c.vertical);
    ensure!(components.iter().all(factors_fit), MalformedSnafu { what: "a sampling factor is not 1 to 4" });
    Ok(FrameHeader {
        process,
        precision: *precision,
        rows: usize::from(rows),
        columns: usize::from(columns),
        components,
    })
}

/// T.81 B.2.3. Ss and Se of a sequential scan are not looked at: they can only be 0 and 63, and the encoder
/// that made the WG-04 reference images wrote 0 and 0.
fn scan_header(frame: &FrameHeader, body: &[u8]) -> Result<ScanHeader> {
    let (count, rest) = body.split_first().context(TruncatedSnafu)?;
    let count = usize::from(*count);
    ensure!((1..=4).contains(&count), MalformedSnafu { what: "a scan has not 1 to 4 components" });
    let (selectors, rest) = rest.split_at_checked(2 * count).context(TruncatedSnafu)?;
    let mut components = Vec::with_capacity(count);
    for [id, tables] in selectors.as_chunks::<2>().0 {
        let index = frame.components.iter().position(|component| component.id == *id);
        let index = index.context(MalformedSnafu { what: "a scan has a component that the frame lacks" })?;
        let twice = components.iter().any(|(other, _, _)| *other == index);
        ensure!(!twice, MalformedSnafu { what: "a scan has a component twice" });
        components.push((index, usize::from(tables >> 4), usize::from(tables & 15)));
    }
    let [start, _, approximation] = rest.first_chunk::<3>().copied().ok_or(CodecError::Truncated)?;
    Ok(ScanHeader { components, start, low: approximation & 15 })
}

fn u16_at(bytes: &[u8], position: usize) -> Result<u16> {
    let bytes = bytes.get(position..).and_then(|rest| rest.first_chunk::<2>()).context(TruncatedSnafu)?;
    Ok(u16::from_be_bytes(*bytes))
}
