//! The bank: opening, reading, removing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use sled::Tree;
use snafu::{OptionExt, ResultExt};
use uuid::Uuid;

use crate::cache::Cache;
use crate::columns::{Columns, Row};
use crate::error::{BrokenSnafu, FilesSnafu, NoExemplarSnafu, NoMemorySnafu};
use crate::exemplar::{Exemplar, ExemplarId, ExemplarSlice, LabelDefinition, Memory, SliceId, View};
use crate::graph::Index;
use crate::metrics::{BankMetrics, Counters, count};
use crate::pack;
use crate::query::{LabelCounts, ListFilter};
use crate::records::Records;
use crate::versions::{Contents, Versions};
use crate::{Error, Result};

/// Slices that one answer of [`Bank::slices`] lists at the most.
const MAX_PAGE: usize = 1000;

/// The numbers that memory features are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryPrecision {
    /// As computed.
    F32,
    /// Rounded to half precision: half the disk, an error of at most 0.05 %.
    #[default]
    F16,
}

/// How a bank is kept.
#[derive(Debug, Clone)]
pub struct BankOptions {
    /// The bundle that computes vectors and memories. Slices of another one stay stored and answer no search.
    pub bundle_id: String,
    /// Length of a retrieval vector.
    pub embedding_dim: usize,
    /// Shape of a memory's features: channels, rows, columns.
    pub memory_shape: [usize; 3],
    /// Length of a memory's object pointer; 0: the bundle uses none.
    pub pointer_dim: usize,
    /// The numbers that memory features are kept in.
    pub precision: MemoryPrecision,
    /// Bytes of memory features kept at hand.
    pub cache_bytes: usize,
    /// Below this many candidates a search scans them all instead of walking the graph.
    pub exact_below: usize,
    /// Slices that the bank takes. Each needs about a kilobyte of memory besides twice its vector.
    pub max_slices: usize,
    /// A new graph is built when more than this fraction of the one that serves has gone or come since.
    pub rebuild_fraction: f64,
    /// Threads that build a graph.
    pub index_threads: usize,
}

impl BankOptions {
    /// The defaults for a bundle.
    pub fn new(bundle_id: impl Into<String>, embedding_dim: usize, memory_shape: [usize; 3]) -> Self {
        Self {
            bundle_id: bundle_id.into(),
            embedding_dim,
            memory_shape,
            pointer_dim: 0,
            precision: MemoryPrecision::default(),
            cache_bytes: 512 << 20,
            exact_below: 2000,
            max_slices: 1_000_000,
            rebuild_fraction: 0.25,
            index_threads: 1,
        }
    }

    /// What the bank's memories look like.
    pub(crate) fn shape(&self) -> pack::Shape {
        pack::Shape { features: self.memory_shape, pointer: self.pointer_dim }
    }
}

/// All exemplars. Cheap to clone; all handles are one bank. Methods block on disk; call them from threads that may
/// wait. The folder and the tree belong to one bank at a time.
#[derive(Clone)]
pub struct Bank {
    shared: Arc<Shared>,
}

/// Stops what runs in the background with the last handle.
struct Shared {
    inner: Arc<Inner>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inner.stop.store(true, Relaxed);
        self.inner.wait_for_index();
    }
}

impl std::ops::Deref for Bank {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.shared.inner
    }
}

/// What handles and the background share.
#[doc(hidden)]
pub struct Inner {
    pub(crate) options: BankOptions,
    pub(crate) records: Records,
    pub(crate) packs: PathBuf,
    pub(crate) versions: Versions,
    pub(crate) state: RwLock<State>,
    /// Held while the bank is changed, so that changes follow each other. Taken before `state`.
    pub(crate) writer: Mutex<Writer>,
    pub(crate) cache: Mutex<Cache>,
    pub(crate) counters: Counters,
    pub(crate) next_pack: AtomicU64,
    pub(crate) broken: AtomicUsize,
    pub(crate) builder: Mutex<Option<JoinHandle<()>>>,
    pub(crate) stop: AtomicBool,
}

/// What searches look at.
pub(crate) struct State {
    pub(crate) columns: Columns,
    pub(crate) index: Option<Index>,
    pub(crate) generation: Uuid,
}

/// What whoever changes the bank needs.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The identity that the next slice gets.
    pub(crate) next: u64,
}

/// The bundle that the latest slice in a bank's tree is of; `None` where the tree holds no slice.
///
/// # Errors
/// The database or the record cannot be read.
pub fn bundle_of(tree: Tree) -> Result<Option<String>> {
    Ok(Records::new(tree).latest_slice()?.map(|slice| slice.bundle_id))
}

impl Bank {
    /// Opens the bank over its tree and its folder `root`, which is made where it is not there. What a crash left
    /// behind is removed. An index that does not match is built anew in the background.
    ///
    /// # Errors
    /// The folder or the database cannot be used.
    pub fn open(root: &Path, tree: Tree, options: BankOptions) -> Result<Self> {
        let packs = root.join("features");
        fs::create_dir_all(&packs).context(FilesSnafu { action: "create", path: &packs })?;
        let versions = Versions::open(root.join("index"))?;
        let records = Records::new(tree);
        let generation = records.generation()?;
        let (mut columns, next) = load(&records, &options)?;
        let contents = contents(&options, generation);
        let index = versions.load(&contents);
        if let Some(index) = &index {
            columns.set_graph(index.graph.ids().into_iter());
        }
        versions.remove_others();
        let next_pack = remove_unused_packs(&packs, &columns)?;
        tracing::info!(
            slices = columns.usable(),
            other_bundles = columns.len() - columns.usable(),
            "bank opened"
        );
        let inner = Inner {
            cache: Mutex::new(Cache::new(options.cache_bytes)),
            options,
            records,
            packs,
            versions,
            state: RwLock::new(State { columns, index, generation }),
            writer: Mutex::new(Writer { next }),
            counters: Counters::default(),
            next_pack: AtomicU64::new(next_pack),
            broken: AtomicUsize::new(0),
            builder: Mutex::new(None),
            stop: AtomicBool::new(false),
        };
        let bank = Self { shared: Arc::new(Shared { inner: Arc::new(inner) }) };
        bank.consider_index();
        Ok(bank)
    }

    pub(crate) fn consider_index(&self) {
        Inner::consider_index(&self.shared.inner);
    }

    /// The memory of an exemplar.
    ///
    /// # Errors
    /// [`Error::NoExemplar`], [`Error::NoMemory`] where it has no memory of that view, [`Error::Broken`] where its
    /// file is damaged; it answers no search from then on.
    pub fn memory(&self, id: ExemplarId, view: View) -> Result<Arc<Memory>> {
        self.memory_of(&self.exemplar(id)?, view)
    }

    /// Like [`Bank::memory`], for an exemplar that is at hand.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::Broken`].
    pub fn memory_of(&self, exemplar: &Exemplar, view: View) -> Result<Arc<Memory>> {
        let id = exemplar.id;
        let location = match view {
            View::Whole if exemplar.label.present => exemplar.label.whole,
            View::Whole => exemplar.slice.empty,
            View::Crop => exemplar.label.close,
        };
        let location = location.context(NoMemorySnafu { id })?;
        let key = (id.slice.0, location.offset());
        if let Some(memory) = self.cache.lock().get(key) {
            count(&self.counters.cache_hits);
            return Ok(memory);
        }
        count(&self.counters.cache_misses);
        let path = pack::path(&self.packs, exemplar.slice.pack);
        let memory = pack::read(&path, location, self.options.shape()).map_err(|source| {
            if self.state.write().columns.mark_broken(id.slice.0, id.entry) {
                self.broken.fetch_add(1, Relaxed);
                tracing::error!(exemplar = %id, %source, "a memory cannot be read; rebuild the bank");
            }
            source
        });
        let memory = Arc::new(memory.context(BrokenSnafu { id })?);
        self.cache.lock().insert(key, Arc::clone(&memory));
        Ok(memory)
    }

    /// An exemplar by its identity.
    ///
    /// # Errors
    /// [`Error::NoExemplar`].
    pub fn exemplar(&self, id: ExemplarId) -> Result<Exemplar> {
        let slice = self.records.slice(id.slice.0)?.context(NoExemplarSnafu { id })?;
        exemplar(Arc::new(slice), id.entry).context(NoExemplarSnafu { id })
    }

    /// Slices in the order of their identities, those of other bundles included: at most `limit` (and 1000) of those
    /// after `after`.
    ///
    /// # Errors
    /// The database fails.
    pub fn slices(
        &self,
        filter: &ListFilter<'_>,
        after: Option<SliceId>,
        limit: usize,
    ) -> Result<Vec<ExemplarSlice>> {
        let from = after.map_or(0, |id| id.0.saturating_add(1));
        let ids: Vec<u64> = {
            let columns = &self.state.read().columns;
            let Some(fits) = listed(columns, filter) else { return Ok(Vec::new()) };
            columns.from(from).filter(|row| fits(row)).map(|row| row.id).take(limit.min(MAX_PAGE)).collect()
        };
        // A slice may have gone in the meantime.
        ids.into_iter().filter_map(|id| self.records.slice(id).transpose()).collect()
    }

    /// What there is of each label, sorted by label, collection and modality.
    pub fn labels(&self) -> Vec<LabelCounts> {
        self.state.read().columns.labels()
    }

    /// The definition of a label as the latest annotation wrote it.
    ///
    /// # Errors
    /// The database fails.
    pub fn label(&self, label_key: &str) -> Result<Option<LabelDefinition>> {
        self.records.label(label_key)
    }

    /// What the bank holds and how it answered.
    pub fn metrics(&self) -> BankMetrics {
        let state = self.state.read();
        let columns = &state.columns;
        let graph_points = state.index.as_ref().map_or(0, |index| index.graph.points());
        let counters = &self.counters;
        BankMetrics {
            slices: columns.usable(),
            other_bundles: columns.len() - columns.usable(),
            broken: self.broken.load(Relaxed),
            graph_searches: counters.graph_searches.load(Relaxed),
            exact_searches: counters.exact_searches.load(Relaxed),
            doubted_searches: counters.doubted_searches.load(Relaxed),
            graph_points,
            tombstones: graph_points - columns.in_graph(),
            tail: columns.tail().len(),
            graphs_built: counters.graphs_built.load(Relaxed),
            cache_bytes: self.cache.lock().bytes(),
            cache_hits: counters.cache_hits.load(Relaxed),
            cache_misses: counters.cache_misses.load(Relaxed),
        }
    }

    /// Waits until an index build under way, if any, has ended.
    pub fn wait_for_index(&self) {
        self.shared.inner.wait_for_index();
    }
}

impl Inner {
    pub(crate) fn contents(&self, generation: Uuid) -> Contents {
        contents(&self.options, generation)
    }
}

fn contents(options: &BankOptions, generation: Uuid) -> Contents {
    Contents {
        generation: generation.to_string(),
        bundle_id: options.bundle_id.clone(),
        dim: options.embedding_dim,
    }
}

/// The label of a slice by its number.
pub(crate) fn exemplar(slice: Arc<ExemplarSlice>, entry: u16) -> Option<Exemplar> {
    let label = slice.labels.iter().find(|label| label.entry == entry)?.clone();
    Some(Exemplar { id: ExemplarId { slice: slice.id, entry }, slice, label })
}

/// Reads every record; answers the columns and the next identity.
fn load(records: &Records, options: &BankOptions) -> Result<(Columns, u64)> {
    let mut columns = Columns::new(options.embedding_dim);
    let mut next = records.next()?;
    for slice in records.slices() {
        let slice = match slice {
            Ok(slice) => slice,
            Err(error @ (Error::Record { .. } | Error::RecordLength { .. })) => {
                tracing::error!(%error, "an exemplar is left out; rebuild the bank");
                continue;
            }
            Err(error) => return Err(error),
        };
        next = next.max(slice.id.0.saturating_add(1));
        let vector = if slice.bundle_id == options.bundle_id { records.vector(slice.id.0)? } else { None };
        columns.insert(&slice, vector.filter(|v| v.len() == options.embedding_dim).as_deref());
    }
    Ok((columns, next))
}

/// Removes packs that no slice points into; answers the number of the next pack.
fn remove_unused_packs(folder: &Path, columns: &Columns) -> Result<u64> {
    let files = || FilesSnafu { action: "list", path: folder };
    let mut next = 0;
    for entry in fs::read_dir(folder).context(files())? {
        let path = entry.context(files())?.path();
        let Some(number) = pack::number(&path) else { continue };
        next = next.max(number.saturating_add(1));
        if !columns.has_pack(number) {
            fs::remove_file(&path).context(FilesSnafu { action: "remove", path: &path })?;
        }
    }
    Ok(next)
}

/// Whether a row is to be listed; `None` where the filter names something that no slice has.
fn listed(columns: &Columns, filter: &ListFilter<'_>) -> Option<impl Fn(&Row) -> bool + use<>> {
    let find = |text: Option<&str>| match text {
        Some(text) => columns.symbol(text).map(Some),
        None => Some(None),
    };
    let label = find(filter.label_key)?;
    let study = find(filter.study_instance_uid)?;
    let series = find(filter.series_instance_uid)?;
    let seg = find(filter.seg_sop_instance_uid)?;
    let collection = find(filter.collection)?;
    Some(move |row: &Row| {
        label.is_none_or(|label| row.entries.iter().any(|entry| entry.label == label))
            && study.is_none_or(|study| study == row.study)
            && series.is_none_or(|series| series == row.series)
            && seg.is_none_or(|seg| seg == row.seg)
            && collection.is_none_or(|collection| collection == row.collection)
    })
}
