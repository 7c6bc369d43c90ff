//! A tiny bundle for tests: it marks pixels by their likeness to what its memories marked, and writes down what it
//! was asked.

use crate::error::BoxError;
use crate::models::{DecodedMasks, EncodedImages, ModelSpec, Models};
use engram_imaging::{SliceSource, Volume, VolumeGeometry};
use engram_inference::{
    Clicks, Constants, FeatureSpec, InputSpec, MemorySpec, PointerSpec, Pointers, PromptSpec, Prompts,
    RetrievalSpec,
};
use ndarray::{Array2, Array3, Array4, Array5, Axis, s};
use std::sync::Mutex;

/// Side of everything.
pub(crate) const SIDE: usize = 16;
/// What the decoder says of every mask's IoU.
const IOU: f32 = 0.9;

pub(crate) struct FakeModels {
    spec: ModelSpec,
    /// Temporal indices of each call of `attend`, once a row.
    pub attended: Mutex<Vec<Vec<i64>>>,
}

impl FakeModels {
    pub fn new() -> Self {
        let memory = MemorySpec {
            mask_scale: 1.0,
            mask_bias: 0.0,
            binarise_exemplar: true,
            binarise_predicted: false,
            binarise_prompted: false,
            given_through_mask_size: false,
            absent_logit: None,
            conditioning_tpos: 6,
            recent_memories: 3,
            exemplars_per_slice: 4,
            crop_margin: 0.5,
            crop_max_extent: 0.6,
        };
        let features = FeatureSpec {
            embed_channels: 1,
            embed_size: SIDE,
            high_res_0_channels: 1,
            high_res_0_size: SIDE,
            high_res_1_channels: 1,
            high_res_1_size: SIDE,
            cond_channels: 1,
            memory_channels: 2,
            memory_size: SIDE,
            mask_size: SIDE,
            mask_tokens: 1,
            attention_chunk: 0,
        };
        let input = InputSpec {
            image_size: SIDE,
            mean: [0.0; 3],
            std: [1.0; 3],
            ct_window_hu: [0.0, 100.0],
            percentiles: [0.0, 100.0],
        };
        let retrieval =
            RetrievalSpec { image_size: SIDE, mean: [0.0; 3], std: [1.0; 3], embedding_dim: SIDE * SIDE };
        let spec = ModelSpec {
            id: "fake@1".to_owned(),
            input,
            retrieval,
            features,
            memory,
            pointers: PointerSpec::default(),
            prompts: PromptSpec::default(),
            confidence: None,
            constants: Constants::default(),
        };
        Self { spec, attended: Mutex::default() }
    }
}

impl Models for FakeModels {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn retrieval(&self, images: Array4<f32>) -> Result<Array2<f32>, BoxError> {
        let rows = images.len_of(Axis(0));
        let grey = images.slice(s![.., 0, .., ..]).mapv(|grey| grey + 0.1);
        Ok(grey.as_standard_layout().into_owned().into_shape_with_order((rows, SIDE * SIDE))?)
    }

    fn encode_image(&self, images: Array4<f32>) -> Result<EncodedImages, BoxError> {
        let embed = images.slice(s![.., 0..1, .., ..]).to_owned();
        Ok(EncodedImages { high_res_0: embed.clone(), high_res_1: embed.clone(), embed })
    }

    fn encode_memory(
        &self,
        embed: Array4<f32>,
        masks: Array4<f32>,
        _object_scores: Array2<f32>,
    ) -> Result<Array4<f32>, BoxError> {
        Ok(ndarray::concatenate(Axis(1), &[embed.view(), masks.view()])?)
    }

    /// Share of mask among all memory pixels of nearly the same grey.
    fn attend(
        &self,
        embed: Array4<f32>,
        memories: Array5<f32>,
        temporal_indices: &[i64],
        _pointers: Option<Pointers>,
    ) -> Result<Array4<f32>, BoxError> {
        let rows = embed.len_of(Axis(0));
        self.attended.lock().unwrap().extend(std::iter::repeat_n(temporal_indices.to_vec(), rows));
        let mut conditioned = embed.clone();
        for ((mut out, embed), memories) in
            conditioned.outer_iter_mut().zip(embed.outer_iter()).zip(memories.outer_iter())
        {
            let (mut marked, mut seen) = ([0.0_f32; 8], [1e-3_f32; 8]);
            for memory in memories.outer_iter() {
                for (grey, mask) in memory.index_axis(Axis(0), 0).iter().zip(memory.index_axis(Axis(0), 1)) {
                    marked[level(*grey)] += mask;
                    seen[level(*grey)] += 1.0;
                }
            }
            out.zip_mut_with(&embed, |out, grey| *out = marked[level(*grey)] / seen[level(*grey)]);
        }
        Ok(conditioned)
    }

    fn mask_prompt(&self, masks: Array4<f32>) -> Result<Array4<f32>, BoxError> {
        Ok(masks)
    }

    fn encode_prompts(&self, _clicks: Clicks) -> Result<Prompts, BoxError> {
        Err("the fake bundle takes no clicks".into())
    }

    fn decode(
        &self,
        conditioned: Array4<f32>,
        _high_res_0: Array4<f32>,
        _high_res_1: Array4<f32>,
        _prompts: Option<Prompts>,
    ) -> Result<DecodedMasks, BoxError> {
        let rows = conditioned.len_of(Axis(0));
        let masks = conditioned.mapv(|share| (share - 0.5) * 20.0);
        let strongest = |row: usize| masks.index_axis(Axis(0), row).iter().copied().fold(f32::MIN, f32::max);
        let object_score = Array2::from_shape_fn((rows, 1), |(row, _)| strongest(row));
        Ok(DecodedMasks { iou: Array2::from_elem((rows, 1), IOU), object_score, masks, pointers: None })
    }
}

/// One of eight levels of grey.
fn level(grey: f32) -> usize {
    ((grey * 7.0).round().max(0.0) as usize).min(7)
}

/// An MR volume of 16 x 16 pixels with slices at the given heights, mm.
pub(crate) fn volume(voxels: Array3<f32>, heights: &[f64]) -> Volume {
    let (_, rows, columns) = voxels.dim();
    let source = |index: usize| SliceSource {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.4".to_owned(),
        sop_instance_uid: format!("2.25.{index}"),
        frame: 1,
        frames: 1,
    };
    Volume {
        sources: (0..heights.len()).map(source).collect(),
        voxels,
        geometry: VolumeGeometry {
            columns,
            rows,
            pixel_spacing: [1.0, 1.0],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            positions: heights.iter().map(|z| [0.0, 0.0, *z]).collect(),
            spatial: true,
        },
        modality: "MR".to_owned(),
        patient_id: String::new(),
        study_instance_uid: String::new(),
        series_instance_uid: String::new(),
        frame_of_reference_uid: None,
        window: None,
        notes: vec![],
    }
}

/// A body of grey 3 in air with a square organ of grey `organ`, from slice 1 to the last but one, moving a column
/// a slice. Answers volume and mask.
pub(crate) fn phantom(slices: usize, organ: f32, size: usize) -> (Volume, Array3<u8>) {
    let mut voxels = Array3::zeros((slices, SIDE, SIDE));
    let mut mask = Array3::zeros((slices, SIDE, SIDE));
    voxels.slice_mut(s![.., 2..14, 2..14]).fill(3.0);
    for slice in 1..slices.saturating_sub(1).max(1) {
        let place = s![slice, 5..5 + size, 3 + slice..3 + slice + size];
        voxels.slice_mut(place).fill(organ);
        mask.slice_mut(place).fill(1);
    }
    // The same range of grey whatever the organ's.
    voxels.slice_mut(s![.., 0, 0]).fill(7.0);
    let heights: Vec<f64> = (0..slices).map(|slice| slice as f64 * 5.0).collect();
    (volume(voxels, &heights), mask)
}
