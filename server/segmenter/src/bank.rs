//! The stored bank as the method's exemplars, and prepared exemplars as the bank takes them in.

use crate::encode::{CropMemory, PreparedExemplar, PreparedLabel};
use crate::error::BoxError;
use crate::exemplars::{Exemplars, Neighbour};
use engram_memory::{
    Bank, Error, ExemplarId, Filter, ImageIdentity, Memory, NewAbsence, NewCrop, NewLabel, NewSlice, Query,
    Rectangle, View,
};
use ndarray::ArrayView1;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What only the caller knows of an exemplar.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The image.
    pub image: ImageIdentity,
    /// Slices of the volume it lies in.
    pub slices: usize,
    /// The collection it shall belong to.
    pub collection: String,
    /// When it was made, seconds since 1970.
    pub created: u64,
}

impl PreparedExemplar {
    /// The exemplar as the bank takes it in. Drop labels from [`PreparedExemplar::labels`] before, where a
    /// negative is not worth keeping ([`engram_memory::Thinning`]).
    pub fn into_new_slice(self, origin: Origin) -> NewSlice {
        let last = origin.slices.saturating_sub(1).max(1);
        let (present, absent): (Vec<_>, Vec<_>) = self.labels.into_iter().partition(|label| label.present);
        let empty = absent.first().map(|label| (*label.whole).clone());
        NewSlice {
            image: origin.image,
            slice_index: u32::try_from(self.slice).unwrap_or(u32::MAX),
            slice_position: self.slice as f32 / last as f32,
            collection: origin.collection,
            created: origin.created,
            vector: self.vector.to_vec(),
            present: present.into_iter().map(PreparedLabel::into_present).collect(),
            absent: absent.into_iter().map(PreparedLabel::into_absent).collect(),
            empty,
        }
    }
}

impl PreparedLabel {
    fn into_present(self) -> NewLabel {
        NewLabel {
            label_key: self.label,
            area_fraction: self.area_fraction,
            whole: (*self.whole).clone(),
            crop: self.crop.map(CropMemory::into_new),
        }
    }

    fn into_absent(self) -> NewAbsence {
        NewAbsence { label_key: self.label, crop: self.crop.map(CropMemory::into_new) }
    }
}

impl CropMemory {
    fn into_new(self) -> NewCrop {
        let rectangle = Rectangle {
            row: self.region.top as f32,
            column: self.region.left as f32,
            rows: self.region.height as f32,
            columns: self.region.width as f32,
        };
        NewCrop { rectangle, memory: (*self.memory).clone() }
    }
}

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

    fn memory(&self, exemplar: ExemplarId, view: View) -> Result<Option<Arc<Memory>>, BoxError> {
        match self.bank.memory(exemplar, view) {
            Ok(memory) => Ok(Some(memory)),
            // Deleted since it was found, without this view, or damaged: the others must do.
            Err(Error::NoExemplar { .. } | Error::NoMemory { .. } | Error::Broken { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeModels, phantom};
    use crate::{
        Error, LabelMask, MemoryExemplars, Models, Options, Request, Segmentation, Unobserved,
        encode_exemplars, segment,
    };
    use engram_imaging::Volume;
    use engram_memory::{BankOptions, LabelDefinition};

    const ORGAN: &str = "SCT:1";

    fn origin(patient: &str, slice: usize) -> Origin {
        let image = ImageIdentity {
            study_instance_uid: format!("2.25.1{patient}"),
            series_instance_uid: format!("2.25.2{patient}"),
            sop_instance_uid: format!("2.25.3{patient}{slice}"),
            frame: 1,
            patient_id: patient.to_owned(),
            modality: "MR".to_owned(),
        };
        Origin { image, slices: 6, collection: "default".to_owned(), created: 0 }
    }

    fn run(models: &FakeModels, exemplars: &dyn Exemplars, volume: &Volume) -> Result<Segmentation, Error> {
        let request = Request { volume, labels: &[ORGAN], prompts: &[], options: Options::default() };
        segment(models, exemplars, &request, &Unobserved)
    }

    #[test]
    fn the_stored_bank_answers_as_the_one_in_memory_and_keeps_out_who_is_excluded() {
        let models = FakeModels::new();
        let folder = tempfile::tempdir().unwrap();
        let tree = sled::open(folder.path().join("sled")).unwrap().open_tree("exemplars").unwrap();
        let spec = models.spec();
        let options = BankOptions::new(&*spec.id, spec.retrieval.embedding_dim, spec.memory_shape());
        let bank = Bank::open(folder.path(), tree, options).unwrap();
        let mut in_memory = MemoryExemplars::new();
        for (patient, size) in [("7", 3), ("8", 4)] {
            let (volume, mask) = phantom(6, 5.0, size);
            let masks = [LabelMask { label: ORGAN, mask: mask.view() }];
            let slices = [0, 1, 2, 3, 4, 5];
            let prepared = encode_exemplars(&models, &volume, &masks, &slices, &Unobserved).unwrap();
            let definition =
                LabelDefinition { key: ORGAN.to_owned(), name: "organ".to_owned(), codes: String::new() };
            let mut ingest = bank
                .ingest(&format!("2.25.9{patient}"), &format!("2.25.2{patient}"), vec![definition])
                .unwrap();
            for exemplar in prepared.clone() {
                let origin = origin(patient, exemplar.slice);
                ingest.push(exemplar.into_new_slice(origin)).unwrap();
            }
            ingest.commit(&[]).unwrap();
            in_memory.insert(&format!("2.25.1{patient}"), "MR", prepared);
        }
        let all =
            BankExemplars { bank: &bank, collection: None, excluded_series: &[], excluded_patients: &[] };
        let (target, _) = phantom(7, 5.0, 3);
        let (stored, kept) =
            (run(&models, &all, &target).unwrap(), run(&models, &in_memory, &target).unwrap());
        assert_eq!(stored.voxels, kept.voxels);

        let excluded = ["7".to_owned()];
        let others = BankExemplars { excluded_patients: &excluded, ..all };
        let result = run(&models, &others, &target).unwrap();
        let studies = result.slices[0].iter().flat_map(|report| &report.provenance);
        assert!(studies.into_iter().all(|neighbour| &*neighbour.study == "2.25.18"));
        let everyone = ["7".to_owned(), "8".to_owned()];
        let nobody = BankExemplars { excluded_patients: &everyone, ..all };
        assert!(matches!(run(&models, &nobody, &target), Err(Error::NoExemplars { .. })));
    }
}
