//! GIF: one picture, or several one after another.

use super::Raster;
use crate::attributes::float;
use crate::error::{EncodeGifSnafu, Error, Result};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use gif::{Encoder, Frame, Repeat};
use image::DynamicImage;
use snafu::ResultExt;

/// How long a frame stands where the file does not say, in milliseconds.
const DEFAULT_FRAME_TIME: f64 = 100.0;
/// Hundredths of a second below which viewers show a frame at a pace of their own.
const SHORTEST_DELAY: f64 = 2.0;
/// How colours are reduced to 256: 1 is the best, 30 the fastest.
const QUANTISATION_SPEED: i32 = 10;

/// A GIF that is written picture by picture, so that no more than one must be held.
pub struct Animation {
    encoder: Encoder<Vec<u8>>,
    /// Width and height of the first picture.
    size: (u32, u32),
    /// How long a frame stands, in hundredths of a second.
    delay: u16,
}

impl Animation {
    /// A GIF for one picture.
    ///
    /// # Errors
    /// A side of more than 65535 pixels.
    pub fn still(first: &Raster) -> Result<Self> {
        let (width, height) = (side(first.width())?, side(first.height())?);
        let greys: Vec<u8> = (0..=u8::MAX).flat_map(|level| [level; 3]).collect();
        let encoder = Encoder::new(Vec::new(), width, height, &greys).context(EncodeGifSnafu)?;
        Ok(Self { encoder, size: (first.width(), first.height()), delay: 0 })
    }

    /// A GIF of frames of `object`, the size of the first, over and over again at the pace that the file asks for:
    /// FrameTime, else RecommendedDisplayFrameRate, else CineRate (PS3.3 C.7.6.5), else ten frames a second.
    ///
    /// # Errors
    /// A side of more than 65535 pixels.
    pub fn of_frames(object: &InMemDicomObject, first: &Raster) -> Result<Self> {
        let mut animation = Self::still(first)?;
        animation.encoder.set_repeat(Repeat::Infinite).context(EncodeGifSnafu)?;
        let hundredths = frame_time(object) / 10.0;
        animation.delay = hundredths.round().clamp(SHORTEST_DELAY, f64::from(u16::MAX)) as u16;
        Ok(animation)
    }

    /// Adds a picture, cut to the size of the first, and gives the bytes of the GIF that have not been given yet.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn add(&mut self, picture: &Raster) -> Result<Vec<u8>> {
        let cut = picture.image.crop_imm(0, 0, self.size.0, self.size.1);
        let (width, height) = (side(cut.width())?, side(cut.height())?);
        let mut frame = match &cut {
            DynamicImage::ImageLuma8(grey) => {
                Frame::from_indexed_pixels(width, height, grey.as_raw().as_slice(), None)
            }
            colour => Frame::from_rgb_speed(width, height, colour.to_rgb8().as_raw(), QUANTISATION_SPEED),
        };
        frame.delay = self.delay;
        self.encoder.write_frame(&frame).context(EncodeGifSnafu)?;
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    /// The last bytes of the GIF.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.encoder.into_inner().context(EncodeGifSnafu)
    }
}

fn side(pixels: u32) -> Result<u16> {
    let too_large =
        |_| Error::BadOption { name: "format", reason: format!("a GIF has no side of {pixels} pixels") };
    u16::try_from(pixels).map_err(too_large)
}

/// Milliseconds that a frame stands.
fn frame_time(object: &InMemDicomObject) -> f64 {
    let positive = |tag| float(object, tag).filter(|value| *value > 0.0);
    positive(tags::FRAME_TIME)
        .or_else(|| positive(tags::RECOMMENDED_DISPLAY_FRAME_RATE).map(|rate| 1000.0 / rate))
        .or_else(|| positive(tags::CINE_RATE).map(|rate| 1000.0 / rate))
        .unwrap_or(DEFAULT_FRAME_TIME)
}
