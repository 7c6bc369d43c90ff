//! Reads the frames of an object.

use super::fragments;
use super::layout::Layout;
use super::native::{self, NativeBytes};
use super::syntax::{EXPLICIT_VR_BIG_ENDIAN, Encoding, encoding};
use super::{Frame, FrameData, StoredFrame, encapsulated};
use crate::SampleFormat;
use crate::error::{
    BadAttributeSnafu, Error, NoSuchFrameSnafu, Result, ShortPixelDataSnafu, UnsupportedTransferSyntaxSnafu,
};
use dicom_core::Tag;
use dicom_core::value::Value;
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;
use snafu::{OptionExt, ensure};
use std::borrow::Cow;
use std::ops::Range;

/// How much memory one frame may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of a decoded frame; a codec may take a few times as much while it works. Default: 512 MiB.
    pub max_frame_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_frame_bytes: 512 << 20 }
    }
}

/// The frames of one object. Opening reads attributes and offset tables only; each frame is decoded when it
/// is asked for, so that several threads can share a reader.
pub struct PixelReader<'a> {
    layout: Layout,
    encoding: Encoding,
    transfer_syntax: &'a str,
    tag: Tag,
    pixels: Pixels<'a>,
}

enum Pixels<'a> {
    Native { bytes: NativeBytes<'a>, float: bool },
    Encapsulated { fragments: &'a [Vec<u8>], frames: Vec<Range<usize>> },
}

impl<'a> PixelReader<'a> {
    /// Reads the Image Pixel attributes (PS3.3 C.7.6.3) and the offset tables.
    ///
    /// # Errors
    /// No pixel data, attributes absent or without meaning, a frame above the limit, or fragments that
    /// cannot be told apart into frames. A transfer syntax without a decoder is an error of [`Self::frame`]
    /// only.
    pub fn open(object: &'a DefaultDicomObject, limits: DecodeLimits) -> Result<Self> {
        let transfer_syntax = object.meta().transfer_syntax();
        let (tag, float_bits) = pixel_element(object)?;
        let value = object.get(tag).ok_or(Error::NoPixelData)?.value();
        let layout = Layout::read(object, float_bits, limits)?;
        let encoding = encoding(transfer_syntax);
        let pixels = match value {
            Value::Primitive(_) if encoding != Encoding::Native => {
                let value = "not in fragments, as its transfer syntax asks";
                return BadAttributeSnafu { name: "PixelData", value }.fail();
            }
            Value::Primitive(value) => Pixels::Native {
                bytes: NativeBytes {
                    value,
                    big_endian: transfer_syntax == EXPLICIT_VR_BIG_ENDIAN,
                    bits_allocated: layout.bits_allocated,
                },
                float: float_bits.is_some(),
            },
            Value::PixelSequence(sequence) => Pixels::Encapsulated {
                fragments: sequence.fragments(),
                frames: fragments::by_frame(
                    sequence.fragments(),
                    &offset_table(object, sequence.offset_table()),
                    layout.frames,
                )?,
            },
            Value::Sequence(_) => return Err(Error::NoPixelData),
        };
        Ok(Self { layout, encoding, transfer_syntax, tag, pixels })
    }

    /// NumberOfFrames: at least 1.
    pub fn number_of_frames(&self) -> usize {
        self.layout.frames
    }

    /// Rows of a frame.
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Columns of a frame.
    pub fn columns(&self) -> usize {
        self.layout.columns
    }

    /// SamplesPerPixel: 1 or 3.
    pub fn samples_per_pixel(&self) -> usize {
        self.layout.samples_per_pixel
    }

    /// BitsAllocated, 1 to 64.
    pub fn bits_allocated(&self) -> u16 {
        self.layout.bits_allocated
    }

    /// Whether PixelRepresentation says that samples are signed.
    pub fn is_signed(&self) -> bool {
        self.layout.signed
    }

    /// Whether the frames are in fragments.
    pub fn is_encapsulated(&self) -> bool {
        matches!(self.pixels, Pixels::Encapsulated { .. })
    }

    /// What a transfer syntax must have room for.
    pub fn sample_format(&self) -> SampleFormat {
        SampleFormat {
            bits_allocated: self.layout.bits_allocated,
            bits_stored: self.layout.bits_stored,
            samples_per_pixel: self.layout.samples_per_pixel as u16,
            signed: self.layout.signed,
            float: matches!(self.pixels, Pixels::Native { float: true, .. }),
            photometric: self.layout.photometric.clone(),
        }
    }

    /// Bytes of all frames without compression.
    pub(crate) fn native_bytes(&self) -> Result<u64> {
        Ok(self.layout.native_bits()?.saturating_mul(self.layout.frames as u64).div_ceil(8))
    }

    /// The pixels of a big endian file in little endian, and the element that holds them; `None` of other files.
    pub(crate) fn swapped_pixels(&self) -> Result<Option<(Tag, Vec<u8>)>> {
        match &self.pixels {
            Pixels::Native { bytes, .. } if bytes.big_endian => {
                let found = bytes.len();
                let short = ShortPixelDataSnafu { frame: self.layout.frames, expected: found, found };
                let all = bytes.get(0..found as usize).context(short)?;
                Ok(Some((self.tag, all.into_owned())))
            }
            _ => Ok(None),
        }
    }

    /// Decodes a frame, counted from 1: stored values, before the modality LUT.
    ///
    /// # Errors
    /// No such frame, pixel data too short, a malformed codestream or one of another size than the attributes
    /// say, or a transfer syntax without a decoder.
    pub fn frame(&self, frame: usize) -> Result<Frame> {
        self.check(frame)?;
        match &self.pixels {
            Pixels::Native { bytes, float } => {
                let data = self.native_samples(*bytes, *float, frame)?;
                Ok(encapsulated::as_is(&self.layout, data))
            }
            Pixels::Encapsulated { fragments, frames } => {
                let bytes = joined(fragments, frames, frame)?;
                match self.encoding {
                    Encoding::Coded { codec, .. } => encapsulated::decode(codec, &self.layout, &bytes, frame),
                    _ => UnsupportedTransferSyntaxSnafu { uid: self.transfer_syntax }.fail(),
                }
            }
        }
    }

    /// The bytes of a frame as the file holds them, counted from 1. Works for every transfer syntax.
    ///
    /// # Errors
    /// No such frame, or pixel data too short.
    pub fn stored_frame(&self, frame: usize) -> Result<StoredFrame<'a>> {
        self.check(frame)?;
        match &self.pixels {
            Pixels::Native { bytes, .. } => {
                let bits = self.layout.native_bits()?;
                let bytes = if bits % 8 == 0 {
                    self.native_range(*bytes, frame)?
                } else {
                    Cow::Owned(native::pack_bits(&self.single_bits(*bytes, frame)?))
                };
                Ok(StoredFrame {
                    bytes,
                    media_type: "application/octet-stream",
                    transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
                })
            }
            Pixels::Encapsulated { fragments, frames } => Ok(StoredFrame {
                bytes: joined(fragments, frames, frame)?,
                media_type: match self.encoding {
                    Encoding::Coded { media_type, .. } | Encoding::Unsupported { media_type } => media_type,
                    Encoding::Native => "application/octet-stream",
                },
                transfer_syntax: self.transfer_syntax.to_owned(),
            }),
        }
    }

    /// Fails unless the last frame's bytes are there, so that NumberOfFrames can be trusted with memory.
    pub(crate) fn ensure_complete(&self) -> Result<()> {
        match &self.pixels {
            Pixels::Native { bytes, .. } => {
                let frame = self.layout.frames;
                let expected = self.layout.native_bits()?.saturating_mul(frame as u64).div_ceil(8);
                let found = bytes.len();
                ensure!(expected <= found, ShortPixelDataSnafu { frame, expected, found });
                Ok(())
            }
            // As many ranges of fragments as frames, or opening would have failed.
            Pixels::Encapsulated { .. } => Ok(()),
        }
    }

    fn check(&self, frame: usize) -> Result<()> {
        ensure!(
            (1..=self.layout.frames).contains(&frame),
            NoSuchFrameSnafu { frame, frames: self.layout.frames }
        );
        Ok(())
    }

    fn native_samples(&self, bytes: NativeBytes<'a>, float: bool, frame: usize) -> Result<FrameData> {
        let layout = &self.layout;
        if layout.bits_allocated == 1 {
            return Ok(FrameData::U8(self.single_bits(bytes, frame)?));
        }
        let mut bytes = self.native_range(bytes, frame)?;
        if layout.halved_chrominance {
            let size = usize::from(layout.bits_allocated / 8);
            bytes = Cow::Owned(native::expand_chrominance(&bytes, size, layout.pixels()));
        }
        encapsulated::typed(layout, &bytes, float)
    }

    /// The bytes of a frame whose samples are whole bytes.
    fn native_range(&self, bytes: NativeBytes<'a>, frame: usize) -> Result<Cow<'a, [u8]>> {
        let length = self.layout.native_bits()? / 8;
        let end = length.saturating_mul(frame as u64);
        let short = || ShortPixelDataSnafu { frame, expected: end, found: bytes.len() };
        let range = usize::try_from(end - length).ok().zip(usize::try_from(end).ok());
        let (start, end) = range.with_context(short)?;
        bytes.get(start..end).with_context(short)
    }

    /// A frame of single bits, which need not start at a byte: one sample a byte.
    fn single_bits(&self, bytes: NativeBytes<'a>, frame: usize) -> Result<Vec<u8>> {
        let bits = self.layout.native_bits()?;
        let end = bits.saturating_mul(frame as u64);
        let start = end - bits;
        let short = || ShortPixelDataSnafu { frame, expected: end.div_ceil(8), found: bytes.len() };
        let range = usize::try_from(start / 8).ok().zip(usize::try_from(end.div_ceil(8)).ok());
        let (first, last) = range.with_context(short)?;
        let bytes = bytes.get(first..last).with_context(short)?;
        native::unpack_bits(&bytes, (start % 8) as usize, bits as usize).with_context(short)
    }
}

/// The element that holds the pixels, and its bits when they are floats (PS3.3 C.7.6.24, C.7.6.25).
fn pixel_element(object: &DefaultDicomObject) -> Result<(Tag, Option<u16>)> {
    [(tags::PIXEL_DATA, None), (tags::FLOAT_PIXEL_DATA, Some(32)), (tags::DOUBLE_FLOAT_PIXEL_DATA, Some(64))]
        .into_iter()
        .find(|(tag, _)| object.get(*tag).is_some())
        .ok_or(Error::NoPixelData)
}

/// The extended offset table where there is one, else the basic one.
fn offset_table(object: &DefaultDicomObject, basic: &[u32]) -> Vec<u64> {
    let extended = object.get(tags::EXTENDED_OFFSET_TABLE).and_then(|element| match element.value() {
        Value::Primitive(dicom_core::PrimitiveValue::U64(offsets)) => Some(offsets.to_vec()),
        Value::Primitive(dicom_core::PrimitiveValue::U8(bytes)) => {
            Some(bytes.as_chunks::<8>().0.iter().map(|offset| u64::from_le_bytes(*offset)).collect())
        }
        _ => None,
    });
    extended.unwrap_or_else(|| basic.iter().map(|offset| u64::from(*offset)).collect())
}

/// The fragments of a frame, joined.
fn joined<'a>(fragments: &'a [Vec<u8>], frames: &[Range<usize>], frame: usize) -> Result<Cow<'a, [u8]>> {
    let range = frame.checked_sub(1).and_then(|index| frames.get(index)).cloned();
    let parts = range.and_then(|range| fragments.get(range));
    match parts.context(NoSuchFrameSnafu { frame, frames: frames.len() })? {
        [only] => Ok(Cow::Borrowed(only)),
        parts => Ok(Cow::Owned(parts.concat())),
    }
}
