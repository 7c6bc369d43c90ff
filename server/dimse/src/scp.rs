//! The listening side: one thread an association, their number bounded.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dicom_ul::association::server::{AccessControl, Negotiation, ServerAssociationOptions};
use dicom_ul::pdu::{AssociationRJServiceUserReason, RequestorRoles, UserIdentity};
use engram_archive::Archive;
use engram_imaging::TranscodeLimits;
use snafu::ResultExt;

use crate::conversation::Conversation;
use crate::identifier::Root;
use crate::{AssociationSnafu, Error, ListenSnafu, Peer, PeerSnafu, Receiver, RemoteNode};

/// Among [`ScpOptions::calling_ae_titles`]: any.
pub const ANY_AE_TITLE: &str = "*";

/// How the SCP presents itself and what it allows.
#[derive(Debug, Clone)]
pub struct ScpOptions {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Our AE title, 16 characters at most.
    pub ae_title: String,
    /// AE titles that may call; [`ANY_AE_TITLE`] for any. Another is rejected (PS3.8 9.3.4: calling AE title not
    /// recognised).
    pub calling_ae_titles: Vec<String>,
    /// Addresses that may call; empty: any. A connection of another is closed at once.
    pub calling_addresses: Vec<IpAddr>,
    /// Where C-MOVE may send to.
    pub nodes: Vec<RemoteNode>,
    /// Whether C-FIND, C-MOVE and C-GET are answered.
    pub query_retrieve: bool,
    /// Associations served at a time; further ones are closed at once.
    pub max_associations: usize,
    /// Bytes of the largest PDU that a peer may send.
    pub max_pdu_bytes: u32,
    /// A peer silent for longer than this is dropped.
    pub timeout: Duration,
    /// What may be transcoded for a peer that does not take what is stored.
    pub transcoding: TranscodeLimits,
}

/// A bound SCP, ready to serve.
pub struct Scp<R> {
    listener: TcpListener,
    served: Arc<Served<R>>,
    open: Arc<AtomicUsize>,
}

/// What associations share.
pub struct Served<R> {
    /// How the SCP presents itself and what it allows.
    pub options: ScpOptions,
    /// What is searched and retrieved.
    pub archive: Archive,
    /// Takes what comes in.
    pub receiver: Arc<R>,
}

impl<R: Receiver> Scp<R> {
    /// Binds the port.
    pub fn bind(options: ScpOptions, archive: Archive, receiver: Arc<R>) -> Result<Self, Error> {
        let listener = TcpListener::bind(options.bind).context(ListenSnafu { address: options.bind })?;
        let served = Arc::new(Served { options, archive, receiver });
        Ok(Self { listener, served, open: Arc::new(AtomicUsize::new(0)) })
    }

    /// The address bound, with its port where 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends. A broken association is logged and never ends it.
    pub fn serve(&self) {
        for stream in self.listener.incoming() {
            match stream {
                Ok(stream) => self.admit(stream),
                Err(error) => tracing::warn!(%error, "could not accept a connection"),
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.served.options.max_associations {
            self.open.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(
                limit = self.served.options.max_associations,
                "too many associations; one was turned away"
            );
            return;
        }
        let slot = Slot(Arc::clone(&self.open));
        let served = Arc::clone(&self.served);
        let spawned = std::thread::Builder::new().name("dimse".into()).spawn(move || {
            let _slot = slot;
            if let Err(error) = serve_association(stream, &served) {
                tracing::warn!(%error, "an association ended early");
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "could not start a thread for an association");
        }
    }
}

/// Gives an association's place back, whichever way its thread ends.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who may call, whatever they call us.
struct Callers<'a>(&'a [String]);

impl AccessControl for Callers<'_> {
    fn check_access(
        &self,
        _ours: &str,
        calling: &str,
        _called: &str,
        _user: Option<&UserIdentity>,
    ) -> Result<(), AssociationRJServiceUserReason> {
        match self.0.iter().any(|title| title == ANY_AE_TITLE || title == calling.trim()) {
            true => Ok(()),
            false => Err(AssociationRJServiceUserReason::CallingAETitleNotRecognized),
        }
    }
}

/// A peer may take the SCP's role for what it wants to get by C-GET (PS3.7 D.3.3.4).
struct Roles;

impl Negotiation for Roles {
    fn negotiate_roles(&self, sop_class_uid: &str, scu: bool, scp: bool) -> Option<RequestorRoles> {
        Root::of_sop_class(sop_class_uid).is_none().then_some(RequestorRoles { scu, scp })
    }
}

fn acceptor(options: &ScpOptions) -> ServerAssociationOptions<'_, Callers<'_>, Roles> {
    let acceptor = ServerAssociationOptions::new()
        .ae_access_control(Callers(&options.calling_ae_titles))
        .with_negotiation(Roles)
        .ae_title(options.ae_title.as_str())
        .promiscuous(true)
        .max_pdu_length(options.max_pdu_bytes)
        .read_timeout(options.timeout)
        .write_timeout(options.timeout);
    // Objects are kept as they come, so every syntax whose data set can be parsed is welcome, compressed or not.
    dicom_transfer_syntax_registry::TransferSyntaxRegistry
        .iter()
        .filter(|ts| !ts.is_unsupported())
        .fold(acceptor, |acceptor, ts| acceptor.with_transfer_syntax(ts.uid()))
}

fn serve_association<R: Receiver>(stream: TcpStream, served: &Served<R>) -> Result<(), Error> {
    let address = stream.peer_addr().context(PeerSnafu)?;
    let allowed = &served.options.calling_addresses;
    if !allowed.is_empty() && !allowed.contains(&address.ip().to_canonical()) {
        tracing::warn!(%address, "an address that may not call was turned away");
        return Ok(());
    }
    // Responses are small, and each is waited for.
    stream.set_nodelay(true).context(PeerSnafu)?;
    let association = acceptor(&served.options).establish(stream).context(AssociationSnafu)?;
    Conversation::new(served, association, address).hold()
}

impl Peer {
    pub(crate) fn new(ae_title: &str, address: SocketAddr) -> Self {
        Self { ae_title: ae_title.trim().to_owned(), address }
    }
}
