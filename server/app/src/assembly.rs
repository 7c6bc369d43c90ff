//! Opens the rooms over one data folder and joins them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engram_archive::{Archive, ArchiveOptions, StoreOutcome, StoredInstance};
use engram_dicomweb::{InstanceObserver, ObserverError, StowOptions};
use engram_imaging::{DecodeLimits, VolumeLimits};
use engram_jobs::{Queue, QueueOptions};
use engram_workflow::{
    Origin, OutboxOptions, ReadLimits, SegmentationDefaults, Source, Station, Workflow, WorkflowOptions,
    WorkflowParts,
};
use engram_worklist::{Worklist, WorklistOptions};

use crate::bundles::{self, StoredBundles};
use crate::cli::Failure;
use crate::config::{Config, mebibytes};
use crate::guard::Tokens;
use crate::outgoing::Recipients;

/// Every room, open.
pub struct House {
    /// Studies, series, instances.
    pub archive: Archive,
    /// Workitems.
    pub worklist: Worklist,
    /// The rooms joined.
    pub workflow: Arc<Workflow>,
    /// Jobs, those of the workflow and others.
    pub queue: Queue,
    /// Who may come in.
    pub tokens: Arc<Tokens>,
}

/// Opens the store and loads the bundle.
pub fn open(config: &Config, recipients: Recipients) -> Result<House, Failure> {
    let db = database(config)?;
    let archive = Archive::open(&config.storage.data, &db, archive_options(config)).map_err(Failure::of)?;
    join(config, &db, archive, recipients)
}

/// Joins the rooms above an opened archive.
pub fn join(
    config: &Config,
    db: &sled::Db,
    archive: Archive,
    recipients: Recipients,
) -> Result<House, Failure> {
    let data = config.storage.data.as_path();
    let tree = db.open_tree("jobs").map_err(Failure::of)?;
    let queue = Queue::open(tree, &data.join("jobs.journal"), queue_options(config)).map_err(Failure::of)?;
    let tree = db.open_tree("worklist").map_err(Failure::of)?;
    let worklist = Worklist::open(tree, &data.join("worklist.journal"), worklist_options(config));
    let worklist = worklist.map_err(Failure::of)?;
    let parts = WorkflowParts {
        archive: archive.clone(),
        queue: queue.clone(),
        worklist: worklist.clone(),
        source: Box::new(StoredBundles::new(config, db).map_err(Failure::say)?),
        bundles: bundles::configured(config)?,
        outbox: outbox(config, db)?,
        nodes: recipients.nodes,
        hooks: recipients.hooks,
    };
    let workflow = Workflow::open(data, parts, workflow_options(config)).map_err(Failure::of)?;
    let tokens = Arc::new(Tokens::open(data).map_err(Failure::of)?);
    Ok(House { archive, worklist, workflow: Arc::new(workflow), queue, tokens })
}

/// The embedded database in the data folder.
pub fn database(config: &Config) -> Result<sled::Db, Failure> {
    let data = config.storage.data.as_path();
    std::fs::create_dir_all(data).map_err(|error| {
        Failure::say(format!("could not make the data folder {}: {error}", data.display()))
    })?;
    sled::Config::new()
        .path(database_folder(data))
        .cache_capacity(mebibytes(config.storage.cache_mb))
        .open()
        .map_err(|error| {
            Failure::say(format!(
                "could not open the database in {}: {error}. Another engram process may have it open; \
                 `engram doctor` says more.",
                data.display()
            ))
        })
}

/// Where sled keeps its files.
pub fn database_folder(data: &Path) -> PathBuf {
    data.join("db")
}

/// The archive's options.
pub fn archive_options(config: &Config) -> ArchiveOptions {
    ArchiveOptions {
        max_instance_bytes: mebibytes(config.limits.max_instance_mb),
        min_free_bytes: mebibytes(config.limits.min_free_disk_mb),
        buffers_bytes: mebibytes(config.storage.receive_mb),
        ..ArchiveOptions::new(database_folder(&config.storage.data))
    }
}

/// What is to leave the house. Nothing that was given up goes away by itself, and a crash is no fault of a delivery.
fn outbox(config: &Config, db: &sled::Db) -> Result<Queue, Failure> {
    let tree = db.open_tree("outbox").map_err(Failure::of)?;
    let options = QueueOptions {
        max_queued: config.outbox.max_waiting,
        max_finished: config.outbox.keep_finished,
        keep_failed: true,
        max_attempts: u32::MAX,
        ..QueueOptions::default()
    };
    Queue::open(tree, &config.storage.data.join("outbox.journal"), options).map_err(Failure::of)
}

fn queue_options(config: &Config) -> QueueOptions {
    QueueOptions {
        max_finished: config.jobs.keep_finished,
        max_attempts: config.jobs.max_attempts,
        ..QueueOptions::default()
    }
}

fn worklist_options(config: &Config) -> WorklistOptions {
    let configured = &config.worklist;
    WorklistOptions {
        max_open: configured.max_open,
        keep_final: configured.keep_final,
        max_bytes: configured.max_workitem_kb.saturating_mul(1 << 10),
        max_subscribers: configured.max_subscribers,
        max_channels: configured.max_connections,
        ..WorklistOptions::default()
    }
}

fn workflow_options(config: &Config) -> WorkflowOptions {
    WorkflowOptions {
        rules: config.rules.clone(),
        outbox: OutboxOptions {
            first_retry: Duration::from_secs(config.outbox.first_retry_seconds),
            longest_retry: Duration::from_secs(config.outbox.longest_retry_seconds),
            give_up_after: Duration::from_secs(config.outbox.give_up_hours.saturating_mul(3600)),
        },
        limits: read_limits(config),
        segmentation: SegmentationDefaults {
            quality: config.segmentation.quality,
            exemplars_per_slice: config.segmentation.exemplars_per_slice,
            propagation: config.segmentation.propagation,
            close_up: config.segmentation.close_up,
            review_below: config.segmentation.review_below,
            cache_bytes: usize::try_from(mebibytes(config.segmentation.cache_mb)).unwrap_or(usize::MAX),
        },
        station: Station {
            name: config.worklist.station_name.clone(),
            ae_title: config.dimse.ae_title.clone(),
        },
    }
}

fn read_limits(config: &Config) -> ReadLimits {
    ReadLimits {
        volume: VolumeLimits {
            max_bytes: mebibytes(config.limits.max_volume_mb),
            decode: DecodeLimits { max_frame_bytes: mebibytes(config.limits.max_frame_mb) },
        },
        max_series_bytes: mebibytes(config.limits.max_volume_mb),
    }
}

/// Tells the workflow of what DICOMweb stores and deletes.
pub struct Observer(pub Arc<Workflow>);

impl InstanceObserver for Observer {
    fn before_acknowledge(
        &self,
        stored: &[StoreOutcome],
        options: &StowOptions,
    ) -> Result<(), ObserverError> {
        let instances = || stored.iter().map(StoreOutcome::instance);
        self.0.before_acknowledge(instances(), options.partial, options.collection.as_deref())?;
        let origin = Origin { source: Source::Dicomweb, calling_ae_title: None };
        Ok(self.0.arriving(instances(), &origin)?)
    }

    fn instance_stored(&self, instance: &StoredInstance, _options: &StowOptions) {
        self.0.instance_stored(instance);
    }

    fn deleted(&self, instances: &[StoredInstance]) {
        self.0.deleted(instances);
    }
}
