//! What this room could not do.

use std::path::PathBuf;

use snafu::Snafu;

use crate::exemplar::ExemplarId;

/// What could not be done, and why.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The bank's folder could not be read or written.
    #[snafu(display("could not {action} {}: {source}", path.display()))]
    Files {
        /// What was being done.
        action: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The database failed.
    #[snafu(display("could not {action} in the database: {source}"))]
    Database {
        /// What was being done.
        action: &'static str,
        /// What the database said.
        source: sled::Error,
    },
    /// A record in the database is not one that this version wrote.
    #[snafu(display("could not understand the bank's record {key}: {source}"))]
    Record {
        /// The record's key.
        key: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A record in the database has another length than it must.
    #[snafu(display("could not understand the bank's record {key}: its length is wrong"))]
    RecordLength {
        /// The record's key.
        key: String,
    },
    /// The text is no exemplar's identity.
    #[snafu(display("could not read \"{text}\" as an exemplar's identity, such as 17-0"))]
    ParseExemplarId {
        /// The text.
        text: String,
    },
    /// A slice does not fit this bank.
    #[snafu(display("could not take a slice of {sop_instance_uid} into the bank: {reason}"))]
    RefuseSlice {
        /// The slice's instance.
        sop_instance_uid: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bank has as many slices as it may.
    #[snafu(display("could not take more than {limit} slices into the bank, as configured"))]
    Full {
        /// The configured limit.
        limit: usize,
    },
    /// A query's vector does not fit this bank.
    #[snafu(display("could not search: {reason}"))]
    RefuseQuery {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such exemplar, or not any more.
    #[snafu(display("could not find exemplar {id}"))]
    NoExemplar {
        /// The exemplar.
        id: ExemplarId,
    },
    /// The exemplar has no memory of that view.
    #[snafu(display("could not find a memory of that view of exemplar {id}"))]
    NoMemory {
        /// The exemplar.
        id: ExemplarId,
    },
    /// A file of memory features is damaged or missing; the exemplar no longer answers searches.
    #[snafu(display("could not read the memory of exemplar {id}: {source}"))]
    Broken {
        /// The exemplar.
        id: ExemplarId,
        /// What is wrong with its file.
        #[snafu(source(from(Error, Box::new)))]
        source: Box<Error>,
    },
    /// A file of memory features is not as it was written.
    #[snafu(display("could not accept {}: {reason}", path.display()))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An index could not be dumped by its library.
    #[snafu(display("could not dump the index into {}: {reason}", path.display()))]
    DumpIndex {
        /// The folder.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// The index builder's threads could not be started.
    #[snafu(display("could not start threads for the index: {reason}"))]
    StartThreads {
        /// What the system said.
        reason: String,
    },
}
