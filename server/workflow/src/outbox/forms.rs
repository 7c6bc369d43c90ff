//! The objects of a delivery. Those that are not stored are made for the attempt, and are the same in each.

use std::collections::BTreeSet;
use std::path::Path;

use dicom_dictionary_std::uids;
use dicom_object::FileMetaTable;
use engram_archive::{InstanceEntry, InstanceUids};
use engram_imaging::data_set_offset;
use engram_routing::What;
use engram_seg::{ResultUids, describe, to_binary, to_part10};
use snafu::{OptionExt, ResultExt};
use tempfile::TempDir;

use crate::Workflow;
use crate::error::{
    ArchiveSnafu, FileSnafu, MadeObjectSnafu, NoSuchSegmentationSnafu, ReadSegmentationSnafu, Result,
    WriteSegmentationSnafu,
};
use crate::series::open_instance;

/// The folder below the data folder where objects lie while they are sent.
const FOLDER: &str = "outbox";

/// What is sent in one attempt.
pub(super) struct Parcel {
    /// Stored, or in the parcel's own folder.
    pub instances: Vec<InstanceEntry>,
    /// Whether the SEG is in it as BINARY though it is stored as LABELMAP.
    pub as_binary: bool,
    /// Removed with the parcel.
    _made: Option<TempDir>,
}

impl Parcel {
    /// Of stored instances.
    pub fn stored(instances: Vec<InstanceEntry>) -> Self {
        Self { instances, as_binary: false, _made: None }
    }

    /// Those that are not among the sent.
    pub fn left(&self, sent: &BTreeSet<String>) -> Vec<InstanceEntry> {
        self.instances.iter().filter(|entry| !sent.contains(&entry.uids.sop_instance_uid)).cloned().collect()
    }

    /// Whether it is a LABELMAP, which a node may take as BINARY instead.
    pub fn is_label_map(&self, entry: &InstanceEntry) -> bool {
        entry.sop_class_uid == uids::LABEL_MAP_SEGMENTATION_STORAGE
    }
}

/// Makes the folder, and empties it of what an earlier process left.
pub(crate) fn folder(data: &Path) -> Result<std::path::PathBuf> {
    let path = data.join(FOLDER);
    if path.exists() {
        std::fs::remove_dir_all(&path).context(FileSnafu { action: "empty", path: &path })?;
    }
    std::fs::create_dir_all(&path).context(FileSnafu { action: "make", path: &path })?;
    Ok(path)
}

impl Workflow {
    /// A stored SEG in the forms asked for.
    pub(super) fn result_parcel(&self, segmentation: &str, what: &[What]) -> Result<Parcel> {
        let stored = self.archive.find_instance(segmentation).context(ArchiveSnafu)?;
        let stored = stored.context(NoSuchSegmentationSnafu { segmentation })?;
        let made = self.made_folder()?;
        let mut instances = Vec::new();
        let mut as_binary = false;
        let is_label_map = stored.sop_class_uid == uids::LABEL_MAP_SEGMENTATION_STORAGE;
        for what in what {
            match what {
                What::BinarySegmentation if is_label_map => {
                    instances.push(kept(&made, &binary_of(&stored)?)?);
                    as_binary = true;
                }
                What::Segmentation | What::BinarySegmentation => instances.push(stored.clone()),
                What::SecondaryCapture | What::Report => {
                    for object in self.rendition(segmentation, *what)? {
                        instances.push(kept(&made, &object)?);
                    }
                }
            }
        }
        Ok(Parcel { instances, as_binary, _made: Some(made) })
    }

    /// A stored LABELMAP as BINARY.
    pub(super) fn as_binary(&self, label_map: &InstanceEntry) -> Result<Parcel> {
        let made = self.made_folder()?;
        let binary = kept(&made, &binary_of(label_map)?)?;
        Ok(Parcel { instances: vec![binary], as_binary: true, _made: Some(made) })
    }

    fn made_folder(&self) -> Result<TempDir> {
        let path = self.made.as_path();
        TempDir::new_in(path).context(FileSnafu { action: "make a folder in", path })
    }
}

/// Part 10 bytes of the BINARY SEG of a LABELMAP.
fn binary_of(label_map: &InstanceEntry) -> Result<Vec<u8>> {
    let segmentation = label_map.uids.sop_instance_uid.as_str();
    let object = open_instance(label_map)?;
    let description = describe(&object).context(ReadSegmentationSnafu { segmentation })?;
    let uids = ResultUids::of_binary(&description);
    let binary =
        to_binary(object, &uids, Default::default()).context(ReadSegmentationSnafu { segmentation })?;
    to_part10(&binary).context(WriteSegmentationSnafu)
}

/// A made object in a file, as the archive would tell of it.
fn kept(folder: &TempDir, object: &[u8]) -> Result<InstanceEntry> {
    let start = data_set_offset(object).context(MadeObjectSnafu)?;
    let meta = FileMetaTable::from_reader(object.get(128..).unwrap_or_default());
    let meta = meta.ok().context(MadeObjectSnafu)?;
    let uid = |text: &str| text.trim_end_matches(['\0', ' ']).to_owned();
    let sop_instance_uid = uid(&meta.media_storage_sop_instance_uid);
    let path = folder.path().join(format!("{sop_instance_uid}.dcm"));
    std::fs::write(&path, object).context(FileSnafu { action: "write", path: &path })?;
    Ok(InstanceEntry {
        uids: InstanceUids::new("", "", &sop_instance_uid),
        sop_class_uid: uid(&meta.media_storage_sop_class_uid),
        transfer_syntax_uid: uid(&meta.transfer_syntax),
        size: object.len() as u64,
        data_set_offset: start as u64,
        data_set_sha256: String::new(),
        instance_number: None,
        frames: 1,
        native_pixels: None,
        path,
    })
}

impl Workflow {
    /// A stored SEG in a form that is made of it and its series.
    fn rendition(&self, _segmentation: &str, _what: What) -> Result<Vec<Vec<u8>>> {
        todo!()
    }
}
