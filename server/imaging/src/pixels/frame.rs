//! A decoded frame, and a stored one.

use std::borrow::Cow;
use std::fmt;

/// The samples of a frame, by pixel: row after row, the samples of a pixel next to each other.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameData {
    /// BitsAllocated 1 or up to 8, unsigned. Single bits are unpacked to 0 and 1.
    U8(Vec<u8>),
    /// BitsAllocated 8, signed.
    I8(Vec<i8>),
    /// BitsAllocated 16, unsigned.
    U16(Vec<u16>),
    /// BitsAllocated 16, signed.
    I16(Vec<i16>),
    /// BitsAllocated 32, unsigned.
    U32(Vec<u32>),
    /// BitsAllocated 32, signed.
    I32(Vec<i32>),
    /// FloatPixelData.
    F32(Vec<f32>),
    /// DoubleFloatPixelData.
    F64(Vec<f64>),
}

/// Evaluates `$body` with `$samples` bound to the vector inside, whatever its type.
macro_rules! with_samples {
    ($data:expr, $samples:ident => $body:expr) => {
        match $data {
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::U8($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::I8($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::U16($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::I16($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::U32($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::I32($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::F32($samples) => $body,
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so for other types")]
            $crate::pixels::FrameData::F64($samples) => $body,
        }
    };
}
pub(crate) use with_samples;

impl FrameData {
    /// Samples, all components counted.
    pub fn len(&self) -> usize {
        with_samples!(self, samples => samples.len())
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every sample as `f64`: exact for all types.
    pub fn to_f64(&self) -> Vec<f64> {
        with_samples!(self, samples => samples.iter().map(|sample| f64::from(*sample)).collect())
    }

    /// Every sample as `f32`: exact up to 24 bits.
    pub fn to_f32(&self) -> Vec<f32> {
        with_samples!(self, samples => samples.iter().map(|sample| *sample as f32).collect())
    }
}

/// What the samples mean (PS3.3 C.7.6.3.1.2), after decoding: a codec that applies its own colour transform
/// changes this.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Photometric {
    /// Grey, the smallest value is white.
    Monochrome1,
    /// Grey, the smallest value is black.
    Monochrome2,
    /// Indices into the palette colour lookup tables.
    PaletteColor,
    /// Red, green, blue.
    Rgb,
    /// Luminance and two chrominances of full range, one of each a pixel.
    YbrFull,
    /// Anything else, by name.
    Other(String),
}

impl Photometric {
    /// What a value of PhotometricInterpretation means once its frames are decoded.
    pub fn of_name(name: &str) -> Self {
        match name {
            "MONOCHROME1" => Self::Monochrome1,
            "MONOCHROME2" => Self::Monochrome2,
            "PALETTE COLOR" => Self::PaletteColor,
            // The colour transforms of JPEG 2000 exist in the codestream only: decoding undoes them.
            "RGB" | "YBR_RCT" | "YBR_ICT" => Self::Rgb,
            "YBR_FULL" | "YBR_FULL_422" => Self::YbrFull,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Photometric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monochrome1 => "MONOCHROME1",
            Self::Monochrome2 => "MONOCHROME2",
            Self::PaletteColor => "PALETTE COLOR",
            Self::Rgb => "RGB",
            Self::YbrFull => "YBR_FULL",
            Self::Other(name) => name,
        })
    }
}

/// A decoded frame: stored values, before any LUT.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Samples of a pixel: 1 or 3.
    pub samples_per_pixel: usize,
    /// BitsStored: how many bits of a sample are used.
    pub bits_stored: u16,
    /// What the samples mean.
    pub photometric: Photometric,
    /// `rows * columns * samples_per_pixel` samples.
    pub data: FrameData,
}

/// The bytes of one frame as the file holds them, for WADO-RS frames (PS3.18 8.7.3.3).
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFrame<'a> {
    /// The frame's bytes: uncompressed samples in little endian, or its fragments joined.
    pub bytes: Cow<'a, [u8]>,
    /// Media type that PS3.18 table 8.7.3-5 gives this transfer syntax: `application/octet-stream` for
    /// uncompressed frames.
    pub media_type: &'static str,
    /// UID of the transfer syntax the bytes are in: Explicit VR Little Endian for uncompressed frames.
    pub transfer_syntax: String,
}
