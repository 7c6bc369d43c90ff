//! What the queue could not do.

use crate::JobId;
use snafu::Snafu;

/// What [`Error`] is used with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the queue, never of a job.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The journal failed.
    #[snafu(display("could not keep the journal of jobs"))]
    Journal {
        /// Why it failed.
        source: engram_archive::JournalError,
    },
    /// sled refused.
    #[snafu(display("could not {action} the table of jobs"))]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: sled::Error,
    },
    /// A record does not read or write.
    #[snafu(display("could not read or write the record of a job"))]
    Record {
        /// Why it failed.
        source: serde_json::Error,
    },
    /// The job is no longer this worker's.
    #[snafu(display("could not end the job: it is not running"))]
    Gone,
    /// Too many jobs wait already.
    #[snafu(display("could not take another job: {limit} wait already"))]
    Full {
        /// The limit.
        limit: usize,
    },
    /// There is a job of that id already.
    #[snafu(display("could not add job {id}: there is one of that id"))]
    Exists {
        /// The id.
        id: JobId,
    },
}
