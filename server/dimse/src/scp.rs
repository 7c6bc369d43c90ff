//! The listening side: one thread an association, their number bounded.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dicom_object::FileMetaTableBuilder;
use dicom_ul::association::Association;
use dicom_ul::association::server::{
    AccessControl, DefaultNegotiation, ServerAssociation, ServerAssociationOptions,
};
use dicom_ul::pdu::{
    AssociationRJServiceUserReason, PDataValue, PDataValueType, Pdu, PresentationContextResultReason,
    UserIdentity,
};
use snafu::ResultExt;

use crate::{
    AssociationSnafu, BadCommandSnafu, Command, CommandField, Error, ListenSnafu, Named, Peer, PeerSnafu,
    Receiver, Refusal, UnexpectedSnafu,
};

/// A command set larger than this is no command set.
const MAX_COMMAND_BYTES: usize = 64 << 10;
/// Status: success (PS3.7 C.1).
const SUCCESS: u16 = 0;
/// Status: unrecognised operation (PS3.7 C.5.25).
const UNRECOGNISED_OPERATION: u16 = 0x0211;
/// Status: cannot understand (PS3.4 B.2.3).
const CANNOT_UNDERSTAND: u16 = 0xC000;

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
    /// Associations served at a time; further ones are closed at once.
    pub max_associations: usize,
    /// A peer silent for longer than this is dropped.
    pub timeout: Duration,
}

/// A bound SCP, ready to serve.
pub struct Scp<R> {
    listener: TcpListener,
    options: ScpOptions,
    receiver: Arc<R>,
    open: Arc<AtomicUsize>,
}

impl<R: Receiver> Scp<R> {
    /// Binds the port.
    pub fn bind(options: ScpOptions, receiver: Arc<R>) -> Result<Self, Error> {
        let listener = TcpListener::bind(options.bind).context(ListenSnafu { address: options.bind })?;
        Ok(Self { listener, options, receiver, open: Arc::new(AtomicUsize::new(0)) })
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
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.options.max_associations {
            self.open.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(
                limit = self.options.max_associations,
                "too many associations; one was turned away"
            );
            return;
        }
        let slot = Slot(Arc::clone(&self.open));
        let (options, receiver) = (self.options.clone(), Arc::clone(&self.receiver));
        let spawned = std::thread::Builder::new().name("dimse".into()).spawn(move || {
            let _slot = slot;
            if let Err(error) = serve_association(stream, &options, receiver.as_ref()) {
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

fn acceptor(options: &ScpOptions) -> ServerAssociationOptions<'_, Callers<'_>, DefaultNegotiation> {
    let acceptor = ServerAssociationOptions::new()
        .ae_access_control(Callers(&options.calling_ae_titles))
        .ae_title(options.ae_title.as_str())
        .promiscuous(true)
        .read_timeout(options.timeout)
        .write_timeout(options.timeout);
    // Objects are kept as they come, so every syntax whose data set can be parsed is welcome, compressed or not.
    dicom_transfer_syntax_registry::TransferSyntaxRegistry
        .iter()
        .filter(|ts| !ts.is_unsupported())
        .fold(acceptor, |acceptor, ts| acceptor.with_transfer_syntax(ts.uid()))
}

fn serve_association<R: Receiver>(
    stream: TcpStream,
    options: &ScpOptions,
    receiver: &R,
) -> Result<(), Error> {
    let address = stream.peer_addr().context(PeerSnafu)?;
    let mut association = acceptor(options).establish(stream).context(AssociationSnafu)?;
    let peer = Peer { ae_title: association.peer_ae_title().trim().to_owned(), address };
    let mut conversation = Conversation { receiver, peer, command_bytes: Vec::new(), pending: None };
    loop {
        match association.receive().context(AssociationSnafu)? {
            Pdu::PData { data } => {
                for value in data {
                    conversation.take(&mut association, value)?;
                }
            }
            Pdu::ReleaseRQ => return association.send(&Pdu::ReleaseRP).context(AssociationSnafu),
            Pdu::AbortRQ { .. } => return Ok(()),
            other => return UnexpectedSnafu { what: other.short_description().to_string() }.fail(),
        }
    }
}

/// An association's state between PDUs.
struct Conversation<'a, R: Receiver> {
    receiver: &'a R,
    peer: Peer,
    command_bytes: Vec<u8>,
    pending: Option<PendingStore<R::Instance>>,
}

/// A C-STORE whose data set is still arriving. A refusal waits until the data set has passed.
struct PendingStore<I> {
    command: Command,
    instance: Result<I, Refusal>,
    bytes: u64,
}

impl<R: Receiver> Conversation<'_, R> {
    fn take(
        &mut self,
        association: &mut ServerAssociation<TcpStream>,
        value: PDataValue,
    ) -> Result<(), Error> {
        match value.value_type {
            PDataValueType::Command => self.take_command(association, value),
            PDataValueType::Data => self.take_data(association, value),
        }
    }

    fn take_command(
        &mut self,
        association: &mut ServerAssociation<TcpStream>,
        value: PDataValue,
    ) -> Result<(), Error> {
        if self.pending.is_some() || self.command_bytes.len() + value.data.len() > MAX_COMMAND_BYTES {
            return UnexpectedSnafu { what: "a command where none can be" }.fail();
        }
        self.command_bytes.extend_from_slice(&value.data);
        if !value.is_last {
            return Ok(());
        }
        let command = Command::parse(&std::mem::take(&mut self.command_bytes))?;
        let context = value.presentation_context_id;
        match command.field {
            CommandField::Echo => reply(association, context, &command.response(SUCCESS, None)?),
            CommandField::Store if command.has_data_set => {
                let instance = self.begin(association, context, &command)?;
                self.pending = Some(PendingStore { command, instance, bytes: 0 });
                Ok(())
            }
            CommandField::Store => BadCommandSnafu { problem: "a C-STORE without a data set" }.fail(),
            CommandField::Other(number) if command.has_data_set => {
                UnexpectedSnafu { what: format!("command {number:#06x} with a data set") }.fail()
            }
            CommandField::Other(_) => {
                reply(association, context, &command.response(UNRECOGNISED_OPERATION, None)?)
            }
        }
    }

    /// Opens the instance and writes the Part 10 header that C-STORE leaves out (PS3.10 7.1).
    fn begin(
        &self,
        association: &ServerAssociation<TcpStream>,
        context: u8,
        command: &Command,
    ) -> Result<Result<R::Instance, Refusal>, Error> {
        let transfer_syntax = association
            .presentation_contexts()
            .iter()
            .find(|c| c.id == context && c.reason == PresentationContextResultReason::Acceptance)
            .map(|c| c.transfer_syntax.clone());
        let Some(transfer_syntax) = transfer_syntax else {
            return UnexpectedSnafu { what: "data on a presentation context that was not agreed" }.fail();
        };
        let header = match part10_header(command, &transfer_syntax) {
            Ok(header) => header,
            Err(comment) => return Ok(Err(Refusal { status: CANNOT_UNDERSTAND, comment })),
        };
        Ok(self.receiver.begin().and_then(|mut instance| {
            instance.write_all(&header).map(|()| instance).map_err(|e| out_of_resources(&e))
        }))
    }

    fn take_data(
        &mut self,
        association: &mut ServerAssociation<TcpStream>,
        value: PDataValue,
    ) -> Result<(), Error> {
        let Some(mut store) = self.pending.take() else {
            return UnexpectedSnafu { what: "a data set without a command" }.fail();
        };
        store.bytes += value.data.len() as u64;
        if let Ok(instance) = &mut store.instance
            && let Err(error) = instance.write_all(&value.data)
        {
            store.instance = Err(out_of_resources(&error));
        }
        if !value.is_last {
            self.pending = Some(store);
            return Ok(());
        }
        let outcome = store.instance.and_then(|instance| self.receiver.finish(instance));
        let status = outcome.as_ref().map_or_else(|refusal| refusal.status, |()| SUCCESS);
        let comment = outcome.as_ref().err().map(|refusal| refusal.comment.as_str());
        let named = Named { sop_instance_uid: store.command.sop_instance_uid.clone(), bytes: store.bytes };
        self.receiver.stored(&self.peer, &named, status);
        let response = store.command.response(status, comment)?;
        reply(association, value.presentation_context_id, &response)
    }
}

fn part10_header(command: &Command, transfer_syntax: &str) -> Result<Vec<u8>, String> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(command.sop_class_uid.as_str())
        .media_storage_sop_instance_uid(command.sop_instance_uid.as_str())
        .transfer_syntax(transfer_syntax)
        .build()
        .map_err(|e| e.to_string())?;
    let mut header = vec![0u8; 128];
    header.extend_from_slice(b"DICM");
    meta.write(&mut header).map_err(|e| e.to_string())?;
    Ok(header)
}

fn out_of_resources(error: &std::io::Error) -> Refusal {
    Refusal { status: 0xA700, comment: error.to_string() }
}

fn reply(association: &mut ServerAssociation<TcpStream>, context: u8, command: &[u8]) -> Result<(), Error> {
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data: command.to_vec(),
    };
    association.send(&Pdu::PData { data: vec![value] }).context(AssociationSnafu)
}
