//! What the method asks of a bundle.

use crate::Result;
use crate::error::{BoxError, TensorShapeSnafu};
use engram_inference::{
    Bundle, Clicks, ConfidenceSpec, Constants, FeatureSpec, InputSpec, MemorySpec, PointerSpec, Pointers,
    PromptSpec, Prompts, RetrievalSpec,
};
use ndarray::{Array2, Array3, Array4, Array5, Axis};
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
    /// Object pointers.
    pub pointers: PointerSpec,
    /// Clicks and boxes.
    pub prompts: PromptSpec,
    /// What signals say of a result's worth; none for a bundle that was never calibrated.
    pub confidence: Option<ConfidenceSpec>,
    /// What no graph exposes.
    pub constants: Constants,
}

impl ModelSpec {
    /// Of a bundle.
    pub fn new(bundle: &Bundle) -> Self {
        let manifest = bundle.spec();
        Self {
            id: bundle.id().to_owned(),
            input: manifest.input.clone(),
            retrieval: manifest.retrieval.clone(),
            features: manifest.features.clone(),
            memory: manifest.memory.clone(),
            pointers: manifest.pointers.clone(),
            prompts: manifest.prompts.clone(),
            confidence: manifest.confidence.clone(),
            constants: bundle.constants().clone(),
        }
    }

    /// What a distance of `slices` is to memory attention, in a volume of `count` slices (SAM 2,
    /// `_prepare_memory_conditioned_features`).
    pub(crate) fn pointer_difference(&self, slices: usize, count: usize) -> f32 {
        let divisor = count.min(self.pointers.most).saturating_sub(1).max(1);
        slices as f32 / divisor as f32
    }

    /// Object score of a given mask.
    pub(crate) fn given_score(present: bool) -> f32 {
        if present { GIVEN_SCORE } else { -GIVEN_SCORE }
    }

    /// An object score no surer than that of a given mask.
    pub(crate) fn bounded_score(score: f32) -> f32 {
        score.clamp(-GIVEN_SCORE, GIVEN_SCORE)
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

impl EncodedImages {
    /// Some of the images.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let select = |tensor: &Array4<f32>| tensor.select(Axis(0), rows);
        Self {
            embed: select(&self.embed),
            high_res_0: select(&self.high_res_0),
            high_res_1: select(&self.high_res_1),
        }
    }
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
    /// `[B, tokens, dim]`, a pointer a mask, for bundles that use them.
    pub pointers: Option<Array3<f32>>,
}

/// A bundle that is ready to compute. Rows (B) are independent of each other; every call answers as many rows as
/// it was given.
pub trait Models: Sync {
    /// The manifest's numbers.
    fn spec(&self) -> &ModelSpec;

    /// Memories that a slice may be conditioned on, by what the device can hold.
    fn most_memories(&self) -> usize {
        usize::MAX
    }

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
    /// rows, and on pointers where the bundle uses them: `[B, C2, h, h]`. N is at least 1.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn attend(
        &self,
        embed: Array4<f32>,
        memories: Array5<f32>,
        temporal_indices: &[i64],
        pointers: Option<Pointers>,
    ) -> Result<Array4<f32>, BoxError>;

    /// Mask prompts `[B, 1, m, m]` of masks `[B, 1, S, S]`, for bundles that take prompts.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn mask_prompt(&self, masks: Array4<f32>) -> Result<Array4<f32>, BoxError>;

    /// Embeddings of clicks and mask prompts, for bundles that take prompts.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn encode_prompts(&self, clicks: Clicks) -> Result<Prompts, BoxError>;

    /// Masks of conditioned features `[B, C2, h, h]`, the images' finer features, and prompts where the bundle takes
    /// them.
    ///
    /// # Errors
    /// See [`Models::retrieval`].
    fn decode(
        &self,
        conditioned: Array4<f32>,
        high_res_0: Array4<f32>,
        high_res_1: Array4<f32>,
        prompts: Option<Prompts>,
    ) -> Result<DecodedMasks, BoxError>;
}

/// Holds a graph's answer against the manifest.
pub(crate) fn expect_shape(action: &'static str, expected: &[usize], found: &[usize]) -> Result<()> {
    ensure!(expected == found, TensorShapeSnafu { action, expected, found });
    Ok(())
}
