//! What a new workitem must have (PS3.4 Table CC.2.5-3, column N-CREATE).
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part04.html#table_CC.2.5-3>

use crate::{
    Attributes, Result, State,
    attributes::{checked, element, empty, has_value, key, text},
    error::InvalidSnafu,
    event::UPS_PUSH,
    moment::{format_moment, parse_moment},
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use time::OffsetDateTime;
use uuid::Uuid;

/// Type 1, beside the Procedure Step State.
const REQUIRED: [(Tag, &str); 4] = [
    (tags::SCHEDULED_PROCEDURE_STEP_PRIORITY, "Scheduled Procedure Step Priority (0074,1200)"),
    (tags::PROCEDURE_STEP_LABEL, "Procedure Step Label (0074,1204)"),
    (tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME, "Scheduled Procedure Step Start DateTime (0040,4005)"),
    (tags::INPUT_READINESS_STATE, "Input Readiness State (0040,4041)"),
];

/// Type 2: there, if only empty. What a client leaves out is put in.
const NEVER_LEFT_OUT: [Tag; 18] = [
    tags::SCHEDULED_PROCESSING_PARAMETERS_SEQUENCE,
    tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_CLASS_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_GEOGRAPHIC_LOCATION_CODE_SEQUENCE,
    tags::SCHEDULED_WORKITEM_CODE_SEQUENCE,
    tags::INPUT_INFORMATION_SEQUENCE,
    tags::STUDY_INSTANCE_UID,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::ADMISSION_ID,
    tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
    tags::ADMITTING_DIAGNOSES_CODE_SEQUENCE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE,
    tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE,
];

/// What only its performer may say.
const LEFT_TO_THE_PERFORMER: [(Tag, &str); 3] = [
    (tags::TRANSACTION_UID, "Transaction UID (0008,1195)"),
    (
        tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE,
        "Procedure Step Progress Information Sequence (0074,1002)",
    ),
    (
        tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE,
        "Unified Procedure Step Performed Procedure Sequence (0074,1216)",
    ),
];

pub(crate) const PRIORITIES: [&str; 3] = ["HIGH", "MEDIUM", "LOW"];
pub(crate) const READINESS: [&str; 3] = ["INCOMPLETE", "UNAVAILABLE", "READY"];

/// Worklist Label (0074,1202) of workitems that come without one; the SCP is to give it.
const WORKLIST_LABEL: &str = "ENGRAM";

/// A workitem that may be created.
pub(crate) struct New {
    pub uid: String,
    pub attributes: Attributes,
    /// Whether attributes that should have come were put in.
    pub modified: bool,
}

/// Checks and completes a data set. `uid` is the one that stands beside the data set; without it, that within; without
/// either, a new one.
pub(crate) fn accept(uid: Option<&str>, attributes: Attributes, now: OffsetDateTime) -> Result<New> {
    let invalid = |reason: String| InvalidSnafu { reason }.fail();
    let mut attributes = match checked(attributes) {
        Ok(attributes) => attributes,
        Err(reason) => return invalid(reason),
    };
    let uid = match identity(uid, &mut attributes) {
        Ok(uid) => uid,
        Err(reason) => return invalid(reason),
    };
    if let Some(reason) = problem(&attributes) {
        return invalid(reason);
    }
    attributes.remove(&key(tags::TRANSACTION_UID));
    let mut modified = false;
    for tag in NEVER_LEFT_OUT {
        attributes.entry(key(tag)).or_insert_with(|| {
            modified = true;
            empty(tag)
        });
    }
    let mut set = |tag, value: String| {
        attributes.insert(key(tag), element(tag, vec![value.into()]));
    };
    set(tags::SOP_CLASS_UID, UPS_PUSH.to_owned());
    set(tags::SOP_INSTANCE_UID, uid.clone());
    set(tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME, format_moment(now));
    if !has_value(&attributes, tags::WORKLIST_LABEL) {
        attributes
            .insert(key(tags::WORKLIST_LABEL), element(tags::WORKLIST_LABEL, vec![WORKLIST_LABEL.into()]));
    }
    Ok(New { uid, attributes, modified })
}

/// The UID it will have. The command group, in which clients write it too, is no part of the workitem.
fn identity(given: Option<&str>, attributes: &mut Attributes) -> Result<String, String> {
    if text(attributes, tags::SOP_CLASS_UID).is_some_and(|class| class != UPS_PUSH) {
        return Err(format!("its SOP Class UID (0008,0016) is not {UPS_PUSH}"));
    }
    let within = [tags::AFFECTED_SOP_INSTANCE_UID, tags::SOP_INSTANCE_UID];
    let mut uids: Vec<String> = given
        .into_iter()
        .chain(within.into_iter().filter_map(|tag| text(attributes, tag)))
        .map(str::to_owned)
        .collect();
    uids.dedup();
    attributes.retain(|name, _| !name.starts_with("0000"));
    match uids.as_slice() {
        [] => Ok(fresh_uid()),
        [uid] if is_uid(uid) => Ok(uid.clone()),
        [uid] => Err(format!("`{uid}` is no UID")),
        _ => Err("the request names different SOP Instance UIDs".to_owned()),
    }
}

/// A new UID below the UUID root 2.25 (PS3.5 B.2).
pub(crate) fn fresh_uid() -> String {
    format!("2.25.{}", Uuid::new_v4().as_u128())
}

fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn problem(attributes: &Attributes) -> Option<String> {
    if text(attributes, tags::PROCEDURE_STEP_STATE) != Some(State::Scheduled.name()) {
        return Some("its Procedure Step State (0074,1000) is not SCHEDULED".to_owned());
    }
    if let Some((_, name)) = REQUIRED.into_iter().find(|(tag, _)| !has_value(attributes, *tag)) {
        return Some(format!("it has no {name}"));
    }
    if let Some((_, name)) = LEFT_TO_THE_PERFORMER.into_iter().find(|(tag, _)| has_value(attributes, *tag)) {
        return Some(format!("it has a {name}, which is its performer's to give"));
    }
    wrong_value(attributes)
}

/// What is wrong with the attributes whose values the standard lists.
pub(crate) fn wrong_value(attributes: &Attributes) -> Option<String> {
    let listed = |tag, name: &str, terms: [&str; 3]| {
        let wrong = text(attributes, tag).filter(|value| !terms.contains(value))?;
        Some(format!("its {name} is `{wrong}`, which is none of {}", terms.join(", ")))
    };
    let start = || {
        let start = text(attributes, tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME)?;
        parse_moment(start, None)
            .is_none()
            .then(|| format!("its Scheduled Procedure Step Start DateTime (0040,4005) `{start}` is none"))
    };
    listed(
        tags::SCHEDULED_PROCEDURE_STEP_PRIORITY,
        "Scheduled Procedure Step Priority (0074,1200)",
        PRIORITIES,
    )
    .or_else(|| listed(tags::INPUT_READINESS_STATE, "Input Readiness State (0040,4041)", READINESS))
    .or_else(start)
}
