//! From a frame's bytes to a [`Frame`], by the codec of its transfer syntax.

use super::layout::Layout;
use super::{Frame, FrameData, Photometric, native};
use crate::codec::{self, Codec, CodedColour, CodedImage, Samples};
use crate::error::{DecodeFrameSnafu, MismatchSnafu, Result, ShortPixelDataSnafu, UnsupportedSamplesSnafu};
use snafu::{OptionExt, ResultExt, ensure};

/// Decodes the bytes of one frame.
pub(super) fn decode(codec: Codec, layout: &Layout, bytes: &[u8], frame: usize) -> Result<Frame> {
    let size = (layout.rows, layout.columns);
    let image = match codec {
        Codec::Uncompressed => return uncompressed(layout, bytes, frame),
        Codec::Deflate => {
            let inflated = codec::deflate::decode(bytes, layout.native_bits()?.div_ceil(8));
            return uncompressed(layout, &inflated.context(DecodeFrameSnafu { frame })?, frame);
        }
        Codec::Rle => {
            let bytes_per_sample = usize::from(layout.bits_allocated / 8);
            let decoded =
                codec::rle::decode(bytes, layout.pixels(), layout.samples_per_pixel, bytes_per_sample)
                    .context(DecodeFrameSnafu { frame })?;
            // Segments are planes whatever PlanarConfiguration says (PS3.5 G.2); the decoder joins them.
            let by_pixel = Layout { planar: false, ..layout.clone() };
            return Ok(as_is(layout, typed(&by_pixel, &decoded, false)?));
        }
        Codec::Jpeg => codec::jpeg::decode(bytes, size),
        Codec::JpegLs => codec::jpegls::decode(bytes, size),
        Codec::Jpeg2000 => codec::jpeg2000::decode(bytes, size),
    };
    from_codestream(layout, image.context(DecodeFrameSnafu { frame })?, frame)
}

/// Samples as the attributes describe them.
pub(super) fn as_is(layout: &Layout, data: FrameData) -> Frame {
    Frame {
        rows: layout.rows,
        columns: layout.columns,
        samples_per_pixel: layout.samples_per_pixel,
        bits_stored: layout.bits_stored,
        photometric: layout.photometric.clone(),
        data,
    }
}

/// Typed samples of whole bytes.
pub(super) fn typed(layout: &Layout, bytes: &[u8], float: bool) -> Result<FrameData> {
    native::samples(layout, bytes, float).context(UnsupportedSamplesSnafu {
        bits_allocated: layout.bits_allocated,
        samples_per_pixel: layout.samples_per_pixel as u16,
    })
}

/// One frame's uncompressed bytes, alone in their fragment.
fn uncompressed(layout: &Layout, bytes: &[u8], frame: usize) -> Result<Frame> {
    let bits = layout.native_bits()?;
    let expected = bits.div_ceil(8);
    let short = ShortPixelDataSnafu { frame, expected, found: bytes.len() as u64 };
    let bytes = bytes.get(..expected as usize).context(short)?;
    let data = if layout.bits_allocated == 1 {
        FrameData::U8(native::unpack_bits(bytes, 0, bits as usize).context(short)?)
    } else if layout.halved_chrominance {
        let size = usize::from(layout.bits_allocated / 8);
        typed(layout, &native::expand_chrominance(bytes, size, layout.pixels()), false)?
    } else {
        typed(layout, bytes, false)?
    };
    Ok(as_is(layout, data))
}

/// A JPEG family image: checked against the attributes, its samples in the type that the attributes ask for.
fn from_codestream(layout: &Layout, image: CodedImage, frame: usize) -> Result<Frame> {
    let checks = [
        ("Rows", image.rows as u64, layout.rows as u64),
        ("Columns", image.columns as u64, layout.columns as u64),
        ("SamplesPerPixel", image.components as u64, layout.samples_per_pixel as u64),
        ("the number of samples", image.samples.len() as u64, layout.samples() as u64),
    ];
    for (what, found, expected) in checks {
        ensure!(found == expected, MismatchSnafu { frame, what, found, expected });
    }
    ensure!(
        image.precision <= u32::from(layout.bits_allocated),
        MismatchSnafu {
            frame,
            what: "the precision",
            found: u64::from(image.precision),
            expected: u64::from(layout.bits_allocated)
        }
    );
    let photometric = match (layout.samples_per_pixel, image.colour) {
        (3, CodedColour::Rgb) => Photometric::Rgb,
        (3, CodedColour::YbrFull) => Photometric::YbrFull,
        _ => layout.photometric.clone(),
    };
    let data = cast(&image, layout)?;
    Ok(Frame { photometric, ..as_is(layout, data) })
}

/// Some encoders mark signed samples as unsigned, or the other way: the attributes decide, and the bits of
/// the codestream's precision are read again in their sense.
fn cast(image: &CodedImage, layout: &Layout) -> Result<FrameData> {
    let unused = 32 - image.precision.clamp(1, 32);
    let reinterpret = |sample: i32| {
        if image.signed == layout.signed {
            sample
        } else if layout.signed {
            sample << unused >> unused
        } else {
            ((sample as u32) << unused >> unused) as i32
        }
    };
    macro_rules! cast_to {
        ($variant:ident, $type:ty) => {
            FrameData::$variant(match &image.samples {
                Samples::U16(samples) => {
                    samples.iter().map(|sample| reinterpret(i32::from(*sample)) as $type).collect()
                }
                Samples::I32(samples) => samples.iter().map(|sample| reinterpret(*sample) as $type).collect(),
            })
        };
    }
    Ok(match (layout.bits_allocated, layout.signed) {
        (1 | 8, false) | (1, true) => cast_to!(U8, u8),
        (8, true) => cast_to!(I8, i8),
        (16, false) => cast_to!(U16, u16),
        (16, true) => cast_to!(I16, i16),
        (32, false) => cast_to!(U32, u32),
        (32, true) => cast_to!(I32, i32),
        (bits_allocated, _) => {
            return UnsupportedSamplesSnafu {
                bits_allocated,
                samples_per_pixel: layout.samples_per_pixel as u16,
            }
            .fail();
        }
    })
}
