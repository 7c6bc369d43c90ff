//! Storage Commitment, push model (PS3.4 annex J): who sent instances asks whether they are kept for good, and may then
//! delete its own.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use engram_archive::Archive;
use serde::{Deserialize, Serialize};
use snafu::ResultExt;

use crate::command;
use crate::encoding::{decode, encode};
use crate::{ArchiveSnafu, Error, Refusal};

/// A request or a report larger than this is none: there is room for 20,000 references.
pub const MAX_BYTES: usize = 4 << 20;

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
/// Failure Reason: processing failure, where a node gives none.
const UNKNOWN_REASON: u16 = 0x0110;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        let object = decode(bytes, transfer_syntax).map_err(|error| refuse(error.to_string()))?;
        let transaction_uid = uid(&object, tags::TRANSACTION_UID);
        let instances: Vec<_> =
            items(&object, tags::REFERENCED_SOP_SEQUENCE).iter().map(referenced).collect();
        if transaction_uid.is_empty() || instances.is_empty() {
            return Err(refuse("TransactionUID and ReferencedSOPSequence are needed".to_owned()));
        }
        Ok(Self { transaction_uid, instances })
    }

    /// The data set of an N-ACTION.
    pub fn data_set(&self, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
        let items = self.instances.iter().map(|(class, instance)| item(class, instance, None));
        let mut object =
            InMemDicomObject::from_element_iter([text(tags::TRANSACTION_UID, VR::UI, &self.transaction_uid)]);
        object.put(sequence(tags::REFERENCED_SOP_SEQUENCE, items.collect()));
        encode(&object, transfer_syntax)
    }
}

/// What is told of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    transaction_uid: String,
    instances: Vec<Reported>,
}

/// What is told of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Its SOP class UID.
    pub sop_class_uid: String,
    /// Its SOP instance UID.
    pub sop_instance_uid: String,
    /// Failure Reason (0008,1197) where it is not kept.
    pub failure: Option<u16>,
}

impl Report {
    /// Looks for each instance. What the archive has is on disk, and synced.
    pub fn of(archive: &Archive, request: Request) -> Result<Self, Error> {
        let mut instances = Vec::with_capacity(request.instances.len());
        for (sop_class_uid, sop_instance_uid) in request.instances {
            let failure = match archive.find_instance(&sop_instance_uid).context(ArchiveSnafu)? {
                Some(entry) if entry.sop_class_uid == sop_class_uid => None,
                Some(_) => Some(CLASS_CONFLICT),
                None => Some(NO_SUCH_INSTANCE),
            };
            instances.push(Reported { sop_class_uid, sop_instance_uid, failure });
        }
        Ok(Self { transaction_uid: request.transaction_uid, instances })
    }

    /// Reads the data set of an N-EVENT-REPORT (PS3.4 Table J.3-2).
    pub fn read(bytes: &[u8], transfer_syntax: &str) -> Result<Self, Error> {
        let object = decode(bytes, transfer_syntax)?;
        let kept = items(&object, tags::REFERENCED_SOP_SEQUENCE).iter().map(|item| reported(item, None));
        let failed = items(&object, tags::FAILED_SOP_SEQUENCE).iter().map(|item| {
            let reason = item.get(tags::FAILURE_REASON).and_then(|reason| reason.to_int().ok());
            reported(item, Some(reason.unwrap_or(UNKNOWN_REASON)))
        });
        Ok(Self {
            transaction_uid: uid(&object, tags::TRANSACTION_UID),
            instances: kept.chain(failed).collect(),
        })
    }

    /// Transaction UID (0008,1195).
    pub fn transaction_uid(&self) -> &str {
        &self.transaction_uid
    }

    /// Each instance that it tells of.
    pub fn instances(&self) -> &[Reported] {
        &self.instances
    }

    /// How many are kept.
    pub fn kept(&self) -> u64 {
        self.instances.iter().filter(|instance| instance.failure.is_none()).count() as u64
    }

    /// Event Type ID (0000,1002).
    pub fn event(&self) -> u16 {
        if self.kept() == self.instances.len() as u64 { ALL_KEPT } else { SOME_MISSING }
    }

    /// The data set of the N-EVENT-REPORT.
    pub fn data_set(&self, ae_title: &str, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::TRANSACTION_UID, VR::UI, &self.transaction_uid),
            text(tags::RETRIEVE_AE_TITLE, VR::AE, ae_title),
        ]);
        for (tag, is_kept) in [(tags::REFERENCED_SOP_SEQUENCE, true), (tags::FAILED_SOP_SEQUENCE, false)] {
            let wanted = self.instances.iter().filter(|instance| instance.failure.is_none() == is_kept);
            let items: Vec<_> =
                wanted.map(|one| item(&one.sop_class_uid, &one.sop_instance_uid, one.failure)).collect();
            if !items.is_empty() {
                object.put(sequence(tag, items));
            }
        }
        encode(&object, transfer_syntax)
    }
}

/// The command of an N-EVENT-REPORT.
pub fn event_request(message_id: u16, report: &Report) -> Result<Vec<u8>, Error> {
    command::event_request(message_id, uids::STORAGE_COMMITMENT_PUSH_MODEL, SOP_INSTANCE, report.event())
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|sequence| sequence.items()).unwrap_or_default()
}

fn referenced(item: &InMemDicomObject) -> (String, String) {
    (uid(item, tags::REFERENCED_SOP_CLASS_UID), uid(item, tags::REFERENCED_SOP_INSTANCE_UID))
}

fn reported(item: &InMemDicomObject, failure: Option<u16>) -> Reported {
    let (sop_class_uid, sop_instance_uid) = referenced(item);
    Reported { sop_class_uid, sop_instance_uid, failure }
}

fn uid(object: &InMemDicomObject, tag: Tag) -> String {
    let text = object.get(tag).and_then(|element| element.to_str().ok().map(|text| text.into_owned()));
    text.unwrap_or_default().trim_end_matches(['\0', ' ']).to_owned()
}

fn item(sop_class_uid: &str, sop_instance_uid: &str, failure: Option<u16>) -> InMemDicomObject {
    let mut item = InMemDicomObject::from_element_iter([
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop_class_uid),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, sop_instance_uid),
    ]);
    if let Some(reason) = failure {
        item.put(DataElement::new(tags::FAILURE_REASON, VR::US, PrimitiveValue::from(reason)));
    }
    item
}

fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> dicom_object::mem::InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

fn text(tag: Tag, vr: VR, value: &str) -> dicom_object::mem::InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNTAX: &str = uids::IMPLICIT_VR_LITTLE_ENDIAN;

    #[test]
    fn a_request_without_instances_or_transaction_is_refused() {
        let transaction = || text(tags::TRANSACTION_UID, VR::UI, "1.2.3");
        let references = || sequence(tags::REFERENCED_SOP_SEQUENCE, vec![item("1.2", "1.2.3.4", None)]);
        let read = |elements: Vec<_>| {
            Request::read(&encode(&InMemDicomObject::from_element_iter(elements), SYNTAX).unwrap(), SYNTAX)
        };
        for elements in [vec![], vec![transaction()], vec![references()]] {
            assert_eq!(read(elements).unwrap_err().status, MISSING_ATTRIBUTE);
        }
        let request = read(vec![transaction(), references()]).unwrap();
        assert_eq!(request.instances, [("1.2".to_owned(), "1.2.3.4".to_owned())]);
        assert_eq!(Request::read(&request.data_set(SYNTAX).unwrap(), SYNTAX).unwrap(), request);
    }

    #[test]
    fn a_report_reads_as_it_was_written() {
        let told = |instance: &str, failure| Reported {
            sop_class_uid: "1.2".into(),
            sop_instance_uid: instance.into(),
            failure,
        };
        for (failure, event) in [(None, ALL_KEPT), (Some(NO_SUCH_INSTANCE), SOME_MISSING)] {
            let instances = vec![told("1.2.3.4", None), told("1.2.3.5", failure)];
            let report = Report { transaction_uid: "1.2.3".into(), instances };
            assert_eq!(report.event(), event);
            let bytes = report.data_set("ENGRAM", SYNTAX).unwrap();
            assert_eq!(Report::read(&bytes, SYNTAX).unwrap(), report);
        }
    }
}
