//! The HNSW graph (Malkov and Yashunin, arXiv 1603.09320) over unit vectors, by `hnsw_rs`.
//!
//! A graph is built from a snapshot of the bank and never changed: a slice that comes later is scanned until the
//! next graph is built, one that goes is skipped in what the graph answers. So neither the deletion that `hnsw_rs`
//! does not have nor its filtered search (which can answer items that fail the filter) is needed.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hnsw_rs::api::AnnT;
use hnsw_rs::hnsw::Hnsw;
use hnsw_rs::hnswio::HnswIo;
use hnsw_rs::prelude::Distance;
use rayon::ThreadPool;

use crate::Result;
use crate::error::DumpIndexSnafu;
use crate::top::dot;

/// Links of a point on each layer; twice as many on the lowest.
const LINKS: usize = 24;
/// Candidates looked at for a new point's links.
const CONSTRUCTION: usize = 200;
/// Layers. `hnsw_rs` dumps no graph with another number.
const LAYERS: usize = 16;
/// Points inserted between two looks at whether to stop.
const STEP: usize = 512;
/// Base name of the files that `hnsw_rs` writes.
const NAME: &str = "graph";
/// The files that a dump consists of.
pub(crate) const FILES: [&str; 2] = ["graph.hnsw.graph", "graph.hnsw.data"];

/// One minus the inner product of unit vectors. Never below zero, which `hnsw_rs` takes for a broken invariant and
/// rounding may bring about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UnitCosine;

impl Distance<f32> for UnitCosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// A graph and how to ask it.
pub(crate) struct Index {
    pub(crate) graph: Graph,
    /// Points to ask it for at the least, so that it misses next to none of the nearest; `None` where it cannot be
    /// trusted at any effort.
    pub(crate) effort: Option<usize>,
}

/// A graph that serves.
pub(crate) struct Graph {
    hnsw: Hnsw<'static, f32, UnitCosine>,
}

impl Graph {
    /// Builds a graph of unit vectors of length `dim`, one after another in `vectors`. `None` if asked to stop.
    pub(crate) fn build(
        ids: &[u64],
        vectors: &[f32],
        dim: usize,
        threads: &ThreadPool,
        stop: &AtomicBool,
    ) -> Option<Self> {
        let hnsw = Hnsw::new(LINKS, ids.len(), LAYERS, CONSTRUCTION, UnitCosine);
        let mut points: Vec<(&[f32], usize)> =
            vectors.chunks_exact(dim).zip(ids).map(|(vector, id)| (vector, *id as usize)).collect();
        // In the order of the bank, slices of one series follow each other: their links would lead to each other
        // alone, and a series could be out of reach from the rest.
        let scattered = BuildHasherDefault::<DefaultHasher>::default();
        points.sort_by_cached_key(|(_, id)| scattered.hash_one(id));
        for step in points.chunks(STEP) {
            if stop.load(Relaxed) {
                return None;
            }
            threads.install(|| hnsw.parallel_insert_slice(&step.to_vec()));
        }
        Some(Self { hnsw })
    }

    pub(crate) fn points(&self) -> usize {
        self.hnsw.get_nb_point()
    }

    /// Identities of all its points.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.hnsw.get_point_indexation().into_iter().map(|point| point.get_origin_id() as u64).collect()
    }

    /// The `effort` points nearest to a unit vector, nearest first.
    pub(crate) fn nearest(&self, vector: &[f32], effort: usize) -> Vec<u64> {
        let found = self.hnsw.search(vector, effort, effort);
        found.into_iter().map(|neighbour| neighbour.get_origin_id() as u64).collect()
    }

    /// Writes [`FILES`] into an empty folder. Does not sync them.
    pub(crate) fn dump(&self, folder: &Path) -> Result<()> {
        // `hnsw_rs` panics where it cannot open its files.
        let dumped = catch_unwind(AssertUnwindSafe(|| self.hnsw.file_dump(folder, NAME)));
        let reason = match dumped {
            Ok(Ok(name)) if name == NAME => return Ok(()),
            Ok(Ok(name)) => format!("it wrote {name} instead of {NAME}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it could not open its files".to_owned(),
        };
        DumpIndexSnafu { path: folder, reason }.fail()
    }

    /// Loads a dump whose files are known to be as written: on others `hnsw_rs` may end the process.
    pub(crate) fn load(folder: &Path) -> Option<Self> {
        // The graph borrows its reader for as long as it lives. The reader holds two names and, without mmap, no
        // data: a few hundred bytes, once for each bank that is opened.
        let loaded = catch_unwind(|| {
            let reader: &'static mut HnswIo = Box::leak(Box::new(HnswIo::new(folder, NAME)));
            reader.load_hnsw::<f32, UnitCosine>()
        });
        loaded.ok()?.ok().map(|hnsw| Self { hnsw })
    }
}
