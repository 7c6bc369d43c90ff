//! A frame as it is shown, between its stored values and its encoding.

use super::display::display;
use super::profile::Profile;
use super::{Animation, ColourSpace, Colours, Picture, PictureFormat, Region, RenderOptions, Window};
use crate::codec::{jpeg, jpeg2000};
use crate::error::{
    BadOptionSnafu, EncodeJpeg2000Snafu, EncodeJpegSnafu, EncodePictureSnafu, Result, TooLargeSnafu,
};
use crate::pixels::{DecodeLimits, PixelReader};
use dicom_object::DefaultDicomObject;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageEncoder, ImageError, RgbImage};
use snafu::{ResultExt, ensure};

/// What JPEG 2000 needs for each byte of a picture while it is encoded: samples and coefficients of 32 bits.
const JPEG2000_BYTES: u8 = 8;
/// A pixel in colour.
const RGB_BYTES: u8 = 3;

/// A picture that is not encoded yet: 8-bit grey or RGB.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    pub(super) image: DynamicImage,
    /// What its colours mean; sRGB, where it has none.
    pub(super) profile: Option<Profile>,
}

impl From<DynamicImage> for Raster {
    fn from(image: DynamicImage) -> Self {
        Self { image, profile: None }
    }
}

impl Raster {
    /// A frame, counted from 1: modality LUT, VOI (`window`, else the file's, else robust bounds), inversion of
    /// MONOCHROME1, or colour.
    ///
    /// # Errors
    /// Those of [`PixelReader::open`] and [`PixelReader::frame`]; a photometric interpretation that cannot be shown.
    pub fn of_frame(
        object: &DefaultDicomObject,
        frame: usize,
        window: Option<Window>,
        limits: DecodeLimits,
    ) -> Result<Self> {
        let decoded = PixelReader::open(object, limits)?.frame(frame)?;
        let image = display(object, frame, &decoded, window)?;
        let profile = if image.color().has_color() { Profile::of_frame(object, frame) } else { None };
        Ok(Self { image, profile })
    }

    /// Black, of that size in pixels.
    ///
    /// # Errors
    /// A size above the limit.
    pub fn black(width: u32, height: u32, limits: DecodeLimits) -> Result<Self> {
        ensure_within(width, height, 1, limits)?;
        Ok(DynamicImage::ImageLuma8(GrayImage::new(width, height)).into())
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.image.width()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.image.height()
    }

    /// Lays colours of sRGB over the picture, pixel by pixel, row after row: red, green and blue, and an opacity from 0 to 1.
    /// `None` leaves a pixel as it is.
    pub fn overlaid(self, layer: impl IntoIterator<Item = Option<([u8; 3], f32)>>) -> Self {
        let mut image = self.coloured(Colours::Plain).image.into_rgb8();
        for (pixel, above) in image.pixels_mut().zip(layer) {
            let Some((colour, opacity)) = above else { continue };
            for (below, above) in pixel.0.iter_mut().zip(colour) {
                let blended = f32::from(*below) * (1.0 - opacity) + f32::from(above) * opacity;
                *below = blended.round() as u8;
            }
        }
        DynamicImage::from(image).into()
    }

    /// With other colours. A picture that is to have a profile is no longer grey.
    pub(super) fn coloured(self, colours: Colours) -> Self {
        let Self { image, profile } = self;
        match (colours, profile) {
            (Colours::Plain, None) => image.into(),
            (Colours::Own, Some(profile)) => Self { image, profile: Some(profile) },
            (Colours::Own, None) => {
                Self { image: image.into_rgb8().into(), profile: ColourSpace::Srgb.profile() }
            }
            (Colours::Plain, Some(profile)) => {
                let image = image.into_rgb8();
                DynamicImage::from(profile.in_srgb(&image).unwrap_or(image)).into()
            }
            (Colours::In(space), profile) => in_space(image.into_rgb8(), profile, space),
        }
    }

    /// The picture as `options` want to see it: cut to the region, mirrored, scaled to fit the viewport.
    ///
    /// # Errors
    /// A region outside the picture, an empty viewport, or one whose picture, or what encoding it takes, exceeds the limit.
    pub fn viewed(mut self, options: &RenderOptions, limits: DecodeLimits) -> Result<Self> {
        if let Some(region) = options.region {
            self.image = cut(&self.image, region)?;
        }
        let [across, down] = options.mirrored;
        if across {
            self.image = self.image.fliph();
        }
        if down {
            self.image = self.image.flipv();
        }
        if let Some(viewport) = options.viewport {
            self.image = fit(&self.image, viewport, limits)?;
        }
        let colours = options.format.holds(options.colours);
        // Grey may become red, green and blue, and colours are converted from one picture into another.
        let (bytes, converted) = match colours {
            Colours::Plain => (self.image.color().bytes_per_pixel(), self.profile.is_some()),
            Colours::Own | Colours::In(_) => (RGB_BYTES, true),
        };
        if options.format == PictureFormat::Jpeg2000 {
            ensure_within(self.width(), self.height(), JPEG2000_BYTES * bytes, limits)?;
        } else if converted {
            ensure_within(self.width(), self.height(), 2 * bytes, limits)?;
        }
        Ok(self.coloured(colours))
    }

    /// Its pixels, row after row: red, green and blue.
    pub fn into_rgb(self) -> Vec<u8> {
        self.image.into_rgb8().into_raw()
    }

    /// The encoded picture, with what it has of a profile.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn encode(&self, format: PictureFormat) -> Result<Picture> {
        let size = [self.width(), self.height()].map(|side| side as usize);
        let components = usize::from(self.image.color().channel_count());
        let mut bytes = Vec::new();
        let media_type = match format {
            PictureFormat::Png => {
                let mut encoder = PngEncoder::new(&mut bytes);
                if let Some(profile) = &self.profile {
                    let kept = encoder.set_icc_profile(profile.bytes().to_vec());
                    kept.map_err(ImageError::Unsupported).context(EncodePictureSnafu)?;
                }
                self.image.write_with_encoder(encoder).context(EncodePictureSnafu)?;
                "image/png"
            }
            PictureFormat::Jpeg { quality } => {
                bytes = jpeg::encode_picture(self.image.as_bytes(), size, components, quality)
                    .context(EncodeJpegSnafu)?;
                if let Some(profile) = &self.profile {
                    bytes = jpeg::with_profile(&bytes, profile.bytes());
                }
                "image/jpeg"
            }
            PictureFormat::Jpeg2000 => {
                let profile = self.profile.as_ref().map(Profile::bytes);
                bytes = jpeg2000::encode_picture(self.image.as_bytes(), size, components, profile)
                    .context(EncodeJpeg2000Snafu)?;
                "image/jp2"
            }
            PictureFormat::Gif => {
                let mut animation = Animation::still(self)?;
                bytes = animation.add(self)?;
                bytes.extend(animation.finish()?);
                "image/gif"
            }
        };
        Ok(Picture { bytes, media_type, width: self.width(), height: self.height() })
    }
}

/// Colours, of sRGB where there is no profile, in a space; its profile says so. What cannot be converted stays what it was.
fn in_space(image: RgbImage, profile: Option<Profile>, space: ColourSpace) -> Raster {
    let (from, to) = (profile.or_else(|| ColourSpace::Srgb.profile()), space.profile());
    if from == to {
        return Raster { image: image.into(), profile: to };
    }
    let converted = from.as_ref().zip(to.as_ref()).and_then(|(from, to)| match space {
        ColourSpace::Srgb => from.in_srgb(&image),
        _ => from.convert(&image, to),
    });
    match converted {
        Some(converted) => Raster { image: converted.into(), profile: to },
        None => Raster { image: image.into(), profile: from },
    }
}

fn cut(picture: &DynamicImage, region: Region) -> Result<DynamicImage> {
    let (left, top, width, height) = match region {
        Region::Pixels(left, top, width, height) => (left, top, width, height),
        Region::Shares([left, top, right, bottom]) => {
            let [left, right] = [left, right].map(|share| pixels(share, picture.width()));
            let [top, bottom] = [top, bottom].map(|share| pixels(share, picture.height()));
            (left, top, right.saturating_sub(left), bottom.saturating_sub(top))
        }
    };
    let inside = left < picture.width() && top < picture.height() && width > 0 && height > 0;
    ensure!(inside, BadOptionSnafu { name: "region", reason: "it lies outside the frame, or is empty" });
    Ok(picture.crop_imm(left, top, width, height))
}

/// A share of a side, in whole pixels.
fn pixels(share: f64, side: u32) -> u32 {
    (share * f64::from(side)).round() as u32
}

fn fit(picture: &DynamicImage, (width, height): (u32, u32), limits: DecodeLimits) -> Result<DynamicImage> {
    ensure!(width > 0 && height > 0, BadOptionSnafu { name: "viewport", reason: "it is empty" });
    let scale = |side: u32, of: u32| f64::from(side) / f64::from(of);
    let scale = scale(width, picture.width()).min(scale(height, picture.height()));
    let [width, height] = [picture.width(), picture.height()].map(|side| pixels(scale, side).max(1));
    ensure_within(width, height, picture.color().bytes_per_pixel(), limits)?;
    Ok(picture.resize_exact(width, height, FilterType::Triangle))
}

pub(super) fn ensure_within(
    width: u32,
    height: u32,
    bytes_per_pixel: u8,
    limits: DecodeLimits,
) -> Result<()> {
    let needed =
        u64::from(width).saturating_mul(u64::from(height)).saturating_mul(u64::from(bytes_per_pixel));
    ensure!(
        needed <= limits.max_frame_bytes,
        TooLargeSnafu { what: "a picture", needed, limit: limits.max_frame_bytes }
    );
    Ok(())
}
