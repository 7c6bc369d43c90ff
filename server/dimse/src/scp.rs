//! The listening side: one thread an association, their number bounded.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dicom_ul::association::read_pdu_from_wire;
use dicom_ul::association::server::{AccessControl, Negotiation, ServerAssociationOptions};
use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason, AssociationRJSource, Pdu, RequestorRoles, UserIdentity, write_pdu,
};
use engram_archive::Archive;
use engram_imaging::TranscodeLimits;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use snafu::ResultExt;

use crate::artim::Artim;
use crate::beginning;
use crate::commitment::Report;
use crate::conversation::{Conversation, report_to};
use crate::identifier::Root;
use crate::link::{Link, linked};
use crate::reports::{Owed, Reports};
use crate::{
    Commitments, Error, ListenSnafu, Peer, PeerSnafu, Receiver, RemoteNode, SendSnafu, StartThreadSnafu,
    TlsSnafu,
};

/// Among [`ScpOptions::calling_ae_titles`]: any.
pub const ANY_AE_TITLE: &str = "*";
/// Associations that are rejected at a time because too many are served; what connects beyond is closed at once.
const MAX_REJECTING: usize = 8;

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Port {
    /// Address and port.
    pub bind: SocketAddr,
    /// What is spoken there is TLS, set up like this; `None`: it is not.
    pub tls: Option<Arc<ServerConfig>>,
}

/// How the SCP presents itself and what it allows.
#[derive(Debug, Clone)]
pub struct ScpOptions {
    /// Where to listen.
    pub ports: Vec<Port>,
    /// Our AE title, 16 characters at most.
    pub ae_title: String,
    /// AE titles that may call; [`ANY_AE_TITLE`] for any. Another is rejected (PS3.8 9.3.4: calling AE title not
    /// recognised).
    pub calling_ae_titles: Vec<String>,
    /// Addresses that may call; empty: any. A connection of another is closed at once.
    pub calling_addresses: Vec<IpAddr>,
    /// Where C-MOVE may send to, and reports of storage commitment go.
    pub nodes: Vec<RemoteNode>,
    /// Whether C-FIND, C-MOVE and C-GET are answered.
    pub query_retrieve: bool,
    /// Associations served at a time; further ones are rejected (PS3.8 9.3.4: local limit exceeded).
    pub max_associations: usize,
    /// Bytes of the largest PDU that a peer may send.
    pub max_pdu_bytes: u32,
    /// A peer silent for longer than this is dropped, and one that connects has as long to ask for an association.
    pub timeout: Duration,
    /// What may be transcoded for a peer that does not take what is stored.
    pub transcoding: TranscodeLimits,
    /// The file that keeps what is owed of storage commitment.
    pub commitment_journal: PathBuf,
}

/// A bound SCP, ready to serve.
pub struct Scp<R> {
    listeners: Vec<(TcpListener, Option<Arc<ServerConfig>>)>,
    served: Arc<Served<R>>,
    open: Arc<AtomicUsize>,
    rejecting: Arc<AtomicUsize>,
}

/// What associations share.
pub struct Served<R> {
    /// How the SCP presents itself and what it allows.
    pub options: ScpOptions,
    /// What is searched and retrieved.
    pub archive: Archive,
    /// Takes what comes in.
    pub receiver: Arc<R>,
    /// Where nodes' reports of storage commitment go.
    pub commitments: Arc<Commitments>,
    /// Reports of storage commitment that we owe.
    pub reports: Reports,
    artim: Artim,
}

impl<R: Receiver> Scp<R> {
    /// Binds the ports.
    pub fn bind(
        options: ScpOptions,
        archive: Archive,
        receiver: Arc<R>,
        commitments: Arc<Commitments>,
    ) -> Result<Self, Error> {
        let bound = |port: &Port| {
            let listener = TcpListener::bind(port.bind).context(ListenSnafu { address: port.bind })?;
            Ok::<_, Error>((listener, port.tls.clone()))
        };
        let listeners = options.ports.iter().map(bound).collect::<Result<_, _>>()?;
        let reports = Reports::open(&options.commitment_journal)?;
        let artim = Artim::start(options.timeout)?;
        let served = Arc::new(Served { options, archive, receiver, commitments, reports, artim });
        Ok(Self { listeners, served, open: Arc::default(), rejecting: Arc::default() })
    }

    /// The addresses bound, with their ports where 0 was asked for.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(|(listener, _)| listener.local_addr()).collect()
    }

    /// Serves until the process ends. A broken association is logged and never ends it.
    pub fn serve(&self) -> Result<(), Error> {
        std::thread::scope(|scope| {
            for (listener, tls) in &self.listeners {
                let thread = std::thread::Builder::new().name("dimse-listener".into());
                thread
                    .spawn_scoped(scope, || self.listen(listener, tls.as_ref()))
                    .context(StartThreadSnafu)?;
            }
            self.served.deliver_reports()
        })
    }

    fn listen(&self, listener: &TcpListener, tls: Option<&Arc<ServerConfig>>) {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => self.admit(Connection { stream, tls: tls.cloned() }),
                Err(error) => tracing::warn!(%error, "could not accept a connection"),
            }
        }
    }

    fn admit(&self, connection: Connection) {
        if let Some(slot) = Slot::of(&self.open, self.served.options.max_associations) {
            return self.start(slot, connection, serve_association);
        }
        tracing::warn!(
            limit = self.served.options.max_associations,
            "too many associations; one was turned away"
        );
        if let Some(slot) = Slot::of(&self.rejecting, MAX_REJECTING) {
            self.start(slot, connection, reject);
        }
    }

    fn start(
        &self,
        slot: Slot,
        connection: Connection,
        work: fn(Connection, &Served<R>) -> Result<(), Error>,
    ) {
        let served = Arc::clone(&self.served);
        let spawned = std::thread::Builder::new().name("dimse".into()).spawn(move || {
            let _slot = slot;
            if let Err(error) = work(connection, &served) {
                tracing::warn!(%error, "an association ended early");
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "could not start a thread for an association");
        }
    }
}

impl<R: Receiver> Served<R> {
    /// Tries reports that are owed whenever they are due.
    fn deliver_reports(&self) -> ! {
        loop {
            let owed = self.reports.next_due();
            let id = owed.id;
            let kept = match self.deliver(owed) {
                true => self.reports.settle(id),
                false => self.reports.put_off(id),
            };
            if let Err(error) = kept {
                tracing::error!(%error, "what became of a report of storage commitment is not kept");
            }
        }
    }

    /// Whether the report is done with.
    fn deliver(&self, owed: Owed) -> bool {
        let Owed { ae_title, request, .. } = owed;
        let Some(node) = self.options.nodes.iter().find(|node| node.ae_title == ae_title) else {
            tracing::warn!(
                ae_title,
                "a report of storage commitment is owed to a node that is not configured any more"
            );
            return true;
        };
        let delivered =
            Report::of(&self.archive, request).and_then(|report| report_to(node, &self.options, &report));
        if let Err(error) = &delivered {
            tracing::warn!(%error, node = node.name, "could not report storage commitment; it is tried again later");
        }
        delivered.is_ok()
    }
}

/// A connection that was accepted.
struct Connection {
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
}

/// Gives an association's place back, whichever way its thread ends.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// A place among `limit`, if one is free.
    fn of(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let taken = Arc::clone(taken);
        let free = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1));
        // Made only where there is one: dropped, it would give a place back.
        free.is_ok().then(|| Self(taken))
    }
}

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

fn serve_association<R: Receiver>(connection: Connection, served: &Served<R>) -> Result<(), Error> {
    let address = connection.stream.peer_addr().context(PeerSnafu)?;
    let allowed = &served.options.calling_addresses;
    if !allowed.is_empty() && !allowed.contains(&address.ip().to_canonical()) {
        tracing::warn!(%address, "an address that may not call was turned away");
        return Ok(());
    }
    let timer = served.artim.watch(&connection.stream)?;
    beginning::wait_for(&connection.stream, connection.tls.is_some(), served.options.timeout)?;
    let link = establish(connection, &served.options)?;
    drop(timer);
    Conversation::new(served, link, address).hold()
}

fn establish(connection: Connection, options: &ScpOptions) -> Result<Box<dyn Link>, Error> {
    let Connection { stream, tls } = connection;
    match tls {
        None => linked(acceptor(options).establish(stream)?),
        Some(tls) => linked(acceptor(options).tls_config(tls).establish_tls(stream)?),
    }
}

/// Hears the request for an association and rejects it: it may be asked for again later.
fn reject<R: Receiver>(connection: Connection, served: &Served<R>) -> Result<(), Error> {
    let Connection { mut stream, tls } = connection;
    let _timer = served.artim.watch(&stream)?;
    match tls {
        None => reject_on(&mut stream, served.options.max_pdu_bytes),
        Some(tls) => {
            let connection = ServerConnection::new(tls).context(TlsSnafu)?;
            reject_on(&mut StreamOwned::new(connection, stream), served.options.max_pdu_bytes)
        }
    }
}

fn reject_on(stream: &mut (impl Read + Write), max_pdu_bytes: u32) -> Result<(), Error> {
    read_pdu_from_wire(stream, &mut Default::default(), max_pdu_bytes, true)?;
    let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
    let rejection = Pdu::AssociationRJ(AssociationRJ {
        result: AssociationRJResult::Transient,
        source: AssociationRJSource::ServiceProviderPresentation(reason),
    });
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, &rejection).map_err(std::io::Error::other).context(SendSnafu)?;
    stream.write_all(&bytes).and_then(|()| stream.flush()).context(SendSnafu)
}

impl Peer {
    pub(crate) fn new(ae_title: &str, address: SocketAddr) -> Self {
        Self { ae_title: ae_title.trim().to_owned(), address }
    }
}
