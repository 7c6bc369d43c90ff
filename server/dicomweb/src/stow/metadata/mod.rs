//! Instances that come as metadata and bulk data: gathered until the body ends, then put together as Part 10 objects.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.5.2>
//!
//! Decisions where the standard leaves room:
//! - Parts may come in any order: nothing is put together before the body ends.
//! - Compressed pixel data comes as a part for each frame: several parts under one `Content-Location`, in the order of
//!   the frames, or one each under `{BulkDataURI}/frames/{number}`. A video is one part.
//! - What is not compressed is stored in Explicit VR Little Endian, whatever transfer syntax it is said to be in.
//! - Attributes of the transfer, not of the instance, are left out: group 0002, AvailableTransferSyntaxUID (0008,3002).

mod assemble;
mod bulk_data;
mod element;
mod error;
mod gathering;
mod part10;

pub use assemble::Attributes;
pub use bulk_data::{BulkData, BulkPart};
pub use error::AssembleError;
pub use gathering::{Gathering, Outcome};

/// How attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/dicom+json`: an array of data sets.
    Json,
    /// `application/dicom+xml`: one data set.
    Xml,
}

impl Encoding {
    /// By its media type; plain JSON is taken for DICOM JSON, as in answers.
    pub fn of(essence: &str) -> Option<Self> {
        match essence {
            "application/dicom+json" | "application/json" => Some(Self::Json),
            crate::native_model::MEDIA_TYPE => Some(Self::Xml),
            _ => None,
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/dicom+json",
            Self::Xml => crate::native_model::MEDIA_TYPE,
        }
    }
}
