//! Rendered: frames as pictures for people.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.3>

mod parameters;
pub mod routes;
