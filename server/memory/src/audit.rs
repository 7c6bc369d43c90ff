//! Whether a graph can be trusted, measured on the vectors it was built from.
//!
//! How much of a neighbourhood a graph reaches depends on the vectors: on those with structure a little effort
//! reaches all of it, on vectors without any even a great effort misses some. So every new graph is asked for the
//! neighbourhoods of some of its own points, which a scan knows, and the least effort that reaches them is kept.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::top::{Scored, Top, dot};

/// Points whose neighbourhoods are looked at.
const SAMPLE: usize = 100;
/// Efforts that are tried.
const EFFORTS: [usize; 4] = [128, 256, 512, 1024];
/// A neighbourhood is this part of the effort: about as deep as a filtered search has to look.
const SHARE: usize = 4;
/// Part of the neighbourhoods that has to be reached.
const REACHED: f64 = 0.995;

/// The least effort that reaches the neighbourhoods of a sample of the points; `None` where none does.
pub(crate) fn least_effort(graph: &Graph, ids: &[u64], vectors: &[f32], dim: usize) -> Option<usize> {
    let queries: Vec<&[f32]> = vectors.chunks_exact(dim).step_by(ids.len().div_ceil(SAMPLE).max(1)).collect();
    let deepest = EFFORTS.into_iter().max().unwrap_or(0) / SHARE;
    let scanned: Vec<Vec<u64>> =
        queries.iter().map(|query| scan(query, ids, vectors, dim, deepest)).collect();
    EFFORTS.into_iter().find(|&effort| {
        let (mut reached, mut all) = (0, 0);
        for (query, scanned) in queries.iter().zip(&scanned) {
            let answered: BTreeSet<u64> = graph.nearest(query, effort).into_iter().collect();
            let wanted = scanned.iter().take(effort / SHARE);
            all += wanted.len();
            reached += wanted.filter(|id| answered.contains(id)).count();
        }
        reached as f64 >= REACHED * all as f64
    })
}

fn scan(query: &[f32], ids: &[u64], vectors: &[f32], dim: usize, depth: usize) -> Vec<u64> {
    let mut top = Top::new(depth);
    for (id, vector) in ids.iter().zip(vectors.chunks_exact(dim)) {
        top.offer(Scored { similarity: dot(query, vector), slice: *id, entry: 0 });
    }
    top.into_best().into_iter().map(|scored| scored.slice).collect()
}
