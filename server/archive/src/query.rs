//! Searching, QIDO-RS's way (PS3.18 section 8.3.4 and 10.6, PS3.4 section C.2.2.2).

use crate::model;
use dicom_core::Tag;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a search returns one of per match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Studies.
    Study,
    /// Series.
    Series,
    /// Instances.
    Instance,
}

/// One attribute to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchKey {
    /// The attribute: one tag, or the way through sequences to it.
    pub path: Vec<Tag>,
    /// The value as in the URL, decoded: a single value, a UID list (`,` or `\`), `*` and `?`, a range
    /// `a-b`; empty matches all. Keys that lead into one sequence must be met by one item of it, and a range of
    /// dates beside one of their times is one range of both.
    pub value: String,
}

/// Which attributes to return beyond the required ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Include {
    /// `includefield=all`.
    All,
    /// These, where the instance has them.
    Attributes(Vec<Tag>),
}

/// An attribute that results are put in order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// One that [`Level::can_be_ordered_by`] takes.
    pub attribute: Tag,
    /// From the last value to the first.
    pub descending: bool,
}

/// A search. [`Query::at`] makes one that matches everything at a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What to return.
    pub level: Level,
    /// Only within this study: `/studies/{study}/...`.
    pub study_instance_uid: Option<String>,
    /// Only within this series: `/studies/{study}/series/{series}/instances`.
    pub series_instance_uid: Option<String>,
    /// All of these must match.
    pub matches: Vec<MatchKey>,
    /// What to return beyond the required attributes.
    pub include: Include,
    /// `fuzzymatching=true`: person names match by the beginning of any of their words.
    pub fuzzy: bool,
    /// `emptyvaluematching=true`: `""` matches what is empty or absent (PS3.4 section C.2.2.2.7).
    pub empty_value_matching: bool,
    /// `multiplevaluematching=true`: of a key's values, set apart by `\`, each must match one of the attribute's
    /// (PS3.4 section C.2.2.2.8). Without it, any of a code string's.
    pub multiple_value_matching: bool,
    /// What results are put in order by, the first key above the others; what is empty or absent comes before any value. Without
    /// one, in the order that [`SearchResult`] has.
    pub order: Vec<OrderKey>,
    /// The most results to return.
    pub limit: usize,
    /// How many matches to pass over first.
    pub offset: usize,
}

impl Query {
    /// Everything at `level`, without limit.
    pub fn at(level: Level) -> Self {
        Query {
            level,
            study_instance_uid: None,
            series_instance_uid: None,
            matches: Vec::new(),
            include: Include::Attributes(Vec::new()),
            fuzzy: false,
            empty_value_matching: false,
            multiple_value_matching: false,
            order: Vec::new(),
            limit: usize::MAX,
            offset: 0,
        }
    }
}

/// What a search found, in a stable order unless the query has another: studies from the latest StudyDate on, those of a day by
/// StudyInstanceUID from the last; within a study by SeriesInstanceUID, then InstanceNumber and SOPInstanceUID.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResult {
    /// With the attributes of PS3.18 Tables 10.6.3-3 to 10.6.3-5 and those asked for. RetrieveURL (0008,1190) is the
    /// caller's to add: the archive knows no URL.
    pub items: Vec<Match>,
    /// Whether there are matches after these.
    pub more: bool,
    /// How many matches there are, those passed over included; known where the search came to its end.
    pub total: Option<u64>,
}

/// A match: a DICOM JSON object (PS3.18 Annex F), each element's JSON as text, since most of it is sent as it was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// By their tags. Matches of one series or study share its elements.
    elements: Vec<(Tag, Arc<str>)>,
}

impl Match {
    /// Puts an element in its place; `json` is its DICOM JSON.
    pub fn insert(&mut self, tag: Tag, json: Arc<str>) {
        match self.elements.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(index) => self.elements[index].1 = json,
            Err(index) => self.elements.insert(index, (tag, json)),
        }
    }

    /// An element.
    pub fn element(&self, tag: Tag) -> Option<Value> {
        let index = self.elements.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        serde_json::from_str(&self.elements.get(index)?.1).ok()
    }

    /// The first value of an element, as text.
    pub fn text(&self, tag: Tag) -> Option<String> {
        model::first_text(&self.element(tag)?)
    }

    /// All of it.
    pub fn object(&self) -> Map<String, Value> {
        let element =
            |(tag, json): &(Tag, Arc<str>)| Some((model::key(*tag), serde_json::from_str(json).ok()?));
        self.elements.iter().filter_map(element).collect()
    }

    /// Appends the object as JSON text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (tag, json)) in self.elements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            out.extend_from_slice(comma.as_bytes());
            out.push(b'"');
            out.extend_from_slice(model::key(*tag).as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(json.as_bytes());
        }
        out.push(b'}');
    }
}
