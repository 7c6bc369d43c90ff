//! Patient and study attributes, which a result shares with its source.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::item::Put;

/// Attributes of the Patient, Clinical Trial, General Study and Patient Study modules (PS3.3 C.7.1, C.7.2).
const SHARED: &[Tag] = &[
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_BIRTH_TIME,
    tags::PATIENT_SEX,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_ID,
    tags::STUDY_DESCRIPTION,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::TIMEZONE_OFFSET_FROM_UTC,
];

/// Those of them that must be there, if empty (Type 2).
const REQUIRED: &[(Tag, VR)] = &[
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::STUDY_ID, VR::SH),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
];

/// Puts into a result what its source says of patient and study; what must be there is there, if empty.
pub fn copy_patient_and_study(source: &InMemDicomObject, object: &mut InMemDicomObject) {
    // Texts are Unicode in memory, whatever the source was encoded in.
    object.put_value(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    for tag in SHARED {
        if let Some(element) = source.get(*tag) {
            object.put(element.clone());
        }
    }
    for (tag, vr) in REQUIRED {
        object.put_empty(*tag, *vr);
    }
}
