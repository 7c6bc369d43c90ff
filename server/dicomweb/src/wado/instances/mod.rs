//! Instances as DICOM objects: of a study, of a series, or one.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.1>

pub mod routes;
pub mod service;
pub mod transcoded;
