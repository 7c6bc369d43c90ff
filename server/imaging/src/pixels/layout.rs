//! What the Image Pixel module says of the samples (PS3.3 C.7.6.3).

use super::{DecodeLimits, Photometric};
use crate::attributes::{integer, required_u16, text};
use crate::error::{BadAttributeSnafu, Error, MissingAttributeSnafu, Result, TooLargeSnafu};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use snafu::{OptionExt, ensure};

/// The claims of the attributes, checked against each other and against the limits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub rows: usize,
    pub columns: usize,
    pub samples_per_pixel: usize,
    pub frames: usize,
    /// 1, 8, 16, 32 or 64.
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    pub signed: bool,
    /// Samples by plane instead of by pixel.
    pub planar: bool,
    /// Chrominance of two neighbouring pixels shared: 2 luminances, then one of each (uncompressed only).
    pub halved_chrominance: bool,
    pub photometric: Photometric,
}

impl Layout {
    pub fn read(object: &InMemDicomObject, float_bits: Option<u16>, limits: DecodeLimits) -> Result<Self> {
        let rows = required_u16(object, tags::ROWS, "Rows")?;
        let columns = required_u16(object, tags::COLUMNS, "Columns")?;
        ensure!(rows > 0, BadAttributeSnafu { name: "Rows", value: "0" });
        ensure!(columns > 0, BadAttributeSnafu { name: "Columns", value: "0" });
        let samples_per_pixel = integer(object, tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        ensure!(
            matches!(samples_per_pixel, 1 | 3),
            BadAttributeSnafu { name: "SamplesPerPixel", value: samples_per_pixel.to_string() }
        );
        let frames = integer(object, tags::NUMBER_OF_FRAMES).unwrap_or(1);
        let frames = usize::try_from(frames).ok().filter(|frames| *frames > 0);
        let frames =
            frames.context(BadAttributeSnafu { name: "NumberOfFrames", value: "not positive".to_owned() })?;

        let bits_allocated = match float_bits {
            Some(bits) => bits,
            None => required_u16(object, tags::BITS_ALLOCATED, "BitsAllocated")?,
        };
        ensure!(
            matches!(bits_allocated, 1 | 8 | 16 | 32) || float_bits == Some(bits_allocated),
            BadAttributeSnafu { name: "BitsAllocated", value: bits_allocated.to_string() }
        );
        let bits_stored = match integer(object, tags::BITS_STORED) {
            Some(bits) if float_bits.is_none() => u16::try_from(bits).unwrap_or(0),
            _ => bits_allocated,
        };
        ensure!(
            (1..=bits_allocated).contains(&bits_stored),
            BadAttributeSnafu { name: "BitsStored", value: bits_stored.to_string() }
        );
        let high_bit = integer(object, tags::HIGH_BIT)
            .and_then(|bit| u16::try_from(bit).ok())
            .filter(|bit| (bits_stored - 1..bits_allocated).contains(bit))
            .unwrap_or(bits_stored - 1);

        let name = text(object, tags::PHOTOMETRIC_INTERPRETATION)
            .context(MissingAttributeSnafu { name: "PhotometricInterpretation" })?;
        let layout = Self {
            rows: usize::from(rows),
            columns: usize::from(columns),
            samples_per_pixel: samples_per_pixel as usize,
            frames,
            bits_allocated,
            bits_stored,
            high_bit,
            signed: integer(object, tags::PIXEL_REPRESENTATION) == Some(1),
            planar: samples_per_pixel > 1 && integer(object, tags::PLANAR_CONFIGURATION) == Some(1),
            halved_chrominance: samples_per_pixel == 3 && name == "YBR_FULL_422",
            photometric: Photometric::of_name(&name),
        };
        let needed = layout.samples() as u64 * u64::from(bits_allocated.div_ceil(8));
        ensure!(
            needed <= limits.max_frame_bytes,
            TooLargeSnafu { what: "a frame", needed, limit: limits.max_frame_bytes }
        );
        Ok(layout)
    }

    /// Samples of a frame. At most 65535 * 65535 * 3: no overflow.
    pub fn samples(&self) -> usize {
        self.pixels() * self.samples_per_pixel
    }

    /// Pixels of a frame.
    pub fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Bits of a frame as stored without compression.
    pub fn native_bits(&self) -> Result<u64> {
        let samples =
            if self.halved_chrominance { self.pixels().div_ceil(2) * 4 } else { self.samples() } as u64;
        samples.checked_mul(u64::from(self.bits_allocated)).ok_or(Error::UnsupportedSamples {
            bits_allocated: self.bits_allocated,
            samples_per_pixel: self.samples_per_pixel as u16,
        })
    }
}
