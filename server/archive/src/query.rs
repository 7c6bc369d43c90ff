//! Searching, QIDO-RS's way (PS3.18 section 8.3.4 and 10.6, PS3.4 section C.2.2.2).

use dicom_core::Tag;
use serde_json::{Map, Value};

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
            limit: usize::MAX,
            offset: 0,
        }
    }
}

/// What a search found, in a stable order: by StudyInstanceUID, SeriesInstanceUID, then InstanceNumber and
/// SOPInstanceUID.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResult {
    /// DICOM JSON objects (PS3.18 Annex F) with the attributes of PS3.18 Tables 10.6.3-3 to 10.6.3-5 and those
    /// asked for. RetrieveURL (0008,1190) is the caller's to add: the archive knows no URL.
    pub items: Vec<Map<String, Value>>,
    /// Whether there are matches after these.
    pub more: bool,
    /// How many matches there are, those passed over included; known where the search came to its end.
    pub total: Option<u64>,
}
