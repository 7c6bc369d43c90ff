//! Searching: candidates from an index or a scan, matched level by level, so that what a study refuses is
//! never read further.

mod candidates;
mod matching;
mod moment;
pub(crate) mod name;
mod order;
mod view;

use crate::{
    Include, InstanceUids, Level, Match, MatchKey, Query, Result, SearchResult,
    catalogue::{InstanceRecord, SeriesRecord},
    draft::MAX_SOP_CLASSES,
    error::KeySnafu,
    metadata::SeriesMetadata,
    model,
    read::{Reader, by_number},
};
use dicom_core::{DataDictionary, Tag, VR, dictionary::DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use matching::Matcher;
pub use matching::Rules;
use order::{Ordered, Place};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, sync::Arc};
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
const SERIES: [Tag; 9] = [
    tags::MODALITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// What an instance is returned with (PS3.18 Table 10.6.3-5).
const INSTANCE: [Tag; 10] = [
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_AVAILABILITY,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
    tags::TIMEZONE_OFFSET_FROM_UTC,
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

/// Dates and the times that belong to them.
const DATES_AND_TIMES: [(Tag, Tag); 8] = [
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME),
    (tags::CONTENT_DATE, tags::CONTENT_TIME),
    (tags::INSTANCE_CREATION_DATE, tags::INSTANCE_CREATION_TIME),
    (tags::PATIENT_BIRTH_DATE, tags::PATIENT_BIRTH_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_END_DATE, tags::PERFORMED_PROCEDURE_STEP_END_TIME),
];

/// An attribute and what it must be like.
struct Key {
    first: Tag,
    test: Test,
}

enum Test {
    /// The attribute's own values.
    Value(Matcher),
    /// A sequence: one of its items must meet all of these (PS3.4 section C.2.2.2.6).
    Items(Vec<Key>),
    /// A date together with its time (C.2.2.2.5).
    DateTime { date: Matcher, time: Tag, both: moment::Moment },
}

impl Key {
    /// The attributes that must be known.
    fn tags(&self) -> impl Iterator<Item = Tag> {
        let time = match self.test {
            Test::DateTime { time, .. } => Some(time),
            _ => None,
        };
        std::iter::once(self.first).chain(time)
    }

    /// Whether what `element` gives for its attributes matches.
    fn holds(&self, element: impl Fn(Tag) -> Result<Option<Value>>) -> Result<bool> {
        let own = element(self.first)?;
        Ok(match &self.test {
            Test::DateTime { time, both, .. } => {
                let digits = |element: Option<Value>| {
                    let text = element.as_ref().and_then(model::first_text);
                    moment::digits(&text.unwrap_or_default())
                };
                let date = digits(own);
                !date.is_empty() && both.takes(&(date + &digits(element(*time)?)))
            }
            _ => self.takes(own.as_ref()),
        })
    }

    /// Whether the attribute alone, as it was found, matches.
    fn takes(&self, element: Option<&Value>) -> bool {
        match &self.test {
            Test::Value(matcher) => element.map_or(matcher.takes_absent(), |element| matcher.takes(element)),
            Test::DateTime { date, .. } => element.is_some_and(|element| date.takes(element)),
            Test::Items(keys) => {
                let items = element.map(model::values).unwrap_or_default();
                let meets_all =
                    |item: &Value| keys.iter().all(|key| key.takes(item.get(model::key(key.first))));
                // A sequence without items is like one item without attributes.
                items.iter().any(meets_all) || (items.is_empty() && meets_all(&Value::Null))
            }
        }
    }
}

/// Keys for data sets that are kept elsewhere: they match as those of a search do.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads keys.
    ///
    /// # Errors
    /// [`Error::Key`](crate::Error::Key) where a value is none that its attribute could have.
    pub fn new(matches: &[MatchKey], rules: Rules) -> Result<Self> {
        read_keys(matches, rules).map(Keys)
    }

    /// Whether a data set, in the DICOM JSON model, meets all of them.
    pub fn take(&self, data_set: &Map<String, Value>) -> bool {
        let element = |tag| Ok(data_set.get(&model::key(tag)).cloned());
        self.0.iter().all(|key| key.holds(element).unwrap_or(false))
    }

    /// The attributes they begin with.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.0.iter().flat_map(Key::tags)
    }
}

/// Reads the keys of a search.
fn keys(query: &Query) -> Result<Vec<Key>> {
    let rules = Rules {
        fuzzy: query.fuzzy,
        empty: query.empty_value_matching,
        multiple: query.multiple_value_matching,
    };
    read_keys(&query.matches, rules)
}

fn read_keys(matches: &[MatchKey], rules: Rules) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    for key in matches {
        let Some(last) = key.path.last() else { continue };
        let matcher = Matcher::new(vr(*last), &key.value, rules).or_else(|problem| {
            let attribute = key.path.iter().map(|tag| model::key(*tag)).collect::<Vec<_>>().join(".");
            KeySnafu { attribute, value: key.value.as_str(), problem }.fail()
        })?;
        insert(&mut keys, &key.path, matcher);
    }
    combine(&mut keys);
    Ok(keys)
}

/// Adds a key; where its path leads into a sequence that other keys lead into, beside them.
fn insert(keys: &mut Vec<Key>, path: &[Tag], matcher: Matcher) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        keys.push(Key { first: *first, test: Test::Value(matcher) });
        return;
    }
    let beside = keys.iter_mut().find_map(|key| match &mut key.test {
        Test::Items(items) if key.first == *first => Some(items),
        _ => None,
    });
    match beside {
        Some(items) => insert(items, rest, matcher),
        None => {
            let mut items = Vec::new();
            insert(&mut items, rest, matcher);
            keys.push(Key { first: *first, test: Test::Items(items) });
        }
    }
}

/// Makes one key of a range of dates and a range of their times, where both are of the same form.
fn combine(keys: &mut Vec<Key>) {
    for (date, time) in DATES_AND_TIMES {
        let moment = |tag| {
            keys.iter().enumerate().find_map(|(index, key)| match &key.test {
                Test::Value(Matcher::Moment(moment)) if key.first == tag => Some((index, moment)),
                _ => None,
            })
        };
        let (Some((date_at, days)), Some((time_at, times))) = (moment(date), moment(time)) else { continue };
        let Some(both) = days.combined(times) else { continue };
        let test = Test::DateTime { date: Matcher::Moment(days.clone()), time, both };
        if let Some(key) = keys.get_mut(date_at) {
            key.test = test;
        }
        keys.remove(time_at);
    }
}

/// The VR by the dictionary; LO, which compares as text, for what it does not know.
fn vr(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::LO, |entry| entry.vr().relaxed())
}

/// Runs a search.
pub(crate) fn search(reader: &Reader, query: &Query) -> Result<SearchResult> {
    if let Some(ordered) = Ordered::of(query) {
        return search_in_order(reader, query, ordered);
    }
    let mut search = Search::new(query, None)?;
    search.run(reader)?;
    let found = search.passed.saturating_add(search.result.items.len());
    Ok(SearchResult { total: (!search.result.more).then_some(found as u64), ..search.result })
}

/// Looks at all matches, and puts those together that are to be returned.
fn search_in_order(reader: &Reader, query: &Query, ordered: Ordered) -> Result<SearchResult> {
    let all = Query { offset: 0, limit: usize::MAX, ..query.clone() };
    let mut search = Search::new(&all, Some(ordered))?;
    search.run(reader)?;
    let Some(ordered) = search.ordered.take() else { return Ok(search.result) };
    let (total, places) = ordered.finish(query);
    let more = total.saturating_sub(query.offset) > places.len();
    for place in places {
        search.put_together(reader, &place)?;
    }
    Ok(SearchResult { total: Some(total as u64), more, ..search.result })
}

/// How many matches there are, whatever the query's limit and offset.
pub(crate) fn count(reader: &Reader, query: &Query) -> Result<u64> {
    // Every match is passed over, so that nothing is put together.
    let query = Query { offset: usize::MAX, order: Vec::new(), ..query.clone() };
    Ok(search(reader, &query)?.total.unwrap_or_default())
}

/// The most studies that are read to be put in order by their dates; of more, the index of dates says which come first.
const MOST_READ: usize = 1024;

struct Search<'q> {
    query: &'q Query,
    keys: Vec<Key>,
    passed: usize,
    /// Where matches wait that are to be put in order.
    ordered: Option<Ordered<'q>>,
    result: SearchResult,
}

impl<'q> Search<'q> {
    fn new(query: &'q Query, ordered: Option<Ordered<'q>>) -> Result<Self> {
        Ok(Search { query, keys: keys(query)?, passed: 0, ordered, result: SearchResult::default() })
    }

    fn run(&mut self, reader: &Reader) -> Result<()> {
        match candidates::candidates(reader, self.query, &self.keys)? {
            Some(studies) if studies.len() <= MOST_READ => self.run_through_few(reader, studies),
            Some(studies) => self.run_through_all(reader, |uid| studies.contains(uid)),
            None => self.run_through_all(reader, |_| true),
        }
    }

    fn run_through_few(&mut self, reader: &Reader, studies: BTreeSet<String>) -> Result<()> {
        let mut found = Vec::with_capacity(studies.len());
        for uid in studies {
            if let Some(record) = reader.shared.catalogue.study(&uid)? {
                let date = record.attributes.get(&model::key(tags::STUDY_DATE)).and_then(model::first_text);
                found.push((date, StudyView::new(reader, uid, record)));
            }
        }
        found.sort_by(|one, other| (&other.0, &other.1.uid).cmp(&(&one.0, &one.1.uid)));
        for (_, study) in found {
            self.study(&study)?;
            if self.result.more {
                break;
            }
        }
        Ok(())
    }

    fn run_through_all(&mut self, reader: &Reader, is_candidate: impl Fn(&str) -> bool) -> Result<()> {
        let pass_over = self.query.level == Level::Study && self.keys.is_empty();
        for uid in reader.shared.catalogue.studies_from_the_latest() {
            let uid = uid?;
            if !is_candidate(&uid) {
                continue;
            }
            if pass_over && self.passed < self.query.offset {
                self.passed += 1;
                continue;
            }
            if let Some(record) = reader.shared.catalogue.study(&uid)? {
                self.study(&StudyView::new(reader, uid, record))?;
            }
            if self.result.more {
                break;
            }
        }
        Ok(())
    }

    /// Whether a match is to be returned now: not put in order first, not passed over, and not beyond the limit. `element` gives
    /// its attributes.
    fn is_wanted(
        &mut self,
        place: impl FnOnce() -> Place,
        element: impl FnMut(Tag) -> Result<Option<Value>>,
    ) -> Result<bool> {
        match &mut self.ordered {
            Some(ordered) => ordered.add(place(), element).map(|()| false),
            None => Ok(self.is_within_limits()),
        }
    }

    fn is_within_limits(&mut self) -> bool {
        if self.passed < self.query.offset {
            self.passed += 1;
            return false;
        }
        if self.result.items.len() >= self.query.limit {
            self.result.more = true;
        }
        !self.result.more
    }

    fn keys_at(&self, level: Home) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| home(key.first) == level)
    }

    fn study(&mut self, study: &StudyView) -> Result<()> {
        for key in self.keys_at(Home::Study) {
            if !key.holds(|tag| study.element(tag))? {
                return Ok(());
            }
        }
        if self.query.level == Level::Study {
            let place = || Place::new(&study.uid, "", "");
            if self.study_holds(study)? && self.is_wanted(place, |tag| study.element(tag))? {
                self.return_study(study)?;
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

    /// Whether the series meets the keys from its level down to `deepest`; those of instances, by one of them.
    fn series_matches(&self, series: &SeriesView, deepest: Home) -> Result<bool> {
        for key in self.keys_at(Home::Series) {
            if !key.holds(|tag| series.element(tag))? {
                return Ok(false);
            }
        }
        if !self.may_hold_a_match(series.record) {
            return Ok(false);
        }
        if deepest < Home::Instance || self.keys_at(Home::Instance).next().is_none() {
            return Ok(true);
        }
        let reader = series.study.reader;
        let mut kept = SeriesMetadata::open(&reader.shared.layout, &series.study.uid, series.uid);
        for entry in self.instances(series) {
            let (uids, record) = entry?;
            if self.instance_matches(&InstanceView::new(reader, uids, record), &mut kept)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The series' instances that can match: those that a key names, or all.
    fn instances<'s>(
        &'s self,
        series: &'s SeriesView,
    ) -> Box<dyn Iterator<Item = Result<(InstanceUids, InstanceRecord)>> + 's> {
        let reader = series.study.reader;
        let named = self.keys.iter().find_map(|key| match &key.test {
            Test::Value(Matcher::AnyOf { patterns, .. }) if key.first == tags::SOP_INSTANCE_UID => {
                Some(patterns)
            }
            _ => None,
        });
        let Some(named) = named else { return Box::new(reader.entries(&series.study.uid, series.uid)) };
        let found = named.iter().map(|sop| {
            let uids = InstanceUids::new(&series.study.uid, series.uid, sop);
            Ok(reader.shared.catalogue.instance(&uids)?.map(|record| (uids, record)))
        });
        Box::new(found.filter_map(Result::transpose))
    }

    /// Whether an instance of the series can be of a SOP class that is asked for, by what the series' record names: else
    /// a search for the few segmentations would look at every image.
    fn may_hold_a_match(&self, series: &SeriesRecord) -> bool {
        let names_all = series.sop_classes.len() < MAX_SOP_CLASSES;
        let can_meet = |key: &Key| match &key.test {
            Test::Value(matcher) if key.first == tags::SOP_CLASS_UID && !matcher.takes_absent() => {
                series.sop_classes.iter().any(|class| matcher.takes_text(class))
            }
            _ => true,
        };
        !names_all || self.keys.iter().all(can_meet)
    }

    /// Whether the instance meets the keys of its level.
    fn instance_matches(&self, instance: &InstanceView, kept: &mut SeriesMetadata) -> Result<bool> {
        let tags: Vec<Tag> = self.keys_at(Home::Instance).flat_map(Key::tags).collect();
        if tags.is_empty() {
            return Ok(true);
        }
        let elements = instance.elements(&tags, kept)?;
        let element = |wanted| {
            let found = tags.iter().zip(&elements).find(|(tag, _)| **tag == wanted);
            Ok(found.and_then(|(_, element)| element.clone()))
        };
        for key in self.keys_at(Home::Instance) {
            if !key.holds(element)? {
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
            let place = || Place::new(&series.study.uid, series.uid, "");
            if self.is_wanted(place, |tag| series.any_element(tag))? {
                self.return_series(series)?;
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
        for (uids, record) in by_number(self.instances(series))? {
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
        if !self.instance_matches(instance, kept)? {
            return Ok(());
        }
        let element = |tag| match home(tag) {
            Home::Instance => instance.elements(&[tag], kept).map(|mut found| found.pop().flatten()),
            _ => series.any_element(tag),
        };
        if self.is_wanted(|| instance.uids.clone(), element)? {
            self.return_instance(series, instance, kept)?;
        }
        Ok(())
    }

    /// Puts together what is to be returned of a match that was put in order.
    fn put_together(&mut self, reader: &Reader, place: &Place) -> Result<()> {
        let catalogue = &reader.shared.catalogue;
        let Some(record) = catalogue.study(&place.study_instance_uid)? else { return Ok(()) };
        let study = StudyView::new(reader, place.study_instance_uid.clone(), record);
        if self.query.level == Level::Study {
            return self.return_study(&study);
        }
        let Some(record) = catalogue.series(&study.uid, &place.series_instance_uid)? else { return Ok(()) };
        let series = SeriesView::new(&study, &place.series_instance_uid, &record);
        if self.query.level == Level::Series {
            return self.return_series(&series);
        }
        let Some(record) = catalogue.instance(place)? else { return Ok(()) };
        let mut kept = SeriesMetadata::open(&reader.shared.layout, &study.uid, series.uid);
        self.return_instance(&series, &InstanceView::new(reader, place.clone(), record), &mut kept)
    }

    fn return_study(&mut self, study: &StudyView) -> Result<()> {
        let item = self.item(|tag| study.text(tag), &study.record.attributes, &[&STUDY])?;
        self.result.items.push(item);
        Ok(())
    }

    fn return_series(&mut self, series: &SeriesView) -> Result<()> {
        let required: &[&[Tag]] = match self.query.study_instance_uid {
            Some(_) => &[&SERIES, &[tags::STUDY_INSTANCE_UID]],
            None => &[&SERIES, &STUDY],
        };
        let item = self.item(|tag| series.text(tag), &series.record.attributes, required)?;
        self.result.items.push(item);
        Ok(())
    }

    fn return_instance(
        &mut self,
        series: &SeriesView,
        instance: &InstanceView,
        kept: &mut SeriesMetadata,
    ) -> Result<()> {
        let required: &[&[Tag]] = match (&self.query.study_instance_uid, &self.query.series_instance_uid) {
            (Some(_), Some(_)) => &[&INSTANCE, &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID]],
            (Some(_), None) => &[&INSTANCE, &SERIES, &[tags::STUDY_INSTANCE_UID]],
            (None, _) => &[&INSTANCE, &SERIES, &STUDY],
        };
        let mut tags = self.wanted(required);
        if self.query.include == Include::All {
            tags.extend(instance.tags(kept)?);
        }
        let (own, shared): (Vec<Tag>, Vec<Tag>) =
            tags.into_iter().partition(|tag| home(*tag) == Home::Instance);
        let own = own.iter().copied().zip(instance.texts(&own, kept)?);
        let shared = shared.into_iter().map(|tag| Ok((tag, series.text(tag)?)));
        let elements: Result<Vec<_>> = own.map(Ok).chain(shared).collect();
        self.result.items.push(complete(elements?));
        Ok(())
    }

    /// The attributes to return: the required ones, those matched, and those asked for.
    fn wanted(&self, required: &[&[Tag]]) -> BTreeSet<Tag> {
        let mut wanted: BTreeSet<Tag> = required.iter().flat_map(|tags| tags.iter().copied()).collect();
        wanted.extend(self.keys.iter().flat_map(Key::tags));
        if let Include::Attributes(tags) = &self.query.include {
            wanted.extend(tags);
        }
        wanted
    }

    /// A study's or a series' result.
    fn item(
        &self,
        text: impl Fn(Tag) -> Result<Option<Arc<str>>>,
        all: &Map<String, Value>,
        required: &[&[Tag]],
    ) -> Result<Match> {
        let mut wanted = self.wanted(required);
        if self.query.include == Include::All {
            wanted.extend(all.keys().filter_map(|key| crate::part10::parse_tag(key)));
        }
        let found: Result<Vec<_>> = wanted.into_iter().map(|tag| text(tag).map(|text| (tag, text))).collect();
        Ok(complete(found?))
    }
}

/// Puts a result together. Bulk data has no place in it.
fn complete(elements: Vec<(Tag, Option<Arc<str>>)>) -> Match {
    let mut item = Match::default();
    for (tag, element) in elements {
        match element {
            Some(text) if !text.contains("BulkDataURI") => item.insert(tag, text),
            Some(text) => {
                if let Some(element) = serde_json::from_str(&text).ok().and_then(without_bulk_data) {
                    item.insert(tag, element.to_string().into());
                }
            }
            None if NEVER_LEFT_OUT.contains(&tag) => {
                item.insert(tag, json!({"vr": vr(tag).to_string()}).to_string().into());
            }
            None => {}
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
