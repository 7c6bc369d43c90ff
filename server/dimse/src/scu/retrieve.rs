//! C-MOVE as its SCU (PS3.4 C.4.2.2): a node is asked to send objects to another.

use std::time::{Duration, Instant};

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Outgoing;
use crate::command::{SubOperations, cancel_request, move_request};
use crate::encoding::{decode, encode};
use crate::identifier::{Level, Root};
use crate::message::{Message, receive_message, send_command, send_message};
use crate::retrieve::PENDING;
use crate::{CommandField, Error, SilentSnafu, UnexpectedSnafu};

/// Bytes of the list of what could not be sent, at the most.
const MAX_FAILED_BYTES: usize = 8 << 20;
/// How often is looked whether to go on.
const LOOK: Duration = Duration::from_millis(250);
/// How long a node may say nothing of how it goes: it need not (PS3.7 9.1.4.1), and may have much to send.
const MAX_SILENCE: Duration = Duration::from_secs(3600);

/// How long a node that was asked to end may take to do so.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// What to retrieve: a study, series of it, or instances of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID; one where instances are named; none for the whole study.
    pub series: Vec<String>,
    /// SOPInstanceUIDs; none for whole series.
    pub instances: Vec<String>,
}

/// How a C-MOVE ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The node's last status.
    pub status: u16,
    /// Its Error Comment; empty where it has none.
    pub comment: String,
    /// How many instances were sent, as far as it told.
    pub counts: SubOperations,
    /// SOPInstanceUIDs of what could not be sent, as far as it told.
    pub failed: Vec<String>,
}

impl Wanted {
    fn level(&self) -> Level {
        match (self.series.is_empty(), self.instances.is_empty()) {
            (true, _) => Level::Study,
            (false, true) => Level::Series,
            (false, false) => Level::Image,
        }
    }

    fn data_set(&self, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
        let uids = |tag: Tag, uids: &[String]| {
            DataElement::new(tag, VR::UI, PrimitiveValue::Strs(uids.iter().cloned().collect()))
        };
        let level = PrimitiveValue::from(self.level().text());
        let mut object = InMemDicomObject::from_element_iter([
            DataElement::new(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level),
            uids(tags::STUDY_INSTANCE_UID, std::slice::from_ref(&self.study)),
        ]);
        for (tag, named) in
            [(tags::SERIES_INSTANCE_UID, &self.series), (tags::SOP_INSTANCE_UID, &self.instances)]
        {
            if !named.is_empty() {
                object.put(uids(tag, named));
            }
        }
        encode(&object, transfer_syntax)
    }
}

impl Outgoing {
    /// C-MOVE to the node that has the AE title `destination` there. `go_on` is told how it stands, again and again;
    /// once it answers no, the node is asked to end. The association ends with it.
    ///
    /// # Errors
    /// The association broke, or the node was silent. That it refused, or could not send everything, is no error here
    /// but stands in what is returned.
    pub fn move_to(
        mut self,
        destination: &str,
        wanted: &Wanted,
        mut go_on: impl FnMut(SubOperations) -> bool,
    ) -> Result<Moved, Error> {
        let model = self.model(wanted.level(), Root::move_class)?;
        let message = self.next_message();
        let request = move_request(message, model.sop_class_uid, destination)?;
        let identifier = wanted.data_set(&model.transfer_syntax)?;
        send_message(self.link.as_mut(), model.context, &request, &identifier)?;
        let mut counts = SubOperations::default();
        let (mut heard, mut patience, mut is_ending) = (Instant::now(), MAX_SILENCE, false);
        loop {
            if self.link.has_received(LOOK)? {
                let response = receive_message(self.link.as_mut(), MAX_FAILED_BYTES)?;
                let status = status_of(&response, message)?;
                heard = Instant::now();
                if status != PENDING {
                    let moved = ended(status, response, &model.transfer_syntax);
                    self.release()?;
                    return Ok(moved);
                }
                counts = response.command.sub_operations;
            }
            if heard.elapsed() > patience {
                self.link.abort();
                return SilentSnafu.fail();
            }
            if !is_ending && !go_on(counts) {
                send_command(self.link.as_mut(), model.context, &cancel_request(message)?)?;
                (heard, patience, is_ending) = (Instant::now(), CANCEL_PATIENCE, true);
            }
        }
    }
}

fn status_of(response: &Message, message: u16) -> Result<u16, Error> {
    let command = &response.command;
    match command.status {
        Some(status) if command.field == CommandField::MoveResponse && command.message_id == message => {
            Ok(status)
        }
        _ => UnexpectedSnafu { what: "something else than the response" }.fail(),
    }
}

/// The last response. A list of what failed that does not read is taken for none.
fn ended(status: u16, response: Message, transfer_syntax: &str) -> Moved {
    let Message { command, data_set, .. } = response;
    let list = decode(&data_set, transfer_syntax).ok();
    let failed = list.as_ref().and_then(|list| list.get(tags::FAILED_SOP_INSTANCE_UID_LIST));
    let failed = failed.and_then(|element| element.to_multi_str().ok());
    let trimmed = |uid: &String| uid.trim_end_matches(['\0', ' ']).to_owned();
    Moved {
        status,
        comment: command.comment,
        counts: command.sub_operations,
        failed: failed
            .iter()
            .flat_map(|uids| uids.iter())
            .map(trimmed)
            .filter(|uid| !uid.is_empty())
            .collect(),
    }
}
