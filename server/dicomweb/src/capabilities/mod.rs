//! Capabilities: what these services can do, for clients. PS3.18 8.9 has OPTIONS on their root for it; GET, which the
//! standard leaves open, is for people, and for clients that look whether there is a DICOMweb server.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.9>

pub mod description;
pub mod routes;
mod wadl;
