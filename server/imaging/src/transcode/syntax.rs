//! The transfer syntaxes that can be written, and what pixels each can hold.

use crate::pixels::Photometric;
use dicom_dictionary_std::uids;

/// A transfer syntax that objects or frames can be transcoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSyntax {
    /// 1.2.840.10008.1.2
    ImplicitVrLittleEndian,
    /// 1.2.840.10008.1.2.1
    ExplicitVrLittleEndian,
    /// 1.2.840.10008.1.2.4.80
    JpegLsLossless,
    /// 1.2.840.10008.1.2.4.90
    Jpeg2000Lossless,
    /// 1.2.840.10008.1.2.4.201, High-Throughput JPEG 2000
    Htj2kLossless,
    /// 1.2.840.10008.1.2.5
    RleLossless,
    /// 1.2.840.10008.1.2.4.70, lossless with Selection Value 1
    JpegLosslessSv1,
    /// 1.2.840.10008.1.2.4.50: the only one with loss, for frames alone
    JpegBaseline,
}

impl TargetSyntax {
    /// Those an object can be written in: all without loss, since it keeps its SOPInstanceUID.
    pub const OF_OBJECTS: [Self; 7] = [
        Self::ExplicitVrLittleEndian,
        Self::ImplicitVrLittleEndian,
        Self::JpegLsLossless,
        Self::Jpeg2000Lossless,
        Self::Htj2kLossless,
        Self::RleLossless,
        Self::JpegLosslessSv1,
    ];

    /// Those that compress a frame, of each media type the default first (PS3.18 Table 8.7.3-5).
    pub const OF_FRAMES: [Self; 6] = [
        Self::JpegLsLossless,
        Self::Jpeg2000Lossless,
        Self::Htj2kLossless,
        Self::RleLossless,
        Self::JpegLosslessSv1,
        Self::JpegBaseline,
    ];

    /// The UID.
    pub const fn uid(self) -> &'static str {
        match self {
            Self::ImplicitVrLittleEndian => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            Self::ExplicitVrLittleEndian => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Self::JpegLsLossless => uids::JPEGLS_LOSSLESS,
            Self::Jpeg2000Lossless => uids::JPEG2000_LOSSLESS,
            Self::Htj2kLossless => uids::HTJ2K_LOSSLESS,
            Self::RleLossless => uids::RLE_LOSSLESS,
            Self::JpegLosslessSv1 => uids::JPEG_LOSSLESS_SV1,
            Self::JpegBaseline => uids::JPEG_BASELINE8_BIT,
        }
    }

    /// The media type of a frame's bytes (PS3.18 Table 8.7.3-5).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::ImplicitVrLittleEndian | Self::ExplicitVrLittleEndian => "application/octet-stream",
            Self::JpegLsLossless => "image/jls",
            Self::Jpeg2000Lossless => "image/jp2",
            Self::Htj2kLossless => "image/jphc",
            Self::RleLossless => "image/dicom-rle",
            Self::JpegLosslessSv1 | Self::JpegBaseline => "image/jpeg",
        }
    }

    /// The one with this UID.
    pub fn of_uid(uid: &str) -> Option<Self> {
        Self::OF_OBJECTS.into_iter().chain(Self::OF_FRAMES).find(|syntax| syntax.uid() == uid)
    }

    /// Whether pixels are compressed.
    pub const fn is_encapsulated(self) -> bool {
        !matches!(self, Self::ImplicitVrLittleEndian | Self::ExplicitVrLittleEndian)
    }

    /// Why pixels of that format cannot be held, as the second half of a sentence; `None` where they can
    /// (PS3.5 8.2). Native syntaxes hold everything.
    pub fn obstacle(self, format: &SampleFormat) -> Option<&'static str> {
        if !self.is_encapsulated() {
            return None;
        }
        let largest = if self == Self::RleLossless { 32 } else { 16 };
        if format.float {
            Some("its samples are floating point numbers")
        } else if format.bits_allocated == 1 {
            Some("its samples are single bits")
        } else if !matches!(format.bits_allocated, 8 | 16 | 32) || !matches!(format.samples_per_pixel, 1 | 3)
        {
            Some("it has neither 8, 16 nor 32 bits allocated, or neither 1 nor 3 samples a pixel")
        } else if matches!(format.photometric, Photometric::Other(_)) {
            Some("its photometric interpretation has no place in a compressed transfer syntax")
        } else if format.bits_stored > largest {
            Some("it has more than 16 bits stored")
        } else if self == Self::JpegBaseline && (format.bits_allocated != 8 || format.signed) {
            Some("its samples are not unsigned ones of 8 bits")
        } else if self == Self::JpegBaseline && format.photometric == Photometric::PaletteColor {
            Some("indices into a palette would suffer from loss")
        } else {
            None
        }
    }
}

/// What the Image Pixel attributes say of a sample (PS3.3 C.7.6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFormat {
    /// BitsAllocated.
    pub bits_allocated: u16,
    /// BitsStored.
    pub bits_stored: u16,
    /// SamplesPerPixel.
    pub samples_per_pixel: u16,
    /// PixelRepresentation.
    pub signed: bool,
    /// Whether the pixels are FloatPixelData or DoubleFloatPixelData.
    pub float: bool,
    /// PhotometricInterpretation.
    pub photometric: Photometric,
}
