//! A bundle that answers requests: its engine and its bank.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use engram_inference::{BundleSpec, Engine};
use engram_memory::Bank;
use engram_segmenter::EngineModels;
use parking_lot::Mutex;

use super::choices::Choice;
use crate::ingestion::Wanted;

/// A bundle, loaded on its device, and the exemplars encoded by it.
pub struct ServedBundle {
    engine: Engine,
    models: EngineModels,
    pub(crate) bank: Bank,
    /// What this process made exemplars of, by SEG and series, to know a change of flags when it comes.
    pub(crate) made: Mutex<HashMap<(String, String), Wanted>>,
    /// Held while a series is brought up to date, so that two jobs do not do the same work.
    pub(crate) ingesting: Mutex<()>,
    lessons: Mutex<Lessons>,
    /// Tells by its end that engine and bank are closed. The last field, since fields end in their order.
    open: Arc<()>,
}

/// How far the bank is with the series that were annotated before the bundle was served.
#[derive(Default)]
struct Lessons {
    total: usize,
    left: BTreeSet<String>,
}

impl ServedBundle {
    pub(crate) fn new(engine: Engine, bank: Bank) -> Self {
        Self {
            models: EngineModels::new(engine.clone()),
            engine,
            bank,
            made: Mutex::default(),
            ingesting: Mutex::default(),
            lessons: Mutex::default(),
            open: Arc::default(),
        }
    }

    /// What can be held until engine and bank are closed, and no longer.
    pub(crate) fn until_closed(&self) -> Weak<()> {
        Arc::downgrade(&self.open)
    }

    /// `name@version+digest`.
    pub fn id(&self) -> &str {
        self.engine.bundle().id()
    }

    /// What the manifest says.
    pub fn spec(&self) -> &BundleSpec {
        self.engine.spec()
    }

    /// The bundle on its device.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The bundle as the method sees it.
    pub fn models(&self) -> &EngineModels {
        &self.models
    }

    /// Annotated slices encoded by it.
    pub fn exemplar_slices(&self) -> usize {
        self.bank.metrics().slices
    }

    pub(crate) fn choice(&self) -> Choice {
        Choice { id: self.id().to_owned(), folder: self.engine.bundle().folder().to_path_buf() }
    }

    /// Says which series are to be encoded, of `total` that are annotated.
    pub(crate) fn begin_lessons(&self, total: usize, left: BTreeSet<String>) {
        *self.lessons.lock() = Lessons { total, left };
    }

    /// A series is encoded, or cannot be.
    pub(crate) fn end_lesson(&self, series: &str) {
        self.lessons.lock().left.remove(series);
    }

    /// Series done and series in all; `None` when all are done.
    pub(crate) fn lessons(&self) -> Option<(usize, usize)> {
        let lessons = self.lessons.lock();
        let left = lessons.left.len();
        (left > 0).then(|| (lessons.total.saturating_sub(left), lessons.total))
    }
}
