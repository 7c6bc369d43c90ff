//! From a slice to the square that a model wants, and back.

mod axis;
mod intensity;
mod letterbox;

pub use intensity::{percentiles, window_to_unit};
pub use letterbox::{Letterbox, Region, Restorer, letterbox};
