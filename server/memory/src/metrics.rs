//! What the bank holds and how it answered.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A snapshot of the bank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BankMetrics {
    /// Slices that can answer searches.
    pub slices: usize,
    /// Slices of other bundles, which cannot.
    pub other_bundles: usize,
    /// Exemplars whose memories could not be read since the start.
    pub broken: usize,
    /// Searches answered by the graph.
    pub graph_searches: u64,
    /// Searches answered by an exact scan, `doubted_searches` included.
    pub exact_searches: u64,
    /// Searches that the graph could not answer with confidence, so that an exact scan did.
    pub doubted_searches: u64,
    /// Points in the graph, removed ones included.
    pub graph_points: usize,
    /// Points in the graph whose slice has gone.
    pub tombstones: usize,
    /// Slices not yet in the graph; every search scans them.
    pub tail: usize,
    /// Graphs built since the start.
    pub graphs_built: u64,
    /// Bytes of memory features at hand.
    pub cache_bytes: usize,
    /// Memories found at hand.
    pub cache_hits: u64,
    /// Memories read from disk.
    pub cache_misses: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) graph_searches: AtomicU64,
    pub(crate) exact_searches: AtomicU64,
    pub(crate) doubted_searches: AtomicU64,
    pub(crate) graphs_built: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) cache_misses: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
