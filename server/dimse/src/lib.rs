//! The DIMSE face of the server over `dicom-ul`, over TCP and TLS: an SCP for C-ECHO, C-STORE, C-FIND, C-GET and C-MOVE
//! (PS3.7 9.1) and for Storage Commitment, and an SCU of the same but C-GET to nodes that are known by name. Knows nothing of
//! HTTP, nor of where an instance goes: that is the [`Receiver`]'s.

mod artim;
mod beginning;
mod bounds;
mod command;
mod commitment;
mod conversation;
mod encoding;
mod find;
mod identifier;
mod link;
mod message;
mod node;
mod reports;
mod retrieve;
mod scp;
mod scu;
mod send;

use std::io::ErrorKind;
use std::path::PathBuf;

use snafu::IntoError;

pub use command::{Command, CommandField, MoveOriginator, SubOperations};
pub use commitment::{Report, Reported};
pub use identifier::Level;
pub use node::{NodeTls, RemoteNode};
pub use scp::{ANY_AE_TITLE, Port, Scp, ScpOptions};
pub use scu::{Commitments, Found, Moved, Outgoing, Search, Wanted};

/// Why an instance sent by C-STORE was not taken: a DIMSE status (PS3.4 B.2.3) and words for the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `0xA700`, out of resources, or `0xC000`, cannot understand.
    pub status: u16,
    /// For Error Comment (0000,0902), 64 characters of it.
    pub comment: String,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its calling AE title, which it chose itself.
    pub ae_title: String,
    /// Address and port that it calls from.
    pub address: std::net::SocketAddr,
}

/// An instance as a C-STORE names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Affected SOP Instance UID (0000,1000).
    pub sop_instance_uid: String,
    /// Bytes of its data set.
    pub bytes: u64,
}

/// What a C-FIND, C-GET, C-MOVE or a request for storage commitment asked for, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which of them.
    pub service: CommandField,
    /// Query/Retrieve Level (0008,0052); empty for storage commitment.
    pub level: &'static str,
    /// The value of the level's unique key, as the peer gave it; empty where it gave none. Of storage commitment the
    /// Transaction UID.
    pub key: String,
    /// Matches told, instances stored, or instances that are kept.
    pub instances: u64,
    /// The last response's status.
    pub status: u16,
}

/// Takes what C-STORE brings, and is told what is asked. Called on the association's own thread; it may block.
pub trait Receiver: Send + Sync + 'static {
    /// One instance on its way in: Part 10 bytes are written to it, then it is finished. Dropped unfinished, it
    /// leaves nothing behind.
    type Instance: std::io::Write;

    /// Makes room for an instance.
    fn begin(&self) -> Result<Self::Instance, Refusal>;

    /// Returns once the instance, from this peer, is durably stored, or says why not.
    fn finish(&self, peer: &Peer, instance: Self::Instance) -> Result<(), Refusal>;

    /// A C-STORE is over, with this status; the sender is answered when this returns.
    fn stored(&self, peer: &Peer, instance: &Named, status: u16);

    /// A C-FIND, C-GET, C-MOVE or a request for storage commitment is over; the peer is answered when this returns.
    fn asked(&self, peer: &Peer, asked: &Asked);
}

/// Why the SCP could not start, or why an association ended early.
#[derive(Debug, snafu::Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// The port is taken or not ours to open.
    #[snafu(display("could not listen on {address}: {source}"))]
    Listen {
        /// Address and port asked for.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection was gone before it could be served.
    #[snafu(display("could not learn who calls: {source}"))]
    Peer {
        /// What the system said.
        source: std::io::Error,
    },
    /// The peer and we did not agree on an association, or it broke.
    #[snafu(display("could not keep up the association: {}", causes(source.as_ref())))]
    Association {
        /// What the upper layer said.
        #[snafu(source(from(dicom_ul::association::Error, Box::new)))]
        source: Box<dicom_ul::association::Error>,
    },
    /// A command set that is none, or that lacks what its kind needs.
    #[snafu(display("could not understand a command: {problem}"))]
    BadCommand {
        /// What is wrong with it.
        problem: String,
    },
    /// A command or a data set could not be put into bytes.
    #[snafu(display("could not write a message: {source}"))]
    WriteCommand {
        /// What `dicom-object` said.
        #[snafu(source(from(dicom_object::WriteError, Box::new)))]
        source: Box<dicom_object::WriteError>,
    },
    /// A data set could not be sent whole, or the connection was lost.
    #[snafu(display("could not send: {source}"))]
    Send {
        /// What the system said.
        source: std::io::Error,
    },
    /// A data set is none in the transfer syntax that was agreed on.
    #[snafu(display("could not read a data set: {source}"))]
    ReadDataSet {
        /// What `dicom-object` said.
        #[snafu(source(from(dicom_object::ReadError, Box::new)))]
        source: Box<dicom_object::ReadError>,
    },
    /// A node answered that it will not, or cannot.
    #[snafu(display("the node refused with status {status:#06x}{}", after_colon(comment)))]
    Refused {
        /// Its status.
        status: u16,
        /// Its Error Comment; empty where it has none.
        comment: String,
    },
    /// A peer did not say in time what was waited for.
    #[snafu(display("could not wait any longer: the peer was silent"))]
    Silent,
    /// A connection ended before anything was asked for.
    #[snafu(display("could not begin: the connection was closed"))]
    Closed,
    /// The peer ended the association with an A-ABORT.
    #[snafu(display("could not go on: the peer aborted the association"))]
    Aborted,
    /// A node takes nothing of what the association was to be for.
    #[snafu(display("could not agree on anything: the node accepted no presentation context"))]
    NothingAccepted,
    /// The journal of reports that are owed could not be read or written.
    #[snafu(display("could not keep what is owed of storage commitment: {source}"))]
    KeepReports {
        /// What the journal said.
        source: engram_archive::JournalError,
    },
    /// So many reports are owed that there is room for no more.
    #[snafu(display("could not take on another report: too many are owed"))]
    TooManyReports,
    /// TLS could not be set up for a connection.
    #[snafu(display("could not begin TLS: {source}"))]
    Tls {
        /// What rustls said.
        source: rustls::Error,
    },
    /// A thread could not be started.
    #[snafu(display("could not start a thread: {source}"))]
    StartThread {
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored object could not be read.
    #[snafu(display("could not read {}: {source}", path.display()))]
    ReadFile {
        /// The object's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored object that would have to be transcoded is larger than the limit.
    #[snafu(display("could not transcode {size} bytes: the limit is {limit}"))]
    TooLarge {
        /// Its bytes.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// A stored object could not be transcoded into what the peer takes.
    #[snafu(display("could not transcode: {source}"))]
    Transcode {
        /// What `imaging` said.
        source: engram_imaging::Error,
    },
    /// The peer takes a SOP class not at all, or in no transfer syntax that an instance of it can be sent in.
    #[snafu(display("could not use SOP class {sop_class_uid}: the peer did not accept it"))]
    NoContext {
        /// The SOP class.
        sop_class_uid: String,
    },
    /// A node's address is none.
    #[snafu(display("could not find the address {address}"))]
    Address {
        /// Host and port.
        address: String,
    },
    /// The archive could not be searched.
    #[snafu(display("could not search the archive: {source}"))]
    Archive {
        /// What the archive said.
        source: engram_archive::Error,
    },
    /// The peer sent something that has no place in the conversation.
    #[snafu(display("could not go on: the peer sent {what}"))]
    Unexpected {
        /// What came.
        what: String,
    },
}

impl Error {
    /// Whether an instance could not be sent for a reason of its own: nothing of it has gone out, and others can be sent.
    pub fn is_of_the_instance(&self) -> bool {
        matches!(
            self,
            Self::ReadFile { .. } | Self::TooLarge { .. } | Self::Transcode { .. } | Self::NoContext { .. }
        )
    }
}

impl From<dicom_ul::association::Error> for Error {
    fn from(error: dicom_ul::association::Error) -> Self {
        match error {
            dicom_ul::association::Error::NoAcceptedPresentationContexts { .. } => {
                NothingAcceptedSnafu.build()
            }
            error if is_of_time(&error) => SilentSnafu.build(),
            error => AssociationSnafu.into_error(error),
        }
    }
}

/// Whether the system gave up waiting.
fn is_of_time(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| matches!(io.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
        || error.source().is_some_and(is_of_time)
}

/// An error and what led to it, in one line: that TLS failed says little, the certificate's fault much.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn after_colon(comment: &str) -> String {
    if comment.is_empty() { String::new() } else { format!(": {comment}") }
}
