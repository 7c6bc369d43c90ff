//! What the worklist could not do.

use crate::State;
use snafu::Snafu;

/// What [`Error`] is used with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done with a workitem. Where PS3.4 CC.2 has a status for it, it stands beside it.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The data set is none, or not as Table CC.2.5-3 asks.
    #[snafu(display("could not accept the workitem: {reason}"))]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The data set is larger than one may be.
    #[snafu(display("could not accept the workitem: it is larger than {limit} bytes"))]
    TooLarge {
        /// Bytes of its DICOM JSON.
        limit: usize,
    },
    /// This server is asked to do it, and cannot.
    #[snafu(display("could not accept the workitem: {reason}"))]
    NotPerformable {
        /// Why not.
        reason: String,
    },
    /// There is one of that UID (0111H).
    #[snafu(display("could not create workitem {uid}: there is one of that UID"))]
    Exists {
        /// SOP Instance UID.
        uid: String,
    },
    /// There is none of that UID (C307H).
    #[snafu(display("could not find workitem {uid}"))]
    NoSuchWorkitem {
        /// SOP Instance UID.
        uid: String,
    },
    /// There was one, which was let go of (C307H).
    #[snafu(display("could not find workitem {uid}: it ended, and is no longer kept"))]
    Gone {
        /// SOP Instance UID.
        uid: String,
    },
    /// A workitem does not become SCHEDULED again (C303H).
    #[snafu(display("could not change workitem {uid} to SCHEDULED: it begins there, and never comes back"))]
    NeverScheduledAgain {
        /// SOP Instance UID.
        uid: String,
    },
    /// Without its Transaction UID (C301H).
    #[snafu(display("could not change workitem {uid}: no Transaction UID came with the request"))]
    TransactionMissing {
        /// SOP Instance UID.
        uid: String,
    },
    /// With another Transaction UID (C301H).
    #[snafu(display("could not change workitem {uid}: the Transaction UID is not that of its performer"))]
    TransactionWrong {
        /// SOP Instance UID.
        uid: String,
    },
    /// Somebody performs it (C302H).
    #[snafu(display("could not claim workitem {uid}: it is IN PROGRESS already"))]
    AlreadyInProgress {
        /// SOP Instance UID.
        uid: String,
    },
    /// This server performs it, and nobody else may.
    #[snafu(display("could not change workitem {uid}: it shows work of this server"))]
    PerformedHere {
        /// SOP Instance UID.
        uid: String,
    },
    /// It has ended (C300H).
    #[snafu(display("could not change workitem {uid}: it is {state}"))]
    Ended {
        /// SOP Instance UID.
        uid: String,
        /// COMPLETED or CANCELED.
        state: State,
    },
    /// Nobody performs it yet (C310H).
    #[snafu(display("could not end workitem {uid}: it is not IN PROGRESS"))]
    NotInProgress {
        /// SOP Instance UID.
        uid: String,
    },
    /// An update came with a Transaction UID, and nobody has claimed the workitem (C310H).
    #[snafu(display("could not update workitem {uid}: it is SCHEDULED, and has no Transaction UID"))]
    NotClaimed {
        /// SOP Instance UID.
        uid: String,
    },
    /// What a final state asks for is not there (C304H).
    #[snafu(display("could not change workitem {uid} to {state}: it has no {}", missing.join(", no ")))]
    NotFinal {
        /// SOP Instance UID.
        uid: String,
        /// COMPLETED or CANCELED.
        state: State,
        /// The attributes.
        missing: Vec<&'static str>,
    },
    /// A completed workitem is not canceled (C311H).
    #[snafu(display("could not cancel workitem {uid}: it is COMPLETED"))]
    AlreadyCompleted {
        /// SOP Instance UID.
        uid: String,
    },
    /// Nobody who could cancel it listens (C312H).
    #[snafu(display("could not ask for the end of workitem {uid}: its performer has no connection here"))]
    PerformerUnreachable {
        /// SOP Instance UID.
        uid: String,
    },
    /// The title is no AE title.
    #[snafu(display("could not read the AE title `{text}`: it is 1 to 16 characters without a backslash"))]
    BadAeTitle {
        /// What stood there.
        text: String,
    },
    /// The AE has no such subscription.
    #[snafu(display("could not find a subscription of {ae_title} to the whole worklist"))]
    NotSubscribed {
        /// AE title.
        ae_title: String,
    },
    /// A key of a search or a filter does not read.
    #[snafu(display("could not match workitems: {source}"))]
    Key {
        /// Why.
        source: engram_archive::Error,
    },
    /// A limit of the configuration is reached.
    #[snafu(display("could not take more {what}: there are {limit}"))]
    Full {
        /// Workitems, subscribers, connections.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The journal failed.
    #[snafu(display("could not keep the journal of the worklist"))]
    Journal {
        /// Why it failed.
        source: engram_archive::JournalError,
    },
    /// sled refused.
    #[snafu(display("could not {action} the table of workitems"))]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: sled::Error,
    },
    /// A record does not read or write.
    #[snafu(display("could not read or write the record of a workitem"))]
    Record {
        /// Why it failed.
        source: serde_json::Error,
    },
}
