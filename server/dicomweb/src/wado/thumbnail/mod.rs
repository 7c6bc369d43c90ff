//! Thumbnail: one small picture of a study, a series, an instance or a frame.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.4>

pub mod routes;
mod service;
