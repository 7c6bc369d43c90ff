//! A case in memory: its volume and what people drew on it.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_object::DefaultDicomObject;
use engram_imaging::Volume;
use engram_seg::ReferencedSlice;
use engram_segmenter::LabelMask;
use engram_segmenter::evaluate::Case;
use engram_workflow::{LabelTemplate, LoadedSeries, Workflow};
use ndarray::Array3;

use super::cases;
use crate::cli::Failure;

/// An annotated volume.
pub struct Annotated {
    /// The images, which make one volume.
    pub series: LoadedSeries,
    /// What people drew on it.
    pub masks: Masks,
}

/// Reads a case that is not stored.
pub fn read(workflow: &Workflow, case: &cases::Case) -> Result<Annotated, Failure> {
    let fail = |what: String| Failure::say(format!("case {}: {what}", case.name));
    let series =
        workflow.load_files(&case.images()?).map_err(|error| fail(engram_workflow::report(&error)))?;
    let [volume] = series.volumes.as_slice() else {
        return Err(fail(format!("its images make {} volumes, not one", series.volumes.len())));
    };
    let masks = read_masks(&case.segmentation(), volume)?;
    Ok(Annotated { series, masks })
}

/// By label key: the label, and its mask `[slice, row, column]`, 0 or 1.
pub type Masks = BTreeMap<String, (LabelTemplate, Array3<u8>)>;

/// What a file's DICOM-SEG says of a volume.
pub fn read_masks(path: &Path, volume: &Volume) -> Result<Masks, Failure> {
    let fail = |what: String| Failure::say(format!("{}: {what}", path.display()));
    let object = dicom_object::open_file(path).map_err(|error| fail(engram_workflow::report(&error)))?;
    masks_of(&object, volume).map_err(|failure| fail(failure.to_string()))
}

/// What a DICOM-SEG says of a volume.
pub fn masks_of(object: &DefaultDicomObject, volume: &Volume) -> Result<Masks, Failure> {
    let segmentation = engram_seg::read(object).map_err(Failure::of)?;
    let slices = ReferencedSlice::of_volume(volume);
    let mut masks = Masks::new();
    for segment in segmentation.description.foreground() {
        let placed = segmentation.masks_on(segment.number, &slices).map_err(Failure::of)?;
        masks
            .entry(segment.concept.key())
            .and_modify(|(_, mask)| mask.zip_mut_with(&placed.mask, |a, b| *a |= b))
            .or_insert_with(|| (LabelTemplate::of(segment), placed.mask));
    }
    Ok(masks)
}

impl Annotated {
    /// The images as a volume.
    pub fn volume(&self) -> &Volume {
        &self.series.volumes[0]
    }

    /// The masks of these labels; all 0 where the case was not annotated with one.
    pub fn label_masks<'l>(&self, labels: &'l [String]) -> LabelMasks<'l> {
        let mask = |label: &str| match self.masks.get(label) {
            Some((_, mask)) => mask.clone(),
            None => Array3::zeros(self.volume().voxels.dim()),
        };
        LabelMasks(labels.iter().map(|label| (label.as_str(), mask(label))).collect())
    }

    /// The case as the scores want it.
    pub fn case<'a>(&'a self, name: &'a str, masks: &'a LabelMasks<'a>) -> Case<'a> {
        Case { name, patient: &self.volume().patient_id, volume: self.volume(), masks: masks.views() }
    }
}

/// Masks by label key, in a fixed order.
pub struct LabelMasks<'l>(Vec<(&'l str, Array3<u8>)>);

impl LabelMasks<'_> {
    /// As the method takes them.
    pub fn views(&self) -> Vec<LabelMask<'_>> {
        self.0.iter().map(|(label, mask)| LabelMask { label, mask: mask.view() }).collect()
    }
}
