//! WADO-RS, the Retrieve transaction: one module a kind of resource; and WADO-URI, its elder, in [`uri`].
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4>

mod answer;
mod body;
pub mod bulkdata;
pub mod description;
mod document;
mod entity;
pub mod frames;
pub mod instances;
pub mod metadata;
mod object;
pub mod pixeldata;
mod producer;
mod range;
pub mod rendered;
pub mod thumbnail;
pub mod uri;
pub mod video;
mod zip;

/// Explicit VR Little Endian, which uncompressed frames and bulk data are sent in.
const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// PixelData, as DICOM JSON and bulk data paths name it.
const PIXEL_DATA: &str = "7FE00010";
