//! Workitems that ask this server for a segmentation, read and written (docs/worklist.md).
//!
//! Such a workitem's Scheduled Workitem Code is (113076, DCM, "Segmentation"): CID 9231 has nothing closer than "Image
//! Processing", which other systems' workitems use for other things, so that (110001, DCM) counts only where this server is
//! the scheduled station.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use engram_worklist::{Attributes, code, element, items, key, text};
use serde::Deserialize;
use serde::de::value::{Error as DeError, StrDeserializer};
use serde_json::Value;

use crate::request::{RequestOptions, ResultEncoding, SegmentationRequest};

/// The coding scheme of what only Engram has a name for.
pub const SCHEME: &str = "99ENGRAM";

const SEGMENTATION: (&str, &str, &str) = ("113076", "DCM", "Segmentation");
const IMAGE_PROCESSING: (&str, &str) = ("110001", "DCM");

/// Processing parameters: code values of [`SCHEME`], and what they mean.
const LABEL: (&str, &str) = ("LABEL", "Label to segment");
const COLLECTION: (&str, &str) = ("COLLECTION", "Collection to draw from");
const BUNDLE: (&str, &str) = ("BUNDLE", "Bundle that computes");
const QUALITY: (&str, &str) = ("QUALITY", "Speed against accuracy");
const ENCODING: (&str, &str) = ("ENCODING", "Encoding of the result");

/// The item that says what is to be done.
pub fn workitem_code() -> Value {
    let (value, scheme, meaning) = SEGMENTATION;
    code(value, scheme, meaning)
}

/// The item that says who does it.
pub fn station_code(name: &str) -> Value {
    code(name, SCHEME, "Engram")
}

/// Whether a workitem asks the station of that name for a segmentation.
pub fn is_for(attributes: &Attributes, station: &str) -> bool {
    let stations = || items(attributes, tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE);
    let is_named = stations().any(|item| text(item, tags::CODE_VALUE) == Some(station));
    let is_open = stations().next().is_none();
    items(attributes, tags::SCHEDULED_WORKITEM_CODE_SEQUENCE).any(|item| match code_of(item) {
        Some((value, scheme)) if (value, scheme) == (SEGMENTATION.0, SEGMENTATION.1) => is_named || is_open,
        Some(code) => code == IMAGE_PROCESSING && is_named,
        None => false,
    })
}

fn code_of(item: &Attributes) -> Option<(&str, &str)> {
    Some((text(item, tags::CODE_VALUE)?, text(item, tags::CODING_SCHEME_DESIGNATOR)?))
}

/// What a workitem asks for.
///
/// # Errors
/// In words, where it names no series or more than one, or a parameter is none that there is.
pub fn request_of(attributes: &Attributes) -> Result<SegmentationRequest, String> {
    let (study, series) = series_of(attributes)?;
    let mut request = SegmentationRequest {
        study,
        series,
        labels: None,
        collection: None,
        prompts: vec![],
        prompt_segmentation: None,
        options: RequestOptions::default(),
        store: true,
    };
    for parameter in items(attributes, tags::SCHEDULED_PROCESSING_PARAMETERS_SEQUENCE) {
        take(&mut request, parameter)?;
    }
    Ok(request)
}

fn series_of(attributes: &Attributes) -> Result<(String, String), String> {
    let mut inputs = items(attributes, tags::INPUT_INFORMATION_SEQUENCE);
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err("its Input Information Sequence (0040,4021) has not just one item: file a workitem for each series"
            .to_owned());
    };
    let study = text(input, tags::STUDY_INSTANCE_UID).or_else(|| text(attributes, tags::STUDY_INSTANCE_UID));
    match (study, text(input, tags::SERIES_INSTANCE_UID)) {
        (Some(study), Some(series)) => Ok((study.to_owned(), series.to_owned())),
        _ => {
            Err("the item of its Input Information Sequence (0040,4021) lacks the UID of its study or series"
                .to_owned())
        }
    }
}

fn take(request: &mut SegmentationRequest, parameter: &Attributes) -> Result<(), String> {
    let concept = items(parameter, tags::CONCEPT_NAME_CODE_SEQUENCE).next().and_then(code_of);
    let Some((name, SCHEME)) = concept else {
        let (value, scheme) = concept.unwrap_or_default();
        return Err(format!("its processing parameter ({value}, {scheme}) is not known here"));
    };
    let told = value_of(parameter).ok_or_else(|| format!("its processing parameter {name} has no value"))?;
    match name {
        _ if name == LABEL.0 => request.labels.get_or_insert_default().push(told),
        _ if name == COLLECTION.0 => request.collection = Some(told),
        _ if name == BUNDLE.0 => request.options.bundle = Some(told),
        _ if name == QUALITY.0 => request.options.quality = Some(term(name, &told)?),
        _ if name == ENCODING.0 => request.options.encoding = term(name, &told)?,
        _ => return Err(format!("its processing parameter ({name}, {SCHEME}) is not known here")),
    }
    Ok(())
}

/// A content item's text; of one with a code, the label's key that the code stands for.
fn value_of(parameter: &Attributes) -> Option<String> {
    let coded = || {
        let (value, scheme) = items(parameter, tags::CONCEPT_CODE_SEQUENCE).next().and_then(code_of)?;
        Some(format!("{scheme}:{value}"))
    };
    text(parameter, tags::TEXT_VALUE).map(str::to_owned).or_else(coded)
}

/// One of a type's words.
fn term<'t, T: Deserialize<'t>>(name: &str, told: &'t str) -> Result<T, String> {
    let word = StrDeserializer::<DeError>::new(told);
    T::deserialize(word).map_err(|error| format!("its processing parameter {name}: {error}"))
}

/// What a request asks for, as the items of a workitem's Scheduled Processing Parameters Sequence.
pub fn parameters_of(request: &SegmentationRequest) -> Vec<Value> {
    let options = &request.options;
    let word = |value: Result<Value, serde_json::Error>| value.ok()?.as_str().map(str::to_owned);
    let labels = request.labels.iter().flatten().map(|label| (LABEL, label.clone()));
    let others = [
        (COLLECTION, request.collection.clone()),
        (BUNDLE, options.bundle.clone()),
        (QUALITY, options.quality.and_then(|quality| word(serde_json::to_value(quality)))),
        (
            ENCODING,
            match options.encoding {
                ResultEncoding::Labelmap => None,
                encoding => word(serde_json::to_value(encoding)),
            },
        ),
    ];
    let others = others.into_iter().filter_map(|(name, told)| Some((name, told?)));
    labels
        .chain(others)
        .map(|((name, meaning), told)| text_item(code(name, SCHEME, meaning), &told))
        .collect()
}

/// A TEXT content item (PS3.3 Table 10-2).
fn text_item(concept: Value, told: &str) -> Value {
    let attributes: [(Tag, Value); 3] = [
        (tags::VALUE_TYPE, "TEXT".into()),
        (tags::CONCEPT_NAME_CODE_SEQUENCE, concept),
        (tags::TEXT_VALUE, told.into()),
    ];
    Value::Object(attributes.into_iter().map(|(tag, value)| (key(tag), element(tag, vec![value]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workitem(inputs: Value, parameters: Value) -> Attributes {
        let workitem = json!({
            "00404021": {"vr": "SQ", "Value": inputs},
            "00741210": {"vr": "SQ", "Value": parameters},
        });
        workitem.as_object().unwrap().clone()
    }

    fn one_series() -> Value {
        json!([{"0020000D": {"vr": "UI", "Value": ["1.2"]}, "0020000E": {"vr": "UI", "Value": ["1.3"]}}])
    }

    fn parameter(name: &str, told: Value) -> Value {
        let mut item = json!({"0040A043": {"vr": "SQ", "Value": [code(name, SCHEME, name)]}});
        item.as_object_mut().unwrap().extend(told.as_object().unwrap().clone());
        item
    }

    fn told(text: &str) -> Value {
        json!({"0040A160": {"vr": "UT", "Value": [text]}})
    }

    #[test]
    fn parameters_are_read() {
        let liver = json!({"0040A168": {"vr": "SQ", "Value": [code("10200004", "SCT", "Liver")]}});
        let parameters = json!([
            parameter("LABEL", liver),
            parameter("LABEL", told("SCT:78961009")),
            parameter("QUALITY", told("fast")),
            parameter("BUNDLE", told("compact")),
            parameter("COLLECTION", told("abdomen")),
            parameter("ENCODING", told("BINARY")),
        ]);
        let request = request_of(&workitem(one_series(), parameters)).unwrap();
        assert_eq!((request.study.as_str(), request.series.as_str()), ("1.2", "1.3"));
        assert_eq!(request.labels, Some(vec!["SCT:10200004".to_owned(), "SCT:78961009".to_owned()]));
        assert_eq!(request.collection.as_deref(), Some("abdomen"));
        assert_eq!(request.options.encoding, ResultEncoding::Binary);
        let written = workitem(one_series(), parameters_of(&request).into());
        assert_eq!(request_of(&written).unwrap(), request, "what is written reads again");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let two = json!([one_series()[0], one_series()[0]]);
        for (inputs, parameters) in [
            (json!([]), json!([])),
            (two, json!([])),
            (json!([{}]), json!([])),
            (one_series(), json!([parameter("LABEL", json!({}))])),
            (one_series(), json!([parameter("COLOUR", told("red"))])),
            (one_series(), json!([parameter("QUALITY", told("superb"))])),
            (one_series(), json!([{"0040A043": {"vr": "SQ", "Value": [code("LABEL", "99OTHER", "x")]}}])),
            (one_series(), json!([{}])),
        ] {
            assert!(
                request_of(&workitem(inputs.clone(), parameters.clone())).is_err(),
                "{inputs} {parameters}"
            );
        }
    }

    #[test]
    fn workitems_are_for_this_server_by_code_and_station() {
        let other = || code("CT1", "99X", "CT");
        for (codes, stations, expected) in [
            (json!([workitem_code()]), json!([]), true),
            (json!([workitem_code()]), json!([station_code("ENGRAM")]), true),
            (json!([workitem_code()]), json!([other()]), false),
            (json!([code("110001", "DCM", "Image Processing")]), json!([]), false),
            (
                json!([code("110001", "DCM", "Image Processing")]),
                json!([other(), station_code("ENGRAM")]),
                true,
            ),
            (
                json!([code("110004", "DCM", "Computer Aided Detection")]),
                json!([station_code("ENGRAM")]),
                false,
            ),
            (json!([]), json!([station_code("ENGRAM")]), false),
        ] {
            let workitem = json!({
                "00404018": {"vr": "SQ", "Value": codes}, "00404025": {"vr": "SQ", "Value": stations},
            });
            assert_eq!(is_for(workitem.as_object().unwrap(), "ENGRAM"), expected, "{workitem}");
        }
    }
}
