//! Identifiers of C-FIND, C-MOVE and C-GET (PS3.4 C.2.2.1 and C.4): what is asked for, and of what.

use dicom_core::{DataDictionary, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use engram_archive::MatchKey;

use crate::Refusal;
use crate::encoding::decode;

/// Status: the identifier is not one of the SOP class (PS3.4 Tables C.4-1 to C.4-3).
pub const IDENTIFIER_DOES_NOT_MATCH: u16 = 0xA900;
/// Status: unable to process.
pub const UNABLE_TO_PROCESS: u16 = 0xC000;

/// An information model (PS3.4 C.6): where its hierarchy begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Patient Root.
    Patient,
    /// Study Root.
    Study,
}

impl Root {
    /// The model that a Query/Retrieve SOP class is of; `None` for any other.
    pub fn of_sop_class(uid: &str) -> Option<Self> {
        match uid {
            uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
            | uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE
            | uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET => Some(Self::Patient),
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE
            | uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET => Some(Self::Study),
            _ => None,
        }
    }

    /// Its SOP class for C-FIND.
    pub fn find_class(self) -> &'static str {
        match self {
            Self::Patient => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
            Self::Study => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        }
    }

    /// Its SOP class for C-MOVE.
    pub fn move_class(self) -> &'static str {
        match self {
            Self::Patient => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
            Self::Study => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        }
    }
}

/// Query/Retrieve Level (0008,0052).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `PATIENT`
    Patient,
    /// `STUDY`
    Study,
    /// `SERIES`
    Series,
    /// `IMAGE`: any instance.
    Image,
}

impl Level {
    /// By the attribute's value.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "PATIENT" => Some(Self::Patient),
            "STUDY" => Some(Self::Study),
            "SERIES" => Some(Self::Series),
            "IMAGE" => Some(Self::Image),
            _ => None,
        }
    }

    /// As the attribute has it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Patient => "PATIENT",
            Self::Study => "STUDY",
            Self::Series => "SERIES",
            Self::Image => "IMAGE",
        }
    }

    /// Its unique key (PS3.4 C.6.1.1 and C.6.2.1).
    pub fn unique_key(self) -> Tag {
        match self {
            Self::Patient => tags::PATIENT_ID,
            Self::Study => tags::STUDY_INSTANCE_UID,
            Self::Series => tags::SERIES_INSTANCE_UID,
            Self::Image => tags::SOP_INSTANCE_UID,
        }
    }
}

/// What an identifier asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Identifier {
    /// What is asked for.
    pub level: Level,
    /// What must match.
    pub keys: Vec<MatchKey>,
    /// The attributes that the identifier has, which a response is to have, with their VRs.
    pub asked: Vec<(Tag, VR)>,
}

impl Identifier {
    /// Reads one in the transfer syntax that was agreed on.
    pub fn read(bytes: &[u8], transfer_syntax: &str, root: Root) -> Result<Self, Refusal> {
        let refuse = |status, comment: String| Refusal { status, comment };
        let object =
            decode(bytes, transfer_syntax).map_err(|error| refuse(UNABLE_TO_PROCESS, error.to_string()))?;
        let level = object.get(tags::QUERY_RETRIEVE_LEVEL).and_then(|element| element.to_str().ok());
        let level = level.map(|text| text.trim().to_owned()).unwrap_or_default();
        let level =
            Level::of(&level).filter(|level| root == Root::Patient || *level != Level::Patient).ok_or_else(
                || refuse(IDENTIFIER_DOES_NOT_MATCH, format!("no level `{level:.16}` in this model")),
            )?;
        let mut identifier = Self { level, keys: Vec::new(), asked: Vec::new() };
        for element in &object {
            let tag = element.header().tag;
            if !is_of_the_exchange(tag) {
                identifier.asked.push((tag, element.vr()));
                add_keys(&mut identifier.keys, vec![tag], element);
            }
        }
        Ok(identifier)
    }

    /// The value of a key at the top level; empty where there is none.
    pub fn value(&self, tag: Tag) -> &str {
        self.keys.iter().find(|key| key.path == [tag]).map_or("", |key| key.value.as_str())
    }

    /// The same keys for a retrieval, which names what it wants: the unique key of its level, in single values or a list of
    /// UIDs, and of the levels above it, if any. Other attributes play no part (PS3.4 C.4.2.2.1).
    pub fn for_retrieval(mut self) -> Result<Self, Refusal> {
        let unique = self.value(self.level.unique_key());
        if unique.is_empty() || unique.contains(['*', '?']) {
            let comment = format!("{} must name what to retrieve", keyword(self.level.unique_key()));
            return Err(Refusal { status: IDENTIFIER_DOES_NOT_MATCH, comment });
        }
        let unique_keys = [Level::Patient, Level::Study, Level::Series, Level::Image].map(Level::unique_key);
        self.keys.retain(|key| matches!(key.path.as_slice(), [tag] if unique_keys.contains(tag)));
        Ok(self)
    }
}

/// Attributes that say how the exchange is to be held, and match nothing.
fn is_of_the_exchange(tag: Tag) -> bool {
    let exchange = [
        tags::QUERY_RETRIEVE_LEVEL,
        tags::SPECIFIC_CHARACTER_SET,
        tags::RETRIEVE_AE_TITLE,
        tags::INSTANCE_AVAILABILITY,
        tags::TIMEZONE_OFFSET_FROM_UTC,
        tags::QUERY_RETRIEVE_VIEW,
    ];
    exchange.contains(&tag) || tag.element() == 0
}

/// Adds an element's value as a key, or those in its item; an empty one matches everything and is left out.
fn add_keys(
    keys: &mut Vec<MatchKey>,
    path: Vec<Tag>,
    element: &dicom_object::mem::InMemElement<dicom_object::StandardDataDictionary>,
) {
    if let Some(items) = element.items() {
        for element in items.iter().take(1).flatten() {
            let mut path = path.clone();
            path.push(element.header().tag);
            add_keys(keys, path, element);
        }
        return;
    }
    let Ok(values) = element.to_multi_str() else { return };
    let trimmed: Vec<_> = values.iter().map(|value| value.trim_matches(['\0', ' '])).collect();
    let value = trimmed.join("\\");
    if !value.is_empty() {
        keys.push(MatchKey { path, value });
    }
}

fn keyword(tag: Tag) -> &'static str {
    StandardDataDictionary.by_tag(tag).map_or("the unique key", |entry| entry.alias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::encode;
    use dicom_core::{DataElement, PrimitiveValue, value::DataSetSequence};
    use dicom_object::InMemDicomObject;

    const SYNTAX: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

    fn element(tag: Tag, vr: VR, value: &str) -> dicom_object::mem::InMemElement {
        DataElement::new(tag, vr, PrimitiveValue::from(value))
    }

    fn written(elements: Vec<dicom_object::mem::InMemElement>) -> Vec<u8> {
        encode(&InMemDicomObject::from_element_iter(elements), SYNTAX).unwrap()
    }

    fn level(text: &str) -> dicom_object::mem::InMemElement {
        element(tags::QUERY_RETRIEVE_LEVEL, VR::CS, text)
    }

    #[test]
    fn keys_and_what_is_asked_for_are_told_apart() {
        let code = InMemDicomObject::from_element_iter([element(tags::CODE_VALUE, VR::SH, "102")]);
        let bytes = written(vec![
            level("STUDY"),
            element(tags::PATIENT_NAME, VR::PN, "DOE*"),
            element(tags::STUDY_DATE, VR::DA, "20240101-"),
            element(tags::STUDY_INSTANCE_UID, VR::UI, "1.2\\1.3"),
            element(tags::STUDY_DESCRIPTION, VR::LO, ""),
            DataElement::new(tags::PROCEDURE_CODE_SEQUENCE, VR::SQ, DataSetSequence::from(vec![code])),
        ]);
        let identifier = Identifier::read(&bytes, SYNTAX, Root::Study).unwrap();
        assert_eq!(identifier.level, Level::Study);
        let keys: Vec<_> = identifier.keys.iter().map(|key| (key.path.len(), key.value.as_str())).collect();
        assert_eq!(keys, [(1, "20240101-"), (2, "102"), (1, "DOE*"), (1, "1.2\\1.3")]);
        assert_eq!(identifier.asked.len(), 5);
        let retrieval = identifier.for_retrieval().unwrap();
        assert_eq!(retrieval.keys.len(), 1, "what is no unique key plays no part");
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        for (elements, root) in [
            (vec![], Root::Study),
            (vec![level("PATIENT")], Root::Study),
            (vec![level("FRAME")], Root::Patient),
        ] {
            let refusal = Identifier::read(&written(elements), SYNTAX, root).unwrap_err();
            assert_eq!(refusal.status, IDENTIFIER_DOES_NOT_MATCH);
        }
        assert!(Identifier::read(&[1, 2, 3], SYNTAX, Root::Study).is_err());
        for uid in ["", "1.2.*"] {
            let bytes = written(vec![level("STUDY"), element(tags::STUDY_INSTANCE_UID, VR::UI, uid)]);
            let identifier = Identifier::read(&bytes, SYNTAX, Root::Study).unwrap();
            assert!(identifier.for_retrieval().is_err(), "`{uid}` would retrieve everything");
        }
    }
}
