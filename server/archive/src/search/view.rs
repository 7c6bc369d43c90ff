//! One candidate of a search: what can be asked of a study, a series or an instance.

use crate::{
    InstanceUids, Result, attributes,
    catalogue::{InstanceRecord, SeriesRecord, StudyRecord},
    metadata::SeriesMetadata,
    model,
    read::{self, Reader},
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value, json, value::RawValue};
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

/// Which level's record an attribute is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Home {
    Study,
    Series,
    Instance,
}

/// Where an attribute is looked for.
pub(crate) fn home(tag: Tag) -> Home {
    match tag {
        tags::MODALITIES_IN_STUDY
        | tags::SOP_CLASSES_IN_STUDY
        | tags::NUMBER_OF_STUDY_RELATED_SERIES
        | tags::NUMBER_OF_STUDY_RELATED_INSTANCES => Home::Study,
        tags::NUMBER_OF_SERIES_RELATED_INSTANCES => Home::Series,
        tag if attributes::is_study(tag) => Home::Study,
        tag if attributes::is_series(tag) => Home::Series,
        _ => Home::Instance,
    }
}

/// The JSON of a study's or a series' elements as text, kept for the matches that share them.
#[derive(Default)]
struct Texts(RefCell<BTreeMap<Tag, Option<Arc<str>>>>);

impl Texts {
    fn get(&self, tag: Tag, element: impl FnOnce() -> Result<Option<Value>>) -> Result<Option<Arc<str>>> {
        if let Some(text) = self.0.borrow().get(&tag) {
            return Ok(text.clone());
        }
        let text: Option<Arc<str>> = element()?.map(|element| element.to_string().into());
        self.0.borrow_mut().insert(tag, text.clone());
        Ok(text)
    }
}

/// A study, with its series once something asks for them.
pub(crate) struct StudyView<'r> {
    pub reader: &'r Reader,
    pub uid: String,
    pub record: StudyRecord,
    series: OnceCell<Vec<(String, SeriesRecord)>>,
    texts: Texts,
}

impl<'r> StudyView<'r> {
    pub(crate) fn new(reader: &'r Reader, uid: String, record: StudyRecord) -> Self {
        StudyView { reader, uid, record, series: OnceCell::new(), texts: Texts::default() }
    }

    pub(crate) fn series(&self) -> Result<&[(String, SeriesRecord)]> {
        if self.series.get().is_none() {
            let series: Result<Vec<_>> = self.reader.shared.catalogue.series_of(&self.uid).collect();
            let _ = self.series.set(series?);
        }
        Ok(self.series.get_or_init(Vec::new))
    }

    /// [`Self::element`] as text.
    pub(crate) fn text(&self, tag: Tag) -> Result<Option<Arc<str>>> {
        self.texts.get(tag, || self.element(tag))
    }

    /// A study attribute: from the record, or counted.
    pub(crate) fn element(&self, tag: Tag) -> Result<Option<Value>> {
        let strings = |vr: &str, values: Vec<String>| json!({"vr": vr, "Value": values});
        Ok(match tag {
            tags::INSTANCE_AVAILABILITY => Some(online()),
            tags::NUMBER_OF_STUDY_RELATED_SERIES => Some(json!({"vr": "IS", "Value": [self.record.series]})),
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES => {
                let count: u64 = self.series()?.iter().map(|(_, series)| series.instances).sum();
                Some(json!({"vr": "IS", "Value": [count]}))
            }
            tags::MODALITIES_IN_STUDY => {
                let modalities = self.series()?.iter().map(|(_, series)| series.modality.clone());
                let mut modalities: Vec<_> = modalities.filter(|modality| !modality.is_empty()).collect();
                modalities.sort();
                modalities.dedup();
                Some(strings("CS", modalities))
            }
            tags::SOP_CLASSES_IN_STUDY => {
                let mut classes: Vec<_> = self
                    .series()?
                    .iter()
                    .flat_map(|(_, series)| series.sop_classes.iter().cloned())
                    .collect();
                classes.sort();
                classes.dedup();
                Some(strings("UI", classes))
            }
            tag => self.record.attributes.get(&model::key(tag)).cloned(),
        })
    }
}

/// A series of a study, with its first instance's JSON once something asks for it.
pub(crate) struct SeriesView<'r, 's> {
    pub study: &'s StudyView<'r>,
    pub uid: &'s str,
    pub record: &'s SeriesRecord,
    first: OnceCell<Option<Map<String, Value>>>,
    texts: Texts,
}

impl<'r, 's> SeriesView<'r, 's> {
    pub(crate) fn new(study: &'s StudyView<'r>, uid: &'s str, record: &'s SeriesRecord) -> Self {
        SeriesView { study, uid, record, first: OnceCell::new(), texts: Texts::default() }
    }

    /// [`Self::element`] as text, or the study's.
    pub(crate) fn text(&self, tag: Tag) -> Result<Option<Arc<str>>> {
        match home(tag) {
            Home::Study => self.study.text(tag),
            _ => self.texts.get(tag, || self.element(tag)),
        }
    }

    /// A series attribute: from the record, or counted; any other from the first instance.
    pub(crate) fn element(&self, tag: Tag) -> Result<Option<Value>> {
        Ok(match tag {
            tags::INSTANCE_AVAILABILITY => Some(online()),
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES => {
                Some(json!({"vr": "IS", "Value": [self.record.instances]}))
            }
            tag => match self.record.attributes.get(&model::key(tag)) {
                Some(element) => Some(element.clone()),
                None if home(tag) == Home::Series => None,
                None => self.first()?.as_ref().and_then(|first| first.get(&model::key(tag)).cloned()),
            },
        })
    }

    /// [`Self::element`], or the study's.
    pub(crate) fn any_element(&self, tag: Tag) -> Result<Option<Value>> {
        match home(tag) {
            Home::Study => self.study.element(tag),
            _ => self.element(tag),
        }
    }

    /// The JSON of the first instance by SOPInstanceUID.
    pub(crate) fn first(&self) -> Result<&Option<Map<String, Value>>> {
        if self.first.get().is_none() {
            let catalogue = &self.study.reader.shared.catalogue;
            let first = match catalogue.instances_of(&self.study.uid, self.uid).next().transpose()? {
                Some((sop, _)) => {
                    self.study.reader.instance_json(&InstanceUids::new(&self.study.uid, self.uid, &sop))?
                }
                None => None,
            };
            let _ = self.first.set(first);
        }
        Ok(self.first.get_or_init(|| None))
    }
}

/// An instance of a series, with its JSON once something asks for it.
pub(crate) struct InstanceView<'s> {
    pub uids: InstanceUids,
    pub record: InstanceRecord,
    reader: &'s Reader,
    json: OnceCell<Option<Vec<u8>>>,
}

impl<'s> InstanceView<'s> {
    pub(crate) fn new(reader: &'s Reader, uids: InstanceUids, record: InstanceRecord) -> Self {
        InstanceView { uids, record, reader, json: OnceCell::new() }
    }

    /// Reads the instance's JSON through the series' open file.
    fn json(&self, kept: &mut SeriesMetadata) -> Result<Option<BTreeMap<&str, &RawValue>>> {
        if self.json.get().is_none() {
            let _ = self.json.set(self.reader.json(kept, &self.uids, &self.record)?);
        }
        match self.json.get() {
            Some(Some(json)) => Ok(Some(read::parse(&self.uids, json)?)),
            _ => Ok(None),
        }
    }

    /// The JSON of elements of the instance as text, in the order of `wanted`.
    pub(crate) fn texts(&self, wanted: &[Tag], kept: &mut SeriesMetadata) -> Result<Vec<Option<Arc<str>>>> {
        let from_record = |tag: &Tag| match *tag {
            tags::SOP_CLASS_UID => {
                Some(json!({"vr": "UI", "Value": [self.record.sop_class_uid]}).to_string())
            }
            tags::SOP_INSTANCE_UID => {
                Some(json!({"vr": "UI", "Value": [self.uids.sop_instance_uid]}).to_string())
            }
            tags::INSTANCE_AVAILABILITY => Some(online().to_string()),
            tags::AVAILABLE_TRANSFER_SYNTAX_UID => {
                Some(json!({"vr": "UI", "Value": [self.record.transfer_syntax_uid]}).to_string())
            }
            _ => None,
        };
        let mut texts: Vec<Option<Arc<str>>> =
            wanted.iter().map(|tag| from_record(tag).map(Arc::from)).collect();
        if texts.iter().all(Option::is_some) {
            return Ok(texts);
        }
        if let Some(json) = self.json(kept)? {
            for (text, tag) in texts.iter_mut().zip(wanted).filter(|(text, _)| text.is_none()) {
                *text = json.get(model::key(*tag).as_str()).map(|raw| raw.get().into());
            }
        }
        Ok(texts)
    }

    /// The same, read.
    pub(crate) fn elements(&self, wanted: &[Tag], kept: &mut SeriesMetadata) -> Result<Vec<Option<Value>>> {
        let read =
            |text: Option<Arc<str>>| text.map(|text| read::parse(&self.uids, text.as_bytes())).transpose();
        self.texts(wanted, kept)?.into_iter().map(read).collect()
    }

    /// The tags the instance has.
    pub(crate) fn tags(&self, kept: &mut SeriesMetadata) -> Result<Vec<Tag>> {
        let json = self.json(kept)?.unwrap_or_default();
        Ok(json.keys().filter_map(|key| crate::part10::parse_tag(key)).collect())
    }
}

/// Everything stored is at hand (PS3.3 section C.4.23.1.1).
fn online() -> Value {
    json!({"vr": "CS", "Value": ["ONLINE"]})
}
