//! The stored bank as the method's exemplars.

use crate::error::BoxError;
use crate::exemplars::{Exemplars, Neighbour};
use engram_memory::{Bank, Error, ExemplarId, Filter, Query, View};
use ndarray::{Array3, ArrayView1};
use std::collections::BTreeSet;
use std::sync::Arc;

/// [`Exemplars`] over a [`Bank`], filtered for one target.
#[derive(Clone, Copy)]
pub struct BankExemplars<'a> {
    /// The bank.
    pub bank: &'a Bank,
    /// Only this collection.
    pub collection: Option<&'a str>,
    /// Nothing from these series: the target itself.
    pub excluded_series: &'a [String],
    /// Nothing from these patients, such as the target's own when measuring.
    pub excluded_patients: &'a [String],
}

impl Exemplars for BankExemplars<'_> {
    fn modalities(&self, label: &str) -> Result<BTreeSet<String>, BoxError> {
        let counts = self.bank.labels().into_iter().filter(|counts| counts.label_key == label);
        Ok(counts.filter(|counts| counts.present > 0).map(|counts| counts.modality).collect())
    }

    fn nearest(
        &self,
        label: &str,
        modality: &str,
        vector: ArrayView1<f32>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, BoxError> {
        let vector = vector.to_vec();
        let filter = Filter {
            label_key: label,
            modality: Some(modality),
            collection: self.collection,
            excluded_series: self.excluded_series,
            excluded_patients: self.excluded_patients,
            ..Filter::default()
        };
        let hits = self.bank.search(&Query { vector: &vector, k: limit, filter })?;
        let neighbours = hits.into_iter().map(|hit| Neighbour {
            exemplar: hit.exemplar.id,
            study: hit.exemplar.slice.image.study_instance_uid.as_str().into(),
            present: hit.exemplar.label.present,
            similarity: hit.similarity,
        });
        Ok(neighbours.collect())
    }

    fn memory(&self, exemplar: ExemplarId, view: View) -> Result<Option<Arc<Array3<f32>>>, BoxError> {
        match self.bank.memory(exemplar, view) {
            Ok(memory) => Ok(Some(memory)),
            // Deleted since it was found, without this view, or damaged: the others must do.
            Err(Error::NoExemplar { .. } | Error::NoMemory { .. } | Error::Broken { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
