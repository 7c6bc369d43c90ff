//! The images that another instance is shown over, or shows.

use std::sync::Arc;

use dicom_object::DefaultDicomObject;
use engram_archive::{Archive, InstanceEntry};
use snafu::ResultExt;

use crate::error::{ArchiveSnafu, Result};
use crate::options::DicomWebOptions;
use crate::state::DicomWeb;
use crate::wado::object;

/// Opens images, and keeps the one that was opened last: several frames often are of one.
pub struct Sources {
    archive: Archive,
    pub options: Arc<DicomWebOptions>,
    last: Option<(String, DefaultDicomObject)>,
}

impl Sources {
    pub fn new(state: &DicomWeb) -> Self {
        Self { archive: state.archive.clone(), options: Arc::clone(&state.options), last: None }
    }

    /// The entry of an instance; `None` where it is not here.
    pub fn find(&self, sop_instance_uid: &str) -> Result<Option<InstanceEntry>> {
        self.archive.find_instance(sop_instance_uid).context(ArchiveSnafu)
    }

    /// An instance, read whole; `None` where it is not here.
    pub fn open(&mut self, sop_instance_uid: &str) -> Result<Option<&DefaultDicomObject>> {
        let is_open = self.last.as_ref().is_some_and(|(uid, _)| uid == sop_instance_uid);
        if !is_open {
            let Some(entry) = self.find(sop_instance_uid)? else { return Ok(None) };
            self.last = Some((sop_instance_uid.to_owned(), object::open(&entry, &self.options)?));
        }
        Ok(self.last.as_ref().map(|(_, object)| object))
    }
}
