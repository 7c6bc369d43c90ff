//! Recorded cases of the official predictor, and how far the runtime is from them. For the parity example and the
//! test of the golden cases.

use engram_inference::{Clicks, Pointers, Prompts};
use engram_segmenter::{
    BoxError, DecodedMasks, EncodedImages, EngineModels, FrameMask, FramePoint, ModelSpec, Models,
    VideoPredictor,
};
use ndarray::{Array2, Array3, Array4, Array5, ArrayView2, Axis, s};
use serde::Deserialize;
use std::error::Error;
use std::path::Path;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Largest error of a slice, as a share of its largest logit.
const MOST_ERROR: f32 = 1e-3;
/// Share of a slice's pixels that may differ.
const MOST_DIFFERING: f64 = 1e-4;

#[derive(Deserialize)]
struct Case {
    image_size: usize,
    mask_size: usize,
    frames: usize,
    corrected_is_conditioning: bool,
    masks: Stored,
    logits: Stored,
    images: Stored,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Stored {
    file: String,
    shape: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Event {
    AddMask {
        frame: usize,
        object: i64,
        mask: usize,
        answer: Said,
    },
    AddPoints {
        frame: usize,
        object: i64,
        points: Vec<[f32; 2]>,
        labels: Vec<i64>,
        #[serde(rename = "box")]
        corners: Option<[f32; 4]>,
        clear_old: bool,
        answer: Said,
    },
    Propagate {
        start: usize,
        reverse: bool,
        steps: Vec<Step>,
    },
}

#[derive(Deserialize)]
struct Said {
    logits: usize,
    object_score: f32,
}

#[derive(Deserialize)]
struct Step {
    frame: usize,
    object: i64,
    #[serde(flatten)]
    said: Said,
}

/// What memory attention is told wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wrong {
    Nothing,
    Tpos,
    Distance,
    Pointer,
}

/// A bundle whose memory attention is told something wrong.
pub struct Spoilt {
    pub models: EngineModels,
    pub wrong: Wrong,
}

impl Models for Spoilt {
    fn spec(&self) -> &ModelSpec {
        self.models.spec()
    }

    fn retrieval(&self, images: Array4<f32>) -> std::result::Result<Array2<f32>, BoxError> {
        self.models.retrieval(images)
    }

    fn encode_image(&self, images: Array4<f32>) -> std::result::Result<EncodedImages, BoxError> {
        self.models.encode_image(images)
    }

    fn encode_memory(
        &self,
        embed: Array4<f32>,
        masks: Array4<f32>,
        object_scores: Array2<f32>,
    ) -> std::result::Result<Array4<f32>, BoxError> {
        self.models.encode_memory(embed, masks, object_scores)
    }

    fn attend(
        &self,
        embed: Array4<f32>,
        memories: Array5<f32>,
        temporal_indices: &[i64],
        pointers: Option<Pointers>,
    ) -> std::result::Result<Array4<f32>, BoxError> {
        let mut times = temporal_indices.to_vec();
        let mut pointers = pointers;
        match (self.wrong, &mut pointers) {
            (Wrong::Tpos, _) => {
                let conditioning = self.spec().memory.conditioning_tpos;
                times
                    .iter_mut()
                    .filter(|time| **time != conditioning)
                    .for_each(|time| *time = (*time + 1) % 6);
            }
            (Wrong::Distance, Some(pointers)) => {
                let step = 1.0 / (self.spec().pointers.most - 1) as f32;
                pointers.time_differences.iter_mut().for_each(|difference| *difference += step);
            }
            (Wrong::Pointer, Some(pointers)) if !pointers.time_differences.is_empty() => {
                pointers.vectors = pointers.vectors.slice(s![.., 1.., ..]).to_owned();
                pointers.time_differences.remove(0);
            }
            _ => {}
        }
        self.models.attend(embed, memories, &times, pointers)
    }

    fn mask_prompt(&self, masks: Array4<f32>) -> std::result::Result<Array4<f32>, BoxError> {
        self.models.mask_prompt(masks)
    }

    fn encode_prompts(&self, clicks: Clicks) -> std::result::Result<Prompts, BoxError> {
        self.models.encode_prompts(clicks)
    }

    fn decode(
        &self,
        conditioned: Array4<f32>,
        high_res_0: Array4<f32>,
        high_res_1: Array4<f32>,
        prompts: Option<Prompts>,
    ) -> std::result::Result<DecodedMasks, BoxError> {
        self.models.decode(conditioned, high_res_0, high_res_1, prompts)
    }
}

/// How far the runtime is from the official predictor.
#[derive(Default)]
pub struct Measured {
    pub slices: usize,
    /// Largest of the slices' errors.
    pub error: f32,
    pub score_error: f32,
    /// Largest of the slices' shares of differing pixels.
    pub differing: f64,
    pub out_of_bounds: usize,
    /// Slices whose mask covers 5 to 95 %, among those where the object is there.
    pub telling: usize,
    pub present: usize,
}

impl Measured {
    fn add(&mut self, found: &FrameMask, logits: ArrayView2<f32>, said: &Said, side: usize) {
        let largest = logits.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
        let difference = |most: f32, (a, b): (&f32, &f32)| most.max((a - b).abs());
        let error = found.logits.iter().zip(logits).fold(0.0, difference) / largest.max(f32::MIN_POSITIVE);
        let (ours, theirs) = (enlarge(&found.logits, side), enlarge(&logits.to_owned(), side));
        let pixels = (side * side) as f64;
        let differing =
            ours.iter().zip(&theirs).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count() as f64 / pixels;
        let covered = theirs.iter().filter(|logit| **logit > 0.0).count() as f64 / pixels;
        self.slices += 1;
        self.error = self.error.max(error);
        self.score_error = self.score_error.max((found.object_score - said.object_score).abs());
        self.differing = self.differing.max(differing);
        self.out_of_bounds += usize::from(error.is_nan() || error > MOST_ERROR || differing > MOST_DIFFERING);
        self.present += usize::from(said.object_score > 0.0);
        self.telling += usize::from((0.05..=0.95).contains(&covered));
    }

    pub fn join(&mut self, other: &Self) {
        self.slices += other.slices;
        self.error = self.error.max(other.error);
        self.score_error = self.score_error.max(other.score_error);
        self.differing = self.differing.max(other.differing);
        self.out_of_bounds += other.out_of_bounds;
        self.present += other.present;
        self.telling += other.telling;
    }
}

/// Bilinearly, with half-pixel centres.
fn enlarge(map: &Array2<f32>, side: usize) -> Array2<f32> {
    engram_imaging::resample::Letterbox::new((side, side), [1.0, 1.0], side).restore(map.view(), 0.0)
}

fn numbers(folder: &Path, stored: &Stored) -> Result<Vec<f32>> {
    let bytes = std::fs::read(folder.join(&stored.file))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

fn array3<T>(stored: &Stored, values: Vec<T>) -> Result<Array3<T>> {
    let [count, rows, columns] = stored.shape[..] else { return Err("not three dimensions".into()) };
    Ok(Array3::from_shape_vec((count, rows, columns), values)?)
}

/// Runs one case and holds every slice against what was recorded.
pub fn run(folder: &Path, models: &dyn Models) -> Result<Measured> {
    let case: Case = serde_json::from_slice(&std::fs::read(folder.join("case.json"))?)?;
    let images = numbers(folder, &case.images)?;
    let images = Array4::from_shape_vec((case.frames, 3, case.image_size, case.image_size), images)?;
    let masks = array3(&case.masks, std::fs::read(folder.join(&case.masks.file))?)?;
    let logits = array3(&case.logits, numbers(folder, &case.logits)?)?;
    assert_eq!(logits.len_of(Axis(1)), case.mask_size);
    let mut objects: Vec<i64> = vec![];
    for event in &case.events {
        if let Event::AddMask { object, .. } | Event::AddPoints { object, .. } = event
            && !objects.contains(object)
        {
            objects.push(*object);
        }
    }
    let index = |object: i64| objects.iter().position(|known| *known == object).unwrap();
    let mut predictor = VideoPredictor::new(models, images.view(), objects.len())?;
    predictor.set_corrected_conditions(case.corrected_is_conditioning);
    let mut measured = Measured::default();
    let mut hold = |found: &FrameMask, said: &Said| {
        measured.add(found, logits.index_axis(Axis(0), said.logits), said, case.image_size);
    };
    for event in &case.events {
        match event {
            Event::AddMask { frame, object, mask, answer } => {
                let mask = masks.index_axis(Axis(0), *mask);
                hold(&predictor.add_mask(index(*object), *frame, mask)?, answer);
            }
            Event::AddPoints { frame, object, points, labels, corners, clear_old, answer } => {
                let corners = corners.map(|[x0, y0, x1, y1]| [([x0, y0], 2), ([x1, y1], 3)]);
                let points = points.iter().copied().zip(labels.iter().copied());
                let points: Vec<FramePoint> = corners.into_iter().flatten().chain(points).collect();
                hold(&predictor.add_points(index(*object), *frame, &points, *clear_old)?, answer);
            }
            Event::Propagate { start, reverse, steps } => {
                let found = predictor.propagate(*start, *reverse)?;
                assert_eq!(found.len() * objects.len(), steps.len(), "slices that came by");
                for step in steps {
                    let (_, masks) = found.iter().find(|(frame, _)| *frame == step.frame).unwrap();
                    hold(&masks[index(step.object)], &step.said);
                }
            }
        }
    }
    Ok(measured)
}
