//! The memories that a slice and label is conditioned on, wherever it is looked at.

use super::cache::Cache;
use super::features::ViewIndex;
use super::predict::Conditioning;
use super::retrieve::Selection;
use crate::Result;
use crate::error::BankSnafu;
use crate::exemplars::Exemplars;
use crate::models::ModelSpec;
use engram_memory::{ExemplarId, Memory, View};
use snafu::ResultExt;
use std::collections::HashMap;
use std::sync::Arc;

/// Annotated slices of the target itself that a slice is conditioned on at the most: the nearest.
pub(crate) const NEAREST_GIVEN: usize = 4;

/// One label looked at in one view, on the slices where that is worth while.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Index of the label.
    pub label: usize,
    pub view: ViewIndex,
    /// Which of an exemplar's memories fits the view.
    pub kind: View,
    /// How many exemplars each slice is conditioned on at the most.
    pub exemplars: usize,
    /// For each slice, whether to look.
    pub wanted: Vec<bool>,
}

/// An annotated slice of the target, as a memory.
pub(crate) struct GivenMemory {
    pub slice: usize,
    pub present: bool,
    pub memory: Arc<Memory>,
}

pub(crate) struct Conditions<'a> {
    exemplars: &'a dyn Exemplars,
    /// `[label][slice]`.
    pub selections: Vec<Vec<Selection>>,
    given: HashMap<(usize, ViewIndex), Vec<GivenMemory>>,
    cache: Cache<(ExemplarId, View), Memory>,
    /// Memories loaded so far: each is newer than those before.
    loaded: usize,
    spec: &'a ModelSpec,
    /// Slices of the volume.
    slices: usize,
}

impl<'a> Conditions<'a> {
    pub fn new(
        exemplars: &'a dyn Exemplars,
        selections: Vec<Vec<Selection>>,
        spec: &'a ModelSpec,
        slices: usize,
        cache_bytes: usize,
    ) -> Self {
        Self {
            exemplars,
            selections,
            given: HashMap::new(),
            cache: Cache::new(cache_bytes),
            loaded: 0,
            spec,
            slices,
        }
    }

    /// Adds the target's own annotated slices for a label and view.
    pub fn give(&mut self, label: usize, view: ViewIndex, memories: Vec<GivenMemory>) {
        self.given.insert((label, view), memories);
    }

    /// Lets go of the annotated slices of a label and view.
    pub fn forget(&mut self, label: usize, view: ViewIndex) {
        self.given.remove(&(label, view));
    }

    /// The memory of the slice itself, where it was annotated.
    pub fn given(&self, look: &Look, slice: usize) -> Option<&GivenMemory> {
        self.given_in(look).iter().find(|memory| memory.slice == slice)
    }

    /// What a slice is conditioned on: its exemplars, then the nearest annotated slices of the target itself. None
    /// where nothing says that the label might be there.
    pub fn of(&mut self, look: &Look, slice: usize) -> Result<Option<Conditioning>> {
        let mut selection = self.selections[look.label][slice].clone();
        selection.exemplars.truncate(look.exemplars);
        let nearest = self.nearest_given(look, slice);
        if !selection.any_present() && !nearest.iter().any(|given| given.present) {
            return Ok(None);
        }
        let (time, distance) = (self.spec.memory.conditioning_tpos, self.spec.pointers.exemplar_distance);
        let mut conditioning = Conditioning::default();
        let given: Vec<_> = nearest
            .iter()
            .map(|given| (Arc::clone(&given.memory), self.difference(given.slice.abs_diff(slice))))
            .collect();
        for neighbour in &selection.exemplars {
            if let Some(memory) = self.load(neighbour.exemplar, look.kind)? {
                conditioning.add(memory, time, self.difference(distance));
            }
        }
        for (memory, difference) in given {
            conditioning.add(memory, time, difference);
        }
        Ok((!conditioning.memories.is_empty()).then_some(conditioning))
    }

    /// Whether more exemplars than so many were selected for any slice of a label.
    pub fn has_more_than(&self, exemplars: usize, label: usize) -> bool {
        self.selections[label].iter().any(|selection| selection.exemplars.len() > exemplars)
    }

    /// What a pointer so many slices away differs in time; none where the bundle uses no pointers.
    pub fn difference(&self, slices: usize) -> Option<f32> {
        self.spec.pointers.used.then(|| self.spec.pointer_difference(slices, self.slices))
    }

    /// All annotated slices of a look.
    pub fn given_in(&self, look: &Look) -> &[GivenMemory] {
        self.given.get(&(look.label, look.view)).map_or(&[], Vec::as_slice)
    }

    fn nearest_given(&self, look: &Look, slice: usize) -> Vec<&GivenMemory> {
        let mut given: Vec<&GivenMemory> = self.given_in(look).iter().collect();
        given.sort_by_key(|memory| memory.slice.abs_diff(slice));
        given.truncate(NEAREST_GIVEN);
        given
    }

    fn load(&mut self, exemplar: ExemplarId, kind: View) -> Result<Option<Arc<Memory>>> {
        if let Some(found) = self.cache.get(&(exemplar, kind)) {
            return Ok(Some(found));
        }
        let loaded = self.exemplars.memory(exemplar, kind).context(BankSnafu { action: "read a memory" })?;
        if let Some(memory) = &loaded {
            self.loaded += 1;
            let bytes = memory.numbers() * size_of::<f32>();
            self.cache.put((exemplar, kind), self.loaded, Arc::clone(memory), bytes);
        }
        Ok(loaded)
    }
}
