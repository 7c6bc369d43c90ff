//! Joins the rooms below: what happens when an instance arrives, what an ingestion and a segmentation job do.
//!
//! Knows nothing of HTTP, DIMSE or sled. [`Workflow`] is the entry; `app` opens the rooms, hands them over in
//! [`WorkflowParts`] and calls [`Workflow::instance_stored`] and [`Workflow::deleted`] as instances come and go.
//!
//! Invariants: exemplars are a function of what the archive holds and of what people said (`flags.journal`); a
//! job may run twice and makes one SEG; a SEG names no patient but the target's.

mod annotations;
mod arrival;
mod error;
mod flags;
mod ingestion;
mod labels;
mod progress;
mod queries;
mod request;
mod results;
mod segmentation;
mod series;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use engram_archive::Archive;
use engram_inference::{Engine, EngineMetrics};
use engram_jobs::Queue;
use engram_memory::Bank;
use engram_routing::Rule;
use engram_segmenter::EngineModels;
use parking_lot::Mutex;
use snafu::ResultExt;

use crate::annotations::Index;
use crate::error::{BankSnafu, JournalSnafu};
use crate::flags::Flags;
use crate::ingestion::Wanted;

pub use error::{Error, Result, failure, report};
pub use flags::SegmentationFlags;
pub use ingestion::{DEFAULT_COLLECTION, IngestionJob, IngestionSummary};
pub use labels::LabelTemplate;
pub use progress::NoProgress;
pub use queries::{ExemplarFilter, ExemplarPage, ExemplarView, LabelInfo, Status};
pub use request::{
    FixedUids, LabelSummary, RequestOptions, ResultEncoding, SegmentationJob, SegmentationRequest,
    SegmentationSummary,
};
pub use segmentation::{Provenance, Scope, SegmentedSeries};
pub use series::{LoadedSeries, ReadLimits};
pub use worker::Workers;

/// Kind of the jobs that segment.
pub const SEGMENTATION_KIND: &str = "segmentation";
/// Kind of the jobs that make exemplars.
pub const INGESTION_KIND: &str = "ingestion";

/// The rooms to join.
pub struct WorkflowParts {
    /// Studies, series, instances.
    pub archive: Archive,
    /// The bundle on its device.
    pub engine: Engine,
    /// Exemplars.
    pub bank: Bank,
    /// Jobs.
    pub queue: Queue,
}

/// Settings of segmentations that a request does not choose itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentationDefaults {
    /// Exemplars a slice; 0: the bundle's recommendation.
    pub exemplars_per_slice: usize,
    /// Whether neighbouring slices condition each other.
    pub propagation: bool,
    /// Whether small organs get a second pass on a crop.
    pub close_up: bool,
}

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct WorkflowOptions {
    /// Decide collections and whose results count.
    pub rules: Vec<Rule>,
    /// What reading a series may cost.
    pub limits: ReadLimits,
    /// How to segment unless asked otherwise.
    pub segmentation: SegmentationDefaults,
}

/// The rooms, joined.
pub struct Workflow {
    archive: Archive,
    engine: Engine,
    models: EngineModels,
    bank: Bank,
    queue: Queue,
    options: WorkflowOptions,
    flags: Flags,
    results: PathBuf,
    annotations: Mutex<Index>,
    /// Held while a series is brought up to date, so that two jobs do not do the same work.
    ingesting: Mutex<()>,
    /// What this process made exemplars of, by SEG and series, to know a change of flags when it comes.
    made: Mutex<HashMap<(String, String), Wanted>>,
}

impl Workflow {
    /// Joins the rooms over the data folder, and asks for what an earlier process left undone.
    pub fn open(data: &Path, parts: WorkflowParts, options: WorkflowOptions) -> Result<Self> {
        let flags = Flags::open(&data.join("flags.journal")).context(JournalSnafu)?;
        let results = results::folder(data)?;
        let workflow = Self {
            models: EngineModels::new(parts.engine.clone()),
            archive: parts.archive,
            engine: parts.engine,
            bank: parts.bank,
            queue: parts.queue,
            options,
            flags,
            results,
            annotations: Mutex::new(Index::default()),
            ingesting: Mutex::new(()),
            made: Mutex::new(HashMap::new()),
        };
        workflow.index_annotations()?;
        workflow.resume()?;
        Ok(workflow)
    }

    /// Starts one worker for ingestion and `segmentation` workers for segmentations.
    pub fn start_workers(self: &Arc<Self>, segmentation: usize) -> Result<Workers> {
        worker::start(self, segmentation)
    }

    /// Does every waiting ingestion job here and now: for commands that run without workers.
    pub fn ingest_pending(&self) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        while let Some(claimed) = self.queue.claim(&[INGESTION_KIND], std::time::Duration::ZERO) {
            worker::run(self, claimed, &stop);
        }
        Ok(())
    }

    /// Empties the bank and fills it anew from the archive.
    pub fn rebuild_bank(&self) -> Result<()> {
        self.bank.clear().context(BankSnafu)?;
        self.made.lock().clear();
        self.index_annotations()?;
        let targets = self.annotations.lock().targets();
        for (study, series) in targets {
            if let Err(error) = self.reconcile(&study, &series, &NoProgress) {
                tracing::warn!(%series, error = %report(&error), "no exemplars of this series");
            }
        }
        self.bank.wait_for_index();
        Ok(())
    }

    /// The queue of jobs.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What the engine did so far.
    pub fn engine_metrics(&self) -> EngineMetrics {
        self.engine.metrics()
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The bundle as the method sees it.
    pub fn models(&self) -> &EngineModels {
        &self.models
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}
