//! The objects of a delivery. Those that are not stored are made for the attempt, and are the same in each.

use std::collections::BTreeSet;
use std::path::Path;

use dicom_dictionary_std::uids;
use engram_archive::{InstanceEntry, InstanceUids};
use engram_imaging::data_set_offset;
use engram_report::Rendition;
use engram_routing::What;
use snafu::{OptionExt, ResultExt};
use tempfile::TempDir;

use crate::Workflow;
use crate::error::{ArchiveSnafu, FileSnafu, MadeObjectSnafu, NoSuchSegmentationSnafu, Result};
use crate::renditions::Wanted;

/// The folder below the data folder where objects lie while they are sent.
const FOLDER: &str = "outbox";

/// What is sent in one attempt.
pub(super) struct Parcel {
    /// Stored, or in the parcel's own folder.
    pub instances: Vec<InstanceEntry>,
    /// Removed with the parcel.
    _made: Option<TempDir>,
}

impl Parcel {
    /// Of stored instances.
    pub fn stored(instances: Vec<InstanceEntry>) -> Self {
        Self { instances, _made: None }
    }

    /// Those that are not among the sent.
    pub fn left(&self, sent: &BTreeSet<String>) -> Vec<InstanceEntry> {
        self.instances.iter().filter(|entry| !sent.contains(&entry.uids.sop_instance_uid)).cloned().collect()
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
    /// A stored SEG in the forms asked for, the SEG itself first; as BINARY where `as_binary` says so.
    pub(super) fn result_parcel(&self, segmentation: &str, what: &[What], as_binary: bool) -> Result<Parcel> {
        let stored = self.archive.find_instance(segmentation).context(ArchiveSnafu)?;
        let stored = stored.context(NoSuchSegmentationSnafu { segmentation })?;
        let is_wanted = |forms: &[What]| what.iter().any(|form| forms.contains(form));
        let wants_binary = as_binary || is_wanted(&[What::BinarySegmentation]);
        let wants_segmentation = is_wanted(&[What::Segmentation, What::BinarySegmentation]);
        let wanted = Wanted {
            binary: wants_segmentation && wants_binary && is_label_map(&stored),
            report: is_wanted(&[What::Report]),
            secondary_capture: is_wanted(&[What::SecondaryCapture]),
        };
        let path = self.made.as_path();
        let made = TempDir::new_in(path).context(FileSnafu { action: "make a folder in", path })?;
        let mut instances = Vec::new();
        if wants_segmentation && !wanted.binary {
            instances.push(stored);
        }
        if wanted != Wanted::default() {
            for rendition in self.renditions(segmentation, wanted)? {
                instances.push(kept(&made, &rendition?)?);
            }
        }
        Ok(Parcel { instances, _made: Some(made) })
    }
}

/// Whether it is a LABELMAP, which a node may take as BINARY instead.
pub(super) fn is_label_map(entry: &InstanceEntry) -> bool {
    entry.sop_class_uid == uids::LABEL_MAP_SEGMENTATION_STORAGE
}

/// A made object in a file, as the archive would tell of it.
fn kept(folder: &TempDir, made: &Rendition) -> Result<InstanceEntry> {
    let path = folder.path().join(format!("{}.dcm", made.sop_instance_uid));
    std::fs::write(&path, &made.part10).context(FileSnafu { action: "write", path: &path })?;
    Ok(InstanceEntry {
        uids: InstanceUids::new("", "", &made.sop_instance_uid),
        sop_class_uid: made.sop_class_uid.clone(),
        // So are all that are made.
        transfer_syntax_uid: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
        size: made.part10.len() as u64,
        data_set_offset: data_set_offset(&made.part10).context(MadeObjectSnafu)? as u64,
        data_set_digest: String::new(),
        instance_number: None,
        frames: 1,
        native_pixels: None,
        path,
    })
}
