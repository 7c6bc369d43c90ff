//! Sequential DCT scans (T.81 annex F).

use super::bits::BitReader;
use super::huffman::HuffmanTable;
use super::idct;
use super::marker::{Component, FrameHeader, Parser, ScanHeader, Segment};
use super::upsample;
use crate::codec::{MalformedSnafu, Result};
use snafu::{OptionExt, ensure};

/// Where the coefficient at each place of the zig-zag stands, row by row (T.81 figure A.6).
#[rustfmt::skip]
const ZIG_ZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The samples of one component on its own grid, padded to whole minimum coded units.
pub(super) struct Plane {
    pub samples: Vec<u16>,
    /// Samples from one row to the next.
    pub stride: usize,
    /// Rows and columns that belong to the image.
    pub rows: usize,
    pub columns: usize,
}

/// What a component of a scan decodes with.
struct Coder<'a> {
    component: usize,
    dc: &'a HuffmanTable,
    ac: &'a HuffmanTable,
    quantisation: &'a [u16; 64],
    /// Blocks of a minimum coded unit, across and down.
    blocks: (usize, usize),
    predictor: i32,
}

/// Decodes all scans to samples by pixel.
pub(super) fn decode(parser: &mut Parser, frame: &FrameHeader) -> Result<Vec<u16>> {
    let mut planes: Vec<Option<Plane>> = frame.components.iter().map(|_| None).collect();
    while planes.iter().any(Option::is_none) {
        match parser.next_segment(Some(frame))? {
            Segment::Scan(scan) => scan_planes(parser, frame, &scan, &mut planes)?,
            Segment::End => return MalformedSnafu { what: "it ends before all its components" }.fail(),
            Segment::Frame(_) | Segment::Other => {}
        }
    }
    let planes: Vec<Plane> = planes.into_iter().flatten().collect();
    Ok(upsample::to_pixels(&planes, frame.rows, frame.columns))
}

/// Largest sampling factors, across and down.
fn largest_factors(frame: &FrameHeader) -> (usize, usize) {
    let largest = |factor: fn(&Component) -> usize| frame.components.iter().map(factor).max().unwrap_or(1);
    (largest(|component| component.horizontal), largest(|component| component.vertical))
}

fn scan_planes(
    parser: &mut Parser,
    frame: &FrameHeader,
    scan: &ScanHeader,
    planes: &mut [Option<Plane>],
) -> Result<()> {
    for (index, _, _) in &scan.components {
        let component = frame.components.get(*index).context(NO_COMPONENT)?;
        let place = planes.get_mut(*index).context(NO_COMPONENT)?;
        ensure!(place.is_none(), MalformedSnafu { what: "a component is coded twice" });
        *place = Some(plane(frame, component));
    }
    let mut coders = scan
        .components
        .iter()
        .map(|tables| coder(parser, frame, scan, *tables))
        .collect::<Result<Vec<_>>>()?;
    // One component alone is coded without the blocks that only pad it (T.81 A.2.2).
    let (across, down) = match coders.as_slice() {
        [only] => {
            let plane = planes.get(only.component).and_then(Option::as_ref).context(NO_COMPONENT)?;
            (plane.columns.div_ceil(8), plane.rows.div_ceil(8))
        }
        _ => units(frame),
    };
    let mut bits = BitReader::new(parser.bytes, parser.position);
    for unit in 0..across * down {
        if parser.restart_interval > 0 && unit > 0 && unit % parser.restart_interval == 0 {
            bits.restart((unit / parser.restart_interval - 1) as u8 % 8)?;
            coders.iter_mut().for_each(|coder| coder.predictor = 0);
        }
        for coder in &mut coders {
            let plane = planes.get_mut(coder.component).and_then(Option::as_mut).context(NO_COMPONENT)?;
            let (width, height) = coder.blocks;
            for block in 0..width * height {
                let column = (unit % across * width + block % width) * 8;
                let row = (unit / across * height + block / width) * 8;
                let coefficients = coder.block(&mut bits)?;
                let place = plane.samples.get_mut(row * plane.stride + column..).unwrap_or_default();
                idct::write(&coefficients, frame.precision, place, plane.stride);
            }
        }
    }
    parser.position = bits.position();
    Ok(())
}

const NO_COMPONENT: MalformedSnafu<&str> =
    MalformedSnafu { what: "a scan has a component that the frame lacks" };

/// Minimum coded units of an interleaved scan, across and down.
fn units(frame: &FrameHeader) -> (usize, usize) {
    let (widest, tallest) = largest_factors(frame);
    (frame.columns.div_ceil(8 * widest), frame.rows.div_ceil(8 * tallest))
}

/// An empty plane for a component.
fn plane(frame: &FrameHeader, component: &Component) -> Plane {
    let (widest, tallest) = largest_factors(frame);
    let (across, down) = units(frame);
    let stride = across * 8 * component.horizontal;
    Plane {
        samples: vec![0; stride * down * 8 * component.vertical],
        stride,
        rows: (frame.rows * component.vertical).div_ceil(tallest),
        columns: (frame.columns * component.horizontal).div_ceil(widest),
    }
}

/// What a component of a scan decodes with: its index, DC and AC table.
fn coder<'a>(
    parser: &'a Parser,
    frame: &FrameHeader,
    scan: &ScanHeader,
    (index, dc, ac): (usize, usize, usize),
) -> Result<Coder<'a>> {
    let component = frame.components.get(index).context(NO_COMPONENT)?;
    let missing = MalformedSnafu { what: "a scan uses a table that was not defined" };
    let interleaved = scan.components.len() > 1;
    Ok(Coder {
        component: index,
        dc: parser.dc_tables.get(dc).and_then(Option::as_ref).context(missing)?,
        ac: parser.ac_tables.get(ac).and_then(Option::as_ref).context(missing)?,
        quantisation: parser
            .quantisation
            .get(component.quantisation)
            .and_then(Option::as_ref)
            .context(missing)?,
        blocks: if interleaved { (component.horizontal, component.vertical) } else { (1, 1) },
        predictor: 0,
    })
}

impl Coder<'_> {
    /// The dequantised coefficients of the next block, row by row.
    fn block(&mut self, bits: &mut BitReader) -> Result<[f32; 64]> {
        let mut coefficients = [0.0; 64];
        let size = self.dc.decode(bits)?;
        ensure!(size <= 15, MalformedSnafu { what: "a DC difference has more than 15 bits" });
        self.predictor = self.predictor.wrapping_add(bits.signed(u32::from(size))?);
        coefficients[0] = self.predictor as f32 * f32::from(self.quantisation[0]);
        let mut place = 1;
        while place < 64 {
            let symbol = self.ac.decode(bits)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run < 15 {
                    break;
                }
                place += 16;
                continue;
            }
            place += run;
            ensure!(place < 64, MalformedSnafu { what: "a block has more than 64 coefficients" });
            let value = bits.signed(size)? as f32;
            coefficients[usize::from(ZIG_ZAG[place])] = value * f32::from(self.quantisation[place]);
            place += 1;
        }
        Ok(coefficients)
    }
}
