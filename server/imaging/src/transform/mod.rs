//! From stored values to modality values, to display values, to a picture (PS3.3 C.11, PS3.4 N.2).

mod colour;
mod display;
mod lut;
mod modality;
mod render;
mod voi;

pub use lut::Lut;
pub use modality::Modality;
pub use render::{Picture, PictureFormat, RenderOptions, render};
pub use voi::{Voi, VoiFunction, Window};

#[cfg(test)]
mod tests;
