//! C-FIND as its SCU (PS3.4 C.4.1.2).

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Outgoing;
use crate::command::{cancel_request, find_request};
use crate::encoding::{decode, encode};
use crate::identifier::{Level, Root};
use crate::message::{Message, receive_message, send_command, send_message};
use crate::{CommandField, Error, RefusedSnafu, UnexpectedSnafu};

/// Bytes of one match at the most.
const MAX_MATCH_BYTES: usize = 1 << 20;
/// Bytes of all matches that are held together at the most.
const MAX_BYTES: usize = 64 << 20;
/// Matches that may still come once the node was asked to end.
const MAX_AFTER_CANCEL: usize = 1000;
/// Status: matches go on.
const PENDING: u16 = 0xFF00;
/// Status: matches go on, and some optional keys are not supported.
const PENDING_WITHOUT_SOME_KEYS: u16 = 0xFF01;

/// What to search a node for.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Query/Retrieve Level.
    pub level: Level,
    /// What matches must have, and what they are to tell. Text in UTF-8; Query/Retrieve Level and Specific Character
    /// Set are put in.
    pub keys: InMemDicomObject,
}

/// What a node has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The matches, in the node's order.
    pub matches: Vec<InMemDicomObject>,
    /// Whether there are no more.
    pub is_complete: bool,
}

impl Search {
    pub(crate) fn data_set(&self, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
        let mut object = self.keys.clone();
        let text = |tag, value: &str| DataElement::new(tag, VR::CS, PrimitiveValue::from(value));
        object.put(text(tags::QUERY_RETRIEVE_LEVEL, self.level.text()));
        object.put(text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"));
        encode(&object, transfer_syntax)
    }
}

impl Outgoing {
    /// C-FIND: at most `limit` matches, and as many as memory has been set aside for. Where the node has more, it is
    /// asked to end. The association ends with it.
    ///
    /// # Errors
    /// [`Error::Refused`] with the node's status.
    pub fn find(mut self, search: &Search, limit: usize) -> Result<Found, Error> {
        let model = self.model(search.level, Root::find_class)?;
        let message = self.next_message();
        let request = find_request(message, model.sop_class_uid)?;
        let identifier = search.data_set(&model.transfer_syntax)?;
        send_message(self.link.as_mut(), model.context, &request, &identifier)?;
        let mut found = Found::default();
        let mut bytes = 0;
        loop {
            let Some(data_set) = self.next_match(message)? else {
                found.is_complete = true;
                self.release()?;
                return Ok(found);
            };
            bytes += data_set.len();
            if found.matches.len() == limit || bytes > MAX_BYTES {
                self.end_find(model.context, message)?;
                return Ok(found);
            }
            found.matches.push(decode(&data_set, &model.transfer_syntax)?);
        }
    }

    /// The next match's data set; `None` where there are no more.
    fn next_match(&mut self, message: u16) -> Result<Option<Vec<u8>>, Error> {
        let Message { command, data_set, .. } = receive_message(self.link.as_mut(), MAX_MATCH_BYTES)?;
        match command.status {
            Some(status) if command.field == CommandField::FindResponse && command.message_id == message => {
                match status {
                    PENDING | PENDING_WITHOUT_SOME_KEYS => Ok(Some(data_set)),
                    0 => Ok(None),
                    _ => RefusedSnafu { status, comment: command.comment }.fail(),
                }
            }
            _ => UnexpectedSnafu { what: "something else than the response" }.fail(),
        }
    }

    /// Asks the node to end, and hears it out as long as it does so soon.
    fn end_find(mut self, context: u8, message: u16) -> Result<(), Error> {
        send_command(self.link.as_mut(), context, &cancel_request(message)?)?;
        for _ in 0..MAX_AFTER_CANCEL {
            match self.next_match(message) {
                Ok(Some(_)) => {}
                Ok(None) | Err(Error::Refused { .. }) => return self.release(),
                Err(error) => return Err(error),
            }
        }
        self.link.abort();
        Ok(())
    }
}
