//! What the engine has computed so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Graph;

/// A snapshot of what an engine has computed since it started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineMetrics {
    /// A graph of the bundle each, in the order of [`Graph::ALL`].
    pub graphs: Vec<GraphMetrics>,
}

impl EngineMetrics {
    /// Seconds spent inside ONNX Runtime, all graphs.
    pub fn seconds(&self) -> f64 {
        self.graphs.iter().map(|graph| graph.seconds).sum()
    }
}

/// What one graph has computed.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphMetrics {
    /// The graph.
    pub graph: Graph,
    /// Requests answered, failures included.
    pub requests: u64,
    /// Batches run.
    pub batches: u64,
    /// Rows in those batches: images or objects.
    pub rows: u64,
    /// Seconds inside ONNX Runtime.
    pub seconds: f64,
}

impl GraphMetrics {
    /// Mean rows a batch, 0 before the first.
    pub fn mean_batch(&self) -> f64 {
        if self.batches == 0 { 0.0 } else { self.rows as f64 / self.batches as f64 }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    graphs: [GraphCounters; Graph::ALL.len()],
}

#[derive(Debug, Default)]
struct GraphCounters {
    requests: AtomicU64,
    batches: AtomicU64,
    rows: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counters {
    pub(crate) fn answered(&self, graph: Graph, requests: usize) {
        self.graphs[graph.position()].requests.fetch_add(requests as u64, Relaxed);
    }

    pub(crate) fn ran(&self, graph: Graph, rows: usize, took: Duration) {
        let counters = &self.graphs[graph.position()];
        counters.batches.fetch_add(1, Relaxed);
        counters.rows.fetch_add(rows as u64, Relaxed);
        counters.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn snapshot(&self) -> EngineMetrics {
        let graphs = Graph::ALL.into_iter().zip(&self.graphs).map(|(graph, counters)| GraphMetrics {
            graph,
            requests: counters.requests.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            rows: counters.rows.load(Relaxed),
            seconds: Duration::from_nanos(counters.nanoseconds.load(Relaxed)).as_secs_f64(),
        });
        EngineMetrics { graphs: graphs.collect() }
    }
}
