//! An established association as a conversation needs it: over TCP or TLS, whichever side asked for it.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::net::TcpStream;
use std::ops::DerefMut;
use std::time::Duration;

use dicom_ul::association::SyncAssociation;
use dicom_ul::association::client::CloseSocket;
use dicom_ul::pdu::{Pdu, PresentationContextNegotiated};
use rustls::{ConnectionCommon, SideData, StreamOwned};
use snafu::ResultExt;

use crate::{Error, PeerSnafu, SendSnafu, UnexpectedSnafu};

/// Bytes of a P-DATA-TF PDU, and of the one PDV in it, before their data (PS3.8 9.3.5).
const HEADER_BYTES: usize = 12;
/// Bytes of the PDV's header, which count towards the PDU's length.
const PDV_HEADER_BYTES: usize = 6;
/// No PDU that is sent is longer, whatever the peer would take: it is held in memory.
const MAX_SENT_BYTES: usize = 256 << 10;

/// An established association.
pub trait Link: Send {
    /// The peer's AE title, as it gave it.
    fn peer_ae_title(&self) -> &str;

    /// The presentation contexts, with what became of each.
    fn contexts(&self) -> &[PresentationContextNegotiated];

    /// Whether who asked for the association may be the SCP of a SOP class (PS3.7 D.3.3.4).
    fn requestor_is_scp_of(&self, sop_class_uid: &str) -> bool;

    /// Bytes of data that fit into one PDU for this peer: an even number, as every fragment's must be.
    fn room(&self) -> Result<usize, Error>;

    /// Sends a PDU.
    fn send(&mut self, pdu: &Pdu) -> Result<(), Error>;

    /// Waits for a PDU.
    fn receive(&mut self) -> Result<Pdu, Error>;

    /// Sends a data set, in as many PDUs as the peer's limit asks for. Where it cannot be read to its end, what was
    /// sent is no data set, and the association cannot go on.
    fn send_data(&mut self, context: u8, data: &mut dyn Read) -> Result<(), Error>;

    /// Whether there is something to receive, or the peer is gone. Waits for `patience` at the most.
    fn has_received(&mut self, patience: Duration) -> Result<bool, Error>;

    /// Ends the association in good order.
    fn release(self: Box<Self>) -> Result<(), Error>;

    /// Ends the association at once. That the peer does not hear of it changes nothing.
    fn abort(self: Box<Self>);
}

/// Takes an association of `dicom-ul` over. What is sent is waited for, so it goes out at once.
pub fn linked<A, S>(mut association: A) -> Result<Box<dyn Link>, Error>
where
    A: SyncAssociation<S> + Send + 'static,
    S: Wire + 'static,
{
    association.inner_stream().socket().set_nodelay(true).context(PeerSnafu)?;
    Ok(Box::new(Over { association, stream: PhantomData }))
}

/// An association over a stream `S`.
struct Over<A, S> {
    association: A,
    stream: PhantomData<fn() -> S>,
}

impl<A: SyncAssociation<S> + Send, S: Wire> Link for Over<A, S> {
    fn peer_ae_title(&self) -> &str {
        self.association.peer_ae_title()
    }

    fn contexts(&self) -> &[PresentationContextNegotiated] {
        self.association.presentation_contexts()
    }

    fn requestor_is_scp_of(&self, sop_class_uid: &str) -> bool {
        self.association.requestor_roles_for(sop_class_uid).scp
    }

    fn room(&self) -> Result<usize, Error> {
        let peer = usize::try_from(self.association.peer_max_pdu_length()).unwrap_or(usize::MAX);
        match peer.min(MAX_SENT_BYTES).saturating_sub(PDV_HEADER_BYTES) & !1 {
            0 => UnexpectedSnafu { what: format!("a maximum PDU length of {peer}") }.fail(),
            room => Ok(room),
        }
    }

    fn send(&mut self, pdu: &Pdu) -> Result<(), Error> {
        Ok(SyncAssociation::send(&mut self.association, pdu)?)
    }

    fn receive(&mut self) -> Result<Pdu, Error> {
        Ok(SyncAssociation::receive(&mut self.association)?)
    }

    fn send_data(&mut self, context: u8, data: &mut dyn Read) -> Result<(), Error> {
        let room = self.room()?;
        let stream = self.association.inner_stream();
        let mut pdu = Vec::with_capacity(HEADER_BYTES + room + 1);
        pdu.resize(HEADER_BYTES, 0);
        loop {
            // One byte more than fits tells whether this is the last fragment.
            let wanted = HEADER_BYTES + room + 1 - pdu.len();
            data.take(wanted as u64).read_to_end(&mut pdu).context(SendSnafu)?;
            let is_last = pdu.len() <= HEADER_BYTES + room;
            let next = if is_last { None } else { pdu.pop() };
            let header = data_header(context, pdu.len() - HEADER_BYTES, is_last);
            pdu[..HEADER_BYTES].copy_from_slice(&header);
            stream.write_all(&pdu).context(SendSnafu)?;
            let Some(next) = next else { return Ok(()) };
            pdu.truncate(HEADER_BYTES);
            pdu.push(next);
        }
    }

    fn has_received(&mut self, patience: Duration) -> Result<bool, Error> {
        let (stream, buffer) = self.association.get_mut();
        if !buffer.is_empty() {
            return Ok(true);
        }
        stream.is_readable(patience).context(PeerSnafu)
    }

    fn release(self: Box<Self>) -> Result<(), Error> {
        Ok(SyncAssociation::release(self.association)?)
    }

    fn abort(self: Box<Self>) {
        if let Err(error) = SyncAssociation::abort(self.association) {
            tracing::debug!(%error, "could not tell a peer that its association is aborted");
        }
    }
}

/// What comes before a fragment of a data set of `length` bytes, of which [`Link::room`] has a limit.
fn data_header(context: u8, length: usize, is_last: bool) -> [u8; HEADER_BYTES] {
    const P_DATA_TF: u8 = 0x04;
    const LAST: u8 = 0x02;
    let pdu = ((length + PDV_HEADER_BYTES) as u32).to_be_bytes();
    let pdv = ((length + PDV_HEADER_BYTES - 4) as u32).to_be_bytes();
    let control = if is_last { LAST } else { 0 };
    [P_DATA_TF, 0, pdu[0], pdu[1], pdu[2], pdu[3], pdv[0], pdv[1], pdv[2], pdv[3], context, control]
}

/// A stream that can be looked at before it is read.
pub trait Wire: Read + Write + CloseSocket {
    /// The socket below.
    fn socket(&self) -> &TcpStream;

    /// Whether reading would give something or fail at once. Waits for `patience` at the most.
    fn is_readable(&mut self, patience: Duration) -> std::io::Result<bool>;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn is_readable(&mut self, patience: Duration) -> std::io::Result<bool> {
        let timeout = hurry(self, patience)?;
        let peeked = self.peek(&mut [0]);
        calm(self, timeout)?;
        Ok(has_something(peeked))
    }
}

impl<C, S> Wire for StreamOwned<C, TcpStream>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData + 'static,
    Self: CloseSocket,
{
    fn socket(&self) -> &TcpStream {
        &self.sock
    }

    fn is_readable(&mut self, patience: Duration) -> std::io::Result<bool> {
        let timeout = hurry(&self.sock, patience)?;
        let looked = self.fill_buf().map(<[u8]>::len);
        calm(&self.sock, timeout)?;
        Ok(has_something(looked))
    }
}

/// Reads last no longer than `patience` from now on; the timeout before, for [`calm`].
fn hurry(socket: &TcpStream, patience: Duration) -> std::io::Result<Option<Duration>> {
    let timeout = socket.read_timeout()?;
    match patience.is_zero() {
        true => socket.set_nonblocking(true)?,
        false => socket.set_read_timeout(Some(patience))?,
    }
    Ok(timeout)
}

fn calm(socket: &TcpStream, timeout: Option<Duration>) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(timeout)
}

/// An error other than that of time is for who reads next.
fn has_something(looked: std::io::Result<usize>) -> bool {
    !matches!(looked, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
