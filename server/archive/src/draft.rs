//! Changes to the catalogue that are made together or not at all.

use crate::{
    InstanceUids, NativePixels, Result, attributes,
    catalogue::{
        self, Catalogue, END_LENGTH, Index, InstanceRecord, Place, SeriesRecord, StudyRecord, end_key,
        index_key, instance_key, series_key, sop_key, study_key,
    },
    model,
    part10::{DataSetJson, Inspected},
    search::name,
};
use dicom_dictionary_std::tags;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The most SOP classes that a series' record names; real series have one or two.
pub(crate) const MAX_SOP_CLASSES: usize = 16;

/// The most bytes of a Code String (PS3.5 section 6.2).
const MAX_CODE_STRING: usize = 16;

/// One record as it was and as it shall be.
struct Change<T> {
    before: Option<T>,
    after: Option<T>,
}

impl<T: Clone> Change<T> {
    fn from(before: Option<T>) -> Self {
        Change { after: before.clone(), before }
    }
}

/// What the catalogue keeps of uncompressed pixels at `value`; nothing where the Image Pixel module is incomplete.
fn native_pixels(json: &DataSetJson, value: Range<u64>) -> Option<NativePixels> {
    let number = |tag| json.text(tag).parse().ok();
    let bits_allocated = number(tags::BITS_ALLOCATED)?;
    Some(NativePixels {
        value,
        rows: number(tags::ROWS)?,
        columns: number(tags::COLUMNS)?,
        samples_per_pixel: number(tags::SAMPLES_PER_PIXEL).unwrap_or(1),
        bits_allocated,
        bits_stored: number(tags::BITS_STORED).unwrap_or(bits_allocated),
        signed: number(tags::PIXEL_REPRESENTATION) == Some(1),
        photometric_interpretation: Some(json.text(tags::PHOTOMETRIC_INTERPRETATION))
            .filter(|name| (1..=MAX_CODE_STRING).contains(&name.len()))?,
    })
}

/// A batch in the making. Only the one thread that writes the catalogue makes drafts, so what it read stays true.
pub(crate) struct Draft<'c> {
    catalogue: &'c Catalogue,
    studies: BTreeMap<String, Change<StudyRecord>>,
    series: BTreeMap<(String, String), Change<SeriesRecord>>,
    instances: BTreeMap<InstanceUids, Option<InstanceRecord>>,
}

impl<'c> Draft<'c> {
    pub(crate) fn new(catalogue: &'c Catalogue) -> Self {
        Draft { catalogue, studies: BTreeMap::new(), series: BTreeMap::new(), instances: BTreeMap::new() }
    }

    /// The study as it shall be.
    pub(crate) fn study(&mut self, study: &str) -> Result<&mut Option<StudyRecord>> {
        if !self.studies.contains_key(study) {
            let change = Change::from(self.catalogue.study(study)?);
            self.studies.insert(study.to_owned(), change);
        }
        Ok(&mut self.studies.entry(study.to_owned()).or_insert_with(|| Change::from(None)).after)
    }

    /// The series as it shall be.
    pub(crate) fn series(&mut self, study: &str, series: &str) -> Result<&mut Option<SeriesRecord>> {
        let key = (study.to_owned(), series.to_owned());
        if !self.series.contains_key(&key) {
            let change = Change::from(self.catalogue.series(study, series)?);
            self.series.insert(key.clone(), change);
        }
        Ok(&mut self.series.entry(key).or_insert_with(|| Change::from(None)).after)
    }

    /// Adds an instance that is not there yet.
    pub(crate) fn add(&mut self, inspected: &Inspected, metadata: Place) -> Result<()> {
        let uids = &inspected.uids;
        let json = &inspected.json;
        let record = InstanceRecord {
            sop_class_uid: inspected.sop_class_uid.clone(),
            transfer_syntax_uid: inspected.transfer_syntax_uid.clone(),
            size: inspected.size,
            data_set_offset: inspected.data_set_offset,
            data_set_digest: hex(&inspected.data_set_digest),
            instance_number: json.text(tags::INSTANCE_NUMBER).parse().ok(),
            frames: json.text(tags::NUMBER_OF_FRAMES).parse().unwrap_or(1).max(1),
            native_pixels: inspected.pixel_data.clone().and_then(|value| native_pixels(json, value)),
            metadata,
        };

        let is_new_series = self.series(&uids.study_instance_uid, &uids.series_instance_uid)?.is_none();
        let series =
            self.series(&uids.study_instance_uid, &uids.series_instance_uid)?.get_or_insert_default();
        series.instances += 1;
        series.bytes = series.bytes.saturating_add(record.size);
        if series.sop_classes.len() < MAX_SOP_CLASSES {
            series.sop_classes.insert(record.sop_class_uid.clone());
        }
        attributes::merge(&mut series.attributes, json, attributes::is_series);
        if is_new_series {
            series.modality = index_value(&json.text(tags::MODALITY));
        }

        let study = self.study(&uids.study_instance_uid)?;
        if study.is_none() {
            *study = Some(StudyRecord {
                patient_id: index_value(&json.text(tags::PATIENT_ID)),
                ..StudyRecord::default()
            });
        }
        if let Some(study) = study {
            study.series += u64::from(is_new_series);
            attributes::merge(&mut study.attributes, json, attributes::is_study);
        }
        self.instances.insert(uids.clone(), Some(record));
        Ok(())
    }

    /// Changes an instance's record.
    pub(crate) fn replace(&mut self, uids: &InstanceUids, record: InstanceRecord) {
        self.instances.insert(uids.clone(), Some(record));
    }

    /// Takes out an instance, and with the last one its series and study.
    pub(crate) fn remove(&mut self, uids: &InstanceUids, record: &InstanceRecord) -> Result<()> {
        self.instances.insert(uids.clone(), None);
        let series = self.series(&uids.study_instance_uid, &uids.series_instance_uid)?;
        let Some(left) = series.as_mut() else { return Ok(()) };
        left.instances = left.instances.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(record.size);
        if left.instances > 0 {
            return Ok(());
        }
        *series = None;
        let study = self.study(&uids.study_instance_uid)?;
        if let Some(left) = study.as_mut() {
            left.series = left.series.saturating_sub(1);
            if left.series == 0 {
                *study = None;
            }
        }
        Ok(())
    }

    /// Writes everything, atomically; not durable before the catalogue is synced.
    pub(crate) fn apply(self) -> Result<()> {
        let catalogue = self.catalogue;
        catalogue.apply(self.batch()?)
    }

    /// Everything, to be written atomically.
    pub(crate) fn batch(self) -> Result<sled::Batch> {
        let mut batch = sled::Batch::default();
        // Most instances say of their study what is known of it.
        for (study, change) in self.studies.iter().filter(|(_, change)| change.before != change.after) {
            put(&mut batch, &study_key(study), change.after.as_ref())?;
            index(&mut batch, change, |record| study_index_keys(study, record));
        }
        for ((study, series), change) in &self.series {
            put(&mut batch, &series_key(study, series), change.after.as_ref())?;
            let keys = |record: &SeriesRecord| series_index_keys(study, series, record);
            index(&mut batch, change, keys);
        }
        for (uids, record) in &self.instances {
            put(&mut batch, &instance_key(uids), record.as_ref())?;
            let (key, place) = sop_key(uids);
            match record {
                Some(_) => batch.insert(key.as_bytes(), place.as_bytes()),
                None => batch.remove(key.as_bytes()),
            }
        }
        Ok(batch)
    }
}

fn put<T: serde::Serialize>(batch: &mut sled::Batch, key: &str, record: Option<&T>) -> Result<()> {
    match record {
        Some(record) => batch.insert(key.as_bytes(), catalogue::write(key, record)?),
        None => batch.remove(key.as_bytes()),
    }
    Ok(())
}

/// Takes those of a record's old keys out of the indices that are not among its new ones, and puts the new ones in that
/// were not among the old.
fn index<T>(batch: &mut sled::Batch, change: &Change<T>, keys: impl Fn(&T) -> BTreeSet<String>) {
    let [before, after] = [&change.before, &change.after].map(|r| r.as_ref().map(&keys).unwrap_or_default());
    for key in before.difference(&after) {
        batch.remove(key.as_bytes());
    }
    for key in after.difference(&before) {
        batch.insert(key.as_bytes(), Vec::new());
    }
}

fn series_index_keys(study: &str, series: &str, record: &SeriesRecord) -> BTreeSet<String> {
    let modality = format!("{}\0{series}", index_value(&record.modality));
    BTreeSet::from([index_key(Index::Series, series, study), index_key(Index::Modality, &modality, study)])
}

/// A study's keys in the indices of its attributes.
fn study_index_keys(study: &str, record: &StudyRecord) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (tag, index) in Index::OF_STUDIES {
        let element = record.attributes.get(&model::key(tag)).unwrap_or(&Value::Null);
        // By its date a study is found once.
        let most = if index == Index::StudyDate { 1 } else { usize::MAX };
        for value in index_values(index, element).into_iter().take(most) {
            if Index::WITH_ENDS.contains(&index) {
                keys.extend(ends(&value).map(|end| end_key(index, end, study)));
            }
            keys.insert(index_key(index, &value, study));
        }
    }
    keys
}

/// What an index of ends holds of what the index beside it holds of a value: from each character on, a stretch; and nothing, the
/// empty end, of one that may have been cut.
pub(crate) fn ends(value: &str) -> impl Iterator<Item = &str> {
    let empty = is_cut(value).then_some("");
    let end = |(start, _)| first_characters(value.get(start..).unwrap_or_default(), END_LENGTH);
    value.char_indices().map(end).chain(empty)
}

/// So many characters of a text, or fewer.
pub(crate) fn first_characters(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

/// Whether what an index holds of a value may not be all of it.
pub(crate) fn is_cut(value: &str) -> bool {
    value.chars().nth(INDEX_LENGTH - 1).is_some()
}

/// What an index holds of an element: its values, of names the component groups; the empty value where there is none.
pub(crate) fn index_values(index: Index, element: &Value) -> Vec<String> {
    let values = model::values(element).iter();
    let values: Vec<String> = match index {
        Index::PatientName | Index::ReferringPhysicianName => values.flat_map(name::folded_groups).collect(),
        _ => values.filter_map(model::text).collect(),
    };
    match values.is_empty() {
        true => vec![String::new()],
        false => values.iter().map(|value| index_value(value)).collect(),
    }
}

/// A value short enough, and without the separator, to be part of a key. Longer ones are cut: the index
/// only proposes studies, the match itself looks at the attribute.
fn index_value(value: &str) -> String {
    value.chars().filter(|character| *character != '\0').take(INDEX_LENGTH).collect()
}

/// The most characters of a value that an index holds. LO and SH allow 64 at most.
pub(crate) const INDEX_LENGTH: usize = 64;

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
