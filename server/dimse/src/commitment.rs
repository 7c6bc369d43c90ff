//! Storage Commitment, push model (PS3.4 annex J): who sent instances asks whether they are kept for good, and may then
//! delete its own.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use engram_archive::Archive;
use snafu::ResultExt;

use crate::find::encode;
use crate::{ArchiveSnafu, Error, Refusal};

/// The well-known SOP instance of the push model.
pub const SOP_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Action Type ID: request storage commitment.
pub const REQUEST: u16 = 1;
/// Event Type ID: all instances are kept.
const ALL_KEPT: u16 = 1;
/// Event Type ID: some are not.
const SOME_MISSING: u16 = 2;
/// Status: an attribute is missing (PS3.7 C.5.13).
const MISSING_ATTRIBUTE: u16 = 0x0120;
/// Failure Reason: no such object instance.
const NO_SUCH_INSTANCE: u16 = 0x0112;
/// Failure Reason: the instance is of another SOP class.
const CLASS_CONFLICT: u16 = 0x0119;

/// What a peer asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Transaction UID (0008,1195), which the report repeats.
    pub transaction_uid: String,
    /// SOP class and SOP instance UIDs.
    pub instances: Vec<(String, String)>,
}

impl Request {
    /// Reads the data set of an N-ACTION (PS3.4 Table J.3-1).
    pub fn read(bytes: &[u8], transfer_syntax: &str) -> Result<Self, Refusal> {
        let refuse = |comment: String| Refusal { status: MISSING_ATTRIBUTE, comment };
        let syntax = TransferSyntaxRegistry
            .get(transfer_syntax)
            .ok_or_else(|| refuse(format!("cannot read {transfer_syntax}")))?;
        let object = InMemDicomObject::read_dataset_with_ts(bytes, syntax)
            .map_err(|error| refuse(format!("cannot read the request: {error}")))?;
        let transaction_uid = uid(&object, tags::TRANSACTION_UID);
        let items = object.get(tags::REFERENCED_SOP_SEQUENCE).and_then(|sequence| sequence.items());
        let instances: Vec<_> = items.unwrap_or_default().iter().map(referenced).collect();
        if transaction_uid.is_empty() || instances.is_empty() {
            return Err(refuse("TransactionUID and ReferencedSOPSequence are needed".to_owned()));
        }
        Ok(Self { transaction_uid, instances })
    }
}

fn referenced(item: &InMemDicomObject) -> (String, String) {
    (uid(item, tags::REFERENCED_SOP_CLASS_UID), uid(item, tags::REFERENCED_SOP_INSTANCE_UID))
}

fn uid(object: &InMemDicomObject, tag: Tag) -> String {
    let text = object.get(tag).and_then(|element| element.to_str().ok().map(|text| text.into_owned()));
    text.unwrap_or_default().trim_end_matches(['\0', ' ']).to_owned()
}

/// What is told of a request: each instance, and why it is not kept where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    transaction_uid: String,
    instances: Vec<(String, String, Option<u16>)>,
}

impl Report {
    /// Looks for each instance. What the archive has is on disk, and synced.
    pub fn of(archive: &Archive, request: Request) -> Result<Self, Error> {
        let mut instances = Vec::with_capacity(request.instances.len());
        for (class, instance) in request.instances {
            let reason = match archive.find_instance(&instance).context(ArchiveSnafu)? {
                Some(entry) if entry.sop_class_uid == class => None,
                Some(_) => Some(CLASS_CONFLICT),
                None => Some(NO_SUCH_INSTANCE),
            };
            instances.push((class, instance, reason));
        }
        Ok(Self { transaction_uid: request.transaction_uid, instances })
    }

    /// How many are kept.
    pub fn kept(&self) -> u64 {
        self.instances.iter().filter(|(_, _, reason)| reason.is_none()).count() as u64
    }

    /// Event Type ID (0000,1002).
    pub fn event(&self) -> u16 {
        if self.kept() == self.instances.len() as u64 { ALL_KEPT } else { SOME_MISSING }
    }

    /// The data set of the N-EVENT-REPORT (PS3.4 Table J.3-2).
    pub fn data_set(&self, ae_title: &str, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::TRANSACTION_UID, VR::UI, &self.transaction_uid),
            text(tags::RETRIEVE_AE_TITLE, VR::AE, ae_title),
        ]);
        for (tag, is_kept) in [(tags::REFERENCED_SOP_SEQUENCE, true), (tags::FAILED_SOP_SEQUENCE, false)] {
            let wanted = self.instances.iter().filter(|(_, _, reason)| reason.is_none() == is_kept);
            let items: Vec<_> = wanted.map(item).collect();
            if !items.is_empty() {
                object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
            }
        }
        encode(&object, transfer_syntax)
    }
}

fn item((class, instance, reason): &(String, String, Option<u16>)) -> InMemDicomObject {
    let mut item = InMemDicomObject::from_element_iter([
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
    ]);
    if let Some(reason) = reason {
        item.put(DataElement::new(tags::FAILURE_REASON, VR::US, PrimitiveValue::from(*reason)));
    }
    item
}

fn text(tag: Tag, vr: VR, value: &str) -> dicom_object::mem::InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::uids;

    #[test]
    fn a_request_without_instances_or_transaction_is_refused() {
        let syntax = TransferSyntaxRegistry.get(uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap();
        let written = |elements: Vec<dicom_object::mem::InMemElement>| {
            let mut bytes = Vec::new();
            InMemDicomObject::from_element_iter(elements).write_dataset_with_ts(&mut bytes, syntax).unwrap();
            bytes
        };
        let transaction = || text(tags::TRANSACTION_UID, VR::UI, "1.2.3");
        let references = || {
            let items = vec![item(&("1.2".to_owned(), "1.2.3.4".to_owned(), None))];
            DataElement::new(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, DataSetSequence::from(items))
        };
        let read = |elements| Request::read(&written(elements), uids::IMPLICIT_VR_LITTLE_ENDIAN);
        for elements in [vec![], vec![transaction()], vec![references()]] {
            assert_eq!(read(elements).unwrap_err().status, MISSING_ATTRIBUTE);
        }
        let request = read(vec![transaction(), references()]).unwrap();
        assert_eq!(request.instances, [("1.2".to_owned(), "1.2.3.4".to_owned())]);
    }
}
