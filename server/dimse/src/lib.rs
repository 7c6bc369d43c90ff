//! The DIMSE face of the server over `dicom-ul`: an SCP for C-ECHO and C-STORE (PS3.7 9.1). Knows nothing of
//! HTTP, nor of where an instance goes: that is the [`Receiver`]'s.

mod command;
mod scp;

pub use command::{Command, CommandField};
pub use scp::{ANY_AE_TITLE, Scp, ScpOptions};

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

/// Takes what C-STORE brings. Called on the association's own thread; it may block.
pub trait Receiver: Send + Sync + 'static {
    /// One instance on its way in: Part 10 bytes are written to it, then it is finished. Dropped unfinished, it
    /// leaves nothing behind.
    type Instance: std::io::Write;

    /// Makes room for an instance.
    fn begin(&self) -> Result<Self::Instance, Refusal>;

    /// Returns once the instance is durably stored, or says why not.
    fn finish(&self, instance: Self::Instance) -> Result<(), Refusal>;

    /// A C-STORE is over, with this status; the sender is answered when this returns.
    fn stored(&self, peer: &Peer, instance: &Named, status: u16);
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
    #[snafu(display("could not keep up the association: {source}"))]
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
    /// A reply could not be put into bytes.
    #[snafu(display("could not write a reply: {source}"))]
    WriteReply {
        /// What `dicom-object` said.
        #[snafu(source(from(dicom_object::WriteError, Box::new)))]
        source: Box<dicom_object::WriteError>,
    },
    /// The peer sent something that has no place in the conversation.
    #[snafu(display("could not go on: the peer sent {what}"))]
    Unexpected {
        /// What came.
        what: String,
    },
}
