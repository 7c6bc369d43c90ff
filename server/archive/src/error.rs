//! What the archive could not do.

use snafu::Snafu;
use std::{io, path::PathBuf};

/// What [`Error`] is used with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the archive itself: the disk, the database, or state that does not fit together.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[snafu(display("could not {action} {}", path.display()))]
    File {
        /// What was tried: "open", "sync", ...
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// sled refused.
    #[snafu(display("could not {action} the catalogue"))]
    Catalogue {
        /// What was tried: "read", "write", "flush".
        action: &'static str,
        /// Why it failed.
        source: sled::Error,
    },
    /// A catalogue record does not read.
    #[snafu(display("could not read the catalogue's record of {key}; `engram rebuild` makes it anew"))]
    Record {
        /// Which record.
        key: String,
        /// Why it failed.
        source: serde_json::Error,
    },
    /// A stored object no longer reads.
    #[snafu(display("could not read the stored object {}", path.display()))]
    Object {
        /// The object file.
        path: PathBuf,
        /// Why it failed.
        #[snafu(source(from(StoreError, Box::new)))]
        source: Box<StoreError>,
    },
    /// The removals journal could not be written or replayed.
    #[snafu(display("could not keep the record of removals"))]
    Removals {
        /// Why it failed.
        source: crate::JournalError,
    },
    /// An earlier sync or write of the catalogue failed, so that it is not known what is on the disk.
    #[snafu(display("could not change the archive: an earlier write failed; restart to recover"))]
    Broken,
    /// A key of a search is no value of its attribute.
    #[snafu(display("could not match {attribute} by {value:?}: {problem}"))]
    Key {
        /// The attribute, by tags.
        attribute: String,
        /// The key.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The thread that commits has ended.
    #[snafu(display("could not reach the archive's committer: the archive is closed"))]
    Closed,
}

impl Error {
    /// Whether the disk has no room left.
    pub fn is_full(&self) -> bool {
        let source = match self {
            Error::File { source, .. } | Error::Catalogue { source: sled::Error::Io(source), .. } => source,
            Error::Removals { source: crate::JournalError::File { source, .. } } => source,
            _ => return false,
        };
        is_full(source)
    }
}

/// Whether it says that the disk has no room left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why an instance was not stored. [`StoreError::failure_reason`] is what a STOW-RS or C-STORE answer carries.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum StoreError {
    /// No "DICM" after a 128-byte preamble (PS3.10 section 7.1).
    #[snafu(display("could not find a DICOM Part 10 header: this is not a DICOM file"))]
    NotDicom,
    /// More bytes than the archive takes.
    #[snafu(display("could not take more than {limit} bytes for one instance"))]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The header makes more DICOM JSON than the archive takes.
    #[snafu(display("could not take more than {limit} bytes of metadata for one instance"))]
    MetadataTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The object ends inside an element, or an element claims more bytes than are there.
    #[snafu(display("could not read the whole object: it ends at byte {offset} inside {element}"))]
    Truncated {
        /// Where in the file or, for a deflated data set, in the inflated data set.
        offset: u64,
        /// What was being read.
        element: String,
    },
    /// The encoding breaks a rule of PS3.5 or PS3.10.
    #[snafu(display("could not read the object at byte {offset}: {problem}"))]
    Malformed {
        /// Where in the file or, for a deflated data set, in the inflated data set.
        offset: u64,
        /// Which rule.
        problem: String,
    },
    /// The received bytes could not be read back.
    #[snafu(display("could not read the object back at byte {offset}"))]
    Unreadable {
        /// Where.
        offset: u64,
        /// Why it failed.
        source: io::Error,
    },
    /// A transfer syntax that Engram does not know.
    #[snafu(display("could not recognise the transfer syntax {uid}"))]
    TransferSyntax {
        /// As the file meta information names it.
        uid: String,
    },
    /// A UID that must be there is missing or empty.
    #[snafu(display("could not find {attribute} in the object"))]
    MissingUid {
        /// The attribute's keyword.
        attribute: &'static str,
    },
    /// A UID breaks PS3.5 section 9.1.
    #[snafu(display("could not accept {attribute} {value:?}: it is not a UID"))]
    BadUid {
        /// The attribute's keyword.
        attribute: &'static str,
        /// Its value.
        value: String,
    },
    /// File meta information and data set disagree.
    #[snafu(display(
        "could not match {attribute}: {meta} in the file meta information, {data_set} in the data set"
    ))]
    MetaMismatch {
        /// The attribute's keyword in the data set.
        attribute: &'static str,
        /// What the file meta information says.
        meta: String,
        /// What the data set says.
        data_set: String,
    },
    /// The request was for another study.
    #[snafu(display("could not store into study {wanted}: the instance belongs to study {found}"))]
    OtherStudy {
        /// The study of the request.
        wanted: String,
        /// The study of the instance.
        found: String,
    },
    /// The same SOP instance with another data set is already there.
    #[snafu(display(
        "could not store SOP instance {sop_instance_uid}: another data set is stored under this UID"
    ))]
    Conflict {
        /// The SOP instance UID both have.
        sop_instance_uid: String,
    },
    /// The disk has no room left, or less than is to stay free.
    #[snafu(display("could not store: the disk is full, or nearly so"))]
    NoSpace,
    /// The archive itself failed.
    #[snafu(display("could not store: {source}"))]
    Archive {
        /// Why it failed; shared by the instances of one commit.
        source: std::sync::Arc<Error>,
    },
}

impl StoreError {
    /// The value for FailureReason (0008,1197), which is also the status of a C-STORE response.
    ///
    /// PS3.18 Table I.2-2 and PS3.4 Table B.2-1: A7xx out of resources, A9xx the data set does not match,
    /// Cxxx cannot understand, C122 transfer syntax not supported, 0110 processing failure. A data set other
    /// than the one stored under its UID is 0111, Duplicate SOP Instance (PS3.7 Annex C).
    pub fn failure_reason(&self) -> u16 {
        match self {
            StoreError::NotDicom | StoreError::Truncated { .. } | StoreError::Malformed { .. } => 0xC000,
            StoreError::MissingUid { .. } | StoreError::BadUid { .. } => 0xC000,
            StoreError::TooLarge { .. } | StoreError::MetadataTooLarge { .. } | StoreError::NoSpace => 0xA700,
            StoreError::TransferSyntax { .. } => 0xC122,
            StoreError::MetaMismatch { .. } | StoreError::OtherStudy { .. } => 0xA900,
            StoreError::Conflict { .. } => 0x0111,
            StoreError::Unreadable { .. } | StoreError::Archive { .. } => 0x0110,
        }
    }

    /// Whether the archive is at fault rather than the object: a server answers 5xx for it.
    pub fn is_ours(&self) -> bool {
        matches!(self, StoreError::Archive { .. } | StoreError::NoSpace | StoreError::Unreadable { .. })
    }
}

/// A [`StoreError`] together with whatever identity the object had, for FailedSOPSequence (0008,1198).
#[derive(Debug, Snafu)]
#[snafu(display("{error}"))]
pub struct StoreFailure {
    /// Why.
    #[snafu(source)]
    pub error: StoreError,
    /// SOPClassUID, where it could be read.
    pub sop_class_uid: Option<String>,
    /// SOPInstanceUID, where it could be read.
    pub sop_instance_uid: Option<String>,
}

impl From<StoreError> for StoreFailure {
    fn from(error: StoreError) -> Self {
        StoreFailure { error, sop_class_uid: None, sop_instance_uid: None }
    }
}

impl From<Error> for StoreFailure {
    fn from(error: Error) -> Self {
        StoreError::Archive { source: std::sync::Arc::new(error) }.into()
    }
}
