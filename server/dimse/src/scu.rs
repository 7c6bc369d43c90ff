//! The calling side: C-ECHO and C-STORE to a peer.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::association::{ClientAssociation, ClientAssociationOptions, SyncAssociation};
use engram_archive::InstanceEntry;
use engram_imaging::{TranscodeLimits, is_decodable};
use snafu::ResultExt;

use crate::command::{MoveOriginator, echo_request, event_request};
use crate::commitment::{self, Report};
use crate::message::{receive_command, send_command, send_data_set};
use crate::send::{send_instance, way};
use crate::{AddressSnafu, AssociationSnafu, CommandField, Error, NoContextSnafu, UnexpectedSnafu};

/// The most presentation contexts that an association can have: their identifiers are odd bytes (PS3.8 9.3.2.2).
const MAX_CONTEXTS: usize = 128;

/// A DICOM node by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteNode {
    /// Its AE title.
    pub ae_title: String,
    /// Host and port.
    pub address: String,
}

/// An association that we asked for.
pub struct Outgoing {
    association: ClientAssociation<TcpStream>,
    last_message: u16,
}

impl Outgoing {
    /// Asks a peer for an association on which these instances can be stored: as they are, or uncompressed. Of more
    /// kinds than an association has room for, the first.
    pub fn to_store(
        node: &RemoteNode,
        calling: &str,
        instances: &[InstanceEntry],
        timeout: Duration,
    ) -> Result<Self, Error> {
        let kinds: BTreeSet<(&str, &str)> = instances.iter().flat_map(proposals).collect();
        let kinds = kinds.into_iter().take(MAX_CONTEXTS);
        let options = kinds.fold(options(node, calling, timeout), |options, (sop_class, syntax)| {
            options.with_presentation_context(sop_class, vec![syntax])
        });
        Self::establish(options, node)
    }

    /// Asks a peer for an association on which it can be asked whether it is there.
    pub fn to_verify(node: &RemoteNode, calling: &str, timeout: Duration) -> Result<Self, Error> {
        Self::establish(options(node, calling, timeout).with_abstract_syntax(uids::VERIFICATION), node)
    }

    /// Asks a peer for an association on which it is told of storage commitment; we are the SCP there (PS3.4 J.3.3).
    pub(crate) fn to_report(node: &RemoteNode, calling: &str, timeout: Duration) -> Result<Self, Error> {
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        let options = options(node, calling, timeout).with_abstract_syntax(class);
        Self::establish(options.with_role_selection(class, false, true), node)
    }

    /// N-EVENT-REPORT of storage commitment: the peer's status.
    pub(crate) fn report(&mut self, report: &Report, ae_title: &str) -> Result<u16, Error> {
        let context = self.association.presentation_contexts().first().cloned();
        let Some(context) = context else {
            return NoContextSnafu { sop_class_uid: uids::STORAGE_COMMITMENT_PUSH_MODEL }.fail();
        };
        let message = self.next_message();
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        let request = event_request(message, class, commitment::SOP_INSTANCE, report.event())?;
        let data_set = report.data_set(ae_title, &context.transfer_syntax)?;
        send_command(&mut self.association, context.id, request)?;
        send_data_set(&mut self.association, context.id, &mut data_set.as_slice())?;
        self.status_of(CommandField::EventReportResponse, message)
    }

    fn establish(options: ClientAssociationOptions<'_>, node: &RemoteNode) -> Result<Self, Error> {
        let association = options.establish(resolve(&node.address)?).context(AssociationSnafu)?;
        Ok(Self { association, last_message: 0 })
    }

    /// C-ECHO: the peer's status.
    pub fn echo(&mut self) -> Result<u16, Error> {
        let context = self.association.presentation_contexts().first().map(|context| context.id);
        let message = self.next_message();
        send_command(&mut self.association, context.unwrap_or(1), echo_request(message)?)?;
        self.status_of(CommandField::EchoResponse, message)
    }

    /// C-STORE of one instance: the peer's status.
    ///
    /// # Errors
    /// [`Error::is_of_the_instance`] tells whether others can still be sent.
    pub fn store(
        &mut self,
        entry: &InstanceEntry,
        originator: Option<&MoveOriginator>,
        limits: TranscodeLimits,
    ) -> Result<u16, Error> {
        let Some(way) = way(self.association.presentation_contexts(), entry) else {
            return NoContextSnafu { sop_class_uid: &entry.sop_class_uid }.fail();
        };
        let message = self.next_message();
        send_instance(&mut self.association, way, entry, message, originator, limits)?;
        self.status_of(CommandField::StoreResponse, message)
    }

    /// Ends the association in good order.
    pub fn release(self) -> Result<(), Error> {
        SyncAssociation::release(self.association).context(AssociationSnafu)
    }

    fn next_message(&mut self) -> u16 {
        self.last_message = self.last_message.wrapping_add(1);
        self.last_message
    }

    fn status_of(&mut self, field: CommandField, message: u16) -> Result<u16, Error> {
        let response = receive_command(&mut self.association)?;
        match response.status {
            Some(status) if response.field == field && response.message_id == message => Ok(status),
            _ => UnexpectedSnafu { what: "something else than the response" }.fail(),
        }
    }
}

/// The SOP class and each transfer syntax that an instance can be sent in.
fn proposals(entry: &InstanceEntry) -> Vec<(&str, &str)> {
    let class = entry.sop_class_uid.as_str();
    let mut syntaxes = vec![entry.transfer_syntax_uid.as_str()];
    if is_decodable(&entry.transfer_syntax_uid) {
        syntaxes.extend([uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN]);
    }
    syntaxes.into_iter().map(|syntax| (class, syntax)).collect()
}

fn options<'a>(node: &'a RemoteNode, calling: &'a str, timeout: Duration) -> ClientAssociationOptions<'a> {
    ClientAssociationOptions::new()
        .calling_ae_title(calling)
        .called_ae_title(node.ae_title.as_str())
        .connection_timeout(timeout)
        .read_timeout(timeout)
        .write_timeout(timeout)
}

fn resolve(address: &str) -> Result<SocketAddr, Error> {
    let found = address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| AddressSnafu { address }.build())
}
