//! One association from its establishment to its end: messages in, services out.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_object::FileMetaTableBuilder;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use engram_archive::InstanceEntry;

use crate::command::{MoveOriginator, Response};
use crate::commitment::{self, MAX_BYTES, Report};
use crate::find::{data_set, find};
use crate::identifier::{Identifier, Root, UNABLE_TO_PROCESS};
use crate::link::Link;
use crate::message::{MAX_COMMAND_BYTES, receive_command, send_command, send_message, transfer_syntax_of};
use crate::node::RemoteNode;
use crate::retrieve::{CANCELLED, PENDING, Tally, instances};
use crate::scp::{ScpOptions, Served};
use crate::scu::Outgoing;
use crate::send::{send_instance, way};
use crate::{
    Asked, BadCommandSnafu, Command, CommandField, Error, Named, NoContextSnafu, Peer, Receiver, Refusal,
    UnexpectedSnafu,
};

/// Status: success (PS3.7 C.1).
const SUCCESS: u16 = 0;
/// Status: SOP class not supported (PS3.7 C.5.23).
const SOP_CLASS_NOT_SUPPORTED: u16 = 0x0122;
/// Status: unrecognised operation (PS3.7 C.5.25).
const UNRECOGNISED_OPERATION: u16 = 0x0211;
/// Status: processing failure (PS3.7 C.5.21).
const PROCESSING_FAILURE: u16 = 0x0110;
/// Status: no such action (PS3.7 C.5.17).
const NO_SUCH_ACTION: u16 = 0x0123;
/// Status of C-MOVE: move destination unknown (PS3.4 Table C.4-2).
const UNKNOWN_DESTINATION: u16 = 0xA801;
/// Status of C-MOVE and C-GET: sub-operations cannot be performed.
const UNABLE_TO_PERFORM: u16 = 0xA702;
/// Status: cannot understand (PS3.4 B.2.3).
const CANNOT_UNDERSTAND: u16 = 0xC000;

/// An association's state between PDUs.
pub struct Conversation<'a, R: Receiver> {
    served: &'a Served<R>,
    link: Box<dyn Link>,
    peer: Peer,
    command_bytes: Vec<u8>,
    pending: Option<Pending<R::Instance>>,
}

/// A request whose data set is still arriving.
enum Pending<I> {
    /// A C-STORE. A refusal waits until the data set has passed.
    Store { command: Command, instance: Result<I, Refusal>, bytes: u64 },
    /// A request with an identifier.
    Identifier { command: Command, bytes: Vec<u8> },
}

impl<'a, R: Receiver> Conversation<'a, R> {
    /// Begins.
    pub fn new(served: &'a Served<R>, link: Box<dyn Link>, address: SocketAddr) -> Self {
        let peer = Peer::new(link.peer_ae_title(), address);
        Self { served, link, peer, command_bytes: Vec::new(), pending: None }
    }

    /// Answers the peer until it releases the association, or aborts it. What is no conversation is aborted.
    pub fn hold(mut self) -> Result<(), Error> {
        let outcome = self.converse();
        match outcome {
            Ok(()) | Err(Error::Aborted) => {}
            Err(_) => self.link.abort(),
        }
        outcome
    }

    fn converse(&mut self) -> Result<(), Error> {
        loop {
            match self.link.receive()? {
                Pdu::PData { data } => {
                    for value in data {
                        self.take(value)?;
                    }
                }
                Pdu::ReleaseRQ => return self.link.send(&Pdu::ReleaseRP),
                Pdu::AbortRQ { .. } => return Ok(()),
                other => return UnexpectedSnafu { what: other.short_description().to_string() }.fail(),
            }
        }
    }

    fn take(&mut self, value: PDataValue) -> Result<(), Error> {
        match value.value_type {
            PDataValueType::Command => self.take_command(value),
            PDataValueType::Data => self.take_data(value),
        }
    }

    fn take_command(&mut self, value: PDataValue) -> Result<(), Error> {
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
            CommandField::Echo => self.reply(context, &command, &Response::of(SUCCESS)),
            CommandField::Store if command.has_data_set => {
                let instance = self.begin(context, &command)?;
                self.pending = Some(Pending::Store { command, instance, bytes: 0 });
                Ok(())
            }
            CommandField::Find
            | CommandField::Get
            | CommandField::Move
            | CommandField::Action
            | CommandField::EventReport
                if command.has_data_set =>
            {
                self.pending = Some(Pending::Identifier { command, bytes: Vec::new() });
                Ok(())
            }
            CommandField::Store
            | CommandField::Find
            | CommandField::Get
            | CommandField::Move
            | CommandField::Action
            | CommandField::EventReport => {
                BadCommandSnafu { problem: "a request without its data set" }.fail()
            }
            // It came too late: what it was to end has ended.
            CommandField::Cancel => Ok(()),
            field if field.is_response() => UnexpectedSnafu { what: "a response to nothing" }.fail(),
            field if command.has_data_set => {
                let what = format!("command {:#06x} with a data set", field.number());
                UnexpectedSnafu { what }.fail()
            }
            _ => self.reply(context, &command, &Response::of(UNRECOGNISED_OPERATION)),
        }
    }

    fn take_data(&mut self, value: PDataValue) -> Result<(), Error> {
        let context = value.presentation_context_id;
        match self.pending.take() {
            None => UnexpectedSnafu { what: "a data set without a command" }.fail(),
            Some(Pending::Store { command, mut instance, bytes }) => {
                let bytes = bytes + value.data.len() as u64;
                if let Ok(incoming) = &mut instance
                    && let Err(error) = incoming.write_all(&value.data)
                {
                    instance = Err(out_of_resources(&error));
                }
                if value.is_last {
                    return self.stored(context, &command, instance, bytes);
                }
                self.pending = Some(Pending::Store { command, instance, bytes });
                Ok(())
            }
            Some(Pending::Identifier { command, mut bytes }) => {
                if bytes.len() + value.data.len() > MAX_BYTES {
                    return UnexpectedSnafu { what: "an identifier beyond all bounds" }.fail();
                }
                bytes.extend_from_slice(&value.data);
                if value.is_last {
                    return match command.field {
                        CommandField::Action => self.commit(context, &command, &bytes),
                        CommandField::EventReport => self.hear(context, &command, &bytes),
                        _ => self.answer(context, &command, &bytes),
                    };
                }
                self.pending = Some(Pending::Identifier { command, bytes });
                Ok(())
            }
        }
    }

    /// Opens the instance and writes the Part 10 header that C-STORE leaves out (PS3.10 7.1).
    fn begin(&self, context: u8, command: &Command) -> Result<Result<R::Instance, Refusal>, Error> {
        let transfer_syntax = self.agreed(context)?;
        let header = match part10_header(command, &transfer_syntax) {
            Ok(header) => header,
            Err(comment) => return Ok(Err(Refusal { status: CANNOT_UNDERSTAND, comment })),
        };
        Ok(self.served.receiver.begin().and_then(|mut instance| {
            instance.write_all(&header).map(|()| instance).map_err(|e| out_of_resources(&e))
        }))
    }

    fn stored(
        &mut self,
        context: u8,
        command: &Command,
        instance: Result<R::Instance, Refusal>,
        bytes: u64,
    ) -> Result<(), Error> {
        let outcome = instance.and_then(|instance| self.served.receiver.finish(&self.peer, instance));
        let response = match outcome {
            Ok(()) => Response::of(SUCCESS),
            Err(refusal) => refusal.into(),
        };
        let named = Named { sop_instance_uid: command.sop_instance_uid.clone(), bytes };
        self.served.receiver.stored(&self.peer, &named, response.status);
        self.reply(context, command, &response)
    }

    /// Answers a request for storage commitment, and reports.
    fn commit(&mut self, context: u8, command: &Command, bytes: &[u8]) -> Result<(), Error> {
        if command.sop_class_uid != uids::STORAGE_COMMITMENT_PUSH_MODEL {
            return self.reply(context, command, &Response::of(SOP_CLASS_NOT_SUPPORTED));
        }
        if command.action_type != Some(commitment::REQUEST) {
            return self.reply(context, command, &Response::of(NO_SUCH_ACTION));
        }
        let transfer_syntax = self.agreed(context)?;
        let request = match commitment::Request::read(bytes, &transfer_syntax) {
            Ok(request) => request,
            Err(refusal) => return self.reply(context, command, &refusal.into()),
        };
        let key = request.transaction_uid.clone();
        let owed = self.owed_to_a_node(&request);
        let reported = owed.and_then(|owed| Ok((owed, Report::of(&self.served.archive, request)?)));
        let (owed, report) = match reported {
            Ok(reported) => reported,
            Err(error) => {
                let failure = Response::failure(PROCESSING_FAILURE, error.to_string());
                return self.reply(context, command, &failure);
            }
        };
        let (service, instances) = (command.field, report.kept());
        let asked = Asked { service, level: "", key, instances, status: SUCCESS };
        self.served.receiver.asked(&self.peer, &asked);
        let told = self
            .reply(context, command, &Response::of(SUCCESS))
            .and_then(|()| self.report(context, &transfer_syntax, &report));
        if let Some(id) = owed {
            match &told {
                Ok(()) => self.served.reports.settle(id)?,
                Err(_) => self.served.reports.put_off(id)?,
            }
        }
        told
    }

    /// Takes on the report that is owed to the node that the peer is; `None` where it is none that is configured, which
    /// can be told on this association alone.
    fn owed_to_a_node(&self, request: &commitment::Request) -> Result<Option<u64>, Error> {
        match self.node() {
            None => Ok(None),
            Some(node) => self.served.reports.owe(&node.ae_title, request).map(Some),
        }
    }

    /// The node that the peer's AE title names.
    fn node(&self) -> Option<&'a RemoteNode> {
        self.served.options.nodes.iter().find(|node| node.ae_title == self.peer.ae_title)
    }

    /// Reports to the node that the peer's AE title names, on an association of its own; where none is configured or it
    /// does not answer, on this one.
    fn report(&mut self, context: u8, transfer_syntax: &str, report: &Report) -> Result<(), Error> {
        let options = &self.served.options;
        if let Some(node) = self.node() {
            match report_to(node, options, report) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, node = node.name, "could not report storage commitment to the node");
                }
            }
        }
        let message = 1;
        let data_set = report.data_set(&options.ae_title, transfer_syntax)?;
        let request = commitment::event_request(message, report)?;
        send_message(self.link.as_mut(), context, &request, &data_set)?;
        let response = receive_command(self.link.as_mut())?;
        match (response.field, response.status) {
            (CommandField::EventReportResponse, Some(status)) if response.message_id == message => {
                if status != SUCCESS {
                    tracing::warn!(status, "a peer did not take the report of storage commitment");
                }
                Ok(())
            }
            _ => UnexpectedSnafu { what: "something else than the response" }.fail(),
        }
    }

    /// Takes a node's report on what we asked it to keep.
    fn hear(&mut self, context: u8, command: &Command, bytes: &[u8]) -> Result<(), Error> {
        if command.sop_class_uid != uids::STORAGE_COMMITMENT_PUSH_MODEL {
            return self.reply(context, command, &Response::of(SOP_CLASS_NOT_SUPPORTED));
        }
        let report = Report::read(bytes, &self.agreed(context)?)?;
        let response = match self.served.commitments.take(report) {
            true => Response::of(SUCCESS),
            false => Response::failure(PROCESSING_FAILURE, "nobody waits for this transaction"),
        };
        self.reply(context, command, &response)
    }

    /// Answers a request with an identifier.
    fn answer(&mut self, context: u8, command: &Command, bytes: &[u8]) -> Result<(), Error> {
        let root = Root::of_sop_class(&command.sop_class_uid).filter(|_| self.served.options.query_retrieve);
        let Some(root) = root else {
            return self.reply(context, command, &Response::of(SOP_CLASS_NOT_SUPPORTED));
        };
        let transfer_syntax = self.agreed(context)?;
        let identifier = Identifier::read(bytes, &transfer_syntax, root);
        let asked = match command.field {
            CommandField::Find => identifier,
            _ => identifier.and_then(Identifier::for_retrieval),
        };
        let identifier = match asked {
            Ok(identifier) => identifier,
            Err(refusal) => return self.reply(context, command, &refusal.into()),
        };
        let request = Request { context, command, transfer_syntax, identifier };
        let outcome = match command.field {
            CommandField::Find => self.find(&request),
            CommandField::Get => self.get(&request),
            _ => self.move_to(&request),
        };
        match outcome {
            // The archive's trouble is no reason to hang up.
            Err(error @ Error::Archive { .. }) => {
                let comment = error.to_string();
                self.end(&request, &Response::failure(UNABLE_TO_PROCESS, comment), None, 0)
            }
            outcome => outcome,
        }
    }

    fn find(&mut self, request: &Request) -> Result<(), Error> {
        let archive = self.served.archive.clone();
        let (mut count, mut is_cancelled) = (0, false);
        let pending = Response { has_data_set: true, ..Response::of(PENDING) };
        find(&archive, &request.identifier, |found| {
            is_cancelled = self.is_cancelled(request)?;
            if is_cancelled {
                return Ok(false);
            }
            let ae_title = &self.served.options.ae_title;
            let data_set = data_set(&request.identifier, found, ae_title, &request.transfer_syntax)?;
            self.reply(request.context, request.command, &pending)?;
            self.link.send_data(request.context, &mut data_set.as_slice())?;
            count += 1;
            Ok(true)
        })?;
        let status = if is_cancelled { CANCELLED } else { SUCCESS };
        self.end(request, &Response::of(status), None, count)
    }

    /// C-GET: instances come back on the same association, to a peer that takes the SCP's role for them.
    fn get(&mut self, request: &Request) -> Result<(), Error> {
        let entries = instances(&self.served.archive, &request.identifier)?;
        let mut message = request.command.message_id;
        let mut cancelled = false;
        self.send_all(request, &entries, |this, entry| {
            message = message.wrapping_add(1);
            let contexts = this.link.contexts().iter();
            let as_scp = contexts.filter(|c| this.link.requestor_is_scp_of(&c.abstract_syntax));
            let Some(way) = way(as_scp, entry) else {
                return NoContextSnafu { sop_class_uid: &entry.sop_class_uid }.fail();
            };
            let limits = this.served.options.transcoding;
            send_instance(this.link.as_mut(), way, entry, message, None, limits)?;
            let status = this.store_status(message, &mut cancelled)?;
            Ok((status, cancelled))
        })
    }

    /// C-MOVE: instances go to a node that is configured, on an association of their own.
    fn move_to(&mut self, request: &Request) -> Result<(), Error> {
        let options = &self.served.options;
        let destination = &request.command.move_destination;
        let Some(node) = options.nodes.iter().find(|node| node.ae_title == *destination) else {
            let comment = format!("no node {destination} is configured");
            return self.end(request, &Response::failure(UNKNOWN_DESTINATION, comment), None, 0);
        };
        let entries = instances(&self.served.archive, &request.identifier)?;
        if entries.is_empty() {
            return self.end(request, &Tally::of(0).end(false, &request.transfer_syntax)?.0, None, 0);
        }
        let mut outgoing = match Outgoing::to_store(node, &entries) {
            Ok(outgoing) => outgoing,
            Err(error) => {
                tracing::warn!(%error, destination, "could not reach a C-MOVE's destination");
                let comment = format!("could not reach {destination}");
                return self.end(request, &Response::failure(UNABLE_TO_PERFORM, comment), None, 0);
            }
        };
        let originator =
            MoveOriginator { ae_title: self.peer.ae_title.clone(), message_id: request.command.message_id };
        self.send_all(request, &entries, |this, entry| {
            let status = outgoing.store(entry, Some(&originator), this.served.options.transcoding)?;
            Ok((status, this.is_cancelled(request)?))
        })?;
        if let Err(error) = outgoing.release() {
            tracing::warn!(%error, destination, "a C-MOVE's destination did not end in good order");
        }
        Ok(())
    }

    /// Sends instances one by one and tells the peer how it goes. `send` answers the status, and whether the peer wants
    /// no more.
    fn send_all(
        &mut self,
        request: &Request,
        entries: &[InstanceEntry],
        mut send: impl FnMut(&mut Self, &InstanceEntry) -> Result<(u16, bool), Error>,
    ) -> Result<(), Error> {
        let mut tally = Tally::of(entries.len());
        let mut is_cancelled = false;
        for (index, entry) in entries.iter().enumerate() {
            match send(self, entry) {
                Ok((status, cancelled)) => {
                    tally.count(entry, Some(status));
                    is_cancelled = cancelled;
                }
                Err(error) if error.is_of_the_instance() => {
                    tracing::warn!(%error, sop_instance = entry.uids.sop_instance_uid, "could not send an instance");
                    tally.count(entry, None);
                }
                Err(error) => return Err(error),
            }
            if is_cancelled {
                break;
            }
            if index + 1 < entries.len() {
                self.reply(request.context, request.command, &tally.pending())?;
            }
        }
        let (response, data_set) = tally.end(is_cancelled, &request.transfer_syntax)?;
        self.end(request, &response, data_set, tally.sent())
    }

    /// The last response to a request, and a line in the audit log.
    fn end(
        &mut self,
        request: &Request,
        response: &Response,
        data_set: Option<Vec<u8>>,
        instances: u64,
    ) -> Result<(), Error> {
        let level = request.identifier.level;
        let asked = Asked {
            service: request.command.field,
            level: level.text(),
            key: request.identifier.value(level.unique_key()).to_owned(),
            instances,
            status: response.status,
        };
        self.served.receiver.asked(&self.peer, &asked);
        self.reply(request.context, request.command, response)?;
        match data_set {
            Some(data_set) => self.link.send_data(request.context, &mut data_set.as_slice()),
            None => Ok(()),
        }
    }

    /// The status of our C-STORE on this association. A C-CANCEL may come first.
    fn store_status(&mut self, message: u16, cancelled: &mut bool) -> Result<u16, Error> {
        loop {
            let command = receive_command(self.link.as_mut())?;
            match (command.field, command.status) {
                (CommandField::Cancel, _) => *cancelled = true,
                (CommandField::StoreResponse, Some(status)) if command.message_id == message => {
                    return Ok(status);
                }
                _ => return UnexpectedSnafu { what: "something else than the response" }.fail(),
            }
        }
    }

    /// Whether the peer has sent a C-CANCEL of the request. Does not wait.
    fn is_cancelled(&mut self, request: &Request) -> Result<bool, Error> {
        if !self.link.has_received(Duration::ZERO)? {
            return Ok(false);
        }
        let command = receive_command(self.link.as_mut())?;
        match command.field {
            CommandField::Cancel => Ok(command.message_id == request.command.message_id),
            _ => UnexpectedSnafu { what: "another request before the response to the first" }.fail(),
        }
    }

    fn agreed(&self, context: u8) -> Result<String, Error> {
        transfer_syntax_of(self.link.as_ref(), context)
    }

    fn reply(&mut self, context: u8, command: &Command, response: &Response) -> Result<(), Error> {
        send_command(self.link.as_mut(), context, &command.response(response)?)
    }
}

/// A request with an identifier.
struct Request<'c> {
    context: u8,
    command: &'c Command,
    transfer_syntax: String,
    identifier: Identifier,
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::failure(refusal.status, refusal.comment)
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

/// Reports storage commitment on an association of its own.
pub fn report_to(node: &RemoteNode, options: &ScpOptions, report: &Report) -> Result<(), Error> {
    let mut outgoing = Outgoing::to_report(node)?;
    let status = outgoing.report(report, &options.ae_title)?;
    if status != SUCCESS {
        tracing::warn!(status, node = node.name, "a node did not take the report of storage commitment");
    }
    outgoing.release()
}

fn out_of_resources(error: &std::io::Error) -> Refusal {
    Refusal { status: 0xA700, comment: error.to_string() }
}
