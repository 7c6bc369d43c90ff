//! Marker segments of JPEG-LS (T.87 annex C).

use crate::codec::{MalformedSnafu, Result, TruncatedSnafu, UnsupportedSnafu};
use snafu::{OptionExt, ensure};

/// What stands between two calls of [`Parser::next_segment`].
pub(super) enum Segment {
    Frame(Frame),
    Scan(ScanHeader),
    Other,
    End,
}

pub(super) struct Frame {
    pub precision: u8,
    pub rows: usize,
    pub columns: usize,
    /// Identifiers: 1 or 3.
    pub components: Vec<u8>,
}

/// In what order a scan holds the samples of its components (T.87 C.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleave {
    /// One component a scan.
    None,
    Line,
    Sample,
}

pub(super) struct ScanHeader {
    /// Indices into the frame's components.
    pub components: Vec<usize>,
    /// Largest difference of a reconstructed sample: 0 for lossless.
    pub near: i32,
    pub interleave: Interleave,
}

/// Preset coding parameters, as written: 0 stands for the default (T.87 C.2.4.1.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Preset {
    pub largest: u16,
    pub thresholds: [u16; 3],
    pub reset: u16,
}

/// Walks the segments and keeps the preset parameters.
pub(super) struct Parser<'a> {
    pub bytes: &'a [u8],
    pub position: usize,
    pub preset: Preset,
}

impl<'a> Parser<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, preset: Preset::default() }
    }

    /// Reads up to and including the next segment. `frame`: the frame header, once there was one.
    pub fn next_segment(&mut self, frame: Option<&Frame>) -> Result<Segment> {
        match self.next_marker()? {
            0xD8 => Ok(Segment::Other),
            0xD9 => Ok(Segment::End),
            0xF7 => {
                ensure!(frame.is_none(), MalformedSnafu { what: "it has two frame headers" });
                frame_header(self.body()?).map(Segment::Frame)
            }
            0xF8 => self.preset_parameters().map(|()| Segment::Other),
            0xDA => {
                let frame =
                    frame.context(MalformedSnafu { what: "a scan stands before the frame header" })?;
                scan_header(frame, self.body()?).map(Segment::Scan)
            }
            0xDD => {
                let interval = self.body()?;
                ensure!(
                    interval.iter().all(|byte| *byte == 0),
                    UnsupportedSnafu { what: "restart intervals" }
                );
                Ok(Segment::Other)
            }
            0xE8 => {
                let body = self.body()?;
                let transformed = body.starts_with(b"mrfx") && body.get(4).is_some_and(|kind| *kind != 0);
                ensure!(!transformed, UnsupportedSnafu { what: "a colour transform of its own" });
                Ok(Segment::Other)
            }
            0xE0..=0xEF | 0xFE => self.body().map(|_| Segment::Other),
            _ => UnsupportedSnafu { what: "a segment that JPEG-LS does not have" }.fail(),
        }
    }

    /// Skips to a marker: in JPEG-LS, a byte of ones and one with its highest bit set.
    fn next_marker(&mut self) -> Result<u8> {
        loop {
            let rest = self.bytes.get(self.position..).context(TruncatedSnafu)?;
            let skip = rest.iter().position(|byte| *byte == 0xFF).context(TruncatedSnafu)?;
            self.position += skip + 1;
            match self.bytes.get(self.position).context(TruncatedSnafu)? {
                0xFF => {}
                code @ 0x80.. => {
                    self.position += 1;
                    return Ok(*code);
                }
                _ => self.position += 1,
            }
        }
    }

    fn body(&mut self) -> Result<&'a [u8]> {
        let length = usize::from(u16_at(self.bytes, self.position)?);
        ensure!(length >= 2, MalformedSnafu { what: "a marker segment is shorter than its length" });
        let body = self.bytes.get(self.position + 2..self.position + length).context(TruncatedSnafu)?;
        self.position += length;
        Ok(body)
    }

    /// LSE (T.87 C.2.4.1).
    fn preset_parameters(&mut self) -> Result<()> {
        let (kind, body) = self.body()?.split_first().context(TruncatedSnafu)?;
        ensure!(*kind == 1, UnsupportedSnafu { what: "mapping tables or an oversize image" });
        self.preset = Preset {
            largest: u16_at(body, 0)?,
            thresholds: [u16_at(body, 2)?, u16_at(body, 4)?, u16_at(body, 6)?],
            reset: u16_at(body, 8)?,
        };
        Ok(())
    }
}

/// SOF55 (T.87 C.2.2).
fn frame_header(body: &[u8]) -> Result<Frame> {
    let (precision, rest) = body.split_first().context(TruncatedSnafu)?;
    ensure!((2..=16).contains(precision), MalformedSnafu { what: "its precision is not 2 to 16" });
    let (rows, columns) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
    ensure!(rows > 0 && columns > 0, UnsupportedSnafu { what: "its size left open" });
    let count = usize::from(*rest.get(4).context(TruncatedSnafu)?);
    ensure!(matches!(count, 1 | 3), UnsupportedSnafu { what: "neither 1 nor 3 components" });
    let specifications = rest.get(5..5 + 3 * count).context(TruncatedSnafu)?.as_chunks::<3>().0;
    ensure!(
        specifications.iter().all(|[_, factors, _]| *factors == 0x11),
        UnsupportedSnafu { what: "components of different sizes" }
    );
    Ok(Frame {
        precision: *precision,
        rows: usize::from(rows),
        columns: usize::from(columns),
        components: specifications.iter().map(|[id, _, _]| *id).collect(),
    })
}

/// SOS (T.87 C.2.3).
fn scan_header(frame: &Frame, body: &[u8]) -> Result<ScanHeader> {
    let (count, rest) = body.split_first().context(TruncatedSnafu)?;
    let (selectors, rest) = rest.split_at_checked(2 * usize::from(*count)).context(TruncatedSnafu)?;
    let mut components = Vec::new();
    for [id, table] in selectors.as_chunks::<2>().0 {
        let index = frame.components.iter().position(|component| component == id);
        let index = index.context(MalformedSnafu { what: "a scan has a component that the frame lacks" })?;
        ensure!(!components.contains(&index), MalformedSnafu { what: "a scan has a component twice" });
        ensure!(*table == 0, UnsupportedSnafu { what: "mapping tables" });
        components.push(index);
    }
    let [near, interleave, transform] = *rest.first_chunk::<3>().context(TruncatedSnafu)?;
    ensure!(transform == 0, UnsupportedSnafu { what: "a point transform" });
    let interleave = match (interleave, components.len()) {
        (0, 1) => Interleave::None,
        (1, 1..) => Interleave::Line,
        (2, 1..) => Interleave::Sample,
        _ => return MalformedSnafu { what: "its interleave mode does not suit its components" }.fail(),
    };
    Ok(ScanHeader { components, near: i32::from(near), interleave })
}

fn u16_at(bytes: &[u8], position: usize) -> Result<u16> {
    let bytes = bytes.get(position..).and_then(|rest| rest.first_chunk::<2>()).context(TruncatedSnafu)?;
    Ok(u16::from_be_bytes(*bytes))
}
