//! QIDO-RS, the Search transaction.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.6>

pub mod description;
pub mod routes;
pub mod service;
