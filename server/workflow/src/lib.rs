//! Joins the rooms below: what happens when an instance arrives, what an ingestion and a segmentation job do.
//!
//! Knows nothing of HTTP, DIMSE or sled. [`Workflow`] is the entry; `app` opens the rooms, hands them over in
//! [`WorkflowParts`] and calls [`Workflow::instance_stored`] and [`Workflow::deleted`] as instances come and go.
//!
//! [`Workflow::arriving`] is called before an instance is acknowledged, so that it is durable what rules are to be asked
//! about; results leave through the [`Node`]s and [`Hook`]s that `app` wires.
//!
//! Invariants: the exemplars of each served bundle are a function of what the archive holds and of what people said
//! (`flags.journal`); which bundle is in use changes in one step, when every exemplar is encoded for it
//! (`bundles.journal`); a job may run twice and makes one SEG; a SEG names no patient but the target's.

mod annotations;
mod arrival;
mod bundles;
mod error;
mod flags;
mod ingestion;
mod labels;
mod news;
mod outbox;
mod placed;
mod progress;
mod prompts;
mod queries;
mod renditions;
mod request;
mod results;
mod routing;
mod segmentation;
mod series;
mod stored;
mod suggestions;
mod worker;
mod worklist;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use engram_archive::Archive;
use engram_jobs::Queue;
use engram_routing::Rule;
use engram_segmenter::Quality;
use engram_worklist::Worklist;
use parking_lot::Mutex;
use snafu::ResultExt;

use crate::annotations::Index;
use crate::bundles::Bundles;
use crate::error::{BankSnafu, JournalSnafu};
use crate::flags::Flags;
use crate::news::Board;
use crate::routing::{Rules, Watch};
use crate::worklist::Desk;

pub use bundles::{
    BoxError, BundleSource, BundleState, BundleView, Choice, ConfiguredBundles, Decided, Reencoded,
    ServedBundle, ask_on_stopped_store, choose,
};
pub use engram_routing::{Origin, Source};
pub use error::{Error, Result, failure, report};
pub use flags::SegmentationFlags;
pub use ingestion::{DEFAULT_COLLECTION, IngestionJob, IngestionSummary};
pub use labels::LabelTemplate;
pub use news::{Item, News, NewsKind};
pub use outbox::{
    CallFailure, Content, Delivery, DeliverySummary, Hook, Node, OutboxOptions, Sent, Unreachable,
};
pub use progress::NoProgress;
pub use prompts::{Corners, Point, SlicePrompt};
pub use queries::{ExemplarFilter, ExemplarPage, ExemplarView, LabelInfo, LabelOfModality, Status};
pub use renditions::{Renditions, Wanted};
pub use request::{
    FixedUids, LabelSummary, RequestOptions, ResultEncoding, SegmentationJob, SegmentationRequest,
    SegmentationSummary, SliceForReview,
};
pub use routing::{
    DryRun, DryRunQuery, Foreseen, Outcome, ROUTED_KIND, ROUTING_KIND, Route, RoutedSeries, RoutingSummary,
    RuleOrigin, RuleView,
};
pub use segmentation::{Provenance, Scope, SegmentedSeries};
pub use series::{LoadedSeries, ReadLimits};
pub use stored::{PlacedFrame, StoredSegment, StoredSegmentation, TargetSeries};
pub use suggestions::{SuggestedSeries, SuggestionQuery, Suggestions};
pub use worker::Workers;
pub use worklist::Station;

/// Kind of the jobs that segment.
pub const SEGMENTATION_KIND: &str = "segmentation";
/// Kind of the jobs that make exemplars.
pub const INGESTION_KIND: &str = "ingestion";
/// Kind of the jobs that make all exemplars anew for another bundle.
pub const REENCODING_KIND: &str = "reencode";
/// Kind of the jobs that look at series nobody annotated.
pub const SURVEY_KIND: &str = "survey";

/// Manufacturer and ManufacturerModelName of what this house makes.
pub(crate) const MADE_BY: &str = "Engram";

/// The rooms to join.
pub struct WorkflowParts {
    /// Studies, series, instances.
    pub archive: Archive,
    /// Jobs.
    pub queue: Queue,
    /// Workitems.
    pub worklist: Worklist,
    /// Where bundles and their banks come from.
    pub source: Box<dyn BundleSource>,
    /// The bundles to serve.
    pub bundles: ConfiguredBundles,
    /// What is to leave the house; failed jobs must stay in it ([`engram_jobs::QueueOptions::keep_failed`]).
    pub outbox: Queue,
    /// The nodes that something can be sent to, each under a name of its own.
    pub nodes: Vec<Arc<dyn Node>>,
    /// The webhooks, each under a name of its own.
    pub hooks: Vec<Arc<dyn Hook>>,
}

/// Settings of segmentations that a request does not choose itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentationDefaults {
    /// Speed against accuracy.
    pub quality: Quality,
    /// Exemplars a slice; 0: the bundle's recommendation.
    pub exemplars_per_slice: usize,
    /// Whether neighbouring slices condition each other.
    pub propagation: bool,
    /// Whether small organs get a second pass on a crop.
    pub close_up: bool,
    /// Confidence below which a slice is for review; None: the bundle's recommendation.
    pub review_below: Option<f32>,
    /// Bytes of image features kept between uses, and as many of exemplars' memories.
    pub cache_bytes: usize,
}

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct WorkflowOptions {
    /// The configuration's rules.
    pub rules: Vec<Rule>,
    /// When to try again what could not be sent.
    pub outbox: OutboxOptions,
    /// What reading a series may cost.
    pub limits: ReadLimits,
    /// How to segment unless asked otherwise.
    pub segmentation: SegmentationDefaults,
    /// How workitems name this server.
    pub station: Station,
}

/// The rooms, joined.
pub struct Workflow {
    archive: Archive,
    bundles: Bundles,
    queue: Queue,
    options: WorkflowOptions,
    flags: Flags,
    results: PathBuf,
    annotations: Mutex<Index>,
    rules: Rules,
    watch: Watch,
    outbox: Queue,
    nodes: Vec<Arc<dyn Node>>,
    hooks: Vec<Arc<dyn Hook>>,
    board: Board,
    /// Where objects that are made to be sent lie meanwhile.
    made: PathBuf,
    desk: Desk,
}

impl Workflow {
    /// Joins the rooms over the data folder, loads the bundles, and asks for what an earlier process left undone.
    pub fn open(data: &Path, parts: WorkflowParts, options: WorkflowOptions) -> Result<Self> {
        let flags = Flags::open(&data.join("flags.journal")).context(JournalSnafu)?;
        let results = results::folder(data)?;
        let rules = Rules::open(&data.join("rules.journal"), options.rules.clone()).context(JournalSnafu)?;
        let workflow = Self {
            bundles: Bundles::open(data, parts.source, parts.bundles)?,
            archive: parts.archive,
            queue: parts.queue,
            desk: Desk::new(parts.worklist, options.station.clone()),
            options,
            flags,
            results,
            annotations: Mutex::new(Index::default()),
            rules,
            watch: Watch::default(),
            outbox: parts.outbox,
            nodes: parts.nodes,
            hooks: parts.hooks,
            board: Board::default(),
            made: outbox::folder(data)?,
        };
        workflow.warn_of_unserved_bundles();
        workflow.index_annotations()?;
        workflow.resume()?;
        workflow.resume_switch()?;
        workflow.resume_watch()?;
        Ok(workflow)
    }

    /// Starts the workers: `segmentation` of them for segmentations that people ask for, one for each other kind of job,
    /// one for each node and each webhook.
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

    /// Empties the bank of every served bundle and fills it anew from the archive.
    pub fn rebuild_banks(&self) -> Result<()> {
        self.index_annotations()?;
        let targets = self.annotations.lock().targets();
        for bundle in self.bundles.all() {
            self.rebuild_bank(&bundle, &targets)?;
        }
        Ok(())
    }

    fn rebuild_bank(&self, bundle: &ServedBundle, targets: &BTreeSet<(String, String)>) -> Result<()> {
        bundle.bank.clear().context(BankSnafu)?;
        bundle.made.lock().clear();
        for (study, series) in targets {
            if let Err(error) = self.reconcile(bundle, study, series, &NoProgress) {
                tracing::warn!(%series, error = %report(&error), "no exemplars of this series");
            }
        }
        bundle.bank.wait_for_index();
        Ok(())
    }

    /// A rule that names a bundle which is not served makes every request it matches fail, so it is told early.
    fn warn_of_unserved_bundles(&self) {
        for rule in self.rules.current().iter() {
            if let Some(Err(error)) = rule.then.bundle.as_deref().map(|bundle| self.bundles.named(bundle)) {
                tracing::warn!(rule = rule.name, error = %report(&error), "a rule names a bundle that is not served");
            }
        }
    }

    /// The queue of jobs.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The bundle that computes where nothing names another.
    pub fn bundle_in_use(&self) -> Arc<ServedBundle> {
        self.bundles.in_use()
    }

    /// Every bundle that is served, the one in use first.
    pub fn served_bundles(&self) -> Vec<Arc<ServedBundle>> {
        self.bundles.all()
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}
