//! The catalogue: one sled tree of small records, keyed so that a prefix scan gives what belongs together.
//!
//! | key | value |
//! |---|---|
//! | `S` study | [`StudyRecord`] |
//! | `E` study `\0` series | [`SeriesRecord`] |
//! | `I` study `\0` series `\0` SOP instance | [`InstanceRecord`] |
//! | `U` SOP instance | study `\0` series |
//! | `R` series `\0` study | nothing: an index |
//! | `M` Modality `\0` series `\0` study | nothing: an index |
//! | a letter of [`Index`], a study attribute's value `\0` study | nothing: an index |
//! | the same letter, small, an end of that value `\0` study | nothing: an index of what stands within values |
//! | `!` name | the archive's own marks |

use crate::{
    Error, InstanceUids, NativePixels, Result, clear_in_pieces,
    error::{CatalogueSnafu, FileSnafu, RecordSnafu},
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use snafu::ResultExt;
use std::{collections::BTreeSet, fs::File, path::Path};

/// The mark of [`FORMAT`].
const FORMAT_MARK: &str = "format";

/// Which records and indices are written; a catalogue of another is made anew.
const FORMAT: &str = "5";

/// A study. It must stay within a few kilobytes: sled keeps large values badly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StudyRecord {
    pub patient_id: String,
    pub series: u64,
    pub attributes: Map<String, Value>,
}

/// A series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeriesRecord {
    pub modality: String,
    pub instances: u64,
    pub bytes: u64,
    pub sop_classes: BTreeSet<String>,
    pub attributes: Map<String, Value>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    pub sop_class_uid: String,
    pub transfer_syntax_uid: String,
    pub size: u64,
    pub data_set_offset: u64,
    pub data_set_digest: String,
    pub instance_number: Option<i64>,
    pub frames: u32,
    pub native_pixels: Option<NativePixels>,
    pub metadata: Place,
}

/// Where an instance's DICOM JSON lies in its series' metadata file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub offset: u64,
    pub length: u64,
    pub crc32: u32,
}

/// Which index a study is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    Series,
    Modality,
    PatientId,
    PatientName,
    StudyDate,
    AccessionNumber,
    ReferringPhysicianName,
    StudyDescription,
    StudyId,
}

impl Index {
    /// The attributes of a study that have an index.
    pub(crate) const OF_STUDIES: [(Tag, Index); 7] = [
        (tags::PATIENT_ID, Index::PatientId),
        (tags::PATIENT_NAME, Index::PatientName),
        (tags::STUDY_DATE, Index::StudyDate),
        (tags::ACCESSION_NUMBER, Index::AccessionNumber),
        (tags::REFERRING_PHYSICIAN_NAME, Index::ReferringPhysicianName),
        (tags::STUDY_DESCRIPTION, Index::StudyDescription),
        (tags::STUDY_ID, Index::StudyId),
    ];

    /// The indices beside which there is one of the values' ends: what clients search for by a part of it.
    pub(crate) const WITH_ENDS: [Index; 4] =
        [Index::PatientId, Index::PatientName, Index::AccessionNumber, Index::StudyDescription];

    /// The index of a study's attribute.
    pub(crate) fn of_study(tag: Tag) -> Option<Index> {
        Self::OF_STUDIES.into_iter().find_map(|(indexed, index)| (indexed == tag).then_some(index))
    }

    fn letter(self) -> &'static str {
        match self {
            Index::Series => "R",
            Index::Modality => "M",
            Index::PatientId => "P",
            Index::PatientName => "N",
            Index::StudyDate => "D",
            Index::AccessionNumber => "A",
            Index::ReferringPhysicianName => "F",
            Index::StudyDescription => "T",
            Index::StudyId => "J",
        }
    }
}

/// The catalogue's tree, and the file that makes it durable.
#[derive(Debug)]
pub(crate) struct Catalogue {
    tree: sled::Tree,
    log: File,
    log_path: std::path::PathBuf,
}

impl Catalogue {
    /// Opens the tree; `database` is the folder that sled was opened on.
    pub(crate) fn open(db: &sled::Db, database: &Path) -> Result<Self> {
        let tree = db.open_tree("archive").context(CatalogueSnafu { action: "open" })?;
        let log_path = database.join("db");
        let log = File::open(&log_path).context(FileSnafu { action: "open sled's log", path: &log_path })?;
        Ok(Catalogue { tree, log, log_path })
    }

    pub(crate) fn study(&self, study: &str) -> Result<Option<StudyRecord>> {
        self.get(&study_key(study))
    }

    pub(crate) fn series(&self, study: &str, series: &str) -> Result<Option<SeriesRecord>> {
        self.get(&series_key(study, series))
    }

    /// Whether a series is here; it costs less than its record.
    pub(crate) fn has_series(&self, study: &str, series: &str) -> Result<bool> {
        self.tree.contains_key(series_key(study, series)).context(CatalogueSnafu { action: "read" })
    }

    pub(crate) fn instance(&self, uids: &InstanceUids) -> Result<Option<InstanceRecord>> {
        self.get(&instance_key(uids))
    }

    /// All the UIDs of an instance of which only the last is known.
    pub(crate) fn locate(&self, sop: &str) -> Result<Option<InstanceUids>> {
        let found = self.tree.get(format!("U{sop}")).context(CatalogueSnafu { action: "read" })?;
        Ok(found.and_then(|value| {
            let text = String::from_utf8_lossy(&value).into_owned();
            let (study, series) = text.split_once('\0')?;
            Some(InstanceUids {
                study_instance_uid: study.to_owned(),
                series_instance_uid: series.to_owned(),
                sop_instance_uid: sop.to_owned(),
            })
        }))
    }

    /// Every study's UID, in order.
    pub(crate) fn studies(&self) -> impl Iterator<Item = Result<String>> + Send + use<> {
        self.tree.scan_prefix("S").keys().map(|key| {
            let key = key.context(CatalogueSnafu { action: "read" })?;
            Ok(String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned())
        })
    }

    /// Every study's UID, the latest StudyDate first and those without one last.
    pub(crate) fn studies_from_the_latest(&self) -> impl Iterator<Item = Result<String>> + Send + use<> {
        self.tree.scan_prefix(Index::StudyDate.letter()).keys().rev().map(|key| {
            let key = key.context(CatalogueSnafu { action: "read" })?;
            let key = String::from_utf8_lossy(&key);
            Ok(key.rsplit_once('\0').map_or_else(String::new, |(_, study)| study.to_owned()))
        })
    }

    /// A study's series by their UIDs.
    pub(crate) fn series_of(
        &self,
        study: &str,
    ) -> impl Iterator<Item = Result<(String, SeriesRecord)>> + Send + use<> {
        let prefix = format!("E{study}\0");
        records(prefix.clone(), self.tree.scan_prefix(prefix))
    }

    /// A series' instances by their SOP instance UIDs.
    pub(crate) fn instances_of(
        &self,
        study: &str,
        series: &str,
    ) -> impl Iterator<Item = Result<(String, InstanceRecord)>> + Send + use<> {
        let prefix = format!("I{study}\0{series}\0");
        records(prefix.clone(), self.tree.scan_prefix(prefix))
    }

    /// Study UIDs in an index, in no order: those whose value `wanted` takes, of values that begin with `beginning`.
    /// `None` where there are more than `most`.
    pub(crate) fn indexed(
        &self,
        index: Index,
        beginning: &str,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<BTreeSet<String>>> {
        self.scan(&format!("{}{beginning}", index.letter()), most, wanted)
    }

    /// Study UIDs whose value may hold `part`, which is no longer than [`END_LENGTH`]; `None` where there are more than
    /// `most`. The index is one of [`Index::WITH_ENDS`].
    pub(crate) fn with_part(
        &self,
        index: Index,
        part: &str,
        most: usize,
    ) -> Result<Option<BTreeSet<String>>> {
        let letter = index.letter().to_ascii_lowercase();
        let Some(mut found) = self.scan(&format!("{letter}{part}"), most, |_| true)? else { return Ok(None) };
        // What long values hold is not known to the end.
        let long = self.scan(&format!("{letter}\0"), most, |_| true)?;
        Ok(long.map(|long| {
            found.extend(long);
            found
        }))
    }

    fn scan(
        &self,
        prefix: &str,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<BTreeSet<String>>> {
        let mut studies = BTreeSet::new();
        for key in self.tree.scan_prefix(prefix).keys() {
            let key = key.context(CatalogueSnafu { action: "read" })?;
            let key = String::from_utf8_lossy(&key);
            if let Some((value, study)) = key.get(1..).and_then(|key| key.rsplit_once('\0'))
                && wanted(value)
            {
                studies.insert(study.to_owned());
                if studies.len() > most {
                    return Ok(None);
                }
            }
        }
        Ok(Some(studies))
    }

    /// How many distinct PatientIDs there are, the absent one included.
    pub(crate) fn patients(&self) -> Result<u64> {
        let mut last = None;
        let mut count = 0;
        for key in self.tree.scan_prefix("P").keys() {
            let key = key.context(CatalogueSnafu { action: "read" })?;
            let patient = key.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
            if patient != last {
                count += 1;
                last = patient;
            }
        }
        Ok(count)
    }

    pub(crate) fn mark(&self, name: &str) -> Result<Option<String>> {
        let value = self.tree.get(format!("!{name}")).context(CatalogueSnafu { action: "read" })?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    pub(crate) fn set_mark(&self, name: &str, value: &str) -> Result<()> {
        self.tree.insert(format!("!{name}"), value).context(CatalogueSnafu { action: "write" })?;
        Ok(())
    }

    /// Whether it was made by a version that writes the same records and indices.
    pub(crate) fn is_of_this_format(&self) -> Result<bool> {
        Ok(self.mark(FORMAT_MARK)?.as_deref() == Some(FORMAT))
    }

    /// Takes everything out.
    pub(crate) fn clear(&self) -> Result<()> {
        clear_in_pieces(&self.tree).context(CatalogueSnafu { action: "clear" })?;
        self.set_mark(FORMAT_MARK, FORMAT)
    }

    /// Writes all or nothing; not durable before [`sync`](Catalogue::sync).
    pub(crate) fn apply(&self, batch: sled::Batch) -> Result<()> {
        self.tree.apply_batch(batch).context(CatalogueSnafu { action: "write" })
    }

    /// Makes everything written durable. sled's own flush writes its log by `sync_file_range`, which leaves
    /// the file's size and the disk's cache as they are; so its file is synced after.
    pub(crate) fn sync(&self) -> Result<()> {
        self.tree.flush().context(CatalogueSnafu { action: "flush" })?;
        self.log.sync_data().context(FileSnafu { action: "sync sled's log", path: &self.log_path })
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.tree.get(key).context(CatalogueSnafu { action: "read" })?;
        value.map(|value| read(key.as_bytes(), &value)).transpose()
    }
}

fn records<T: DeserializeOwned>(
    prefix: String,
    entries: sled::Iter,
) -> impl Iterator<Item = Result<(String, T)>> + Send {
    entries.map(move |entry| {
        let (key, value) = entry.context(CatalogueSnafu { action: "read" })?;
        let rest = key.get(prefix.len()..).unwrap_or_default();
        Ok((String::from_utf8_lossy(rest).into_owned(), read(&key, &value)?))
    })
}

fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T> {
    serde_json::from_slice(value)
        .with_context(|_| RecordSnafu { key: String::from_utf8_lossy(key).replace('\0', " ") })
}

/// A record as it is written.
pub(crate) fn write<T: Serialize>(key: &str, record: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(record).with_context(|_| RecordSnafu { key: key.replace('\0', " ") })
}

pub(crate) fn study_key(study: &str) -> String {
    format!("S{study}")
}

pub(crate) fn series_key(study: &str, series: &str) -> String {
    format!("E{study}\0{series}")
}

pub(crate) fn instance_key(uids: &InstanceUids) -> String {
    format!("I{}\0{}\0{}", uids.study_instance_uid, uids.series_instance_uid, uids.sop_instance_uid)
}

pub(crate) fn sop_key(uids: &InstanceUids) -> (String, String) {
    let place = format!("{}\0{}", uids.study_instance_uid, uids.series_instance_uid);
    (format!("U{}", uids.sop_instance_uid), place)
}

/// The most characters that an index of ends holds of each.
pub(crate) const END_LENGTH: usize = 16;

/// The key of an end of a value in the index beside [`index_key`]'s.
pub(crate) fn end_key(index: Index, end: &str, study: &str) -> String {
    format!("{}{end}\0{study}", index.letter().to_ascii_lowercase())
}

pub(crate) fn index_key(index: Index, value: &str, study: &str) -> String {
    format!("{}{value}\0{study}", index.letter())
}
