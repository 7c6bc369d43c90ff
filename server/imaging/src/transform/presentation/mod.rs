//! Softcopy presentation states (PS3.3 A.33.1 to A.33.3): how images are to be shown, stored apart from them.
//!
//! In the order of PS3.4 N.2: modality LUT, VOI LUT and presentation LUT make grey levels of stored values, or a palette their
//! colours; shutter and overlays cover the image's own pixels; the displayed area is cut out, turned, and its pixels made square; and
//! graphics and text are drawn on that.

mod area;
mod graphics;
mod layers;
mod overlay;
mod reference;
mod shades;
mod shutter;
mod text;

pub use reference::ReferencedImage;

use super::display::display;
use super::profile::Profile;
use super::{Colours, Raster, Window};
use crate::error::{BadAttributeSnafu, Result};
use crate::pixels::{DecodeLimits, Frame, Photometric, PixelReader};
use area::Area;
use dicom_dictionary_std::uids;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use image::DynamicImage;
use layers::Layers;
use reference::Place;
use shades::Shades;
use snafu::OptionExt;

/// A presentation state that can be applied: for grey images, with a palette, or for images in colour.
#[derive(Debug)]
pub struct PresentationState {
    state: InMemDicomObject,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Greyscale,
    PseudoColour,
    Colour,
}

impl PresentationState {
    /// Takes a presentation state.
    ///
    /// # Errors
    /// An object of another SOP class; blending and volumetric presentation states are among them.
    pub fn of(object: DefaultDicomObject) -> Result<Self> {
        let class = object.meta().media_storage_sop_class_uid();
        let bad = || BadAttributeSnafu { name: "MediaStorageSOPClassUID", value: class };
        let kind = kind_of(class).with_context(bad)?;
        Ok(Self { state: object.into_inner(), kind })
    }

    /// Whether objects of this SOP class are presentation states that [`of`](Self::of) takes.
    pub fn is_class(sop_class_uid: &str) -> bool {
        kind_of(sop_class_uid).is_some()
    }

    /// The images that it is for, in its order.
    pub fn images(&self) -> Vec<ReferencedImage> {
        reference::images(&self.state)
    }

    /// A frame of an image, counted from 1, as the state shows it. `window`, if given, stands above the state's own.
    ///
    /// # Errors
    /// Those of [`Raster::of_frame`]; a displayed area, or what is drawn on it, that exceeds the limit.
    pub fn raster(
        &self,
        image: &DefaultDicomObject,
        frame: usize,
        window: Option<Window>,
        limits: DecodeLimits,
    ) -> Result<Raster> {
        let place = Place::of(image, frame);
        let decoded = PixelReader::open(image, limits)?.frame(frame)?;
        let raster = self.pixels(image, &place, &decoded, window)?;
        let layers = Layers::of(&self.state);
        let covered = self.covered(raster, image, &place, &layers);
        let area = Area::of(&self.state, &place, [covered.width(), covered.height()]);
        let shown = area.show(covered, limits)?;
        let size = [shown.width(), shown.height()];
        Ok(match graphics::draw(&self.state, &place, &layers, &area, size, limits)? {
            Some(drawing) => shown.overlaid(drawing.layer()),
            None => shown,
        })
    }

    /// The frame's pixels as grey levels, or as colours, which become those of sRGB: what is drawn on them is in them.
    fn pixels(
        &self,
        image: &DefaultDicomObject,
        place: &Place,
        frame: &Frame,
        window: Option<Window>,
    ) -> Result<Raster> {
        let shown = self.shown(image, place, frame, window)?;
        // A state for colours says what they mean (PS3.3 A.33.2, A.33.3); an image in colour under a state for grey says it itself.
        let profile = match self.kind {
            _ if !shown.color().has_color() => None,
            Kind::Greyscale => Profile::of_frame(image, place.frame),
            Kind::PseudoColour | Kind::Colour => {
                Profile::of(&self.state).or_else(|| Profile::of_frame(image, place.frame))
            }
        };
        Ok(Raster { image: shown, profile }.coloured(Colours::Plain))
    }

    fn shown(
        &self,
        image: &DefaultDicomObject,
        place: &Place,
        frame: &Frame,
        window: Option<Window>,
    ) -> Result<DynamicImage> {
        let is_grey = matches!(frame.photometric, Photometric::Monochrome1 | Photometric::Monochrome2);
        if self.kind == Kind::Colour || !is_grey {
            return display(image, place.frame, frame, window);
        }
        let shades = Shades::of(&self.state, place, image, frame, window);
        match self.kind {
            Kind::PseudoColour => shades.palette(&self.state, frame),
            Kind::Greyscale | Kind::Colour => shades.grey(frame),
        }
    }

    /// With its overlays and its shutter, which lies above them.
    fn covered(&self, raster: Raster, image: &DefaultDicomObject, place: &Place, layers: &Layers) -> Raster {
        let size = [raster.width() as usize, raster.height() as usize];
        let with_overlays = overlay::active(&self.state, image, place).into_iter().fold(
            raster,
            |raster, (layer, overlay)| {
                let colour = layers.colour(&layer);
                raster.overlaid(overlay.cover(size).into_iter().map(|is_set| is_set.then_some((colour, 1.0))))
            },
        );
        match shutter::Shutter::of(&self.state, place, size) {
            Some(shutter) => with_overlays
                .overlaid(shutter.closed.into_iter().map(|closed| closed.then_some((shutter.colour, 1.0)))),
            None => with_overlays,
        }
    }
}

fn kind_of(sop_class_uid: &str) -> Option<Kind> {
    match sop_class_uid.trim_end_matches('\0') {
        uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE => Some(Kind::Greyscale),
        uids::PSEUDO_COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE => Some(Kind::PseudoColour),
        uids::COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE => Some(Kind::Colour),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
