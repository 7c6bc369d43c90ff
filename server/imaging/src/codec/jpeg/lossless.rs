//! Lossless scans (T.81 annex H).

use super::bits::BitReader;
use super::huffman::HuffmanTable;
use super::marker::{FrameHeader, Parser, ScanHeader, Segment};
use crate::codec::{MalformedSnafu, Result, UnsupportedSnafu};
use snafu::{OptionExt, ensure};

/// What a component of a scan decodes with. Lines are before the point transform is undone.
struct Line<'a> {
    component: usize,
    table: &'a HuffmanTable,
    above: Vec<u16>,
    current: Vec<u16>,
}

/// Decodes all scans to samples by pixel.
pub(super) fn decode(parser: &mut Parser, frame: &FrameHeader) -> Result<Vec<u16>> {
    ensure!(
        frame.components.iter().all(|component| (component.horizontal, component.vertical) == (1, 1))
            || frame.components.len() == 1,
        UnsupportedSnafu { what: "lossless components of different sizes" }
    );
    let mut samples = vec![0; frame.rows * frame.columns * frame.components.len()];
    let mut decoded = vec![false; frame.components.len()];
    while decoded.contains(&false) {
        match parser.next_segment(Some(frame))? {
            Segment::Scan(scan) => scan_samples(parser, frame, &scan, &mut samples, &mut decoded)?,
            Segment::End => return MalformedSnafu { what: "it ends before all its components" }.fail(),
            Segment::Frame(_) | Segment::Other => {}
        }
    }
    Ok(samples)
}

fn scan_samples(
    parser: &mut Parser,
    frame: &FrameHeader,
    scan: &ScanHeader,
    samples: &mut [u16],
    decoded: &mut [bool],
) -> Result<()> {
    ensure!((1..=7).contains(&scan.start), MalformedSnafu { what: "its predictor is not 1 to 7" });
    ensure!(scan.low < frame.precision, MalformedSnafu { what: "its point transform leaves no bits" });
    // A restart begins a line (T.81 H.1.1); encoders that restart elsewhere would need another prediction.
    ensure!(
        parser.restart_interval.is_multiple_of(frame.columns),
        UnsupportedSnafu { what: "a restart within a line" }
    );
    let lines_to_restart = parser.restart_interval / frame.columns;
    let mut lines = Vec::with_capacity(scan.components.len());
    for (component, table, _) in &scan.components {
        if let Some(done) = decoded.get_mut(*component) {
            *done = true;
        }
        lines.push(Line {
            component: *component,
            table: parser
                .dc_tables
                .get(*table)
                .and_then(Option::as_ref)
                .context(MalformedSnafu { what: "a scan uses a table that was not defined" })?,
            above: vec![0; frame.columns],
            current: vec![0; frame.columns],
        });
    }
    let components = frame.components.len();
    let first = 1 << (frame.precision - scan.low - 1);
    let mut bits = BitReader::new(parser.bytes, parser.position);
    for (row, out) in samples.chunks_exact_mut(frame.columns * components).enumerate() {
        let restarts = lines_to_restart > 0 && row % lines_to_restart == 0;
        if restarts && row > 0 {
            bits.restart((row / lines_to_restart - 1) as u8 % 8)?;
        }
        let starts = row == 0 || restarts;
        for column in 0..frame.columns {
            for line in &mut lines {
                let prediction = line.predict(column, starts, scan.start, first);
                let difference = difference(line.table, &mut bits)?;
                line.current[column] = (prediction + difference) as u16;
            }
        }
        for line in &mut lines {
            for (pixel, sample) in out.chunks_exact_mut(components).zip(&line.current) {
                pixel[line.component] = sample << scan.low;
            }
            std::mem::swap(&mut line.above, &mut line.current);
        }
    }
    parser.position = bits.position();
    Ok(())
}

impl Line<'_> {
    /// T.81 H.1.2.1 and table H.1. `starts`: the first line of the scan or after a restart.
    fn predict(&self, column: usize, starts: bool, predictor: u8, first: i32) -> i32 {
        if column == 0 {
            return if starts { first } else { i32::from(self.above[0]) };
        }
        let a = i32::from(self.current[column - 1]);
        if starts {
            return a;
        }
        let (b, c) = (i32::from(self.above[column]), i32::from(self.above[column - 1]));
        match predictor {
            1 => a,
            2 => b,
            3 => c,
            4 => a + b - c,
            5 => a + ((b - c) >> 1),
            6 => b + ((a - c) >> 1),
            _ => (a + b) >> 1,
        }
    }
}

/// T.81 H.1.2.2: 16 bits stand for 32768, without further bits.
fn difference(table: &HuffmanTable, bits: &mut BitReader) -> Result<i32> {
    match table.decode(bits)? {
        size @ 0..=15 => bits.signed(u32::from(size)),
        16 => Ok(32768),
        _ => MalformedSnafu { what: "a difference has more than 16 bits" }.fail(),
    }
}
