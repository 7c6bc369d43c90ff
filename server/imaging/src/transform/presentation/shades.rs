//! Grey levels (PS3.4 N.2.1): modality LUT, VOI LUT, presentation LUT, all of them the state's.

use super::reference::{Place, items};
use crate::attributes::{first_item, text};
use crate::error::{BadAttributeSnafu, Result};
use crate::pixels::Frame;
use crate::transform::display::{Palette, levels};
use crate::transform::lut::{Lut, is_signed};
use crate::transform::{Modality, Voi, Window, voi};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::{DynamicImage, GrayImage, RgbImage};
use snafu::OptionExt;

/// From stored values to P-values.
pub(super) struct Shades {
    modality: Modality,
    voi: Voi,
    presentation: PresentationLut,
}

enum PresentationLut {
    Identity,
    Inverse,
    Table(Lut),
}

impl Shades {
    pub(super) fn of(
        state: &InMemDicomObject,
        place: &Place,
        image: &InMemDicomObject,
        frame: &Frame,
        window: Option<Window>,
    ) -> Self {
        let signed = is_signed(image);
        let modality = Modality::of_item(state, signed);
        let range = modality.range(frame.bits_stored, signed);
        let voi = window.map(Voi::Window).or_else(|| {
            let item = place.item(state, tags::SOFTCOPY_VOILUT_SEQUENCE)?;
            let table = || Lut::of_item(first_item(item, tags::VOILUT_SEQUENCE)?, range[0] < 0.0);
            voi::window(item).map(Voi::Window).or_else(|| table().map(Voi::Lut))
        });
        // Without a VOI LUT everything that the modality LUT can make is shown.
        let all = Window::between(range[0], range[1]);
        let voi = voi.or(all.map(Voi::Window)).unwrap_or(Voi::Window(Window::UNIT));
        Shades { modality, voi, presentation: PresentationLut::of(state) }
    }

    fn p_value(&self, value: f32) -> f64 {
        self.presentation.map(self.voi.map(f64::from(value)))
    }

    /// P-values in 8 bits.
    pub(super) fn grey(&self, frame: &Frame) -> Result<DynamicImage> {
        let grey = levels(frame, &self.modality, |value| (self.p_value(value) * 255.0).round() as u8);
        let grey = GrayImage::from_raw(frame.columns as u32, frame.rows as u32, grey);
        let bad =
            || BadAttributeSnafu { name: "SamplesPerPixel", value: frame.samples_per_pixel.to_string() };
        Ok(DynamicImage::ImageLuma8(grey.with_context(bad)?))
    }

    /// The colours of the state's palette (PS3.3 A.33.3): its entries are spread over what the VOI LUT makes.
    pub(super) fn palette(&self, state: &InMemDicomObject, frame: &Frame) -> Result<DynamicImage> {
        let palette = Palette::of(state)?;
        let shares = levels(frame, &self.modality, |value| self.p_value(value));
        let pixels = shares.into_iter().flat_map(|share| palette.at_share(share)).collect();
        let colour = RgbImage::from_raw(frame.columns as u32, frame.rows as u32, pixels);
        let bad =
            || BadAttributeSnafu { name: "SamplesPerPixel", value: frame.samples_per_pixel.to_string() };
        Ok(DynamicImage::ImageRgb8(colour.with_context(bad)?))
    }
}

impl PresentationLut {
    fn of(state: &InMemDicomObject) -> Self {
        let table = items(state, tags::PRESENTATION_LUT_SEQUENCE).first();
        match table.and_then(|item| Lut::of_item(item, false)) {
            Some(lut) => Self::Table(lut),
            None if text(state, tags::PRESENTATION_LUT_SHAPE).as_deref() == Some("INVERSE") => Self::Inverse,
            None => Self::Identity,
        }
    }

    fn map(&self, value: f64) -> f64 {
        match self {
            Self::Identity => value,
            Self::Inverse => 1.0 - value,
            Self::Table(lut) => lut.share_of(lut.entry_at(value)),
        }
    }
}
