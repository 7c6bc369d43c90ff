//! Which attributes belong to a study and which to a series (PS3.3 Annex A: patient, study and series modules).

use crate::part10::DataSetJson;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

/// The most JSON, in bytes, that a record keeps of one level's attributes: sled keeps large values badly.
/// Attributes beyond are found in the instances' own JSON.
const MAX_RECORD: usize = 4096;

const STUDY: [Tag; 13] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
];

const SERIES: [Tag; 22] = [
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::MODALITY,
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::SERIES_DESCRIPTION,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::INSTITUTION_NAME,
    tags::STATION_NAME,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::PATIENT_POSITION,
    tags::LATERALITY,
    tags::FRAME_OF_REFERENCE_UID,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::PERFORMED_PROCEDURE_STEP_ID,
    tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION,
    tags::OPERATORS_NAME,
    tags::PERFORMING_PHYSICIAN_NAME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// Whether the attribute is one of the patient's or the study's.
pub(crate) fn is_study(tag: Tag) -> bool {
    tag.group() == 0x0010 || STUDY.contains(&tag)
}

/// Whether the attribute is one of the series'.
pub(crate) fn is_series(tag: Tag) -> bool {
    SERIES.contains(&tag)
}

/// Adds to `record` the attributes of one level that an instance has and the record lacks.
pub(crate) fn merge(record: &mut Map<String, Value>, json: &DataSetJson, belongs: fn(Tag) -> bool) {
    let of_level =
        json.elements.keys().filter(|tag| belongs(**tag)).map(|tag| (crate::model::key(*tag), *tag));
    let lacking: Vec<_> = of_level.filter(|(key, _)| !record.contains_key(key)).collect();
    if lacking.is_empty() {
        return;
    }
    let mut size: usize = record.iter().map(|(key, value)| key.len() + value.to_string().len() + 4).sum();
    for (key, tag) in lacking {
        let Some(text) = json.element(tag) else { continue };
        if size + text.len() > MAX_RECORD {
            continue;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(text)
            && value.get("BulkDataURI").is_none()
        {
            size += key.len() + text.len() + 4;
            record.insert(key, value);
        }
    }
}
