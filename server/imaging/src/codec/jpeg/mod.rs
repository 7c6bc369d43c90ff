//! JPEG (ITU-T T.81) as DICOM uses it: Huffman coded, sequential DCT of 8 and 12 bits (processes 1, 2 and 4)
//! and lossless of 2 to 16 bits (process 14).
//!
//! Written are lossless images, and baseline ones by `jpeg-encoder`, which has SIMD where the `image` crate has none.
//!
//! A decoder of our own, since no maintained crate covers the two processes that medical images are made of:
//! `jpeg-decoder` and `zune-jpeg` stop at 8-bit DCT, the lossless mode of the former ignores restarts and
//! shifts predictions by the point transform, and libjpeg-turbo would need CMake and an assembler.
//! Baseline comes with the 12-bit path at no cost. Progressive, hierarchical and arithmetic processes were
//! retired from DICOM and are refused.

mod bits;
mod dct;
mod encode;
mod huffman;
mod idct;
mod lossless;
mod marker;
mod upsample;

use super::{CodedColour, CodedImage, Result, check_size};
pub(crate) use encode::{encode_baseline, encode_lossless, encode_picture, with_profile};
use marker::{FrameHeader, Parser, Process, Segment};

/// Decodes a codestream of `size` rows and columns.
pub(crate) fn decode(bytes: &[u8], size: (usize, usize)) -> Result<CodedImage> {
    let mut parser = Parser::new(bytes);
    let frame = loop {
        if let Segment::Frame(frame) = parser.next_segment(None)? {
            break frame;
        }
    };
    check_size((frame.rows, frame.columns), size)?;
    let samples = match frame.process {
        Process::Dct => dct::decode(&mut parser, &frame)?,
        Process::Lossless => lossless::decode(&mut parser, &frame)?,
    };
    Ok(CodedImage {
        rows: frame.rows,
        columns: frame.columns,
        components: frame.components.len(),
        precision: u32::from(frame.precision),
        signed: false,
        colour: colour(&parser, &frame),
        samples: super::Samples::U16(samples),
    })
}

/// An Adobe segment says which colour transform was used, and JFIF knows only one; without either the DICOM
/// attributes are all there is. Lossless streams keep the components as they were given.
fn colour(parser: &Parser, frame: &FrameHeader) -> CodedColour {
    if frame.components.len() != 3 || frame.process == Process::Lossless {
        return CodedColour::Unsaid;
    }
    match parser.adobe_transform {
        Some(0) => CodedColour::Rgb,
        Some(_) => CodedColour::YbrFull,
        None if parser.jfif => CodedColour::YbrFull,
        None => CodedColour::Unsaid,
    }
}

#[cfg(test)]
mod tests;
