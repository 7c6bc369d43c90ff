//! The pixel data of a SEG, kept as compactly as it is stored natively.

use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use engram_imaging::{DecodeLimits, FrameData, PixelReader};
use snafu::ResultExt;

use crate::dataset::integer;
use crate::error::{
    DecodeFrameSnafu, DecodedFrameSnafu, InvalidAttributeSnafu, MissingAttributeSnafu, PixelDataLengthSnafu,
    TooLargeSnafu,
};
use crate::{Description, Error, Limits, Result, SegmentationType};

/// All frames, one after another.
#[derive(Debug, Clone)]
pub(crate) struct Pixels {
    width: Width,
    frame_pixels: usize,
    frames: usize,
    /// 1 bit: least significant bit first, frames following one another without padding (PS3.5 8.1.1). 16 bits:
    /// little endian.
    data: Vec<u8>,
}

/// BitsAllocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Bit,
    Byte,
    Word,
}

impl Width {
    fn bits(self) -> u64 {
        match self {
            Self::Bit => 1,
            Self::Byte => 8,
            Self::Word => 16,
        }
    }
}

impl Pixels {
    pub(crate) fn read(
        object: &DefaultDicomObject,
        description: &Description,
        limits: Limits,
    ) -> Result<Self> {
        let width = width(object, description.segmentation_type)?;
        let frame_pixels = usize::from(description.rows) * usize::from(description.columns);
        let frames = description.number_of_frames as usize;
        let bits = (frame_pixels as u64)
            .checked_mul(u64::from(description.number_of_frames))
            .and_then(|pixels| pixels.checked_mul(width.bits()));
        let bytes = bits.map_or(u64::MAX, |bits| bits.div_ceil(8));
        let element = object.get(tags::PIXEL_DATA).ok_or_else(|| {
            MissingAttributeSnafu { attribute: "PixelData", within: "the segmentation" }.build()
        })?;
        let data = match element.value().primitive() {
            Some(native) => native_data(&native.to_bytes(), bytes, limits)?,
            None => decode(object, width, frame_pixels, frames, bytes, limits)?,
        };
        Ok(Self { width, frame_pixels, frames, data })
    }

    /// The pixel values of a frame (index from 0); `None` past the last.
    pub(crate) fn frame(&self, frame: usize) -> Option<impl Iterator<Item = u16> + '_> {
        (frame < self.frames).then(|| {
            let start = frame * self.frame_pixels;
            (start..start + self.frame_pixels).map(|pixel| self.value(pixel))
        })
    }

    fn value(&self, pixel: usize) -> u16 {
        // `read` checked that the data holds every pixel of every frame.
        match self.width {
            Width::Bit => u16::from(self.data[pixel / 8] >> (pixel % 8) & 1),
            Width::Byte => u16::from(self.data[pixel]),
            Width::Word => u16::from_le_bytes([self.data[pixel * 2], self.data[pixel * 2 + 1]]),
        }
    }
}

fn width(object: &DefaultDicomObject, segmentation_type: SegmentationType) -> Result<Width> {
    let within = "the segmentation";
    let bits: u16 = integer(object, tags::BITS_ALLOCATED)
        .ok_or_else(|| MissingAttributeSnafu { attribute: "BitsAllocated", within }.build())?;
    match (bits, segmentation_type) {
        (1, SegmentationType::Binary) => Ok(Width::Bit),
        (8, _) => Ok(Width::Byte),
        (16, SegmentationType::LabelMap | SegmentationType::Fractional { .. }) => Ok(Width::Word),
        _ => InvalidAttributeSnafu { attribute: "BitsAllocated", within, value: bits.to_string() }.fail(),
    }
}

fn native_data(data: &[u8], bytes: u64, limits: Limits) -> Result<Vec<u8>> {
    let actual = data.len() as u64;
    let padded = bytes.checked_next_multiple_of(2).unwrap_or(u64::MAX);
    if actual != bytes && actual != padded {
        return PixelDataLengthSnafu { expected: bytes, actual }.fail();
    }
    check_limit(bytes, limits)?;
    Ok(data.to_vec())
}

/// Decode frame after frame into the native form.
fn decode(
    object: &DefaultDicomObject,
    width: Width,
    frame_pixels: usize,
    frames: usize,
    bytes: u64,
    limits: Limits,
) -> Result<Vec<u8>> {
    check_limit(bytes, limits)?;
    let decode_limits = DecodeLimits { max_frame_bytes: limits.max_bytes };
    let reader = PixelReader::open(object, decode_limits)
        .map_err(Box::new)
        .context(DecodeFrameSnafu { frame: 1u32 })?;
    // Grows as frames are decoded: a frame count that lies allocates nothing.
    let mut packer = Packer { width, data: Vec::new(), pixels: 0 };
    for frame in 1..=frames {
        let number = u32::try_from(frame).unwrap_or(u32::MAX);
        let decoded = reader.frame(frame).map_err(Box::new).context(DecodeFrameSnafu { frame: number })?;
        let actual = decoded.data.len();
        if actual != frame_pixels {
            return DecodedFrameSnafu { frame: number, expected: frame_pixels, actual }.fail();
        }
        match decoded.data {
            FrameData::U8(values) => values.into_iter().for_each(|value| packer.push(value.into())),
            FrameData::U16(values) => values.into_iter().for_each(|value| packer.push(value)),
            _ => {
                return Err(Error::InvalidAttribute {
                    attribute: "PixelData",
                    within: format!("frame {number}"),
                    value: "signed or floating point samples".to_owned(),
                });
            }
        }
    }
    Ok(packer.data)
}

struct Packer {
    width: Width,
    data: Vec<u8>,
    pixels: usize,
}

impl Packer {
    fn push(&mut self, value: u16) {
        match self.width {
            Width::Bit => {
                let bit = self.pixels % 8;
                if bit == 0 {
                    self.data.push(0);
                }
                if let Some(last) = self.data.last_mut() {
                    *last |= u8::from(value != 0) << bit;
                }
            }
            Width::Byte => self.data.push(u8::try_from(value).unwrap_or(u8::MAX)),
            Width::Word => self.data.extend(value.to_le_bytes()),
        }
        self.pixels += 1;
    }
}

/// Whether so many bytes may be held.
pub(crate) fn check_limit(bytes: u64, limits: Limits) -> Result<()> {
    match bytes > limits.max_bytes {
        true => TooLargeSnafu { bytes, limit: limits.max_bytes }.fail(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_pixels_come_back(
            frames in prop::collection::vec(prop::collection::vec(0u16..2, 21), 1..5),
            width in prop::sample::select(vec![Width::Bit, Width::Byte, Width::Word]),
        ) {
            let mut packer = Packer { width, data: Vec::new(), pixels: 0 };
            frames.iter().flatten().for_each(|value| packer.push(*value));
            let pixels = Pixels { width, frame_pixels: 21, frames: frames.len(), data: packer.data };
            for (index, frame) in frames.iter().enumerate() {
                prop_assert_eq!(&pixels.frame(index).unwrap().collect::<Vec<_>>(), frame);
            }
            prop_assert!(pixels.frame(frames.len()).is_none());
        }
    }

    #[test]
    fn native_data_must_have_the_length_of_the_frames() {
        let limits = Limits { max_bytes: 10 };
        assert!(native_data(&[0; 3], 3, limits).is_ok());
        assert!(native_data(&[0; 4], 3, limits).is_ok());
        assert!(matches!(
            native_data(&[0; 5], 3, limits),
            Err(Error::PixelDataLength { expected: 3, actual: 5 })
        ));
        assert!(matches!(native_data(&[0; 2], 3, limits), Err(Error::PixelDataLength { .. })));
        assert!(matches!(native_data(&[0; 12], 12, limits), Err(Error::TooLarge { .. })));
    }
}
