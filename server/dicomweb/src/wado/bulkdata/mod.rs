//! Bulk data: values that metadata refers to by BulkDataURI, one or all.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.5>

pub mod parts;
pub mod routes;
