//! Why an instance could not be put together.

use std::io;

use snafu::Snafu;

use crate::native_model;

/// What [`AssembleError`] is used with.
pub type Result<T, E = AssembleError> = std::result::Result<T, E>;

/// Why metadata and bulk data make no Part 10 object.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[non_exhaustive]
pub enum AssembleError {
    /// The metadata is no DICOM JSON.
    #[snafu(display("could not read the DICOM JSON: {source}"))]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// The metadata is no Native DICOM Model.
    #[snafu(display("{source}"))]
    Xml {
        /// Why.
        source: native_model::ReadError,
    },
    /// An element is not as DICOM JSON has it.
    #[snafu(display("could not read the element {tag}: {problem}"))]
    Element {
        /// As the metadata names it.
        tag: String,
        /// What is wrong.
        problem: String,
    },
    /// An attribute that every instance has is missing.
    #[snafu(display("could not find {attribute} in the metadata"))]
    Missing {
        /// The attribute's keyword.
        attribute: &'static str,
    },
    /// No part has the bulk data that the metadata refers to.
    #[snafu(display("could not find bulk data {uri:?} in the request"))]
    NoBulkData {
        /// The BulkDataURI.
        uri: String,
    },
    /// The pixel data is in a transfer syntax that nobody knows.
    #[snafu(display("could not recognise the transfer syntax {uid}"))]
    TransferSyntax {
        /// As the request names it.
        uid: String,
    },
    /// The pixel data is said to be in several ways at once.
    #[snafu(display("could not tell how the pixel data is encoded: {problem}"))]
    PixelEncoding {
        /// What does not fit together.
        problem: String,
    },
    /// The object could not be written.
    #[snafu(display("could not write the object: {source}"))]
    Write {
        /// Why.
        source: io::Error,
    },
    /// The bulk data that came could not be read back.
    #[snafu(display("could not read the bulk data back: {source}"))]
    ReadBack {
        /// Why.
        source: io::Error,
    },
    /// The archive takes nothing.
    #[snafu(context(false), display("{source}"))]
    Archive {
        /// Why.
        source: engram_archive::Error,
    },
    /// The encoder refused an element.
    #[snafu(display("could not encode the element {tag}: {problem}"))]
    Encode {
        /// Its tag.
        tag: String,
        /// Why.
        problem: String,
    },
}

impl AssembleError {
    /// The value for FailureReason (0008,1197): PS3.18 Table I.2-2.
    pub fn failure_reason(&self) -> u16 {
        match self {
            Self::TransferSyntax { .. } => 0xC122,
            Self::Write { .. } | Self::ReadBack { .. } | Self::Archive { .. } => 0x0110,
            _ => 0xC000,
        }
    }

    /// Whether the server is at fault, not the instance.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::ReadBack { .. } | Self::Archive { .. })
    }
}
