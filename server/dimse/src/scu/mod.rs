//! The calling side: associations that we ask nodes for.

mod commit;
mod find;
mod retrieve;

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use dicom_dictionary_std::uids;
use dicom_ul::association::ClientAssociationOptions;
use dicom_ul::pdu::PresentationContextResultReason;
use engram_archive::InstanceEntry;
use engram_imaging::{TranscodeLimits, is_decodable};

use crate::command::{MoveOriginator, echo_request};
use crate::commitment::{self, Report};
use crate::identifier::{Level, Root};
use crate::link::{Link, linked};
use crate::message::{receive_command, send_command, send_message};
use crate::node::RemoteNode;
use crate::send::{send_instance, way};
use crate::{AddressSnafu, CommandField, Error, NoContextSnafu, UnexpectedSnafu};

pub use commit::Commitments;
pub use find::{Found, Search};
pub use retrieve::{Moved, Wanted};

/// The most presentation contexts that an association can have: their identifiers are odd bytes (PS3.8 9.3.2.2).
const MAX_CONTEXTS: usize = 128;

/// An association that we asked for.
pub struct Outgoing {
    link: Box<dyn Link>,
    last_message: u16,
}

/// A presentation context that the node accepted.
struct Agreed {
    context: u8,
    sop_class_uid: &'static str,
    transfer_syntax: String,
}

impl Outgoing {
    /// Asks a node for an association on which these instances can be stored: as they are, or uncompressed. Of more
    /// kinds than an association has room for, the first.
    ///
    /// # Errors
    /// [`Error::NothingAccepted`] where the node takes none of them; of some, [`Outgoing::accepts`] tells which.
    pub fn to_store(node: &RemoteNode, instances: &[InstanceEntry]) -> Result<Self, Error> {
        let kinds: BTreeSet<(&str, &str)> = instances.iter().flat_map(proposals).collect();
        let kinds = kinds.into_iter().take(MAX_CONTEXTS);
        let options = kinds.fold(options(node), |options, (sop_class, syntax)| {
            options.with_presentation_context(sop_class, vec![syntax])
        });
        Self::establish(options, node)
    }

    /// Asks a node for an association on which it can be asked whether it is there.
    pub fn to_verify(node: &RemoteNode) -> Result<Self, Error> {
        Self::establish(options(node).with_abstract_syntax(uids::VERIFICATION), node)
    }

    /// Asks a node for an association on which its objects can be searched for.
    pub fn to_find(node: &RemoteNode) -> Result<Self, Error> {
        Self::to_query(node, Root::find_class)
    }

    /// Asks a node for an association on which it can be asked to send objects.
    pub fn to_move(node: &RemoteNode) -> Result<Self, Error> {
        Self::to_query(node, Root::move_class)
    }

    fn to_query(node: &RemoteNode, class: fn(Root) -> &'static str) -> Result<Self, Error> {
        let models = [Root::Study, Root::Patient].map(class);
        let options = models.into_iter().fold(options(node), ClientAssociationOptions::with_abstract_syntax);
        Self::establish(options, node)
    }

    /// Asks a node for an association on which it is told of storage commitment; we are the SCP there (PS3.4 J.3.3).
    pub(crate) fn to_report(node: &RemoteNode) -> Result<Self, Error> {
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        let options = options(node).with_abstract_syntax(class);
        Self::establish(options.with_role_selection(class, false, true), node)
    }

    fn establish(options: ClientAssociationOptions<'_>, node: &RemoteNode) -> Result<Self, Error> {
        let addresses = resolve(&node.address)?;
        let link = match &node.tls {
            None => linked(options.establish(addresses.as_slice())?)?,
            Some(tls) => {
                let options = options.tls_config(Arc::clone(&tls.config)).server_name(&tls.server_name);
                linked(options.establish_tls(addresses.as_slice())?)?
            }
        };
        Ok(Self { link, last_message: 0 })
    }

    /// Whether an instance can be sent on this association: its SOP class was accepted, in its transfer syntax or in
    /// one that it can be transcoded to.
    pub fn accepts(&self, entry: &InstanceEntry) -> bool {
        way(self.link.contexts(), entry).is_some()
    }

    /// C-ECHO: the node's status.
    pub fn echo(&mut self) -> Result<u16, Error> {
        let agreed = self.agreed(uids::VERIFICATION)?;
        let message = self.next_message();
        send_command(self.link.as_mut(), agreed.context, &echo_request(message)?)?;
        self.status_of(CommandField::EchoResponse, message)
    }

    /// C-STORE of one instance: the node's status.
    ///
    /// # Errors
    /// [`Error::is_of_the_instance`] tells whether others can still be sent.
    pub fn store(
        &mut self,
        entry: &InstanceEntry,
        originator: Option<&MoveOriginator>,
        limits: TranscodeLimits,
    ) -> Result<u16, Error> {
        let Some(way) = way(self.link.contexts(), entry) else {
            return NoContextSnafu { sop_class_uid: &entry.sop_class_uid }.fail();
        };
        let message = self.next_message();
        send_instance(self.link.as_mut(), way, entry, message, originator, limits)?;
        self.status_of(CommandField::StoreResponse, message)
    }

    /// N-EVENT-REPORT of storage commitment: the node's status.
    pub(crate) fn report(&mut self, report: &Report, ae_title: &str) -> Result<u16, Error> {
        let agreed = self.agreed(uids::STORAGE_COMMITMENT_PUSH_MODEL)?;
        let message = self.next_message();
        let request = commitment::event_request(message, report)?;
        let data_set = report.data_set(ae_title, &agreed.transfer_syntax)?;
        send_message(self.link.as_mut(), agreed.context, &request, &data_set)?;
        self.status_of(CommandField::EventReportResponse, message)
    }

    /// Ends the association in good order.
    pub fn release(self) -> Result<(), Error> {
        self.link.release()
    }

    fn next_message(&mut self) -> u16 {
        self.last_message = self.last_message.wrapping_add(1);
        self.last_message
    }

    fn status_of(&mut self, field: CommandField, message: u16) -> Result<u16, Error> {
        let response = receive_command(self.link.as_mut())?;
        match response.status {
            Some(status) if response.field == field && response.message_id == message => Ok(status),
            _ => UnexpectedSnafu { what: "something else than the response" }.fail(),
        }
    }

    /// The presentation context that was accepted for a SOP class.
    fn agreed(&self, sop_class_uid: &'static str) -> Result<Agreed, Error> {
        let accepted = self.link.contexts().iter().find(|context| {
            context.abstract_syntax == sop_class_uid
                && context.reason == PresentationContextResultReason::Acceptance
        });
        match accepted {
            None => NoContextSnafu { sop_class_uid }.fail(),
            Some(context) => Ok(Agreed {
                context: context.id,
                sop_class_uid,
                transfer_syntax: context.transfer_syntax.clone(),
            }),
        }
    }

    /// The accepted model that has a level: Study Root where the node has both.
    fn model(&self, level: Level, class: fn(Root) -> &'static str) -> Result<Agreed, Error> {
        match level {
            Level::Patient => self.agreed(class(Root::Patient)),
            _ => self.agreed(class(Root::Study)).or_else(|_| self.agreed(class(Root::Patient))),
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

fn options(node: &RemoteNode) -> ClientAssociationOptions<'_> {
    ClientAssociationOptions::new()
        .calling_ae_title(node.calling_ae_title.as_str())
        .called_ae_title(node.ae_title.as_str())
        .connection_timeout(node.timeout)
        .read_timeout(node.timeout)
        .write_timeout(node.timeout)
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, Error> {
    let found: Vec<_> = address.to_socket_addrs().into_iter().flatten().collect();
    match found.is_empty() {
        true => AddressSnafu { address }.fail(),
        false => Ok(found),
    }
}
