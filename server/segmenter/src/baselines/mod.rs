//! What simpler methods reach with the same exemplars: the yardstick of the method.
//!
//! Both look at slices of 128 pixels, windowed as for the bundle, and find exemplar slices by the correlation of
//! 16 x 16 thumbnails. Their settings are fixed; no bundle is involved.

mod copy;
mod knn;

use crate::error::MaskShapeSnafu;
use crate::target::Target;
use crate::{LabelMask, Result};
use engram_imaging::Volume;
use engram_imaging::resample::Letterbox;
use engram_inference::InputSpec;
use ndarray::{Array1, Array2, Array3, Axis};
use rayon::prelude::*;
use snafu::ensure;

/// Side of the grid that baselines work on, pixels.
const SIDE: usize = 128;
/// Side of a thumbnail, pixels.
const THUMBNAIL: usize = 16;

/// Annotated slices without any features.
pub struct Baselines {
    labels: Vec<String>,
    input: InputSpec,
    slices: Vec<Annotated>,
}

struct Annotated {
    /// `[SIDE, SIDE]`, 0..1.
    grey: Array2<f32>,
    thumbnail: Array1<f32>,
    /// A mask a label, `[SIDE, SIDE]`.
    masks: Vec<Array2<bool>>,
}

impl Baselines {
    /// None remembered yet. Masks are answered in the order of `labels`; `input` gives the windows.
    pub fn new(labels: &[&str], input: &InputSpec) -> Self {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Self { labels, input: input.clone(), slices: vec![] }
    }

    /// Remembers the annotated slices of a volume.
    ///
    /// # Errors
    /// [`EmptyVolume`](crate::Error::EmptyVolume), [`MaskShape`](crate::Error::MaskShape).
    pub fn insert(&mut self, volume: &Volume, masks: &[LabelMask], slices: &[usize]) -> Result<()> {
        let target = Target::new(volume, &self.input)?;
        for mask in masks {
            let (expected, found) = (volume.voxels.shape(), mask.mask.shape());
            ensure!(found == expected, MaskShapeSnafu { label: mask.label, expected, found });
        }
        let letterbox = target.whole(SIDE);
        for slice in slices.iter().copied().filter(|slice| *slice < target.slices()) {
            let grey = target.grey(slice, &letterbox);
            let shrink = |label: &String| {
                let mask = masks.iter().find(|mask| mask.label == label)?;
                let coverage = mask.mask.index_axis(Axis(0), slice).mapv(|v| f32::from(u8::from(v != 0)));
                Some(letterbox.apply(coverage.view()).mapv(|coverage| coverage >= 0.5))
            };
            let none = || Array2::from_elem((SIDE, SIDE), false);
            let masks = self.labels.iter().map(|label| shrink(label).unwrap_or_else(none)).collect();
            self.slices.push(Annotated { thumbnail: thumbnail(&grey), grey, masks });
        }
        Ok(())
    }

    /// The mask of the most similar annotated slice; a mask a label.
    ///
    /// # Errors
    /// [`EmptyVolume`](crate::Error::EmptyVolume).
    pub fn copy(&self, volume: &Volume) -> Result<Vec<Array3<bool>>> {
        self.apply(volume, |grey| copy::copy(self, grey))
    }

    /// A vote of the pixels nearest in intensity and position, from the most similar annotated slices; a mask a
    /// label.
    ///
    /// # Errors
    /// [`EmptyVolume`](crate::Error::EmptyVolume).
    pub fn knn(&self, volume: &Volume) -> Result<Vec<Array3<bool>>> {
        self.apply(volume, |grey| knn::knn(self, grey))
    }

    /// Indices, in the order of insertion, of the `count` annotated slices whose thumbnails correlate best with
    /// each slice of a volume, best first.
    ///
    /// # Errors
    /// [`EmptyVolume`](crate::Error::EmptyVolume).
    pub fn most_similar(&self, volume: &Volume, count: usize) -> Result<Vec<Vec<usize>>> {
        let target = Target::new(volume, &self.input)?;
        let letterbox = target.whole(SIDE);
        Ok((0..target.slices()).map(|slice| self.nearest(&target.grey(slice, &letterbox), count)).collect())
    }

    fn nearest(&self, grey: &Array2<f32>, count: usize) -> Vec<usize> {
        let wanted = thumbnail(grey);
        let mut ranked: Vec<(usize, f32)> =
            self.slices.iter().map(|slice| slice.thumbnail.dot(&wanted)).enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.into_iter().take(count).map(|(index, _)| index).collect()
    }

    /// Probabilities `[label][SIDE, SIDE]` of every slice, cut at a half on the native grid.
    fn apply(
        &self,
        volume: &Volume,
        method: impl Fn(&Array2<f32>) -> Vec<Array2<f32>> + Sync,
    ) -> Result<Vec<Array3<bool>>> {
        let target = Target::new(volume, &self.input)?;
        let letterbox = target.whole(SIDE);
        let found: Vec<Vec<Array2<f32>>> = (0..target.slices())
            .into_par_iter()
            .map(|slice| method(&target.grey(slice, &letterbox)))
            .collect();
        let masks = (0..self.labels.len()).map(|label| {
            let mut mask = Array3::from_elem(volume.voxels.dim(), false);
            for (mut plane, found) in mask.outer_iter_mut().zip(&found) {
                plane.assign(&native(&found[label], &letterbox));
            }
            mask
        });
        Ok(masks.collect())
    }
}

fn native(probability: &Array2<f32>, letterbox: &Letterbox) -> Array2<bool> {
    letterbox.restore(probability.view(), 0.0).mapv(|value| value >= 0.5)
}

/// Block means, without their mean, at length 1: a dot product of two is their correlation.
fn thumbnail(grey: &Array2<f32>) -> Array1<f32> {
    let block = SIDE / THUMBNAIL;
    let mut small: Array1<f32> =
        grey.exact_chunks((block, block)).into_iter().map(|block| block.sum()).collect();
    small -= small.mean().unwrap_or_default();
    let length = small.dot(&small).sqrt();
    if length > 0.0 { small / length } else { small }
}
