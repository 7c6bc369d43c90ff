//! STOW-RS, the Store transaction.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.5>

pub mod description;
pub(crate) mod metadata;
mod response;
pub mod routes;
mod service;

pub use service::{Failure, Reception, StoreReport, Stored};
