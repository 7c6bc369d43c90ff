//! DIMSE command sets (PS3.7 6.3.1, Annex E), always in Implicit VR Little Endian.

use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::Endianness;
use dicom_object::{InMemDicomObject, StandardDataDictionary};
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use snafu::ResultExt;

use crate::bounds::{Encoding, check};
use crate::{BadCommandSnafu, Error, WriteCommandSnafu};

/// Command Data Set Type (0000,0800) when no data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// Command Data Set Type (0000,0800) when one follows: any other value.
const DATA_SET: u16 = 0x0000;
/// Priority (0000,0700): medium.
const MEDIUM: u16 = 0;
/// What makes a Command Field that of a response.
const RESPONSE: u16 = 0x8000;

/// Which service a command is of (PS3.7 Table E.1-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandField {
    /// C-STORE-RQ
    Store,
    /// C-STORE-RSP
    StoreResponse,
    /// C-GET-RQ
    Get,
    /// C-GET-RSP
    GetResponse,
    /// C-FIND-RQ
    Find,
    /// C-FIND-RSP
    FindResponse,
    /// C-MOVE-RQ
    Move,
    /// C-MOVE-RSP
    MoveResponse,
    /// C-ECHO-RQ
    Echo,
    /// C-ECHO-RSP
    EchoResponse,
    /// C-CANCEL-RQ
    Cancel,
    /// N-EVENT-REPORT-RQ
    EventReport,
    /// N-EVENT-REPORT-RSP
    EventReportResponse,
    /// N-ACTION-RQ
    Action,
    /// N-ACTION-RSP
    ActionResponse,
    /// Anything else, by its number.
    Other(u16),
}

impl CommandField {
    fn of(number: u16) -> Self {
        match number {
            0x0001 => Self::Store,
            0x8001 => Self::StoreResponse,
            0x0010 => Self::Get,
            0x8010 => Self::GetResponse,
            0x0020 => Self::Find,
            0x8020 => Self::FindResponse,
            0x0021 => Self::Move,
            0x8021 => Self::MoveResponse,
            0x0030 => Self::Echo,
            0x8030 => Self::EchoResponse,
            0x0FFF => Self::Cancel,
            0x0100 => Self::EventReport,
            0x8100 => Self::EventReportResponse,
            0x0130 => Self::Action,
            0x8130 => Self::ActionResponse,
            other => Self::Other(other),
        }
    }

    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::Store => 0x0001,
            Self::StoreResponse => 0x8001,
            Self::Get => 0x0010,
            Self::GetResponse => 0x8010,
            Self::Find => 0x0020,
            Self::FindResponse => 0x8020,
            Self::Move => 0x0021,
            Self::MoveResponse => 0x8021,
            Self::Echo => 0x0030,
            Self::EchoResponse => 0x8030,
            Self::Cancel => 0x0FFF,
            Self::EventReport => 0x0100,
            Self::EventReportResponse => 0x8100,
            Self::Action => 0x0130,
            Self::ActionResponse => 0x8130,
            Self::Other(number) => number,
        }
    }

    /// Whether it answers a request.
    pub fn is_response(self) -> bool {
        self.number() & RESPONSE != 0
    }
}

/// What we need to know of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The service.
    pub field: CommandField,
    /// Affected SOP Class UID, or the one that an N-ACTION requests.
    pub sop_class_uid: String,
    /// Affected SOP Instance UID, or the one that an N-ACTION requests; empty where the service has none.
    pub sop_instance_uid: String,
    /// Message ID of a request; of a response or a C-CANCEL, of the request that it belongs to.
    pub message_id: u16,
    /// Whether a data set follows.
    pub has_data_set: bool,
    /// Move Destination (0000,0600) of a C-MOVE, an AE title; else empty.
    pub move_destination: String,
    /// Action Type ID (0000,1008) of an N-ACTION.
    pub action_type: Option<u16>,
    /// Event Type ID (0000,1002) of an N-EVENT-REPORT.
    pub event_type: Option<u16>,
    /// Status (0000,0900) of a response.
    pub status: Option<u16>,
    /// Error Comment (0000,0902) of a response; empty where there is none.
    pub comment: String,
    /// The counts of a C-GET's or C-MOVE's response; 0 where it does not say.
    pub sub_operations: SubOperations,
}

/// How a request stands or ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status; 0 for success.
    pub status: u16,
    /// Words for Error Comment (0000,0902), cut to LO's 64 characters.
    pub comment: Option<String>,
    /// Whether a data set follows.
    pub has_data_set: bool,
    /// How many instances a C-GET or C-MOVE sends.
    pub sub_operations: Option<SubOperations>,
}

/// The counts of PS3.7 C-GET and C-MOVE responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubOperations {
    /// Not sent yet.
    pub remaining: u16,
    /// Sent and stored.
    pub completed: u16,
    /// Refused, or impossible to send.
    pub failed: u16,
    /// Stored, with a warning.
    pub warning: u16,
}

impl Response {
    /// A status alone.
    pub fn of(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A failure, and why.
    pub fn failure(status: u16, comment: impl Into<String>) -> Self {
        Self { status, comment: Some(comment.into()), ..Self::default() }
    }
}

impl Command {
    /// Reads a command set.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let encoding = Encoding { has_vr: false, endianness: Endianness::Little };
        check(bytes, encoding).map_err(|problem| BadCommandSnafu { problem }.build())?;
        let object = InMemDicomObject::read_dataset_with_ts_cs(
            bytes,
            &IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            dicom_encoding::text::SpecificCharacterSet::default(),
        )
        .map_err(|e| BadCommandSnafu { problem: e.to_string() }.build())?;
        let number = |tag| object.get(tag).and_then(|e| e.to_int::<u16>().ok());
        let text = |tag| {
            let value = object.get(tag).and_then(|e| e.to_str().ok().map(|s| s.into_owned()));
            value.unwrap_or_default().trim_end_matches(['\0', ' ']).to_owned()
        };
        let either = |affected, requested| {
            Some(text(affected)).filter(|uid| !uid.is_empty()).unwrap_or_else(|| text(requested))
        };
        let require = |tag, name: &str| {
            number(tag).ok_or_else(|| BadCommandSnafu { problem: format!("{name} is missing") }.build())
        };
        let field = CommandField::of(require(tags::COMMAND_FIELD, "Command Field")?);
        let belongs_to_a_request = field == CommandField::Cancel || field.is_response();
        let count = |tag| number(tag).unwrap_or_default();
        let message_id = match belongs_to_a_request {
            true => require(tags::MESSAGE_ID_BEING_RESPONDED_TO, "Message ID Being Responded To")?,
            false => require(tags::MESSAGE_ID, "Message ID")?,
        };
        Ok(Self {
            field,
            sop_class_uid: either(tags::AFFECTED_SOP_CLASS_UID, tags::REQUESTED_SOP_CLASS_UID),
            sop_instance_uid: either(tags::AFFECTED_SOP_INSTANCE_UID, tags::REQUESTED_SOP_INSTANCE_UID),
            message_id,
            has_data_set: require(tags::COMMAND_DATA_SET_TYPE, "Command Data Set Type")? != NO_DATA_SET,
            move_destination: text(tags::MOVE_DESTINATION).trim().to_owned(),
            action_type: number(tags::ACTION_TYPE_ID),
            event_type: number(tags::EVENT_TYPE_ID),
            status: number(tags::STATUS),
            comment: text(tags::ERROR_COMMENT),
            sub_operations: SubOperations {
                remaining: count(tags::NUMBER_OF_REMAINING_SUBOPERATIONS),
                completed: count(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS),
                failed: count(tags::NUMBER_OF_FAILED_SUBOPERATIONS),
                warning: count(tags::NUMBER_OF_WARNING_SUBOPERATIONS),
            },
        })
    }

    /// A response to this request: its Command Field with the response bit, and what is to be told.
    pub fn response(&self, response: &Response) -> Result<Vec<u8>, Error> {
        let data_set = if response.has_data_set { DATA_SET } else { NO_DATA_SET };
        let mut elements = vec![
            text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, &self.sop_class_uid),
            number(tags::COMMAND_FIELD, self.field.number() | RESPONSE),
            number(tags::MESSAGE_ID_BEING_RESPONDED_TO, self.message_id),
            number(tags::COMMAND_DATA_SET_TYPE, data_set),
            number(tags::STATUS, response.status),
        ];
        if let Some(comment) = &response.comment {
            let cut: String = comment.chars().filter(|c| !c.is_control() && *c != '\\').take(64).collect();
            elements.push(text(tags::ERROR_COMMENT, VR::LO, &cut));
        }
        if !self.sop_instance_uid.is_empty() {
            elements.push(text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, &self.sop_instance_uid));
        }
        elements.extend(self.event_type.map(|event| number(tags::EVENT_TYPE_ID, event)));
        elements.extend(self.action_type.map(|action| number(tags::ACTION_TYPE_ID, action)));
        if let Some(counts) = response.sub_operations {
            elements.extend([
                number(tags::NUMBER_OF_REMAINING_SUBOPERATIONS, counts.remaining),
                number(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS, counts.completed),
                number(tags::NUMBER_OF_FAILED_SUBOPERATIONS, counts.failed),
                number(tags::NUMBER_OF_WARNING_SUBOPERATIONS, counts.warning),
            ]);
        }
        encode(elements)
    }
}

/// A C-ECHO request.
pub fn echo_request(message_id: u16) -> Result<Vec<u8>, Error> {
    encode(vec![
        text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, dicom_dictionary_std::uids::VERIFICATION),
        number(tags::COMMAND_FIELD, CommandField::Echo.number()),
        number(tags::MESSAGE_ID, message_id),
        number(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
    ])
}

/// A C-FIND request.
pub fn find_request(message_id: u16, sop_class_uid: &str) -> Result<Vec<u8>, Error> {
    encode(query_request(CommandField::Find, message_id, sop_class_uid))
}

/// A C-MOVE request; `destination` is an AE title.
pub fn move_request(message_id: u16, sop_class_uid: &str, destination: &str) -> Result<Vec<u8>, Error> {
    let mut elements = query_request(CommandField::Move, message_id, sop_class_uid);
    elements.push(text(tags::MOVE_DESTINATION, VR::AE, destination));
    encode(elements)
}

/// What C-FIND and C-MOVE requests have in common.
fn query_request(field: CommandField, message_id: u16, sop_class_uid: &str) -> Vec<Element> {
    vec![
        text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, sop_class_uid),
        number(tags::COMMAND_FIELD, field.number()),
        number(tags::MESSAGE_ID, message_id),
        number(tags::PRIORITY, MEDIUM),
        number(tags::COMMAND_DATA_SET_TYPE, DATA_SET),
    ]
}

/// A C-CANCEL request: ends a C-FIND or C-MOVE.
pub fn cancel_request(message_id: u16) -> Result<Vec<u8>, Error> {
    encode(vec![
        number(tags::COMMAND_FIELD, CommandField::Cancel.number()),
        number(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id),
        number(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
    ])
}

/// Who asked for the C-MOVE that a C-STORE is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveOriginator {
    /// Its AE title.
    pub ae_title: String,
    /// The C-MOVE's Message ID.
    pub message_id: u16,
}

/// A C-STORE request.
pub fn store_request(
    message_id: u16,
    sop_class_uid: &str,
    sop_instance_uid: &str,
    originator: Option<&MoveOriginator>,
) -> Result<Vec<u8>, Error> {
    let mut elements = vec![
        text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, sop_class_uid),
        number(tags::COMMAND_FIELD, CommandField::Store.number()),
        number(tags::MESSAGE_ID, message_id),
        number(tags::PRIORITY, MEDIUM),
        number(tags::COMMAND_DATA_SET_TYPE, DATA_SET),
        text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, sop_instance_uid),
    ];
    if let Some(originator) = originator {
        elements.extend([
            text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE, VR::AE, &originator.ae_title),
            number(tags::MOVE_ORIGINATOR_MESSAGE_ID, originator.message_id),
        ]);
    }
    encode(elements)
}

/// An N-EVENT-REPORT request with a data set.
pub fn event_request(
    message_id: u16,
    sop_class_uid: &str,
    sop_instance_uid: &str,
    event_type: u16,
) -> Result<Vec<u8>, Error> {
    encode(vec![
        text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, sop_class_uid),
        number(tags::COMMAND_FIELD, CommandField::EventReport.number()),
        number(tags::MESSAGE_ID, message_id),
        number(tags::COMMAND_DATA_SET_TYPE, DATA_SET),
        text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, sop_instance_uid),
        number(tags::EVENT_TYPE_ID, event_type),
    ])
}

/// An N-ACTION request with a data set.
pub fn action_request(
    message_id: u16,
    sop_class_uid: &str,
    sop_instance_uid: &str,
    action_type: u16,
) -> Result<Vec<u8>, Error> {
    encode(vec![
        text(tags::REQUESTED_SOP_CLASS_UID, VR::UI, sop_class_uid),
        number(tags::COMMAND_FIELD, CommandField::Action.number()),
        number(tags::MESSAGE_ID, message_id),
        number(tags::COMMAND_DATA_SET_TYPE, DATA_SET),
        text(tags::REQUESTED_SOP_INSTANCE_UID, VR::UI, sop_instance_uid),
        number(tags::ACTION_TYPE_ID, action_type),
    ])
}

type Element = DataElement<InMemDicomObject<StandardDataDictionary>>;

fn number(tag: dicom_core::Tag, value: u16) -> Element {
    DataElement::new(tag, VR::US, dicom_value!(U16, [value]))
}

fn text(tag: dicom_core::Tag, vr: VR, value: &str) -> Element {
    DataElement::new(tag, vr, dicom_value!(Str, value))
}

fn encode(elements: Vec<Element>) -> Result<Vec<u8>, Error> {
    let object: InMemDicomObject<StandardDataDictionary> =
        InMemDicomObject::command_from_element_iter(elements);
    let mut bytes = Vec::with_capacity(128);
    object
        .write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
        .context(WriteCommandSnafu)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_names_its_request() {
        let request =
            Command::parse(&store_request(7, "1.2.840.10008.5.1.4.1.1.2", "1.2.3", None).unwrap()).unwrap();
        assert_eq!((request.field, request.message_id, request.has_data_set), (CommandField::Store, 7, true));
        let bytes = request.response(&Response::failure(0xA700, "no\\room")).unwrap();
        let response = Command::parse(&bytes).unwrap();
        assert_eq!((response.field, response.message_id), (CommandField::StoreResponse, 7));
        assert_eq!((response.status, response.has_data_set), (Some(0xA700), false));
        assert_eq!(response.sop_instance_uid, "1.2.3");
        let object =
            InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), &IMPLICIT_VR_LITTLE_ENDIAN.erased())
                .unwrap();
        assert_eq!(object.element(tags::ERROR_COMMENT).unwrap().to_str().unwrap(), "noroom");
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Command::parse(b"").is_err());
        assert!(Command::parse(&[0xff; 40]).is_err());
    }
}
