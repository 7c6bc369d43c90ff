//! Which studies a search has to look at.

use super::{Key, matching::Matcher};
use crate::{Query, Result, catalogue::Index, draft::INDEX_LENGTH, read::Reader};
use dicom_dictionary_std::tags;
use std::collections::BTreeSet;

/// The studies that can match, by the narrowest index at hand; `None` for all.
pub(super) fn candidates(reader: &Reader, query: &Query, keys: &[Key]) -> Result<Option<BTreeSet<String>>> {
    let catalogue = &reader.shared.catalogue;
    if let Some(study) = &query.study_instance_uid {
        return Ok(Some(BTreeSet::from([study.clone()])));
    }
    let mut narrowest: Option<BTreeSet<String>> = None;
    for key in keys.iter().filter(|key| key.path.len() == 1 && !key.matcher.takes_absent()) {
        let found = match (key.first, &key.matcher) {
            (tags::STUDY_INSTANCE_UID, Matcher::AnyOf { patterns, .. }) => patterns.iter().cloned().collect(),
            (tags::SERIES_INSTANCE_UID, Matcher::AnyOf { patterns, .. }) => {
                let mut studies = BTreeSet::new();
                for series in patterns {
                    studies.extend(catalogue.indexed(Index::Series, series, |value| value == series)?);
                }
                studies
            }
            (tags::SOP_INSTANCE_UID, Matcher::AnyOf { patterns, .. }) => {
                let mut studies = BTreeSet::new();
                for sop in patterns {
                    studies.extend(catalogue.locate(sop)?.map(|uids| uids.study_instance_uid));
                }
                studies
            }
            (tags::PATIENT_ID, Matcher::AnyOf { patterns, .. }) => {
                indexed_text(reader, Index::PatientId, key, patterns)?
            }
            (tags::ACCESSION_NUMBER, Matcher::AnyOf { patterns, .. }) => {
                indexed_text(reader, Index::AccessionNumber, key, patterns)?
            }
            (tags::STUDY_DATE, matcher) => {
                let beginning = if let Matcher::Moment(date) = matcher { date.as_str() } else { "" };
                // A date of old has dots, which the index keeps.
                let beginning = beginning.get(..4).unwrap_or("");
                catalogue.indexed(Index::StudyDate, beginning, |value| matcher.takes_text(value))?
            }
            _ => continue,
        };
        if narrowest.as_ref().is_none_or(|best| found.len() < best.len()) {
            narrowest = Some(found);
        }
    }
    Ok(narrowest)
}

/// Studies by an index of text: what precedes the first wildcard bounds the scan.
fn indexed_text(reader: &Reader, index: Index, key: &Key, patterns: &[String]) -> Result<BTreeSet<String>> {
    let mut studies = BTreeSet::new();
    for pattern in patterns {
        let beginning = pattern.split(['*', '?']).next().unwrap_or_default();
        let beginning: String = beginning.chars().take(INDEX_LENGTH).collect();
        // A value that fills the index may go on beyond it: the match itself decides.
        let wanted = |value: &str| value.chars().count() >= INDEX_LENGTH || key.matcher.takes_text(value);
        studies.extend(reader.shared.catalogue.indexed(index, &beginning, wanted)?);
    }
    Ok(studies)
}
