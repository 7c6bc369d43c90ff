//! Searching: candidates from an index or a scan, matched level by level, so that what a study refuses is
//! never read further.

mod candidates;
mod matching;
mod view;

use crate::{
    Include, Level, MatchKey, Query, Result, SearchResult, metadata::SeriesMetadata, model, read::Reader,
};
use dicom_core::{DataDictionary, Tag, VR, dictionary::DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use matching::Matcher;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use view::{Home, InstanceView, SeriesView, StudyView, home};

/// What a study is returned with (PS3.18 Table 10.6.3-3).
const STUDY: [Tag; 16] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::INSTANCE_AVAILABILITY,
    tags::MODALITIES_IN_STUDY,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::STUDY_DESCRIPTION,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// What a series is returned with (PS3.18 Table 10.6.3-4).
const SERIES: [Tag; 8] = [
    tags::MODALITY,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// What an instance is returned with (PS3.18 Table 10.6.3-5).
const INSTANCE: [Tag; 8] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_AVAILABILITY,
    tags::INSTANCE_NUMBER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
];

/// Attributes that a result has, empty, where the instance has none: type 2 in every image's modules.
const NEVER_LEFT_OUT: [Tag; 9] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_ID,
];

/// A key with its value read.
struct Key<'q> {
    path: &'q [Tag],
    first: Tag,
    matcher: Matcher,
}

impl<'q> Key<'q> {
    fn new(key: &'q MatchKey, fuzzy: bool) -> Option<Self> {
        let (first, last) = (*key.path.first()?, *key.path.last()?);
        Some(Key { path: &key.path, first, matcher: Matcher::new(vr(last), &key.value, fuzzy) })
    }

    /// Whether the first attribute of the path, as it was found, leads to a match.
    fn takes(&self, element: Option<&Value>) -> bool {
        match element {
            Some(element) => takes_along(&self.matcher, element, self.path.get(1..).unwrap_or_default()),
            None => self.matcher.takes_absent(),
        }
    }
}

/// Follows the rest of a key's path into sequences: any item may match (PS3.4 section C.2.2.2.6).
fn takes_along(matcher: &Matcher, element: &Value, rest: &[Tag]) -> bool {
    let Some((tag, rest)) = rest.split_first() else { return matcher.takes(element) };
    let key = model::key(*tag);
    let items = model::values(element);
    if items.is_empty() {
        return matcher.takes_absent();
    }
    items.iter().any(|item| match item.get(&key) {
        Some(element) => takes_along(matcher, element, rest),
        None => matcher.takes_absent(),
    })
}

/// The VR by the dictionary; LO, which compares as text, for what it does not know.
fn vr(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::LO, |entry| entry.vr().relaxed())
}

/// Runs a search.
pub(crate) fn search(reader: &Reader, query: &Query) -> Result<SearchResult> {
    let keys: Vec<Key> = query.matches.iter().filter_map(|key| Key::new(key, query.fuzzy)).collect();
    let mut search = Search { query, keys, passed: 0, result: SearchResult::default() };
    match candidates::candidates(reader, query, &search.keys)? {
        Some(studies) => {
            for uid in studies {
                if let Some(record) = reader.shared.catalogue.study(&uid)? {
                    search.study(&StudyView::new(reader, uid, record))?;
                }
                if search.result.more {
                    break;
                }
            }
        }
        None => {
            for entry in reader.shared.catalogue.studies() {
                let (uid, record) = entry?;
                search.study(&StudyView::new(reader, uid, record))?;
                if search.result.more {
                    break;
                }
            }
        }
    }
    Ok(search.result)
}

struct Search<'q> {
    query: &'q Query,
    keys: Vec<Key<'q>>,
    passed: usize,
    result: SearchResult,
}

impl Search<'_> {
    /// Whether a match is to be returned: not passed over, and not beyond the limit.
    fn is_wanted(&mut self) -> bool {
        if self.passed < self.query.offset {
            self.passed += 1;
            return false;
        }
        if self.result.items.len() >= self.query.limit {
            self.result.more = true;
        }
        !self.result.more
    }

    fn keys_at(&self, level: Home) -> impl Iterator<Item = &Key<'_>> {
        self.keys.iter().filter(move |key| home(key.first) == level)
    }

    fn study(&mut self, study: &StudyView) -> Result<()> {
        for key in self.keys_at(Home::Study) {
            if !key.takes(study.element(key.first)?.as_ref()) {
                return Ok(());
            }
        }
        if self.query.level == Level::Study {
            if self.study_holds(study)? && self.is_wanted() {
                let item = self.item(|tag| study.element(tag), Some(&study.record.attributes), &[&STUDY])?;
                self.result.items.push(item);
            }
            return Ok(());
        }
        for (uid, record) in study.series()? {
            if self.query.series_instance_uid.as_ref().is_none_or(|wanted| wanted == uid) {
                self.series(&SeriesView::new(study, uid, record))?;
            }
            if self.result.more {
                break;
            }
        }
        Ok(())
    }

    /// Whether keys below the study's level, if there are any, are all met by one of its series.
    fn study_holds(&self, study: &StudyView) -> Result<bool> {
        if !self.keys.iter().any(|key| home(key.first) > Home::Study) {
            return Ok(true);
        }
        for (uid, record) in study.series()? {
            if self.series_matches(&SeriesView::new(study, uid, record), Home::Instance)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the series meets the keys from its level down to `deepest`, where its first instance speaks for all.
    fn series_matches(&self, series: &SeriesView, deepest: Home) -> Result<bool> {
        for key in self.keys.iter().filter(|key| (Home::Series..=deepest).contains(&home(key.first))) {
            let holds = match &key.matcher {
                // The first instance cannot speak for the UIDs of the others.
                Matcher::AnyOf { patterns, .. } if key.first == tags::SOP_INSTANCE_UID => {
                    series.holds(patterns)?
                }
                _ => key.takes(series.element(key.first)?.as_ref()),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn series(&mut self, series: &SeriesView) -> Result<()> {
        let deepest = if self.query.level == Level::Series { Home::Instance } else { Home::Series };
        if !self.series_matches(series, deepest)? {
            return Ok(());
        }
        if self.query.level == Level::Series {
            if self.is_wanted() {
                let element = |tag| match home(tag) {
                    Home::Study => series.study.element(tag),
                    _ => series.element(tag),
                };
                let required: &[&[Tag]] = match self.query.study_instance_uid {
                    Some(_) => &[&SERIES, &[tags::STUDY_INSTANCE_UID]],
                    None => &[&SERIES, &STUDY],
                };
                let item = self.item(element, Some(&series.record.attributes), required)?;
                self.result.items.push(item);
            }
            return Ok(());
        }
        let has_keys = self.keys_at(Home::Instance).next().is_some();
        let count = usize::try_from(series.record.instances).unwrap_or(usize::MAX);
        if !has_keys && count <= self.query.offset.saturating_sub(self.passed) {
            // All of them match and all are passed over.
            self.passed += count;
            return Ok(());
        }
        let reader = series.study.reader;
        let mut kept = SeriesMetadata::open(&reader.shared.layout, &series.study.uid, series.uid);
        for (uids, record) in reader.instances(&series.study.uid, series.uid)? {
            self.instance(series, &InstanceView::new(reader, uids, record), &mut kept)?;
            if self.result.more {
                break;
            }
        }
        Ok(())
    }

    fn instance(
        &mut self,
        series: &SeriesView,
        instance: &InstanceView,
        kept: &mut SeriesMetadata,
    ) -> Result<()> {
        let keys: Vec<&Key> = self.keys_at(Home::Instance).collect();
        let wanted: Vec<Tag> = keys.iter().map(|key| key.first).collect();
        let elements = instance.elements(&wanted, kept)?;
        if !keys.iter().zip(&elements).all(|(key, element)| key.takes(element.as_ref())) || !self.is_wanted()
        {
            return Ok(());
        }
        let required: &[&[Tag]] = match (&self.query.study_instance_uid, &self.query.series_instance_uid) {
            (Some(_), Some(_)) => &[&INSTANCE, &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID]],
            (Some(_), None) => &[&INSTANCE, &SERIES, &[tags::STUDY_INSTANCE_UID]],
            (None, _) => &[&INSTANCE, &SERIES, &STUDY],
        };
        let mut tags = self.wanted(required);
        if self.query.include == Include::All {
            tags.extend(instance.tags(kept)?);
        }
        let tags: Vec<Tag> = tags.into_iter().collect();
        let own: Vec<Tag> = tags.iter().copied().filter(|tag| home(*tag) == Home::Instance).collect();
        let mut elements: Vec<_> = own.iter().copied().zip(instance.elements(&own, kept)?).collect();
        for tag in tags.iter().copied().filter(|tag| home(*tag) != Home::Instance) {
            let element =
                if home(tag) == Home::Study { series.study.element(tag)? } else { series.element(tag)? };
            elements.push((tag, element));
        }
        self.result.items.push(complete(elements));
        Ok(())
    }

    /// The attributes to return: the required ones, those matched, and those asked for.
    fn wanted(&self, required: &[&[Tag]]) -> BTreeSet<Tag> {
        let mut wanted: BTreeSet<Tag> = required.iter().flat_map(|tags| tags.iter().copied()).collect();
        wanted.extend(self.keys.iter().map(|key| key.first));
        if let Include::Attributes(tags) = &self.query.include {
            wanted.extend(tags);
        }
        wanted
    }

    /// A study's or a series' result.
    fn item(
        &self,
        element: impl Fn(Tag) -> Result<Option<Value>>,
        all: Option<&Map<String, Value>>,
        required: &[&[Tag]],
    ) -> Result<Map<String, Value>> {
        let mut wanted = self.wanted(required);
        if self.query.include == Include::All {
            let kept = all.into_iter().flat_map(Map::keys);
            wanted.extend(kept.filter_map(|key| crate::part10::parse_tag(key)));
        }
        let found: Result<Vec<_>> =
            wanted.into_iter().map(|tag| element(tag).map(|element| (tag, element))).collect();
        Ok(complete(found?))
    }
}

/// Puts a result together. Bulk data has no place in it.
fn complete(elements: Vec<(Tag, Option<Value>)>) -> Map<String, Value> {
    let mut item = Map::new();
    for (tag, element) in elements {
        match element.map(without_bulk_data) {
            Some(Some(element)) => {
                item.insert(model::key(tag), element);
            }
            None if NEVER_LEFT_OUT.contains(&tag) => {
                item.insert(model::key(tag), json!({"vr": vr(tag).to_string()}));
            }
            _ => {}
        }
    }
    item
}

/// The element without bulk data, at any depth; `None` where it is bulk data itself.
fn without_bulk_data(mut element: Value) -> Option<Value> {
    if element.get("BulkDataURI").is_some() {
        return None;
    }
    if let Some(Value::Array(items)) = element.get_mut("Value") {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            let kept = std::mem::take(item).into_iter();
            *item = kept.filter_map(|(key, element)| Some((key, without_bulk_data(element)?))).collect();
        }
    }
    Some(element)
}
