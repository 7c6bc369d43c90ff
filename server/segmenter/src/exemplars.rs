//! What the method asks of a bank, and a bank in memory.

use crate::Result;
use crate::encode::PreparedExemplar;
use crate::error::BoxError;
use engram_memory::{ExemplarId, Memory, SliceId, View};
use ndarray::{Array1, ArrayView1};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An exemplar similar to a slice of the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// The exemplar: an annotated slice and one label.
    pub exemplar: ExemplarId,
    /// StudyInstanceUID of its source, or whatever else tells studies apart.
    pub study: Arc<str>,
    /// Whether the label has pixels on it.
    pub present: bool,
    /// Cosine of the retrieval vectors, -1..1.
    pub similarity: f32,
}

/// Exemplars that may be used for one target: filters (collection, excluded patients and series) are the
/// implementation's.
pub trait Exemplars: Sync {
    /// Modalities in which the label was annotated, whether or not this target may use them.
    ///
    /// # Errors
    /// Whatever keeps the bank from answering; so for all methods.
    fn modalities(&self, label: &str) -> Result<BTreeSet<String>, BoxError>;

    /// The `limit` exemplars of a label and modality most similar to a slice, the most similar first; those where
    /// the label has no pixel are among them.
    ///
    /// # Errors
    /// See [`Exemplars::modalities`].
    fn nearest(
        &self,
        label: &str,
        modality: &str,
        vector: ArrayView1<f32>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, BoxError>;

    /// The memory of an exemplar. None where it has none of that view.
    ///
    /// # Errors
    /// See [`Exemplars::modalities`].
    fn memory(&self, exemplar: ExemplarId, view: View) -> Result<Option<Arc<Memory>>, BoxError>;
}

/// A bank in memory: exact search over all it holds. For measuring and for tests; it grows without bound.
#[derive(Debug, Default)]
pub struct MemoryExemplars {
    slices: Vec<Slice>,
}

#[derive(Debug)]
struct Slice {
    study: Arc<str>,
    modality: String,
    vector: Array1<f32>,
    labels: BTreeMap<u16, Label>,
    keys: BTreeMap<String, u16>,
}

#[derive(Debug)]
struct Label {
    present: bool,
    whole: Arc<Memory>,
    crop: Option<Arc<Memory>>,
}

impl MemoryExemplars {
    /// An empty bank.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the exemplars of a study.
    pub fn insert(&mut self, study: &str, modality: &str, exemplars: Vec<PreparedExemplar>) {
        let study: Arc<str> = study.into();
        for exemplar in exemplars {
            let mut slice = Slice {
                study: Arc::clone(&study),
                modality: modality.to_owned(),
                vector: unit(exemplar.vector.view()),
                labels: BTreeMap::new(),
                keys: BTreeMap::new(),
            };
            for (entry, label) in (0_u16..).zip(exemplar.labels) {
                slice.keys.insert(label.label, entry);
                let crop = label.crop.map(|crop| crop.memory);
                slice.labels.insert(entry, Label { present: label.present, whole: label.whole, crop });
            }
            self.slices.push(slice);
        }
    }

    /// Annotated slices of a study.
    pub fn slices_of(&self, study: &str) -> usize {
        self.slices.iter().filter(|slice| &*slice.study == study).count()
    }

    fn label(&self, exemplar: ExemplarId) -> Option<&Label> {
        let slice = self.slices.get(usize::try_from(exemplar.slice.0).ok()?)?;
        slice.labels.get(&exemplar.entry)
    }
}

/// The vector at length 1; a zero vector stays.
fn unit(vector: ArrayView1<f32>) -> Array1<f32> {
    let length = vector.dot(&vector).sqrt();
    if length > 0.0 { &vector / length } else { vector.to_owned() }
}

impl Exemplars for MemoryExemplars {
    fn modalities(&self, label: &str) -> Result<BTreeSet<String>, BoxError> {
        let with_label = self.slices.iter().filter(|slice| slice.keys.contains_key(label));
        Ok(with_label.map(|slice| slice.modality.clone()).collect())
    }

    fn nearest(
        &self,
        label: &str,
        modality: &str,
        vector: ArrayView1<f32>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, BoxError> {
        let vector = unit(vector);
        let mut found: Vec<Neighbour> = (0_u64..)
            .zip(&self.slices)
            .filter(|(_, slice)| slice.modality == modality && slice.vector.len() == vector.len())
            .filter_map(|(id, slice)| {
                let entry = *slice.keys.get(label)?;
                Some(Neighbour {
                    exemplar: ExemplarId { slice: SliceId(id), entry },
                    study: Arc::clone(&slice.study),
                    present: slice.labels.get(&entry)?.present,
                    similarity: slice.vector.dot(&vector),
                })
            })
            .collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        found.truncate(limit);
        Ok(found)
    }

    fn memory(&self, exemplar: ExemplarId, view: View) -> Result<Option<Arc<Memory>>, BoxError> {
        Ok(self.label(exemplar).and_then(|label| match view {
            View::Whole => Some(Arc::clone(&label.whole)),
            View::Crop => label.crop.clone(),
        }))
    }
}
