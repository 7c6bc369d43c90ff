//! Why a DICOMweb node could not be asked.

use engram_jobs::JobFailure;
use snafu::Snafu;

use crate::nodes::transfer::failed;

/// See the module's page.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum NodeError {
    /// It answered, and not with what it was asked for.
    #[snafu(display("the node answered {status}: {said}"))]
    Refused {
        /// Of HTTP.
        status: u16,
        /// How its answer begins.
        said: String,
    },
    /// It did not answer in time, or not to the end.
    #[snafu(display("the node was silent for {seconds} s"))]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// There was no connection, or it broke off.
    #[snafu(display("the node could not be spoken to: {reason}"))]
    Broken {
        /// What was met.
        reason: String,
    },
    /// It was not to go on.
    #[snafu(display("the transfer was interrupted"))]
    Interrupted,
    /// What it answered does not read.
    #[snafu(display("the node's answer does not read: {reason}"))]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

impl NodeError {
    /// Its word for programs, and what can be done.
    pub fn code_and_advice(&self) -> (&'static str, &'static str) {
        match self {
            Self::Refused { .. } => (
                "node_refused",
                "See whether it lets us ask (token, username), and its conformance statement.",
            ),
            Self::Silent { .. } => (
                "node_silent",
                "See that the node is up; [[dicomweb.nodes]] timeout_seconds says how long it is waited for.",
            ),
            Self::Broken { .. } => (
                "node_failed",
                "See that the node is up, and that its URL is right; what is there already is not doubled when you ask again.",
            ),
            Self::Interrupted => ("interrupted", "Ask again."),
            Self::Unreadable { .. } => {
                ("node_failed", "See that its URL is the one that its /studies lies below.")
            }
        }
    }
}

impl From<NodeError> for JobFailure {
    fn from(error: NodeError) -> Self {
        let (code, advice) = error.code_and_advice();
        failed(code, error.to_string(), advice)
    }
}
