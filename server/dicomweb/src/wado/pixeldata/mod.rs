//! Pixel data: PixelData of an instance, a series or a study.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.6>

pub mod routes;
