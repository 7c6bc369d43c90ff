//! Where everything lies under the archive's folder.

use crate::InstanceUids;
use std::path::{Path, PathBuf};

/// Paths below the archive's root. Every UID given must be [valid](crate::uid::is_valid), which makes it a
/// harmless name.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Layout { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.root.join("metadata")
    }

    /// Where files go that lay in an object's place and do not read.
    pub(crate) fn set_aside(&self) -> PathBuf {
        self.root.join("set-aside")
    }

    pub(crate) fn removals(&self) -> PathBuf {
        self.root.join("removals.journal")
    }

    /// Present only while the archive is closed in order.
    pub(crate) fn clean_marker(&self) -> PathBuf {
        self.root.join("closed")
    }

    pub(crate) fn study_folder(&self, study: &str) -> PathBuf {
        self.objects().join(shard(study)).join(study)
    }

    pub(crate) fn series_folder(&self, study: &str, series: &str) -> PathBuf {
        self.study_folder(study).join(series)
    }

    pub(crate) fn object(&self, uids: &InstanceUids) -> PathBuf {
        self.series_folder(&uids.study_instance_uid, &uids.series_instance_uid)
            .join(format!("{}.dcm", uids.sop_instance_uid))
    }

    pub(crate) fn series_metadata(&self, study: &str, series: &str) -> PathBuf {
        self.metadata().join(shard(study)).join(study).join(format!("{series}.jsonl"))
    }
}

/// Spreads studies over 256 folders, so that none grows without bound.
fn shard(study: &str) -> String {
    format!("{:02x}", crc32fast::hash(study.as_bytes()) & 0xFF)
}
