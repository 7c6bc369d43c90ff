//! A DICOMweb node is searched by QIDO-RS (PS3.18 10.6).

use std::borrow::Cow;
use std::time::Duration;

use dicom_core::header::Header;
use dicom_core::value::Value as DicomValue;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use engram_dimse::{Level, Search};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use ureq::http::StatusCode;

use super::error::{BrokenSnafu, NodeError, RefusedSnafu, SilentSnafu, UnreadableSnafu};
use super::{DICOM_JSON, DicomwebNode};
use crate::nodes::objects::is_uid;

/// What cannot stand in a value of a query (RFC 3986 3.4). No more is escaped: there are servers, Orthanc's plugin 1.7 among them, that
/// take what is escaped for what it looks like.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'?')
    .remove(b',')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');
/// An answer's size at the most, bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// Characters of a refusal that are shown.
const SHOWN: usize = 200;

/// What a node has.
pub struct Matches {
    /// In DICOM JSON.
    pub matches: Vec<Map<String, Value>>,
    /// Whether these are all.
    pub is_complete: bool,
}

impl DicomwebNode {
    /// What it has of a search, `limit` matches at the most.
    ///
    /// # Errors
    /// It cannot be asked, refuses, or answers with something else.
    pub fn find(&self, search: &Search, limit: usize) -> Result<Matches, NodeError> {
        // One more than is wanted tells whether there are more, also where the node does not say it.
        let (path, mut query) = resource(search);
        query.push(format!("limit={}", limit.saturating_add(1)));
        let mut found = self.found(&format!("{path}?{}", query.join("&")))?;
        found.is_complete &= found.matches.len() <= limit;
        found.matches.truncate(limit);
        Ok(found)
    }

    /// The matches of a search by its path and query.
    pub(super) fn found(&self, path: &str) -> Result<Matches, NodeError> {
        self.found_within(self.silence, path)
    }

    /// The same, with that patience.
    pub(super) fn found_within(&self, patience: Duration, path: &str) -> Result<Matches, NodeError> {
        let request = self.get(path, DICOM_JSON).config().timeout_global(Some(patience)).build();
        let of_connection = |error| match error {
            ureq::Error::Timeout(_) => SilentSnafu { seconds: patience.as_secs() }.build(),
            error => BrokenSnafu { reason: error.to_string() }.build(),
        };
        let mut answer = request.call().map_err(of_connection)?;
        let (status, warning) = (answer.status(), answer.headers().get("Warning").cloned());
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(of_connection)?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Matches { matches: Vec::new(), is_complete: true });
        }
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body).chars().take(SHOWN).collect::<String>();
            return RefusedSnafu { status: status.as_u16(), said }.fail();
        }
        let matches = serde_json::from_slice(&body)
            .map_err(|error| UnreadableSnafu { reason: format!("no DICOM JSON: {error}") }.build())?;
        let has_more = warning.is_some_and(|value| value.as_bytes().starts_with(b"299"));
        Ok(Matches { matches, is_complete: !has_more })
    }
}

/// The resource of a search and its query: as much of the keys as can be stands in the path.
fn resource(search: &Search) -> (String, Vec<String>) {
    let mut path = String::new();
    let mut in_path = Vec::new();
    let levels: &[(Tag, &str)] = match search.level {
        // There is no level of patients: `query` does not come here with it.
        Level::Patient | Level::Study => &[],
        Level::Series => &[(tags::STUDY_INSTANCE_UID, "studies")],
        Level::Image => &[(tags::STUDY_INSTANCE_UID, "studies"), (tags::SERIES_INSTANCE_UID, "series")],
    };
    for (tag, name) in levels {
        let uid = search.keys.get(*tag).and_then(text).filter(|uid| is_uid(uid));
        let Some(uid) = uid else { break };
        path += &format!("/{name}/{uid}");
        in_path.push(*tag);
    }
    path += match search.level {
        Level::Patient | Level::Study => "/studies",
        Level::Series => "/series",
        Level::Image => "/instances",
    };
    let mut query = Vec::new();
    for element in search.keys.iter().filter(|element| !in_path.contains(&element.tag())) {
        parameters(element, "", &mut query);
    }
    (path, query)
}

/// The parameters of a key (PS3.18 8.3.4): what it must have, or that it is to be told; keys within sequences by their paths.
fn parameters(key: &InMemElement, within: &str, to: &mut Vec<String>) {
    let name = format!("{within}{:04X}{:04X}", key.tag().group(), key.tag().element());
    let nested: Vec<&InMemDicomObject> = key.items().into_iter().flatten().collect();
    if nested.iter().any(|item| item.iter().next().is_some()) {
        for element in nested.into_iter().flat_map(|item| item.iter()) {
            parameters(element, &format!("{name}."), to);
        }
        return;
    }
    to.push(match text(key).filter(|text| !text.is_empty()) {
        Some(text) => format!("{name}={}", utf8_percent_encode(&text, &ESCAPED)),
        None => format!("includefield={name}"),
    });
}

/// A key's values. Lists of UIDs are set apart by commas, which servers older than the standard's backslash know, too.
fn text(key: &InMemElement) -> Option<Cow<'_, str>> {
    let text = match key.value() {
        DicomValue::Primitive(value) => value.to_str(),
        _ => return None,
    };
    Some(match key.vr() {
        VR::UI => text.replace('\\', ",").into(),
        _ => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::search_of_keys_alone;
    use serde_json::json;

    fn asked(level: &str, keys: Value) -> String {
        let (path, mut query) = resource(&search_of_keys_alone(level, keys.as_object().unwrap()).unwrap());
        query.sort();
        format!("{path}?{}", query.join("&"))
    }

    #[test]
    fn keys_become_a_path_and_a_query() {
        let study = json!({ "PatientName": "Müller*", "StudyInstanceUID": ["1.2", "1.3"], "ModalitiesInStudy": ["CT", "MR"] });
        assert_eq!(asked("STUDY", study), "/studies?00080061=CT%5CMR&00100010=M%C3%BCller*&0020000D=1.2,1.3");
        let series = json!({ "StudyInstanceUID": "1.2", "Modality": "CT", "BodyPartExamined": null });
        assert_eq!(asked("SERIES", series), "/studies/1.2/series?00080060=CT&includefield=00180015");
        let images = json!({ "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3" });
        assert_eq!(asked("INSTANCE", images), "/studies/1.2/series/1.3/instances?");
        assert_eq!(asked("IMAGE", json!({ "SeriesInstanceUID": "1.3" })), "/instances?0020000E=1.3");
        assert_eq!(
            asked("SERIES", json!({ "StudyInstanceUID": "1.*" })),
            "/series?0020000D=1.*",
            "a wildcard is no resource"
        );
    }

    #[test]
    fn keys_within_sequences_are_asked_for_by_their_paths() {
        let within = json!({ "00400275": { "vr": "SQ", "Value": [{ "00400009": { "vr": "SH", "Value": ["P 1"] } }] } });
        assert_eq!(asked("SERIES", within), "/series?00400275.00400009=P%201");
        let whole = json!({ "00400275": { "vr": "SQ" } });
        assert_eq!(asked("SERIES", whole), "/series?includefield=00400275");
    }
}
