//! SAM 2's video predictor over a bundle: one frame after another, as the official one does it.
//!
//! For holding the runtime against the official predictor (`cargo xtask parity`), and for sequences that are no
//! volume. It shares every step with the method, `predict` and `memorise`; what it adds is what
//! `sam2_video_predictor.py` adds: which frames condition a frame. Objects are independent of each other and share
//! calls.

use crate::Result;
use crate::error::{
    FrameShapeSnafu, MaskShapeSnafu, NoSuchObjectSnafu, NothingToFollowSnafu, PromptSnafu,
    SliceOutOfRangeSnafu,
};
use crate::models::{ModelSpec, Models};
use crate::observer::{Stage, Steps, Unobserved};
use crate::segment::features::{FeatureStore, Features, ImageSource, WHOLE};
use crate::segment::predict::{Conditioning, Job, Pointing, Prediction, Predictor};
use crate::{masks, memorise};
use engram_imaging::resample::Letterbox;
use engram_memory::Memory;
use ndarray::{Array2, Array4, ArrayView2, ArrayView4, Axis};
use snafu::ensure;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Logits of a mask to go on from are bounded so.
const MOST_LOGIT: f32 = 32.0;
/// Image features kept, bytes.
const CACHE_BYTES: usize = 1 << 30;
/// Bytes that one call may take, estimated.
const BATCH_BYTES: usize = 512 << 20;

/// Frames `[F, 3, S, S]`, normalised as the bundle wants them.
struct Frames<'a>(ArrayView4<'a, f32>);

impl ImageSource for Frames<'_> {
    fn whole(&self, size: usize) -> Letterbox {
        Letterbox::new((size, size), [1.0, 1.0], size)
    }

    fn images(&self, slices: &[usize], _: &Letterbox, _: [f32; 3], _: [f32; 3]) -> Array4<f32> {
        self.0.select(Axis(0), slices)
    }
}

/// A click or a corner of a box: x and y in pixels of the frame (0 the middle of the first), and 1 inside, 0 outside, 2
/// and 3 for a box's corners.
pub type FramePoint = ([f32; 2], i64);

/// What is said of one object on one frame.
#[derive(Debug, Clone)]
pub struct FrameMask {
    /// `[m, m]`, as the bundle keeps them.
    pub logits: Array2<f32>,
    /// Logit: above 0 the object is there.
    pub object_score: f32,
}

/// One object on one frame.
#[derive(Clone)]
struct Output {
    prediction: Prediction,
    /// None until propagation begins.
    memory: Option<Arc<Memory>>,
}

/// What is known of one object (`inference_state` of the official predictor).
#[derive(Default)]
struct Object {
    /// Frames that were prompted before they were followed.
    conditioning: BTreeMap<usize, Output>,
    /// The others.
    followed: BTreeMap<usize, Output>,
    /// Frames that came by in a propagation, and whether it went backwards.
    visited: BTreeMap<usize, bool>,
    /// All clicks on a frame so far.
    clicks: BTreeMap<usize, Vec<FramePoint>>,
    /// Prompted since the last propagation; conditioning or not.
    fresh: BTreeMap<(usize, bool), Output>,
}

/// Follows objects through frames.
pub struct VideoPredictor<'a> {
    predictor: Predictor<'a>,
    frames: usize,
    objects: Vec<Object>,
    corrected_conditions: bool,
}

impl<'a> VideoPredictor<'a> {
    /// Over frames `[F, 3, S, S]`, normalised as the bundle wants them, and `objects` objects.
    ///
    /// # Errors
    /// [`FrameShape`](crate::Error::FrameShape).
    pub fn new(models: &'a dyn Models, frames: ArrayView4<'a, f32>, objects: usize) -> Result<Self> {
        let side = models.spec().input.image_size;
        let found = frames.shape();
        ensure!(found.get(1..) == Some(&[3, side, side]), FrameShapeSnafu { found, side });
        let count = frames.len_of(Axis(0));
        let features = FeatureStore::new(models, Frames(frames), CACHE_BYTES);
        Ok(Self {
            predictor: Predictor::new(models, features, BATCH_BYTES),
            frames: count,
            objects: (0..objects).map(|_| Object::default()).collect(),
            corrected_conditions: true,
        })
    }

    /// Whether a frame that is corrected after it was followed conditions the others from then on, as it does unless
    /// told otherwise (`add_all_frames_to_correct_as_cond`).
    pub fn set_corrected_conditions(&mut self, whether: bool) {
        self.corrected_conditions = whether;
    }

    /// Gives an object's mask `[S, S]` on a frame, not 0 in the object; all 0 says that it is not there.
    ///
    /// # Errors
    /// A frame, object or mask that does not fit; what the bundle cannot do.
    pub fn add_mask(&mut self, object: usize, frame: usize, mask: ArrayView2<u8>) -> Result<FrameMask> {
        self.check(object, frame)?;
        let models = self.predictor.models;
        let spec = models.spec();
        let side = spec.input.image_size;
        let (found, expected) = (mask.shape(), [side, side]);
        ensure!(found == expected, MaskShapeSnafu { label: object.to_string(), expected, found });
        let images = Features::batch(&self.predictor.features.fetch(&[(WHOLE, frame)])?);
        let mask = mask.mapv(|value| f32::from(u8::from(value != 0)));
        let score = ModelSpec::given_score(mask.iter().any(|value| *value > 0.0));
        let logits = masks::kept(spec, mask.view());
        let coverage = mask.insert_axis(Axis(0)).insert_axis(Axis(0));
        let memory = memorise::given(models, &images, coverage)?.into_iter().next().map(Arc::new);
        let answer = FrameMask { logits: logits.clone(), object_score: score };
        let pointer = memory.as_ref().and_then(|memory| memory.pointer.clone());
        let prediction = Prediction { logits, iou: 1.0, score, pointer };
        let state = &mut self.objects[object];
        state.clicks.remove(&frame);
        let conditioning = self.corrected_conditions || !state.visited.contains_key(&frame);
        state.fresh.insert((frame, conditioning), Output { prediction, memory });
        Ok(answer)
    }

    /// Points at an object on a frame, beside earlier points there unless `anew`. A frame that was not followed yet
    /// stands for itself; one that was is corrected, from its mask and with its memories.
    ///
    /// # Errors
    /// See [`VideoPredictor::add_mask`].
    pub fn add_points(
        &mut self,
        object: usize,
        frame: usize,
        points: &[FramePoint],
        anew: bool,
    ) -> Result<FrameMask> {
        self.check(object, frame)?;
        let state = &mut self.objects[object];
        let clicks = state.clicks.entry(frame).or_default();
        if anew {
            clicks.clear();
        }
        clicks.extend(points);
        ensure!(!clicks.is_empty(), PromptSnafu { slice: frame, reason: "it has neither a point nor a box" });
        let (points, labels) = clicks.iter().copied().unzip();
        let reverse = state.visited.get(&frame).copied();
        let conditioning = self.corrected_conditions || reverse.is_none();
        let before = state
            .latest(frame, conditioning)
            .map(|output| output.prediction.logits.mapv(|logit| logit.clamp(-MOST_LOGIT, MOST_LOGIT)));
        let job = Job {
            view: WHOLE,
            slice: frame,
            conditioning: match reverse {
                Some(reverse) => self.conditioning(object, frame, reverse),
                None => Conditioning::default(),
            },
            pointing: Some(Pointing { points, labels, before }),
        };
        let prediction = self.predict(&[job])?.remove(0);
        let answer = FrameMask { logits: prediction.logits.clone(), object_score: prediction.score };
        self.objects[object].fresh.insert((frame, conditioning), Output { prediction, memory: None });
        Ok(answer)
    }

    /// Follows all objects from `start` to the last frame, or backwards to the first. Answers, frame by frame, a mask
    /// an object.
    ///
    /// # Errors
    /// [`NothingToFollow`](crate::Error::NothingToFollow) for an object that nobody prompted; a frame that is not
    /// there; what the bundle cannot do.
    pub fn propagate(&mut self, start: usize, reverse: bool) -> Result<Vec<(usize, Vec<FrameMask>)>> {
        let slices = self.frames;
        ensure!(start < slices, SliceOutOfRangeSnafu { slice: start, slices });
        self.settle()?;
        let order: Vec<usize> = match reverse {
            // The official predictor has nothing to do backwards from the first frame.
            true if start == 0 => vec![],
            true => (0..=start).rev().collect(),
            false => (start..slices).collect(),
        };
        let mut answers = vec![];
        for frame in order {
            self.follow(frame, reverse)?;
            let masks = self.objects.iter().filter_map(|object| object.shown(frame));
            answers.push((frame, masks.collect()));
        }
        Ok(answers)
    }

    /// Turns what was prompted since the last propagation into memories (`propagate_in_video_preflight`).
    fn settle(&mut self) -> Result<()> {
        for object in 0..self.objects.len() {
            let fresh = std::mem::take(&mut self.objects[object].fresh);
            for ((frame, conditioning), output) in fresh {
                let memory = match output.memory {
                    Some(memory) => memory,
                    None => self.memory(frame, &output.prediction, true)?,
                };
                let output = Output { memory: Some(memory), ..output };
                let state = &mut self.objects[object];
                if conditioning {
                    state.followed.remove(&frame);
                    state.conditioning.insert(frame, output);
                } else {
                    state.followed.insert(frame, output);
                }
            }
            ensure!(!self.objects[object].conditioning.is_empty(), NothingToFollowSnafu { object });
        }
        Ok(())
    }

    /// One frame, for the objects that were not prompted on it.
    fn follow(&mut self, frame: usize, reverse: bool) -> Result<()> {
        let (mut jobs, mut followed) = (vec![], vec![]);
        for object in 0..self.objects.len() {
            self.objects[object].visited.insert(frame, reverse);
            if !self.objects[object].conditioning.contains_key(&frame) {
                let conditioning = self.conditioning(object, frame, reverse);
                jobs.push(Job { view: WHOLE, slice: frame, conditioning, pointing: None });
                followed.push(object);
            }
        }
        for (object, prediction) in followed.into_iter().zip(self.predict(&jobs)?) {
            let memory = Some(self.memory(frame, &prediction, false)?);
            self.objects[object].followed.insert(frame, Output { prediction, memory });
        }
        Ok(())
    }

    /// What an object on a frame is conditioned on (`_prepare_memory_conditioned_features`).
    fn conditioning(&self, object: usize, frame: usize, reverse: bool) -> Conditioning {
        let (spec, state) = (self.predictor.models.spec(), &self.objects[object]);
        let count = self.frames;
        let difference = |steps: usize| spec.pointers.used.then(|| spec.pointer_difference(steps, count));
        let mut conditioning = Conditioning::default();
        for (other, output) in &state.conditioning {
            let Some(memory) = &output.memory else { continue };
            let past = if reverse { *other >= frame } else { *other <= frame };
            let difference = difference(other.abs_diff(frame)).filter(|_| past);
            conditioning.add(Arc::clone(memory), spec.memory.conditioning_tpos, difference);
        }
        let away = |steps: usize| {
            let other = if reverse { frame.checked_add(steps) } else { frame.checked_sub(steps) };
            state.followed.get(&other?)?.memory.as_ref()
        };
        for steps in (1..=spec.memory.recent_memories).rev() {
            if let Some(memory) = away(steps) {
                let time = i64::try_from(steps - 1).unwrap_or(i64::MAX);
                conditioning.add(Arc::clone(memory), time, None);
            }
        }
        for steps in 1..count.min(spec.pointers.most) {
            if let Some(memory) = away(steps) {
                conditioning.point(memory, difference(steps));
            }
        }
        conditioning
    }

    fn predict(&mut self, jobs: &[Job]) -> Result<Vec<Prediction>> {
        let predictor = &mut self.predictor;
        Steps::run(&Unobserved, Stage::Propagate, jobs.len(), |steps| predictor.predict(jobs, steps))
    }

    fn memory(&mut self, frame: usize, prediction: &Prediction, prompted: bool) -> Result<Arc<Memory>> {
        let items = [(WHOLE, frame, prediction)];
        let memories = match prompted {
            true => self.predictor.remember_prompted(&items),
            false => self.predictor.remember(&items),
        };
        Ok(memories?.remove(0))
    }

    fn check(&self, object: usize, frame: usize) -> Result<()> {
        let (slices, objects) = (self.frames, self.objects.len());
        ensure!(frame < slices, SliceOutOfRangeSnafu { slice: frame, slices });
        ensure!(object < objects, NoSuchObjectSnafu { object, objects });
        Ok(())
    }
}

impl Object {
    /// What was last said of a frame.
    fn latest(&self, frame: usize, conditioning: bool) -> Option<&Output> {
        self.fresh
            .get(&(frame, conditioning))
            .or_else(|| self.conditioning.get(&frame))
            .or_else(|| self.followed.get(&frame))
    }

    /// A frame that came by in a propagation.
    fn shown(&self, frame: usize) -> Option<FrameMask> {
        let Prediction { logits, score, .. } =
            &self.conditioning.get(&frame).or_else(|| self.followed.get(&frame))?.prediction;
        Some(FrameMask { logits: logits.clone(), object_score: *score })
    }
}
