//! Pictures.

use super::Window;
use super::display::display;
use crate::error::{BadOptionSnafu, EncodePictureSnafu, Result, TooLargeSnafu};
use crate::pixels::{DecodeLimits, PixelReader};
use dicom_object::DefaultDicomObject;
use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use snafu::{ResultExt, ensure};

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
    /// Region of the frame to show: left, top, width, height in pixels of the frame; cut to the frame.
    pub region: Option<(u32, u32, u32, u32)>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { format: PictureFormat::Png, window: None, viewport: None, region: None }
    }
}

/// A rendered frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Encoded picture.
    pub bytes: Vec<u8>,
    /// `image/png` or `image/jpeg`.
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
/// Those of [`PixelReader::open`] and [`PixelReader::frame`]; a photometric interpretation that cannot be
/// shown; a region outside the frame, an empty viewport, or one whose picture exceeds the limit.
pub fn render(
    object: &DefaultDicomObject,
    frame: usize,
    options: &RenderOptions,
    limits: DecodeLimits,
) -> Result<Picture> {
    let decoded = PixelReader::open(object, limits)?.frame(frame)?;
    let mut picture = display(object, frame, &decoded, options.window)?;
    if let Some(region) = options.region {
        picture = cut(&picture, region)?;
    }
    if let Some(viewport) = options.viewport {
        picture = fit(&picture, viewport, limits)?;
    }
    encode(&picture, options.format)
}

fn cut(picture: &DynamicImage, (left, top, width, height): (u32, u32, u32, u32)) -> Result<DynamicImage> {
    let inside = left < picture.width() && top < picture.height() && width > 0 && height > 0;
    ensure!(inside, BadOptionSnafu { name: "region", reason: "it lies outside the frame" });
    Ok(picture.crop_imm(left, top, width, height))
}

fn fit(picture: &DynamicImage, (width, height): (u32, u32), limits: DecodeLimits) -> Result<DynamicImage> {
    ensure!(width > 0 && height > 0, BadOptionSnafu { name: "viewport", reason: "it is empty" });
    let needed = u64::from(width) * u64::from(height) * u64::from(picture.color().bytes_per_pixel());
    ensure!(
        needed <= limits.max_frame_bytes,
        TooLargeSnafu { what: "a picture", needed, limit: limits.max_frame_bytes }
    );
    Ok(picture.resize(width, height, FilterType::Triangle))
}

/// Encodes 8-bit grey or RGB.
fn encode(picture: &DynamicImage, format: PictureFormat) -> Result<Picture> {
    let mut bytes = Vec::new();
    let media_type = match format {
        PictureFormat::Png => {
            picture.write_with_encoder(PngEncoder::new(&mut bytes)).context(EncodePictureSnafu)?;
            "image/png"
        }
        PictureFormat::Jpeg { quality } => {
            let encoder = JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
            picture.write_with_encoder(encoder).context(EncodePictureSnafu)?;
            "image/jpeg"
        }
    };
    Ok(Picture { bytes, media_type, width: picture.width(), height: picture.height() })
}
