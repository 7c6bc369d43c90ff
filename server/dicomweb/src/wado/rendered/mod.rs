//! Rendered: frames as pictures for people.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.3>

mod answer;
mod overlay;
pub mod parameters;
mod pictures;
mod presented;
pub mod routes;
mod source;
mod subject;

pub use answer::{Form, answer};
pub use pictures::PictureSource;
pub use presented::Presented;

/// What a picture can be, what the client gets by default first (PS3.18 Table 8.7.4-1).
pub const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/jp2", "image/gif"];
