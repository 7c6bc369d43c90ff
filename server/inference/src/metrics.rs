//! What the engine has computed so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::{Device, Graph};

/// A snapshot of what an engine has computed since it started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineMetrics {
    /// A graph of the bundle each, in the order of [`Graph::ALL`].
    pub graphs: Vec<GraphMetrics>,
    /// The devices in the order of the options.
    pub devices: Vec<DeviceMetrics>,
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

/// What one device has computed, and whether it still does.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceMetrics {
    /// The device.
    pub device: Device,
    /// Why it serves no longer; none: it does.
    pub retired: Option<String>,
    /// Batches it was given.
    pub batches: u64,
    /// Batches that it failed at; a wrong call is not the device's failure.
    pub failures: u64,
    /// Seconds inside ONNX Runtime.
    pub seconds: f64,
}

#[derive(Debug)]
pub(crate) struct Counters {
    graphs: [GraphCounters; Graph::ALL.len()],
    devices: Vec<DeviceCounters>,
}

#[derive(Debug, Default)]
struct DeviceCounters {
    batches: AtomicU64,
    failures: AtomicU64,
    nanoseconds: AtomicU64,
}

#[derive(Debug, Default)]
struct GraphCounters {
    requests: AtomicU64,
    batches: AtomicU64,
    rows: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counters {
    /// Counters of every graph and of so many devices.
    pub(crate) fn new(devices: usize) -> Self {
        Self {
            graphs: Default::default(),
            devices: (0..devices).map(|_| DeviceCounters::default()).collect(),
        }
    }

    pub(crate) fn answered(&self, graph: Graph) {
        self.graphs[graph.position()].requests.fetch_add(1, Relaxed);
    }

    /// A batch of so many rows was run on the device at `position`.
    pub(crate) fn ran(&self, position: usize, graph: Graph, rows: usize, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let counters = &self.graphs[graph.position()];
        counters.batches.fetch_add(1, Relaxed);
        counters.rows.fetch_add(rows as u64, Relaxed);
        counters.nanoseconds.fetch_add(nanoseconds, Relaxed);
        let device = &self.devices[position];
        device.batches.fetch_add(1, Relaxed);
        device.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// The device at `position` failed at a batch.
    pub(crate) fn failed(&self, position: usize) {
        self.devices[position].failures.fetch_add(1, Relaxed);
    }

    /// `devices` with why they were retired, in their order.
    pub(crate) fn snapshot(&self, devices: Vec<(Device, Option<String>)>) -> EngineMetrics {
        let seconds = |nanoseconds: &AtomicU64| Duration::from_nanos(nanoseconds.load(Relaxed)).as_secs_f64();
        let graphs = Graph::ALL.into_iter().zip(&self.graphs).map(|(graph, counters)| GraphMetrics {
            graph,
            requests: counters.requests.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            rows: counters.rows.load(Relaxed),
            seconds: seconds(&counters.nanoseconds),
        });
        let devices =
            devices.into_iter().zip(&self.devices).map(|((device, retired), counters)| DeviceMetrics {
                device,
                retired,
                batches: counters.batches.load(Relaxed),
                failures: counters.failures.load(Relaxed),
                seconds: seconds(&counters.nanoseconds),
            });
        EngineMetrics { graphs: graphs.collect(), devices: devices.collect() }
    }
}
