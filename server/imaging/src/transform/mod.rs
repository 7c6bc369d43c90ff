//! From stored values to modality values, to display values, to a picture (PS3.3 C.11, PS3.4 N.2).

mod animation;
mod cielab;
mod colour;
mod display;
mod lut;
mod modality;
mod presentation;
mod profile;
mod raster;
mod render;
mod voi;

pub use animation::Animation;
pub use cielab::srgb_of_cielab;
pub use lut::Lut;
pub use modality::Modality;
pub use presentation::{PresentationState, ReferencedImage};
pub use profile::{ColourSpace, Colours};
pub use raster::Raster;
pub use render::{Picture, PictureFormat, Region, RenderOptions, render};
pub use voi::{Voi, VoiFunction, Window};

#[cfg(test)]
mod tests;
