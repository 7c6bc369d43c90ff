//! One frame, compressed.

use super::TargetSyntax;
use crate::codec::{self, CodecError, PlainImage};
use crate::error::{CannotHoldSnafu, Error, Result};
use crate::pixels::{Frame, FrameData, Photometric, PixelReader, pack_bits, with_samples};

/// Quality of a baseline JPEG, 1 to 100: what a viewer shows without visible loss.
const BASELINE_QUALITY: u8 = 90;

/// The bytes of a frame, counted from 1, in a transfer syntax: compressed, or its samples in little endian.
///
/// Uncompressed samples are by pixel, each as many bytes as BitsAllocated asks for, its sign extended; single bits
/// are packed, from the frame's first byte on. Baseline JPEG turns RGB into luminance and chrominance, of which its
/// JFIF segment tells.
///
/// # Errors
/// Those of [`PixelReader::frame`]; pixels that the transfer syntax cannot hold ([`TargetSyntax::obstacle`]), or, in
/// HTJ2K, more than 32768 rows or columns.
pub fn encode_frame(reader: &PixelReader, frame: usize, target: TargetSyntax) -> Result<Vec<u8>> {
    if let Some(reason) = target.obstacle(&reader.sample_format()) {
        return CannotHoldSnafu { uid: target.uid(), reason }.fail();
    }
    let encoded = encode(&reader.frame(frame)?, reader.bits_allocated(), reader.is_signed(), frame, target)?;
    Ok(if reader.bits_allocated() == 1 { pack_bits(&encoded) } else { encoded })
}

/// Encodes a decoded frame; single bits are left a byte each. `number`: which it is, for errors.
pub(super) fn encode(
    frame: &Frame,
    bits_allocated: u16,
    signed: bool,
    number: usize,
    target: TargetSyntax,
) -> Result<Vec<u8>> {
    let bytes_per_sample = usize::from(bits_allocated / 8);
    let encoded = match target {
        TargetSyntax::ImplicitVrLittleEndian | TargetSyntax::ExplicitVrLittleEndian => {
            Ok(little_endian(&frame.data))
        }
        TargetSyntax::RleLossless => codec::rle::encode(
            &little_endian(&frame.data),
            frame.columns,
            frame.samples_per_pixel,
            bytes_per_sample,
        ),
        TargetSyntax::JpegLsLossless => codec::jpegls::encode(&plain(frame, signed, &numbers(frame))),
        TargetSyntax::JpegLosslessSv1 => {
            Ok(codec::jpeg::encode_lossless(&plain(frame, signed, &numbers(frame))))
        }
        TargetSyntax::Jpeg2000Lossless => {
            codec::jpeg2000::encode(&plain(frame, signed, &numbers(frame)), is_transformed(frame))
        }
        TargetSyntax::Htj2kLossless => {
            codec::htj2k::encode(&plain(frame, signed, &numbers(frame)), is_transformed(frame))
        }
        TargetSyntax::JpegBaseline => {
            let frame = frame.to_rgb();
            codec::jpeg::encode_baseline(&plain(&frame, signed, &numbers(&frame)), BASELINE_QUALITY)
        }
    };
    encoded.map_err(|source| match source {
        CodecError::Unsupported { what } => Error::CannotHold { uid: target.uid(), reason: what },
        source => Error::EncodeFrame { frame: number, source },
    })
}

/// PhotometricInterpretation of what [`encode`] makes of a frame (PS3.5 8.2).
pub(super) fn photometric(frame: &Frame, target: TargetSyntax) -> String {
    match target {
        TargetSyntax::Jpeg2000Lossless | TargetSyntax::Htj2kLossless if is_transformed(frame) => {
            "YBR_RCT".to_owned()
        }
        _ => frame.photometric.to_string(),
    }
}

/// Whether JPEG 2000 codes the components of a frame as YBR_RCT.
fn is_transformed(frame: &Frame) -> bool {
    frame.samples_per_pixel == 3 && frame.photometric == Photometric::Rgb
}

fn plain<'a>(frame: &Frame, signed: bool, samples: &'a [i32]) -> PlainImage<'a> {
    PlainImage {
        rows: frame.rows,
        columns: frame.columns,
        components: frame.samples_per_pixel,
        precision: frame.bits_stored.min(16) as u8,
        signed,
        samples,
    }
}

fn numbers(frame: &Frame) -> Vec<i32> {
    with_samples!(&frame.data, samples => samples.iter().map(|sample| *sample as i32).collect())
}

/// Samples as native pixel data hold them.
fn little_endian(samples: &FrameData) -> Vec<u8> {
    match samples {
        FrameData::U8(samples) => samples.clone(),
        other => with_samples!(other, samples => {
            samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
        }),
    }
}
