//! What the archive's threads and its callers share.

use crate::{
    ArchiveOptions, Error, InstanceEntry, InstanceUids, Result, StoredInstance,
    budget::Budget,
    catalogue::{Catalogue, InstanceRecord},
    incoming::{Buffers, Room},
    layout::Layout,
    part10::Limits,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Places, limits and the catalogue of one archive.
#[derive(Debug)]
pub(crate) struct Shared {
    pub layout: Layout,
    pub catalogue: Catalogue,
    pub options: ArchiveOptions,
    pub buffers: Arc<Buffers>,
    /// For the DICOM JSON of what waits to be committed.
    pub waiting: Arc<Budget>,
    broken: AtomicBool,
    additions: AtomicU64,
}

impl Shared {
    pub(crate) fn new(layout: Layout, catalogue: Catalogue, options: ArchiveOptions) -> Arc<Self> {
        let buffers = Buffers::new(options.buffers_bytes);
        let waiting = Budget::new(options.max_metadata_bytes as u64);
        Arc::new(Shared {
            layout,
            catalogue,
            options,
            buffers,
            waiting,
            broken: AtomicBool::new(false),
            additions: AtomicU64::new(0),
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::of(&self.options)
    }

    /// Room for one object of up to `limit` bytes.
    pub(crate) fn room(&self, limit: u64) -> Room {
        Room { limit, min_free: self.options.min_free_bytes }
    }

    /// Said before instances are entered in the catalogue.
    pub(crate) fn note_addition(&self) {
        self.additions.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn additions(&self) -> u64 {
        self.additions.load(Ordering::Acquire)
    }

    /// After a sync or a catalogue write failed, what is on the disk is not known: nothing more is written
    /// until the archive is opened again, which looks.
    pub(crate) fn refuse_if_broken(&self) -> Result<()> {
        if self.is_broken() { Err(Error::Broken) } else { Ok(()) }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Marks the archive broken where the step that decides durability failed.
    pub(crate) fn decisive<T>(&self, step: Result<T>) -> Result<T> {
        if let Err(error) = &step {
            tracing::error!(error = %snafu::Report::from_error(error), "the archive takes no more changes until it is opened again");
            self.broken.store(true, Ordering::Release);
        }
        step
    }

    pub(crate) fn entry(&self, uids: InstanceUids, record: InstanceRecord) -> InstanceEntry {
        InstanceEntry {
            path: self.layout.object(&uids),
            uids,
            sop_class_uid: record.sop_class_uid,
            transfer_syntax_uid: record.transfer_syntax_uid,
            size: record.size,
            data_set_offset: record.data_set_offset,
            data_set_digest: record.data_set_digest,
            instance_number: record.instance_number,
            frames: record.frames,
            native_pixels: record.native_pixels,
        }
    }

    /// What the rooms above are told of a catalogued instance.
    pub(crate) fn stored(&self, uids: InstanceUids, record: &InstanceRecord) -> Result<StoredInstance> {
        let study = self.catalogue.study(&uids.study_instance_uid)?.unwrap_or_default();
        let series =
            self.catalogue.series(&uids.study_instance_uid, &uids.series_instance_uid)?.unwrap_or_default();
        Ok(StoredInstance {
            uids,
            patient_id: study.patient_id,
            sop_class_uid: record.sop_class_uid.clone(),
            modality: series.modality,
            transfer_syntax_uid: record.transfer_syntax_uid.clone(),
            size: record.size,
        })
    }
}
