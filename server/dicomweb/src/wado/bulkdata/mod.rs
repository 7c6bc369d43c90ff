//! Bulk data: single values that metadata refers to by BulkDataURI.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.5>

pub mod routes;
