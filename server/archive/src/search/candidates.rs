//! Which studies a search has to look at.

use super::{Key, Test, matching::Matcher};
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
    for key in keys {
        let matcher = match &key.test {
            Test::Value(matcher) | Test::DateTime { date: matcher, .. } if !matcher.takes_absent() => matcher,
            _ => continue,
        };
        let found = match (key.first, matcher) {
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
                indexed_text(reader, Index::PatientId, matcher, patterns)?
            }
            (tags::ACCESSION_NUMBER, Matcher::AnyOf { patterns, .. }) => {
                indexed_text(reader, Index::AccessionNumber, matcher, patterns)?
            }
            (tags::STUDY_DATE, Matcher::Moment(date)) => {
                catalogue.indexed(Index::StudyDate, date.year(), |value| date.takes(value))?
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
fn indexed_text(
    reader: &Reader,
    index: Index,
    matcher: &Matcher,
    patterns: &[String],
) -> Result<BTreeSet<String>> {
    let mut studies = BTreeSet::new();
    for pattern in patterns {
        let beginning = pattern.split(['*', '?']).next().unwrap_or_default();
        let beginning: String = beginning.chars().take(INDEX_LENGTH).collect();
        // A value that fills the index may go on beyond it: the match itself decides.
        let wanted = |value: &str| value.chars().count() >= INDEX_LENGTH || matcher.takes_text(value);
        studies.extend(reader.shared.catalogue.indexed(index, &beginning, wanted)?);
    }
    Ok(studies)
}
