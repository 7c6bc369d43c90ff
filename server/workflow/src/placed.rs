//! A SEG's labels where they belong: on the volumes of a series.

use std::collections::BTreeMap;

use engram_archive::InstanceEntry;
use engram_imaging::Volume;
use engram_seg::{ReferencedSlice, Segmentation};
use ndarray::Array3;
use snafu::{OptionExt, ResultExt};

use crate::error::{ArchiveSnafu, NoSuchSegmentationSnafu, ReadSegmentationSnafu, Result};
use crate::{Workflow, series};

impl Workflow {
    /// The catalogue's entry of a stored SEG.
    ///
    /// # Errors
    /// [`Error::NoSuchSegmentation`](crate::Error::NoSuchSegmentation); the archive fails.
    pub(crate) fn segmentation_entry(&self, segmentation: &str) -> Result<InstanceEntry> {
        let entry = self.archive.find_instance(segmentation).context(ArchiveSnafu)?;
        entry.context(NoSuchSegmentationSnafu { segmentation })
    }

    /// A stored SEG with its voxels.
    ///
    /// # Errors
    /// As [`Workflow::segmentation_entry`]; its file cannot be read, or is no SEG that can be.
    pub(crate) fn read_segmentation(&self, segmentation: &str) -> Result<Segmentation> {
        let object = series::open_instance(&self.segmentation_entry(segmentation)?)?;
        engram_seg::read(&object).context(ReadSegmentationSnafu { segmentation })
    }
}

/// A label on one volume.
pub(crate) struct PlacedLabel {
    /// `[slice, row, column]`: 1 in, 0 out.
    pub(crate) mask: Array3<u8>,
    /// For each slice, whether the SEG has a frame there that says where the label is.
    pub(crate) frames_present: Vec<bool>,
}

/// The labels of a SEG on a volume, of those that are `wanted`, by their keys; several segments of one label are one
/// label. A segment whose frames all lie elsewhere, on another volume of the series or another series, says nothing
/// about this volume: it is not among them.
///
/// # Errors
/// The SEG cannot be placed: [`Error::ReadSegmentation`](crate::Error::ReadSegmentation).
pub(crate) fn labels_on(
    segmentation: &Segmentation,
    uid: &str,
    volume: &Volume,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, PlacedLabel>> {
    let sources = ReferencedSlice::of_volume(volume);
    let mut labels: BTreeMap<String, PlacedLabel> = BTreeMap::new();
    for segment in segmentation.description.foreground() {
        let key = segment.concept.key();
        if !wanted(&key) {
            continue;
        }
        let placed = match segmentation.masks_on(segment.number, &sources) {
            Err(engram_seg::Error::NotOnSlices { .. }) => continue,
            placed => placed.context(ReadSegmentationSnafu { segmentation: uid })?,
        };
        let placed = PlacedLabel { mask: placed.mask, frames_present: placed.frames_present };
        match labels.get_mut(&key) {
            Some(label) => label.join(&placed),
            None => {
                labels.insert(key, placed);
            }
        }
    }
    Ok(labels)
}

impl PlacedLabel {
    fn join(&mut self, other: &Self) {
        self.mask.zip_mut_with(&other.mask, |a, b| *a |= b);
        self.frames_present.iter_mut().zip(&other.frames_present).for_each(|(a, b)| *a |= b);
    }
}
