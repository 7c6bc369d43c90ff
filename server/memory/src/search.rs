//! Searching: the graph where it is cheaper and can be trusted, an exact scan otherwise.
//!
//! The graph is asked for its nearest points without a filter; those of slices that have gone or that fail the
//! filter are skipped. How many it must be asked for follows from how many of its points pass. Where the last hit
//! comes late among what the graph answered, there may be nearer ones that it did not reach: it is asked for twice
//! as many, and where that becomes dearer than a scan, the scan answers.

use std::sync::Arc;

use snafu::{OptionExt, ensure};

use crate::Result;
use crate::bank::{Bank, State, exemplar};
use crate::columns::{Row, Wanted};
use crate::error::RefuseQuerySnafu;
use crate::exemplar::SliceId;
use crate::graph::Graph;
use crate::metrics::count;
use crate::query::{Hit, Query};
use crate::top::{Scored, Top, dot, normalised};

/// Hits that one search answers at the most.
const MAX_HITS: usize = 1024;
/// The graph is asked for this many times the points that should hold the hits, were similarity and filter
/// independent.
const MARGIN: usize = 3;
/// The last hit must come in the first half of what the graph answered.
const TRUSTED_SHARE: usize = 2;
/// What a point asked of the graph costs, in slices scanned: its neighbours' distances and the bookkeeping.
const POINT_COST: usize = 16;

impl Bank {
    /// The exemplars most similar to a slice, most similar first, at most `k` (and 1024). At equal similarity the
    /// older comes first.
    ///
    /// # Errors
    /// [`Error::RefuseQuery`](crate::Error::RefuseQuery) for a vector of another length or without direction; the
    /// database fails.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>> {
        let right = query.vector.len() == self.options.embedding_dim;
        ensure!(right, RefuseQuerySnafu { reason: "the vector has another length than the bank's" });
        let reason = "the vector has no direction";
        let vector = normalised(query.vector).context(RefuseQuerySnafu { reason })?;
        let k = query.k.min(MAX_HITS);
        let best = {
            let state = self.state.read();
            match state.columns.wanted(&query.filter) {
                Some(wanted) if k > 0 => self.best(&state, &vector, k, &wanted),
                _ => return Ok(Vec::new()),
            }
        };
        let mut hits = Vec::with_capacity(best.len());
        for Scored { similarity, slice, entry } in best {
            // A slice may have gone since.
            let Some(record) = self.records.slice(SliceId(slice).0)? else { continue };
            hits.extend(exemplar(Arc::new(record), entry).map(|exemplar| Hit { exemplar, similarity }));
        }
        Ok(hits)
    }

    fn best(&self, state: &State, vector: &[f32], k: usize, wanted: &Wanted) -> Vec<Scored> {
        let candidates = state.columns.candidates(wanted);
        let index = state.index.as_ref().filter(|_| candidates >= self.options.exact_below.max(1));
        if let Some((graph, least)) = index.and_then(|index| Some((&index.graph, index.effort?))) {
            let walk = Walk { state, graph, least, vector, k, wanted, candidates };
            match walk.best() {
                Outcome::Trusted(best) => {
                    count(&self.counters.graph_searches);
                    return best;
                }
                Outcome::Doubted => count(&self.counters.doubted_searches),
                Outcome::Dearer => {}
            }
        }
        count(&self.counters.exact_searches);
        scan(state, vector, k, wanted)
    }
}

/// Every slice that may pass.
fn scan(state: &State, vector: &[f32], k: usize, wanted: &Wanted) -> Vec<Scored> {
    let mut top = Top::new(k);
    for (row, of_row) in state.columns.alike(wanted) {
        offer(&mut top, row, of_row, vector, wanted);
    }
    top.into_best()
}

/// Offers a row if it passes the filter; answers whether it does.
fn offer(top: &mut Top, row: &Row, of_row: &[f32], vector: &[f32], wanted: &Wanted) -> bool {
    let Some(entry) = wanted.entry(row) else { return false };
    top.offer(Scored { similarity: dot(of_row, vector), slice: row.id, entry: entry.number });
    true
}

/// How a search of the graph ended.
enum Outcome {
    /// These are the best.
    Trusted(Vec<Scored>),
    /// It cannot be told whether there are better ones.
    Doubted,
    /// It was not tried: a scan costs less.
    Dearer,
}

/// A search of the graph.
struct Walk<'a> {
    state: &'a State,
    graph: &'a Graph,
    /// Points to ask the graph for at the least.
    least: usize,
    vector: &'a [f32],
    k: usize,
    wanted: &'a Wanted,
    candidates: usize,
}

impl Walk<'_> {
    fn best(&self) -> Outcome {
        let points = self.graph.points();
        let expected = self.k.saturating_mul(points) / self.candidates.max(1);
        let mut effort = expected.saturating_mul(MARGIN).max(self.least);
        let dearest = self.candidates / POINT_COST;
        if effort > dearest {
            return Outcome::Dearer;
        }
        while effort <= dearest {
            if let Some(best) = self.attempt(effort) {
                return Outcome::Trusted(best);
            }
            effort = effort.saturating_mul(2);
        }
        Outcome::Doubted
    }

    /// The best among `effort` points of the graph and the slices it does not have; `None` if not to be trusted.
    fn attempt(&self, effort: usize) -> Option<Vec<Scored>> {
        let mut top = Top::new(self.k);
        let mut hits = 0;
        for (rank, id) in self.graph.nearest(self.vector, effort).into_iter().enumerate() {
            let Some((row, of_row)) = self.state.columns.get(id) else { continue };
            hits += usize::from(offer(&mut top, row, of_row, self.vector, self.wanted));
            if hits == self.k && rank < effort / TRUSTED_SHARE {
                for (row, of_row) in self.state.columns.tail() {
                    offer(&mut top, row, of_row, self.vector, self.wanted);
                }
                return Some(top.into_best());
            }
        }
        None
    }
}
