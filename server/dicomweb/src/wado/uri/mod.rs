//! WADO-URI: one instance by query parameters, for clients from before WADO-RS.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#chapter_9>

pub mod description;
mod parameters;
pub mod routes;
