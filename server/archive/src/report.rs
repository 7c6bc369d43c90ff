//! What opening, checking, rebuilding and deleting have to tell.

use crate::{InstanceUids, StoredInstance};
use std::path::PathBuf;

/// How many of each the archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Distinct PatientIDs.
    pub patients: u64,
    /// Studies.
    pub studies: u64,
    /// Series.
    pub series: u64,
    /// Instances.
    pub instances: u64,
    /// Bytes of object files.
    pub bytes: u64,
}

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Objects dealt with.
    pub done: u64,
    /// Objects in all.
    pub total: u64,
}

/// What [`Archive::open`](crate::Archive::open) had to mend after a crash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovery {
    /// Whether the last run ended in order; nothing else is looked for then.
    pub clean: bool,
    /// Instances whose file was in place but not in the catalogue: they are catalogued now. They were never
    /// acknowledged, or the database lost them, so rooms that act on arrivals should act on these.
    pub adopted: Vec<StoredInstance>,
    /// Catalogue entries whose file is not there: dropped.
    pub dropped: Vec<InstanceUids>,
    /// Files among the objects that are not readable instances; left where they are.
    pub unreadable: Vec<PathBuf>,
}

/// What a rebuild made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RebuildReport {
    /// What the archive holds now.
    pub statistics: Statistics,
    /// Files among the objects that are not readable instances, and why; left where they are.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deleted {
    /// The instances that are no more; empty where there was nothing under the UIDs.
    pub instances: Vec<StoredInstance>,
}

/// Something that does not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A catalogue entry without its file.
    MissingFile(InstanceUids),
    /// A file of another size than the catalogue says.
    WrongSize {
        /// Which instance.
        uids: InstanceUids,
        /// Bytes by the catalogue.
        expected: u64,
        /// Bytes on disk.
        found: u64,
    },
    /// A file whose data set is not the one that was stored (only a deep check looks).
    WrongDigest(InstanceUids),
    /// A file without an entry.
    UncataloguedFile(PathBuf),
    /// An entry whose kept DICOM JSON does not read; it will be made anew from the object when asked for.
    StaleMetadata(InstanceUids),
    /// Counts or indices that disagree with the entries below them.
    WrongCount {
        /// Of what.
        of: String,
        /// As recorded.
        recorded: u64,
        /// As counted.
        counted: u64,
    },
}

/// The result of [`Archive::check`](crate::Archive::check).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckReport {
    /// What was counted.
    pub statistics: Statistics,
    /// What does not fit; empty when all is well.
    pub findings: Vec<Finding>,
}
