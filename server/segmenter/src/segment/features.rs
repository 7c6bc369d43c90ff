//! Image features of the target, computed once a view and slice and shared by all labels.

use super::cache::Cache;
use crate::Result;
use crate::error::ModelsSnafu;
use crate::models::{EncodedImages, Models, expect_shape};
use crate::target::{SLICES_A_CALL, Target};
use engram_imaging::resample::Letterbox;
use ndarray::{Array, Array3, Array4, Axis, Dimension, RemoveAxis};
use snafu::ResultExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which part of the slices is looked at: an index into the views of a [`FeatureStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ViewIndex(pub usize);

/// The whole slices.
pub(crate) const WHOLE: ViewIndex = ViewIndex(0);

/// Features of one slice in one view.
pub(crate) struct Features {
    pub embed: Array3<f32>,
    pub high_res_0: Array3<f32>,
    pub high_res_1: Array3<f32>,
}

/// Where images come from.
pub(crate) trait ImageSource {
    /// The map of whole slices to a square of `size` pixels.
    fn whole(&self, size: usize) -> Letterbox;

    /// Slices as graph input `[B, 3, size, size]`, normalised by `mean` and `std`.
    fn images(&self, slices: &[usize], letterbox: &Letterbox, mean: [f32; 3], std: [f32; 3]) -> Array4<f32>;
}

impl ImageSource for &Target<'_> {
    fn whole(&self, size: usize) -> Letterbox {
        Target::whole(self, size)
    }

    fn images(&self, slices: &[usize], letterbox: &Letterbox, mean: [f32; 3], std: [f32; 3]) -> Array4<f32> {
        Target::images(self, slices, letterbox, mean, std)
    }
}

pub(crate) struct FeatureStore<'a> {
    models: &'a dyn Models,
    source: Box<dyn ImageSource + 'a>,
    views: Vec<Letterbox>,
    cache: Cache<(ViewIndex, usize), Features>,
}

impl<'a> FeatureStore<'a> {
    /// A store whose first view is the whole slices.
    pub fn new(models: &'a dyn Models, source: impl ImageSource + 'a, cache_bytes: usize) -> Self {
        let source = Box::new(source);
        let whole = source.whole(models.spec().input.image_size);
        Self { models, source, views: vec![whole], cache: Cache::new(cache_bytes) }
    }

    pub fn add_view(&mut self, letterbox: Letterbox) -> ViewIndex {
        self.views.push(letterbox);
        ViewIndex(self.views.len() - 1)
    }

    pub fn letterbox(&self, view: ViewIndex) -> &Letterbox {
        &self.views[view.0]
    }

    /// Features in the order asked for.
    pub fn fetch(&mut self, wanted: &[(ViewIndex, usize)]) -> Result<Vec<Arc<Features>>> {
        let mut found: Vec<_> = wanted.iter().map(|key| self.cache.get(key)).collect();
        let missing: BTreeSet<(ViewIndex, usize)> =
            wanted.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(key, _)| *key).collect();
        let views: BTreeSet<ViewIndex> = missing.iter().map(|(view, _)| *view).collect();
        for view in views {
            let slices: Vec<usize> =
                missing.iter().filter(|(of, _)| *of == view).map(|(_, slice)| *slice).collect();
            for chunk in slices.chunks(SLICES_A_CALL) {
                for (slice, features) in chunk.iter().zip(self.encode(view, chunk)?) {
                    self.keep((view, *slice), &features);
                    for (key, slot) in wanted.iter().zip(&mut found) {
                        if *key == (view, *slice) {
                            *slot = Some(Arc::clone(&features));
                        }
                    }
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn keep(&mut self, key: (ViewIndex, usize), features: &Arc<Features>) {
        let floats = features.embed.len() + features.high_res_0.len() + features.high_res_1.len();
        let (ViewIndex(generation), _) = key;
        self.cache.put(key, generation, Arc::clone(features), floats * size_of::<f32>());
    }

    fn encode(&self, view: ViewIndex, slices: &[usize]) -> Result<Vec<Arc<Features>>> {
        let action = "encode slices";
        let spec = self.models.spec();
        let images = self.source.images(slices, self.letterbox(view), spec.input.mean, spec.input.std);
        let encoded = self.models.encode_image(images).context(ModelsSnafu { action })?;
        let (sizes, rows) = (&spec.features, slices.len());
        for (found, channels, side) in [
            (&encoded.embed, sizes.embed_channels, sizes.embed_size),
            (&encoded.high_res_0, sizes.high_res_0_channels, sizes.high_res_0_size),
            (&encoded.high_res_1, sizes.high_res_1_channels, sizes.high_res_1_size),
        ] {
            expect_shape(action, &[rows, channels, side, side], found.shape())?;
        }
        Ok((0..rows).map(|row| Arc::new(Features::row(&encoded, row))).collect())
    }
}

impl Features {
    fn row(encoded: &EncodedImages, row: usize) -> Self {
        let take = |tensor: &Array4<f32>| tensor.index_axis(Axis(0), row).to_owned();
        Self {
            embed: take(&encoded.embed),
            high_res_0: take(&encoded.high_res_0),
            high_res_1: take(&encoded.high_res_1),
        }
    }

    /// Several as the images of one call.
    pub fn batch(rows: &[Arc<Self>]) -> EncodedImages {
        EncodedImages {
            embed: stack(rows.iter().map(|row| &row.embed)),
            high_res_0: stack(rows.iter().map(|row| &row.high_res_0)),
            high_res_1: stack(rows.iter().map(|row| &row.high_res_1)),
        }
    }
}

/// Rows of one shape as one tensor with a new first axis.
pub(crate) fn stack<'r, D>(rows: impl ExactSizeIterator<Item = &'r Array<f32, D>>) -> Array<f32, D::Larger>
where
    D: Dimension + 'r,
    D::Larger: RemoveAxis<Smaller = D>,
{
    let count = rows.len();
    let mut rows = rows.peekable();
    let mut shape = D::Larger::zeros(D::Larger::NDIM.unwrap_or_default());
    shape[0] = count;
    if let Some(first) = rows.peek() {
        for (axis, length) in first.shape().iter().enumerate() {
            shape[axis + 1] = *length;
        }
    }
    let mut stacked = Array::zeros(shape);
    for (mut slot, row) in stacked.outer_iter_mut().zip(rows) {
        slot.assign(row);
    }
    stacked
}
