//! Building a new graph in the background while the old one serves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use rayon::ThreadPoolBuilder;

use crate::Result;
use crate::audit::least_effort;
use crate::bank::{Inner, State};
use crate::error::StartThreadsSnafu;
use crate::graph::{Graph, Index};
use crate::metrics::count;

impl Inner {
    /// Starts to build a graph if one is needed and none is being built.
    pub(crate) fn consider_index(inner: &Arc<Inner>) {
        if !inner.needs_index(&inner.state.read()) {
            return;
        }
        let mut builder = inner.builder.lock();
        if builder.as_ref().is_some_and(|builder| !builder.is_finished()) || inner.stop.load(Relaxed) {
            return;
        }
        let background = Arc::clone(inner);
        let spawned = thread::Builder::new().name("engram-index".to_owned()).spawn(move || {
            if let Err(error) = background.build_index() {
                // Searches scan until a later change tries again.
                tracing::error!(%error, "could not build the index");
            }
        });
        match spawned {
            Ok(handle) => *builder = Some(handle),
            Err(error) => tracing::error!(%error, "could not start to build the index"),
        }
    }

    /// Waits until a build under way has ended.
    pub(crate) fn wait_for_index(&self) {
        let builder = self.builder.lock().take();
        if builder.is_some_and(|builder| builder.join().is_err()) {
            tracing::error!("the builder of the index panicked");
        }
    }

    fn needs_index(&self, state: &State) -> bool {
        let usable = state.columns.usable();
        // So few that no search would ask the graph.
        if usable < self.options.exact_below.max(1) {
            return false;
        }
        let Some(Index { graph, .. }) = &state.index else { return true };
        let gone = graph.points() - state.columns.in_graph();
        let come = state.columns.tail().len();
        (gone + come) as f64 > self.options.rebuild_fraction * graph.points() as f64
    }

    fn build_index(&self) -> Result<()> {
        let started = Instant::now();
        let threads = ThreadPoolBuilder::new()
            .num_threads(self.options.index_threads.max(1))
            .thread_name(|number| format!("engram-index-{number}"))
            .build()
            .map_err(|error| error.to_string());
        let threads = threads.or_else(|reason| StartThreadsSnafu { reason }.fail())?;
        let (ids, vectors, generation) = {
            let state = self.state.read();
            let (ids, vectors) = state.columns.snapshot();
            (ids, vectors, state.generation)
        };
        let dim = self.options.embedding_dim;
        let Some(graph) = Graph::build(&ids, &vectors, dim, &threads, &self.stop) else { return Ok(()) };
        let effort = least_effort(&graph, &ids, &vectors, dim);
        if effort.is_none() {
            tracing::warn!(slices = ids.len(), "the index misses too many neighbours; searches scan instead");
        }
        let index = Index { graph, effort };
        // A graph that cannot be stored serves all the same; the next start builds it anew.
        let stored = self.versions.store(&index, &self.contents(generation));
        let mut state = self.state.write();
        if state.generation == generation {
            state.columns.set_graph(index.graph.ids().into_iter());
            state.index = Some(index);
            count(&self.counters.graphs_built);
        }
        drop(state);
        tracing::info!(slices = ids.len(), seconds = started.elapsed().as_secs_f64(), "index built");
        stored
    }
}
