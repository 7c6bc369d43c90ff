//! A DICOMweb node is searched by QIDO-RS (PS3.18 10.6).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use dicom_core::header::Header;
use dicom_core::value::Value as DicomValue;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use engram_dimse::{Level, Search};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::answer::{Coming, Piece};
use super::error::{NodeError, RefusedSnafu, UnreadableSnafu};
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
const MAX_ANSWER: usize = 16 << 20;
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
        self.found(&format!("{path}?{}", query.join("&")), limit, &|| true)
    }

    /// The first matches of a search by its path and query.
    pub(super) fn found(
        &self,
        path: &str,
        limit: usize,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Matches, NodeError> {
        self.found_within(self.silence, path, limit, goes_on)
    }

    /// The same, of a node that may be silent for so long.
    pub(super) fn found_within(
        &self,
        silence: Duration,
        path: &str,
        limit: usize,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Matches, NodeError> {
        let coming = Coming::of(self.get(path, DICOM_JSON), silence)?;
        let Piece::Head { status, warning, .. } = coming.next(goes_on)? else {
            return UnreadableSnafu { reason: "it has no head" }.fail();
        };
        let body = coming.rest(MAX_ANSWER, goes_on)?;
        match status {
            200 => {
                let mut found = first_matches(&body, limit)
                    .map_err(|error| UnreadableSnafu { reason: format!("no DICOM JSON: {error}") }.build())?;
                found.is_complete &= !warning.starts_with("299");
                Ok(found)
            }
            204 => Ok(Matches { matches: Vec::new(), is_complete: true }),
            status => {
                let said = String::from_utf8_lossy(&body).chars().take(SHOWN).collect::<String>();
                RefusedSnafu { status, said }.fail()
            }
        }
    }
}

/// The first objects of an array. What is beyond is read over, so that it takes no memory.
fn first_matches(json: &[u8], limit: usize) -> serde_json::Result<Matches> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let matches = First(limit).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(matches)
}

struct First(usize);

impl<'de> DeserializeSeed<'de> for First {
    type Value = Matches;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Matches, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for First {
    type Value = Matches;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Matches, A::Error> {
        let mut found = Matches { matches: Vec::new(), is_complete: true };
        while found.matches.len() < self.0 {
            match array.next_element()? {
                Some(object) => found.matches.push(object),
                None => return Ok(found),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            found.is_complete = false;
        }
        Ok(found)
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
    fn the_first_matches_are_kept_and_it_is_known_that_there_are_more() {
        let read = |text: &str| {
            first_matches(text.as_bytes(), 2).map(|found| (found.matches.len(), found.is_complete))
        };
        assert_eq!(read("[]").unwrap(), (0, true));
        assert_eq!(read("[{}, {\"00100010\": {}}]").unwrap(), (2, true));
        assert_eq!(read("[{}, {}, {}, {}]").unwrap(), (2, false));
        for wrong in ["{}", "[1]", "[{}] []", "[{}, {}, {}", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_within_sequences_are_asked_for_by_their_paths() {
        let within = json!({ "00400275": { "vr": "SQ", "Value": [{ "00400009": { "vr": "SH", "Value": ["P 1"] } }] } });
        assert_eq!(asked("SERIES", within), "/series?00400275.00400009=P%201");
        let whole = json!({ "00400275": { "vr": "SQ" } });
        assert_eq!(asked("SERIES", whole), "/series?includefield=00400275");
    }
}
