//! Commands and data sets over an association, whichever side asked for it.

use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextResultReason};

use crate::link::Link;
use crate::{AbortedSnafu, Command, Error, UnexpectedSnafu};

/// A command set larger than this is no command set.
pub const MAX_COMMAND_BYTES: usize = 64 << 10;

/// Sends a command set, in as many PDUs as the peer's limit asks for.
pub fn send_command(link: &mut dyn Link, context: u8, command: &[u8]) -> Result<(), Error> {
    let mut fragments = command.chunks(link.room()?).peekable();
    while let Some(fragment) = fragments.next() {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: fragments.peek().is_none(),
            data: fragment.to_vec(),
        };
        link.send(&Pdu::PData { data: vec![value] })?;
    }
    Ok(())
}

/// Sends a command set and its data set.
pub fn send_message(
    link: &mut dyn Link,
    context: u8,
    command: &[u8],
    mut data_set: &[u8],
) -> Result<(), Error> {
    send_command(link, context, command)?;
    link.send_data(context, &mut data_set)
}

/// Receives a command that no data set follows.
pub fn receive_command(link: &mut dyn Link) -> Result<Command, Error> {
    let (_, command, values) = receive_command_and_more(link)?;
    match values.is_empty() {
        true => Ok(command),
        false => UnexpectedSnafu { what: "more than the response" }.fail(),
    }
}

/// A command, its presentation context, and its data set, empty where it has none.
pub struct Message {
    /// The presentation context.
    pub context: u8,
    /// The command.
    pub command: Command,
    /// The data set's bytes.
    pub data_set: Vec<u8>,
}

/// Receives a command and the data set that may follow it, of `max_bytes` at the most.
pub fn receive_message(link: &mut dyn Link, max_bytes: usize) -> Result<Message, Error> {
    let (context, command, mut values) = receive_command_and_more(link)?;
    let mut data_set = Vec::new();
    if !command.has_data_set && values.is_empty() {
        return Ok(Message { context, command, data_set });
    }
    loop {
        let mut is_last = false;
        for value in values {
            let fits = data_set.len() + value.data.len() <= max_bytes;
            let is_mine = value.value_type == PDataValueType::Data && command.has_data_set && !is_last;
            if !is_mine || !fits {
                return UnexpectedSnafu { what: "a data set that is none, or too large" }.fail();
            }
            data_set.extend_from_slice(&value.data);
            is_last = value.is_last;
        }
        if is_last {
            return Ok(Message { context, command, data_set });
        }
        values = receive_values(link)?;
    }
}

/// A command, its presentation context, and what its last PDU held behind it.
fn receive_command_and_more(link: &mut dyn Link) -> Result<(u8, Command, Vec<PDataValue>), Error> {
    let mut bytes = Vec::new();
    loop {
        let mut values = receive_values(link)?.into_iter();
        while let Some(value) = values.next() {
            let fits = bytes.len() + value.data.len() <= MAX_COMMAND_BYTES;
            if value.value_type != PDataValueType::Command || !fits {
                return UnexpectedSnafu { what: "a data set where a command must be" }.fail();
            }
            bytes.extend_from_slice(&value.data);
            if value.is_last {
                return Ok((value.presentation_context_id, Command::parse(&bytes)?, values.collect()));
            }
        }
    }
}

fn receive_values(link: &mut dyn Link) -> Result<Vec<PDataValue>, Error> {
    match link.receive()? {
        Pdu::PData { data } => Ok(data),
        Pdu::AbortRQ { .. } => AbortedSnafu.fail(),
        other => UnexpectedSnafu { what: other.short_description().to_string() }.fail(),
    }
}

/// The transfer syntax that was agreed on for a presentation context.
pub fn transfer_syntax_of(link: &dyn Link, context: u8) -> Result<String, Error> {
    let accepted = |c: &&dicom_ul::pdu::PresentationContextNegotiated| {
        c.id == context && c.reason == PresentationContextResultReason::Acceptance
    };
    match link.contexts().iter().find(accepted) {
        Some(context) => Ok(context.transfer_syntax.clone()),
        None => UnexpectedSnafu { what: "data on a presentation context that was not agreed" }.fail(),
    }
}
