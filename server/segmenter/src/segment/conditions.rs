//! The memories that a slice and label is conditioned on, wherever it is looked at.

use super::cache::Cache;
use super::features::ViewIndex;
use super::predict::Remembered;
use super::retrieve::Selection;
use crate::Result;
use crate::error::BankSnafu;
use crate::exemplars::Exemplars;
use engram_memory::{ExemplarId, View};
use ndarray::Array3;
use snafu::ResultExt;
use std::collections::HashMap;
use std::sync::Arc;

/// Annotated slices of the target itself that a slice is conditioned on at the most: the nearest.
const NEAREST_GIVEN: usize = 4;

/// One label looked at in one view, on the slices where that is worth while.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Index of the label.
    pub label: usize,
    pub view: ViewIndex,
    /// Which of an exemplar's memories fits the view.
    pub kind: View,
    /// For each slice, whether to look.
    pub wanted: Vec<bool>,
}

/// An annotated slice of the target, as a memory.
pub(crate) struct GivenMemory {
    pub slice: usize,
    pub present: bool,
    pub features: Arc<Array3<f32>>,
}

pub(crate) struct Conditions<'a> {
    exemplars: &'a dyn Exemplars,
    /// `[label][slice]`.
    pub selections: Vec<Vec<Selection>>,
    given: HashMap<(usize, ViewIndex), Vec<GivenMemory>>,
    cache: Cache<(ExemplarId, View), Array3<f32>>,
    temporal_index: i64,
}

impl<'a> Conditions<'a> {
    pub fn new(
        exemplars: &'a dyn Exemplars,
        selections: Vec<Vec<Selection>>,
        temporal_index: i64,
        cache_bytes: usize,
    ) -> Self {
        Self { exemplars, selections, given: HashMap::new(), cache: Cache::new(cache_bytes), temporal_index }
    }

    /// Adds the target's own annotated slices for a label and view.
    pub fn give(&mut self, label: usize, view: ViewIndex, memories: Vec<GivenMemory>) {
        self.given.insert((label, view), memories);
    }

    /// The memory of the slice itself, where it was annotated.
    pub fn given(&self, look: &Look, slice: usize) -> Option<&GivenMemory> {
        self.given_in(look).iter().find(|memory| memory.slice == slice)
    }

    /// Memories for a slice: its exemplars, then the nearest annotated slices of the target itself. None where
    /// nothing says that the label might be there.
    pub fn of(&mut self, look: &Look, slice: usize) -> Result<Option<Vec<Remembered>>> {
        let nearest = self.nearest_given(look, slice);
        let selection = self.selections[look.label][slice].clone();
        if !selection.any_present() && !nearest.iter().any(|(present, _)| *present) {
            return Ok(None);
        }
        let mut memories = vec![];
        for neighbour in &selection.exemplars {
            if let Some(features) = self.load(neighbour.exemplar, look.kind)? {
                memories.push(Remembered { features, temporal_index: self.temporal_index });
            }
        }
        for (_, features) in nearest {
            memories.push(Remembered { features, temporal_index: self.temporal_index });
        }
        Ok((!memories.is_empty()).then_some(memories))
    }

    /// All annotated slices of a look.
    pub fn given_in(&self, look: &Look) -> &[GivenMemory] {
        self.given.get(&(look.label, look.view)).map_or(&[], Vec::as_slice)
    }

    fn nearest_given(&self, look: &Look, slice: usize) -> Vec<(bool, Arc<Array3<f32>>)> {
        let mut given: Vec<&GivenMemory> = self.given_in(look).iter().collect();
        given.sort_by_key(|memory| memory.slice.abs_diff(slice));
        given.truncate(NEAREST_GIVEN);
        given.into_iter().map(|memory| (memory.present, Arc::clone(&memory.features))).collect()
    }

    fn load(&mut self, exemplar: ExemplarId, kind: View) -> Result<Option<Arc<Array3<f32>>>> {
        if let Some(found) = self.cache.get(&(exemplar, kind)) {
            return Ok(Some(found));
        }
        let loaded = self.exemplars.memory(exemplar, kind).context(BankSnafu { action: "read a memory" })?;
        if let Some(features) = &loaded {
            self.cache.put((exemplar, kind), Arc::clone(features), features.len() * size_of::<f32>());
        }
        Ok(loaded)
    }
}
