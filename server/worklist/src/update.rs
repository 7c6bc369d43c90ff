//! What may be changed in a workitem (PS3.4 Table CC.2.5-3, column N-SET).

use crate::{
    Attributes, Result,
    attributes::{checked, element, key},
    create::wrong_value,
    error::InvalidSnafu,
    moment::format_moment,
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use time::OffsetDateTime;

/// What is told when a workitem is created, or by a change of state, and by no update.
const FIXED: [Tag; 17] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::PROCEDURE_STEP_STATE,
    tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::ADMISSION_ID,
    tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
    tags::ADMITTING_DIAGNOSES_CODE_SEQUENCE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::REPLACED_PROCEDURE_STEP_SEQUENCE,
];

/// The attributes with the changes in them. What is fixed may come again as it is.
pub(crate) fn merged(before: &Attributes, changes: Attributes, now: OffsetDateTime) -> Result<Attributes> {
    let mut changes = match checked(changes) {
        Ok(changes) => changes,
        Err(reason) => return InvalidSnafu { reason }.fail(),
    };
    changes.remove(&key(tags::TRANSACTION_UID));
    changes.retain(|name, _| !name.starts_with("0000"));
    let moved = FIXED.into_iter().find(|tag| {
        let name = key(*tag);
        changes.get(&name).is_some_and(|change| before.get(&name) != Some(change))
    });
    if let Some(tag) = moved {
        return InvalidSnafu { reason: format!("an update does not change {tag}") }.fail();
    }
    if let Some(reason) = wrong_value(&changes) {
        return InvalidSnafu { reason }.fail();
    }
    let mut after = before.clone();
    after.extend(changes);
    let modified = tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME;
    after.insert(key(modified), element(modified, vec![format_moment(now).into()]));
    Ok(after)
}
