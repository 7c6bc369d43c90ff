//! Pictures.

use super::{ColourSpace, Colours, Raster, Window};
use crate::error::Result;
use crate::pixels::DecodeLimits;
use dicom_object::DefaultDicomObject;

/// Encodings of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// `image/png`, lossless.
    Png,
    /// `image/jpeg`.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// `image/jp2`, lossless.
    Jpeg2000,
    /// `image/gif`: grey exactly, colour in 256 of its colours.
    Gif,
}

impl PictureFormat {
    /// What it can hold of what is asked of colours. JPEG 2000 (T.800 I.5.3.3) has a word for sRGB, and no room for profiles with
    /// tables, which an image's own may be; a GIF holds none.
    pub(super) fn holds(self, asked: Colours) -> Colours {
        match (self, asked) {
            (Self::Gif, _) | (Self::Jpeg2000, Colours::Own | Colours::In(ColourSpace::Srgb)) => {
                Colours::Plain
            }
            _ => asked,
        }
    }
}

/// A part of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Region {
    /// Left, top, width and height in pixels of the frame; cut to the frame.
    Pixels(u32, u32, u32, u32),
    /// Left, top, right and bottom as shares of the frame's width and height, 0 to 1.
    Shares([f64; 4]),
}

/// What WADO-RS rendered asks for (PS3.18 8.3.5).
#[derive(Debug, Clone, PartialEq)]
pub struct RenderOptions {
    /// Encoding.
    pub format: PictureFormat,
    /// Window instead of the file's own. Colour is not windowed.
    pub window: Option<Window>,
    /// Width and height of the viewport in pixels: the picture is scaled to fit, its aspect kept.
    pub viewport: Option<(u32, u32)>,
    /// Region of the frame to show.
    pub region: Option<Region>,
    /// Whether it is mirrored from left to right, and from top to bottom.
    pub mirrored: [bool; 2],
    /// What its colours mean.
    pub colours: Colours,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            format: PictureFormat::Png,
            window: None,
            viewport: None,
            region: None,
            mirrored: [false; 2],
            colours: Colours::Plain,
        }
    }
}

/// A rendered frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Encoded picture.
    pub bytes: Vec<u8>,
    /// `image/png`, `image/jpeg`, `image/jp2` or `image/gif`.
    pub media_type: &'static str,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Renders a frame, counted from 1: modality LUT, VOI (the option's, the file's, else robust bounds),
/// inversion of MONOCHROME1, or colour; cut, scaled, encoded.
///
/// # Errors
/// Those of [`PixelReader::open`](crate::PixelReader::open) and [`PixelReader::frame`](crate::PixelReader::frame); a
/// photometric interpretation that cannot be shown; a region outside the frame, an empty viewport, or one whose picture exceeds the limit.
pub fn render(
    object: &DefaultDicomObject,
    frame: usize,
    options: &RenderOptions,
    limits: DecodeLimits,
) -> Result<Picture> {
    Raster::of_frame(object, frame, options.window, limits)?.viewed(options, limits)?.encode(options.format)
}
