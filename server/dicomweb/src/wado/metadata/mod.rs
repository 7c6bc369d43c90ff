//! Metadata: the instances' attributes as DICOM JSON or XML, without bulk data.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.2>

mod framing;
pub mod routes;
mod service;
