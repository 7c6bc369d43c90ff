//! Finding workitems (PS3.4 CC.2.8, PS3.18 section 11.9).

use crate::{
    Attributes, Result,
    attributes::{key, sorted},
    error::KeySnafu,
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use engram_archive::{Include, Keys, MatchKey, MatchRules};
use snafu::ResultExt;

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkitemQuery {
    /// All of these must match.
    pub matches: Vec<MatchKey>,
    /// How keys are read.
    pub rules: MatchRules,
    /// What to return beyond [`ALWAYS`] and the keys.
    pub include: Include,
    /// The most results to return.
    pub limit: usize,
    /// How many matches to pass over first.
    pub offset: usize,
}

/// What a search found, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The attributes that were asked for.
    pub items: Vec<Attributes>,
    /// How many matches there are, those passed over included.
    pub total: usize,
}

impl Found {
    /// Whether there are matches after these.
    pub fn has_more(&self, offset: usize) -> bool {
        offset.saturating_add(self.items.len()) < self.total
    }
}

/// Attributes of every match: those of Table CC.2.5-3 whose return key is of type 1 or 2.
const ALWAYS: [Tag; 27] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::SCHEDULED_PROCEDURE_STEP_PRIORITY,
    tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME,
    tags::PROCEDURE_STEP_LABEL,
    tags::WORKLIST_LABEL,
    tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_CLASS_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_GEOGRAPHIC_LOCATION_CODE_SEQUENCE,
    tags::SCHEDULED_HUMAN_PERFORMERS_SEQUENCE,
    tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME,
    tags::EXPECTED_COMPLETION_DATE_TIME,
    tags::SCHEDULED_PROCEDURE_STEP_EXPIRATION_DATE_TIME,
    tags::SCHEDULED_WORKITEM_CODE_SEQUENCE,
    tags::INPUT_READINESS_STATE,
    tags::STUDY_INSTANCE_UID,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::ADMISSION_ID,
    tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::PROCEDURE_STEP_STATE,
    tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE,
];

/// A search under way.
pub(crate) struct Search<'q> {
    query: &'q WorkitemQuery,
    keys: Keys,
    found: Found,
}

impl<'q> Search<'q> {
    pub(crate) fn new(query: &'q WorkitemQuery) -> Result<Self> {
        let keys = Keys::new(&query.matches, query.rules).context(KeySnafu)?;
        Ok(Search { query, keys, found: Found::default() })
    }

    /// Looks at a workitem.
    pub(crate) fn look_at(&mut self, attributes: &Attributes) {
        if !self.keys.take(attributes) {
            return;
        }
        let is_wanted = self.found.total >= self.query.offset && self.found.items.len() < self.query.limit;
        self.found.total += 1;
        if is_wanted {
            self.found.items.push(sorted(self.picked(attributes)));
        }
    }

    fn picked(&self, attributes: &Attributes) -> Attributes {
        let Include::Attributes(asked) = &self.query.include else { return attributes.clone() };
        let wanted = ALWAYS.into_iter().chain(self.keys.tags()).chain(asked.iter().copied()).map(key);
        wanted.filter_map(|name| Some((name.clone(), attributes.get(&name)?.clone()))).collect()
    }

    pub(crate) fn end(self) -> Found {
        self.found
    }
}
