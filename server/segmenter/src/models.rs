//! What the method asks of a bundle.

use crate::Result;
use crate::error::{BoxError, TensorShapeSnafu};
use engram_inference::{BundleSpec, FeatureSpec, InputSpec, MemorySpec, RetrievalSpec};
use ndarray::{Array2, Array4, Array5};
use snafu::ensure;

/// Object score of an annotated slice where the label is there; an empty mask has its negative. SAM 2 gives a
/// given mask the same (`sam2_base.py`, `_use_mask_as_output`).
pub(crate) const GIVEN_SCORE: f32 = 10.0;

/// The numbers of a bundle's manifest that the method needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Identity of the bundle: memories of one mean nothing to another.
    pub id: String,
    /// The image encoder's image, and the windows.
    pub input: InputSpec,
    /// The retrieval graph's image and vector.
    pub retrieval: RetrievalSpec,
    /// Shapes of what the graphs exchange.
    pub features: FeatureSpec,
    /// How memories are made and used.
    pub memory: MemorySpec,
}

impl ModelSpec {
    /// Of a manifest, for the bundle called `id`.
    pub fn new(id: &str, manifest: &BundleSpec) -> Self {
        Self {
            id: id.to_owned(),
            input: manifest.input.clone(),
            retrieval: manifest.retrieval.clone(),
            features: manifest.features.clone(),
            memory: manifest.memory.clone(),
        }
    }

    /// The mask graph input of a given mask's coverage, 0..1 a pixel.
    pub(crate) fn exemplar_mask(&self, coverage: f32) -> f32 {
        let mask = if self.memory.binarise_exemplar { f32::from(coverage >= 0.5) } else { coverage };
        mask * self.memory.mask_scale + self.memory.mask_bias
    }

    /// The mask graph input of a predicted logit.
    pub(crate) fn predicted_mask(&self, logit: f32) -> f32 {
        let mask = if self.memory.binarise_predicted { f32::from(logit > 0.0) } else { sigmoid(logit) };
        mask * self.memory.mask_scale + self.memory.mask_bias
    }

    /// Object score of a given mask.
    pub(crate) fn given_score(present: bool) -> f32 {
        if present { GIVEN_SCORE } else { -GIVEN_SCORE }
    }

    /// Shape of one memory: `[M, h, h]`.
    pub(crate) fn memory_shape(&self) -> [usize; 3] {
        [self.features.memory_channels, self.features.memory_size, self.features.memory_size]
    }
}

/// The logistic function.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// What the image encoder makes of B images; shapes as in the manifest's `[features]`.
#[derive(Debug, Clone)]
pub struct EncodedImages {
    /// `[B, C, h, h]`: what memories condition.
    pub embed: Array4<f32>,
    /// `[B, C0, h0, h0]`: finest details.
    pub high_res_0: Array4<f32>,
    /// `[B, C1, h1, h1]`: finer details.
    pub high_res_1: Array4<f32>,
}

/// What the mask decoder makes of B conditioned slices.
#[derive(Debug, Clone)]
pub struct DecodedMasks {
    /// `[B, tokens, m, m]`, logits.
    pub masks: Array4<f32>,
    /// `[B, tokens]`, the decoder's own guess of each mask's IoU, 0..1.
    pub iou: Array2<f32>,
    /// `[B, 1]`, logit: above 0 the object is there.
    pub object_score: Array2<f32>,
}

/// A bundle that is ready to compute. Rows (B) are independent of each other; every call answers as many rows as
/// it was given.
pub trait Models: Sync {
    /// The manifest's numbers.
    fn spec(&self) -> &ModelSpec;

    /// Retrieval vectors `[B, D]` of images `[B, 3, s, s]`, normalised as the manifest says.
    ///
    /// # Errors
    /// Whatever keeps the bundle from answering; so for all methods.
    fn retrieval(&self, images: Array4<f32>) -> Result<Array2<f32>, BoxError>;

    /// Features of images `[B, 3, S, S]`, normalised as the manifest says.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn encode_image(&self, images: Array4<f32>) -> Result<EncodedImages, BoxError>;

    /// Memories `[B, M, h, h]` of features `[B, C, h, h]` with scaled masks `[B, 1, S, S]` and object scores
    /// `[B, 1]`.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn encode_memory(
        &self,
        embed: Array4<f32>,
        masks: Array4<f32>,
        object_scores: Array2<f32>,
    ) -> Result<Array4<f32>, BoxError>;

    /// Features `[B, C, h, h]` conditioned on memories `[B, N, M, h, h]` of temporal indices `[N]`, one for all
    /// rows: `[B, C2, h, h]`.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn attend(
        &self,
        embed: Array4<f32>,
        memories: Array5<f32>,
        temporal_indices: &[i64],
    ) -> Result<Array4<f32>, BoxError>;

    /// Masks of conditioned features `[B, C2, h, h]` and the images' finer features.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn decode(
        &self,
        conditioned: Array4<f32>,
        high_res_0: Array4<f32>,
        high_res_1: Array4<f32>,
    ) -> Result<DecodedMasks, BoxError>;
}

/// Holds a graph's answer against the manifest.
pub(crate) fn expect_shape(action: &'static str, expected: &[usize], found: &[usize]) -> Result<()> {
    ensure!(expected == found, TensorShapeSnafu { action, expected, found });
    Ok(())
}
