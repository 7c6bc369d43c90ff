//! A volume as the models see it: windowed, letterboxed, normalised.

use crate::Result;
use crate::crop::PixelBox;
use crate::error::{EmptyVolumeSnafu, ModelsSnafu};
use crate::models::{Models, expect_shape};
use crate::observer::Steps;
use engram_imaging::Volume;
use engram_imaging::resample::{Letterbox, percentiles, window_to_unit};
use engram_inference::InputSpec;
use ndarray::{Array2, Array4, Axis, Zip, s};
use rayon::prelude::*;
use snafu::{ResultExt, ensure};

/// Slices that go to the bundle in one call.
pub(crate) const SLICES_A_CALL: usize = 16;

/// Modality whose voxels are Hounsfield units.
const CT: &str = "CT";

/// A volume with the window it is seen through.
pub(crate) struct Target<'a> {
    pub volume: &'a Volume,
    lower: f32,
    upper: f32,
}

impl<'a> Target<'a> {
    /// CT is seen through the bundle's window, other modalities between robust percentiles of the whole volume.
    pub fn new(volume: &'a Volume, input: &InputSpec) -> Result<Self> {
        ensure!(!volume.voxels.is_empty(), EmptyVolumeSnafu);
        let [lower, upper] = if volume.modality == CT {
            input.ct_window_hu
        } else {
            let at = input.percentiles.map(f64::from);
            match percentiles(volume.voxels.view(), &at)[..] {
                [lower, upper] => [lower, upper],
                _ => [0.0, 1.0],
            }
        };
        Ok(Self { volume, lower, upper: upper.max(lower + f32::EPSILON * lower.abs().max(1.0)) })
    }

    pub fn slices(&self) -> usize {
        self.volume.voxels.len_of(Axis(0))
    }

    /// Rows and columns of a slice.
    pub fn native(&self) -> (usize, usize) {
        (self.volume.voxels.len_of(Axis(1)), self.volume.voxels.len_of(Axis(2)))
    }

    /// The map of whole slices to a square of `size` pixels.
    pub fn whole(&self, size: usize) -> Letterbox {
        Letterbox::new(self.native(), self.volume.geometry.pixel_spacing, size)
    }

    /// A slice on the native grid, 0..1.
    pub fn unit(&self, slice: usize) -> Array2<f32> {
        self.unit_of(slice, &PixelBox::whole(self.native()))
    }

    /// A part of a slice on the native grid, 0..1.
    pub fn unit_of(&self, slice: usize, part: &PixelBox) -> Array2<f32> {
        let slice = self.volume.voxels.index_axis(Axis(0), slice);
        window_to_unit(slice.slice(part.slice()), self.lower, self.upper)
    }

    /// A slice in the square, 0..1.
    pub fn grey(&self, slice: usize, letterbox: &Letterbox) -> Array2<f32> {
        letterbox.apply(self.unit(slice).view())
    }

    /// Slices as graph input `[B, 3, size, size]`.
    pub fn images(
        &self,
        slices: &[usize],
        letterbox: &Letterbox,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Array4<f32> {
        let side = letterbox.size;
        let mut images = Array4::zeros((slices.len(), 3, side, side));
        let mut rows: Vec<_> = images.axis_iter_mut(Axis(0)).collect();
        rows.par_iter_mut().zip(slices).for_each(|(image, slice)| {
            let grey = self.grey(*slice, letterbox);
            for channel in 0..3 {
                Zip::from(image.index_axis_mut(Axis(0), channel))
                    .and(&grey)
                    .for_each(|out, grey| *out = (grey - mean[channel]) / std[channel]);
            }
        });
        images
    }

    /// The same as [`Self::retrieval_vectors`], of unit length.
    pub fn unit_vectors(
        &self,
        models: &dyn Models,
        slices: &[usize],
        steps: &mut Steps,
    ) -> Result<Array2<f32>> {
        let mut vectors = self.retrieval_vectors(models, slices, steps)?;
        for mut vector in vectors.outer_iter_mut() {
            let length = vector.dot(&vector).sqrt().max(f32::MIN_POSITIVE);
            vector.mapv_inplace(|value| value / length);
        }
        Ok(vectors)
    }

    /// Retrieval vectors `[slices, D]` of the slices named.
    pub fn retrieval_vectors(
        &self,
        models: &dyn Models,
        slices: &[usize],
        steps: &mut Steps,
    ) -> Result<Array2<f32>> {
        let spec = models.spec().retrieval.clone();
        let action = "find retrieval vectors";
        let letterbox = self.whole(spec.image_size);
        let mut vectors = Array2::zeros((slices.len(), spec.embedding_dim));
        for (call, chunk) in slices.chunks(SLICES_A_CALL).enumerate() {
            let images = self.images(chunk, &letterbox, spec.mean, spec.std);
            let found = models.retrieval(images).context(ModelsSnafu { action })?;
            expect_shape(action, &[chunk.len(), spec.embedding_dim], found.shape())?;
            let first = call * SLICES_A_CALL;
            vectors.slice_mut(s![first..first + chunk.len(), ..]).assign(&found);
            steps.advance(chunk.len())?;
        }
        Ok(vectors)
    }
}
