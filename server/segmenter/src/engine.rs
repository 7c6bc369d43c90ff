//! A started engine as the method's bundle.

use crate::error::BoxError;
use crate::models::{DecodedMasks, EncodedImages, ModelSpec, Models};
use engram_inference::{Clicks, Engine, Pointers, Prompts};
use ndarray::{Array2, Array4, Array5};

/// [`Models`] over an [`Engine`].
#[derive(Clone)]
pub struct EngineModels {
    engine: Engine,
    spec: ModelSpec,
}

impl EngineModels {
    /// The engine's bundle, ready to segment.
    pub fn new(engine: Engine) -> Self {
        let spec = ModelSpec::new(engine.bundle());
        Self { engine, spec }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Models for EngineModels {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn most_memories(&self) -> usize {
        self.engine.max_memories()
    }

    fn retrieval(&self, images: Array4<f32>) -> Result<Array2<f32>, BoxError> {
        Ok(self.engine.retrieval(images)?.cls)
    }

    fn encode_image(&self, images: Array4<f32>) -> Result<EncodedImages, BoxError> {
        let features = self.engine.encode_image(images)?;
        Ok(EncodedImages {
            embed: features.embed,
            high_res_0: features.high_res_0,
            high_res_1: features.high_res_1,
        })
    }

    fn encode_memory(
        &self,
        embed: Array4<f32>,
        masks: Array4<f32>,
        object_scores: Array2<f32>,
    ) -> Result<Array4<f32>, BoxError> {
        Ok(self.engine.encode_memory(embed, masks, object_scores)?)
    }

    fn attend(
        &self,
        embed: Array4<f32>,
        memories: Array5<f32>,
        temporal_indices: &[i64],
        pointers: Option<Pointers>,
    ) -> Result<Array4<f32>, BoxError> {
        Ok(self.engine.attend(embed, memories, temporal_indices, pointers)?)
    }

    fn mask_prompt(&self, masks: Array4<f32>) -> Result<Array4<f32>, BoxError> {
        Ok(self.engine.mask_prompt(masks)?)
    }

    fn encode_prompts(&self, clicks: Clicks) -> Result<Prompts, BoxError> {
        Ok(self.engine.encode_prompts(clicks)?)
    }

    fn decode(
        &self,
        conditioned: Array4<f32>,
        high_res_0: Array4<f32>,
        high_res_1: Array4<f32>,
        prompts: Option<Prompts>,
    ) -> Result<DecodedMasks, BoxError> {
        let decoded = self.engine.decode(conditioned, high_res_0, high_res_1, prompts)?;
        Ok(DecodedMasks {
            masks: decoded.masks,
            iou: decoded.iou,
            object_score: decoded.object_score,
            pointers: decoded.pointers,
        })
    }
}
