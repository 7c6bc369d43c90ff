//! Frames: the pixels of one or several frames, decoded or as they are stored.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.6>

mod list;
pub mod routes;
mod service;

pub use list::frame_list;
pub use service::{FrameSet, OCTETS};
