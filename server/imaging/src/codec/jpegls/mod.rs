//! JPEG-LS (ITU-T T.87): lossless both ways, near-lossless to be decoded.
//!
//! A codec of our own: the bindings to CharLS build it with CMake, which a machine with only a C compiler
//! lacks, and the crates in Rust decode single components only or are ports not kept for use on files from
//! a network. Mapping tables, restart intervals and sub-sampled components, which no DICOM writer is known
//! to use, are refused.

mod bits;
mod context;
mod encode;
mod header;
mod lines;
mod scan;

use super::{CodedColour, CodedImage, MalformedSnafu, Result, Samples, check_size};
pub(crate) use encode::encode;
use header::{Frame, Parser, Segment};
use snafu::ensure;

/// Decodes a codestream of `size` rows and columns.
pub(crate) fn decode(bytes: &[u8], size: (usize, usize)) -> Result<CodedImage> {
    let mut parser = Parser::new(bytes);
    let frame = loop {
        match parser.next_segment(None)? {
            Segment::Frame(frame) => break frame,
            Segment::End => return MalformedSnafu { what: "it ends before its frame header" }.fail(),
            Segment::Scan(_) | Segment::Other => {}
        }
    };
    check_size((frame.rows, frame.columns), size)?;
    Ok(CodedImage {
        rows: frame.rows,
        columns: frame.columns,
        components: frame.components.len(),
        precision: u32::from(frame.precision),
        signed: false,
        colour: CodedColour::Unsaid,
        samples: Samples::U16(all_scans(&mut parser, &frame)?),
    })
}

fn all_scans(parser: &mut Parser, frame: &Frame) -> Result<Vec<u16>> {
    let mut samples = vec![0; frame.rows * frame.columns * frame.components.len()];
    let mut decoded = vec![false; frame.components.len()];
    while decoded.contains(&false) {
        match parser.next_segment(Some(frame))? {
            Segment::Scan(header) => {
                for component in &header.components {
                    if let Some(done) = decoded.get_mut(*component) {
                        ensure!(!*done, MalformedSnafu { what: "a component is coded twice" });
                        *done = true;
                    }
                }
                parser.position = scan::decode(parser, frame, &header, &mut samples)?;
            }
            Segment::End => return MalformedSnafu { what: "it ends before all its components" }.fail(),
            Segment::Frame(_) | Segment::Other => {}
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests;
