//! DIMSE command sets (PS3.7 6.3.1, Annex E), always in Implicit VR Little Endian.

use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::{InMemDicomObject, StandardDataDictionary};
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use snafu::ResultExt;

use crate::{BadCommandSnafu, Error, WriteReplySnafu};

/// Command Data Set Type (0000,0800) when no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// Which service a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandField {
    /// C-STORE-RQ
    Store,
    /// C-ECHO-RQ
    Echo,
    /// Anything else, by its number.
    Other(u16),
}

/// What we need to know of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The service.
    pub field: CommandField,
    /// Affected SOP Class UID.
    pub sop_class_uid: String,
    /// Affected SOP Instance UID; empty for C-ECHO.
    pub sop_instance_uid: String,
    /// Message ID, returned in the response.
    pub message_id: u16,
    /// Whether a data set follows.
    pub has_data_set: bool,
}

impl Command {
    /// Reads a command set.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
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
        let require = |tag, name: &str| {
            number(tag).ok_or_else(|| BadCommandSnafu { problem: format!("{name} is missing") }.build())
        };
        let field = match require(tags::COMMAND_FIELD, "Command Field")? {
            0x0001 => CommandField::Store,
            0x0030 => CommandField::Echo,
            other => CommandField::Other(other),
        };
        Ok(Self {
            field,
            sop_class_uid: text(tags::AFFECTED_SOP_CLASS_UID),
            sop_instance_uid: text(tags::AFFECTED_SOP_INSTANCE_UID),
            message_id: require(tags::MESSAGE_ID, "Message ID")?,
            has_data_set: require(tags::COMMAND_DATA_SET_TYPE, "Command Data Set Type")? != NO_DATA_SET,
        })
    }

    /// The response to this request: its Command Field with the response bit, the given status, and, where the
    /// status is a failure, a comment cut to LO's 64 characters.
    pub fn response(&self, status: u16, comment: Option<&str>) -> Result<Vec<u8>, Error> {
        let request = match self.field {
            CommandField::Store => 0x0001,
            CommandField::Echo => 0x0030,
            CommandField::Other(number) => number,
        };
        let mut elements = vec![
            DataElement::new(
                tags::AFFECTED_SOP_CLASS_UID,
                VR::UI,
                dicom_value!(Str, self.sop_class_uid.as_str()),
            ),
            DataElement::new(tags::COMMAND_FIELD, VR::US, dicom_value!(U16, [request | 0x8000])),
            DataElement::new(
                tags::MESSAGE_ID_BEING_RESPONDED_TO,
                VR::US,
                dicom_value!(U16, [self.message_id]),
            ),
            DataElement::new(tags::COMMAND_DATA_SET_TYPE, VR::US, dicom_value!(U16, [NO_DATA_SET])),
            DataElement::new(tags::STATUS, VR::US, dicom_value!(U16, [status])),
        ];
        if let Some(comment) = comment {
            let cut: String = comment.chars().filter(|c| !c.is_control() && *c != '\\').take(64).collect();
            elements.push(DataElement::new(tags::ERROR_COMMENT, VR::LO, dicom_value!(Str, cut)));
        }
        if !self.sop_instance_uid.is_empty() {
            let uid = dicom_value!(Str, self.sop_instance_uid.as_str());
            elements.push(DataElement::new(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, uid));
        }
        let object: InMemDicomObject<StandardDataDictionary> =
            InMemDicomObject::command_from_element_iter(elements);
        let mut bytes = Vec::with_capacity(128);
        object
            .write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
            .context(WriteReplySnafu)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Command {
        Command {
            field: CommandField::Store,
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
            sop_instance_uid: "1.2.3".into(),
            message_id: 7,
            has_data_set: false,
        }
    }

    #[test]
    fn a_response_names_its_request() {
        let bytes = request().response(0xA700, Some("no\\room")).unwrap();
        let object =
            InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), &IMPLICIT_VR_LITTLE_ENDIAN.erased())
                .unwrap();
        let number = |tag| object.element(tag).unwrap().to_int::<u16>().unwrap();
        assert_eq!(number(tags::COMMAND_FIELD), 0x8001);
        assert_eq!(number(tags::MESSAGE_ID_BEING_RESPONDED_TO), 7);
        assert_eq!(number(tags::STATUS), 0xA700);
        assert_eq!(object.element(tags::ERROR_COMMENT).unwrap().to_str().unwrap(), "noroom");
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Command::parse(b"").is_err());
        assert!(Command::parse(&[0xff; 40]).is_err());
    }
}
