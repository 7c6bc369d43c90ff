//! Commands and data sets over an association, whichever side asked for it.

use std::io::{Read, Write};
use std::net::TcpStream;

use dicom_ul::association::SyncAssociation;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextResultReason};
use snafu::ResultExt;

use crate::{AssociationSnafu, Command, Error, SendSnafu, UnexpectedSnafu};

/// A command set larger than this is no command set.
pub const MAX_COMMAND_BYTES: usize = 64 << 10;

/// Sends a command set.
pub fn send_command<A: SyncAssociation<TcpStream>>(
    association: &mut A,
    context: u8,
    command: Vec<u8>,
) -> Result<(), Error> {
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data: command,
    };
    SyncAssociation::send(association, &Pdu::PData { data: vec![value] }).context(AssociationSnafu)
}

/// Sends a data set, in as many PDUs as the peer's limit asks for.
pub fn send_data_set<A: SyncAssociation<TcpStream>>(
    association: &mut A,
    context: u8,
    data_set: &mut impl Read,
) -> Result<(), Error> {
    let mut writer = association.send_pdata(context);
    if let Err(source) = std::io::copy(data_set, &mut writer) {
        // What was sent is no data set: the association cannot go on, and the writer must not end it as if it were.
        writer.abandon();
        return Err(source).context(SendSnafu);
    }
    writer.flush().and_then(|()| writer.finish()).context(SendSnafu)
}

/// Receives a command that no data set follows.
pub fn receive_command<A: SyncAssociation<TcpStream>>(association: &mut A) -> Result<Command, Error> {
    let mut bytes = Vec::new();
    loop {
        let values = match SyncAssociation::receive(association).context(AssociationSnafu)? {
            Pdu::PData { data } => data,
            other => return UnexpectedSnafu { what: other.short_description().to_string() }.fail(),
        };
        let count = values.len();
        for (index, value) in values.into_iter().enumerate() {
            let fits = bytes.len() + value.data.len() <= MAX_COMMAND_BYTES;
            if value.value_type != PDataValueType::Command || !fits {
                return UnexpectedSnafu { what: "a data set where a response must be" }.fail();
            }
            bytes.extend_from_slice(&value.data);
            if value.is_last {
                if index + 1 < count {
                    return UnexpectedSnafu { what: "more than the response" }.fail();
                }
                return Command::parse(&bytes);
            }
        }
    }
}

/// The transfer syntax that was agreed on for a presentation context.
pub fn transfer_syntax_of<A: SyncAssociation<TcpStream>>(association: &A, context: u8) -> Option<String> {
    association
        .presentation_contexts()
        .iter()
        .find(|c| c.id == context && c.reason == PresentationContextResultReason::Acceptance)
        .map(|c| c.transfer_syntax.clone())
}
