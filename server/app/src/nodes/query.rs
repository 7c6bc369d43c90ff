//! A query of a node as the API takes it: keys by keyword or tag, in plain values or DICOM JSON.

use dicom_core::{DataDictionary, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;
use engram_dimse::{Level, Search};
use serde_json::{Map, Value, json};

/// What a study is told with unless more is asked for, besides the level's own.
const OF_PATIENTS: [Tag; 4] =
    [tags::PATIENT_NAME, tags::PATIENT_ID, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX];
const OF_STUDIES: [Tag; 8] = [
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_DESCRIPTION,
    tags::ACCESSION_NUMBER,
    tags::MODALITIES_IN_STUDY,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];
const OF_SERIES: [Tag; 5] = [
    tags::SERIES_INSTANCE_UID,
    tags::MODALITY,
    tags::SERIES_NUMBER,
    tags::SERIES_DESCRIPTION,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
];
const OF_IMAGES: [Tag; 3] = [tags::SOP_INSTANCE_UID, tags::SOP_CLASS_UID, tags::INSTANCE_NUMBER];

/// The search for a level and keys; what is usually wanted of the level is asked for beside them.
///
/// # Errors
/// In words for the caller.
pub fn search(level: &str, keys: &Map<String, Value>) -> Result<Search, String> {
    let level = level_of(level)?;
    search_with(level, &usual(level), keys)
}

/// The search for a level and keys alone, for who tells what is usual unasked.
///
/// # Errors
/// In words for the caller.
pub fn search_of_keys_alone(level: &str, keys: &Map<String, Value>) -> Result<Search, String> {
    search_with(level_of(level)?, &[], keys)
}

fn level_of(level: &str) -> Result<Level, String> {
    match level {
        "INSTANCE" => Ok(Level::Image),
        level => Level::of(level).ok_or_else(|| {
            format!("there is no level {level:.16}: PATIENT, STUDY, SERIES and INSTANCE (or IMAGE) are")
        }),
    }
}

fn search_with(level: Level, besides: &[Tag], keys: &Map<String, Value>) -> Result<Search, String> {
    let mut members = Map::new();
    for tag in besides.iter().copied() {
        members.insert(name_in_json(tag), json!({ "vr": vr_of(tag).unwrap_or(VR::UN).to_string() }));
    }
    for (name, value) in keys {
        let tag = tag_of(name).ok_or_else(|| format!("{name:.64} is no attribute's keyword or tag"))?;
        members.insert(
            name_in_json(tag),
            member(tag, value).ok_or_else(|| {
                format!("the key {name:.64} is no string, number, list of these, null or DICOM JSON")
            })?,
        );
    }
    let keys: InMemDicomObject = dicom_json::from_value(Value::Object(members))
        .map_err(|error| format!("the keys do not read as DICOM JSON: {error}"))?;
    Ok(Search { level, keys })
}

/// A match in DICOM JSON.
pub fn told(found: &InMemDicomObject) -> Option<Value> {
    dicom_json::to_value(found).ok()
}

fn usual(level: Level) -> Vec<Tag> {
    match level {
        Level::Patient => OF_PATIENTS.to_vec(),
        Level::Study => [OF_PATIENTS.as_slice(), &OF_STUDIES].concat(),
        Level::Series => [&[tags::STUDY_INSTANCE_UID], OF_SERIES.as_slice()].concat(),
        Level::Image => {
            [&[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID], OF_IMAGES.as_slice()].concat()
        }
    }
}

/// By keyword or by eight hexadecimal digits. What is of a command, of a file's header or of the encoding is no attribute.
fn tag_of(name: &str) -> Option<Tag> {
    let is_tag = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let tag = match is_tag {
        true => u32::from_str_radix(name, 16).ok().map(|number| Tag((number >> 16) as u16, number as u16)),
        false => StandardDataDictionary.by_name(name).map(|entry| entry.tag.inner()),
    };
    tag.filter(|tag| (0x0008..0xFFFE).contains(&tag.group()) && tag.element() != 0)
}

fn vr_of(tag: Tag) -> Option<VR> {
    StandardDataDictionary.by_tag(tag).map(|entry| entry.vr.relaxed())
}

fn name_in_json(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

/// A key's member of the DICOM JSON model.
fn member(tag: Tag, value: &Value) -> Option<Value> {
    let vr = || vr_of(tag).filter(|vr| *vr != VR::SQ);
    match value {
        Value::Object(_) => Some(value.clone()),
        Value::Null => Some(json!({ "vr": vr_of(tag)?.to_string() })),
        Value::String(text) if text.is_empty() => Some(json!({ "vr": vr_of(tag)?.to_string() })),
        Value::Array(values) => {
            let values: Option<Vec<_>> = values.iter().map(|value| plain(vr()?, value)).collect();
            Some(json!({ "vr": vr()?.to_string(), "Value": values? }))
        }
        value => Some(json!({ "vr": vr()?.to_string(), "Value": [plain(vr()?, value)?] })),
    }
}

fn plain(vr: VR, value: &Value) -> Option<Value> {
    match value {
        Value::String(_) | Value::Number(_) if vr == VR::PN => Some(json!({ "Alphabetic": value })),
        Value::String(_) | Value::Number(_) => Some(value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_keyword_or_tag_in_plain_values_or_dicom_json() {
        let keys = json!({
            "PatientName": "Müller*",
            "0020000D": ["1.2", "1.3"],
            "StudyDate": { "vr": "DA", "Value": ["20240101-"] },
            "InstitutionName": "",
            "ReferencedStudySequence": null,
        });
        let Search { level, keys } = search("STUDY", keys.as_object().unwrap()).unwrap();
        assert_eq!(level, Level::Study);
        let text = |tag| keys.element(tag).unwrap().to_str().unwrap().into_owned();
        assert_eq!(text(tags::PATIENT_NAME), "Müller*");
        assert_eq!(text(tags::STUDY_INSTANCE_UID), "1.2\\1.3");
        assert_eq!(text(tags::STUDY_DATE), "20240101-");
        assert_eq!(text(tags::INSTITUTION_NAME), "");
        assert_eq!(keys.element(tags::REFERENCED_STUDY_SEQUENCE).unwrap().vr(), VR::SQ);
        assert_eq!(text(tags::ACCESSION_NUMBER), "", "asked for, since it is usually wanted");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (level, keys) in [
            ("FRAME", json!({})),
            ("STUDY", json!({ "NoSuchKeyword": "" })),
            ("STUDY", json!({ "PatientID": true })),
            ("STUDY", json!({ "TransferSyntaxUID": "1.2" })),
            ("STUDY", json!({ "FFFEE000": { "vr": "UN" } })),
            ("STUDY", json!({ "PatientID": { "vr": "LO", "Value": "not in a list" } })),
            ("STUDY", json!({ "ReferencedStudySequence": "1.2" })),
        ] {
            assert!(search(level, keys.as_object().unwrap()).is_err(), "{level} {keys}");
        }
    }
}
