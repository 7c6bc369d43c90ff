//! Masks of slices conditioned on memories, in batches. While the bundle computes one, the next is laid out.

use super::batch::{Batch, Gathered};
use super::features::{FeatureStore, Features, ViewIndex, stack};
use crate::Result;
use crate::error::ModelsSnafu;
use crate::memorise::{self, Predicted};
use crate::models::{Models, expect_shape};
use crate::observer::Steps;
use engram_inference::{Clicks, Pointers, Prompts};
use engram_memory::Memory;
use ndarray::{Array1, Array2, Array3, Array4, Array5, Axis};
use snafu::ResultExt;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

/// Rows of one call at the most: more gains nothing on a CPU.
const MOST_ROWS: usize = 16;

/// Attention scores that are at hand at once for two cells: of a few heads, before and after the softmax.
const SCORES_A_PAIR: usize = 12;

/// A memory at its place in time.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub memory: Arc<Memory>,
    pub temporal_index: i64,
}

/// An object pointer, that of a memory, and how far away it is.
#[derive(Clone)]
pub(crate) struct Pointed {
    pub memory: Arc<Memory>,
    /// As memory attention takes it: divided.
    pub difference: f32,
}

/// What a slice is conditioned on. Without any memory a slice stands for itself.
#[derive(Clone, Default)]
pub(crate) struct Conditioning {
    pub memories: Vec<Remembered>,
    /// Empty for bundles that use none.
    pub pointers: Vec<Pointed>,
}

impl Conditioning {
    /// Adds a memory, and its pointer where the bundle uses pointers.
    pub fn add(&mut self, memory: Arc<Memory>, temporal_index: i64, difference: Option<f32>) {
        self.point(&memory, difference);
        self.memories.push(Remembered { memory, temporal_index });
    }

    /// Adds the pointer alone.
    pub fn point(&mut self, memory: &Arc<Memory>, difference: Option<f32>) {
        self.pointers.extend(difference.map(|difference| Pointed { memory: Arc::clone(memory), difference }));
    }
}

/// What a person pointed at on a slice.
#[derive(Debug, Clone)]
pub(crate) struct Pointing {
    /// x and y in pixels of the view's square.
    pub points: Vec<[f32; 2]>,
    /// A label each, see [`Clicks::labels`].
    pub labels: Vec<i64>,
    /// Logits `[m, m]` of the mask to go on from.
    pub before: Option<Array2<f32>>,
}

/// One slice to be segmented for one label.
pub(crate) struct Job {
    pub view: ViewIndex,
    pub slice: usize,
    pub conditioning: Conditioning,
    pub pointing: Option<Pointing>,
}

/// What the bundle says of one slice and label.
#[derive(Debug, Clone)]
pub(crate) struct Prediction {
    /// `[m, m]` over the view's square.
    pub logits: Array2<f32>,
    /// Guess of the mask's IoU, 0..1.
    pub iou: f32,
    /// Logit: above 0 the object is there.
    pub score: f32,
    /// The object's pointer, for bundles that use them.
    pub pointer: Option<Array1<f32>>,
}

impl Prediction {
    /// Whether the object is there.
    pub fn present(&self) -> bool {
        self.score > 0.0
    }
}

/// What jobs must have in common to share a call: temporal indices, pointers' differences (as bits, which compare),
/// and that nobody pointed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    times: Vec<i64>,
    differences: Vec<u32>,
    /// A job with clicks is a group of its own.
    pointed: Option<usize>,
}

impl Group {
    fn of(index: usize, job: &Job) -> Self {
        let Conditioning { memories, pointers } = &job.conditioning;
        Self {
            times: memories.iter().map(|memory| memory.temporal_index).collect(),
            differences: pointers.iter().map(|pointer| pointer.difference.to_bits()).collect(),
            pointed: job.pointing.is_some().then_some(index),
        }
    }
}

pub(crate) struct Predictor<'a> {
    pub models: &'a dyn Models,
    pub features: FeatureStore<'a>,
    pub batch_bytes: usize,
    /// Embeddings of no point and no mask; made when first needed.
    no_prompts: Option<NoPrompts>,
}

/// The prompt encoder's answer where nobody pointed: `[K, C]` and `[C, h, h]`.
struct NoPrompts {
    sparse: Array2<f32>,
    dense: Array3<f32>,
}

impl<'a> Predictor<'a> {
    pub fn new(models: &'a dyn Models, features: FeatureStore<'a>, batch_bytes: usize) -> Self {
        Self { models, features, batch_bytes, no_prompts: None }
    }

    /// Predictions in the order of the jobs. Only jobs with the same temporal indices and differences share a call.
    pub fn predict(&mut self, jobs: &[Job], steps: &mut Steps) -> Result<Vec<Prediction>> {
        let mut groups: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate() {
            groups.entry(Group::of(index, job)).or_default().push(index);
        }
        let calls = groups.iter().flat_map(|(group, members)| {
            members.chunks(self.rows(group.times.len())).map(move |members| (group, members))
        });
        let mut calls = calls.collect::<Vec<(&Group, &[usize])>>().into_iter();
        let mut predictions: Vec<Option<Prediction>> = jobs.iter().map(|_| None).collect();
        let mut next = calls.next().map(|call| self.lay_out(jobs, call)).transpose()?;
        while let Some(batch) = next.take() {
            let (members, models) = (batch.members, self.models);
            let found = match calls.next() {
                None => batch.compute(models)?,
                Some(call) => {
                    let (found, following) = at_once(|| batch.compute(models), || self.lay_out(jobs, call))?;
                    let found = found?;
                    next = Some(following?);
                    found
                }
            };
            for (index, prediction) in members.iter().zip(found) {
                predictions[*index] = Some(prediction);
            }
            steps.advance(members.len())?;
        }
        Ok(predictions.into_iter().flatten().collect())
    }

    /// Memories of predicted slices; `(view, slice, prediction)`.
    pub fn remember(&mut self, items: &[(ViewIndex, usize, &Prediction)]) -> Result<Vec<Arc<Memory>>> {
        self.memories(items, false)
    }

    /// Memories of slices where a person pointed, likewise.
    pub fn remember_prompted(
        &mut self,
        items: &[(ViewIndex, usize, &Prediction)],
    ) -> Result<Vec<Arc<Memory>>> {
        self.memories(items, true)
    }

    fn memories(
        &mut self,
        items: &[(ViewIndex, usize, &Prediction)],
        prompted: bool,
    ) -> Result<Vec<Arc<Memory>>> {
        let mut memories = vec![];
        for chunk in items.chunks(MOST_ROWS) {
            let keys: Vec<_> = chunk.iter().map(|(view, slice, _)| (*view, *slice)).collect();
            let features = self.features.fetch(&keys)?;
            let embed = stack(features.iter().map(|features| &features.embed));
            let predicted: Vec<Predicted> = chunk
                .iter()
                .map(|(_, _, prediction)| Predicted {
                    logits: &prediction.logits,
                    score: prediction.score,
                    pointer: prediction.pointer.as_ref(),
                    prompted,
                })
                .collect();
            memories.extend(memorise::predicted(self.models, embed, &predicted)?.into_iter().map(Arc::new));
        }
        Ok(memories)
    }

    /// Rows of a call with `memories` memories each: each cell of a slice attends to each cell of each memory.
    fn rows(&self, memories: usize) -> usize {
        let spec = self.models.spec();
        let [channels, height, width] = spec.memory_shape();
        let cells = height * width;
        let at_once = SCORES_A_PAIR * spec.features.places_at_once();
        let row = memories * cells * (channels + at_once) * size_of::<f32>();
        (self.batch_bytes / row.max(1)).clamp(1, MOST_ROWS)
    }

    /// All that a call takes: of jobs that are of one group.
    fn lay_out<'j>(&mut self, jobs: &'j [Job], (group, members): (&Group, &'j [usize])) -> Result<Batch<'j>> {
        let jobs: Vec<&Job> = members.iter().map(|index| &jobs[*index]).collect();
        let keys: Vec<_> = jobs.iter().map(|job| (job.view, job.slice)).collect();
        let images = Features::batch(&self.features.fetch(&keys)?);
        let gathered = match group.times.is_empty() {
            true => None,
            false => Some(self.gather(&jobs, group)?),
        };
        let prompts = self.prompts(&jobs)?;
        Ok(Batch { members, jobs, images, gathered, prompts })
    }

    fn gather(&self, jobs: &[&Job], group: &Group) -> Result<Gathered> {
        let pointers = match self.models.spec().pointers.used {
            true => Some(self.gather_pointers(jobs, group)?),
            false => None,
        };
        let memories = self.gather_memories(jobs, group.times.len())?;
        Ok(Gathered { memories, times: group.times.clone(), pointers })
    }

    fn gather_memories(&self, jobs: &[&Job], count: usize) -> Result<Array5<f32>> {
        let shape = self.models.spec().memory_shape();
        let [channels, height, width] = shape;
        let mut gathered = Array5::zeros((jobs.len(), count, channels, height, width));
        for (mut row, job) in gathered.outer_iter_mut().zip(jobs) {
            for (mut slot, remembered) in row.outer_iter_mut().zip(&job.conditioning.memories) {
                let features = &remembered.memory.features;
                expect_shape("use a memory", &shape, features.shape())?;
                slot.assign(features);
            }
        }
        Ok(gathered)
    }

    fn gather_pointers(&self, jobs: &[&Job], group: &Group) -> Result<Pointers> {
        let dim = self.models.spec().pointers.dim;
        let mut vectors = Array3::zeros((jobs.len(), group.differences.len(), dim));
        for (mut row, job) in vectors.outer_iter_mut().zip(jobs) {
            for (mut slot, pointed) in row.outer_iter_mut().zip(&job.conditioning.pointers) {
                let pointer = pointed.memory.pointer.as_ref();
                let length = pointer.map_or(0, Array1::len);
                expect_shape("use a pointer", &[dim], &[length])?;
                if let Some(pointer) = pointer {
                    slot.assign(pointer);
                }
            }
        }
        let time_differences = group.differences.iter().map(|bits| f32::from_bits(*bits)).collect();
        Ok(Pointers { vectors, time_differences })
    }

    /// Embeddings of what was pointed at; for bundles that take prompts. Where nobody pointed, those of no point and
    /// no mask.
    fn prompts(&mut self, jobs: &[&Job]) -> Result<Option<Prompts>> {
        if !self.models.spec().prompts.used {
            return Ok(None);
        }
        if let [Job { pointing: Some(pointing), .. }] = jobs {
            return self.encode_prompts(pointing).map(Some);
        }
        if self.no_prompts.is_none() {
            let nothing = Pointing { points: vec![[0.0; 2]], labels: vec![-1], before: None };
            let Prompts { sparse, dense } = self.encode_prompts(&nothing)?;
            let of_one = |tensor: &Array4<f32>| tensor.index_axis(Axis(0), 0).to_owned();
            let sparse = sparse.index_axis(Axis(0), 0).to_owned();
            self.no_prompts = Some(NoPrompts { sparse, dense: of_one(&dense) });
        }
        Ok(self.no_prompts.as_ref().map(|no| Prompts {
            sparse: stack(jobs.iter().map(|_| &no.sparse)),
            dense: stack(jobs.iter().map(|_| &no.dense)),
        }))
    }

    fn encode_prompts(&self, pointing: &Pointing) -> Result<Prompts> {
        let side = self.models.spec().features.mask_size;
        let mut mask = Array4::zeros((1, 1, side, side));
        if let Some(before) = &pointing.before {
            mask.index_axis_mut(Axis(0), 0).index_axis_mut(Axis(0), 0).assign(before);
        }
        let count = pointing.points.len();
        let clicks = Clicks {
            points: Array3::from_shape_fn((1, count, 2), |(_, point, axis)| pointing.points[point][axis]),
            labels: Array2::from_shape_fn((1, count), |(_, point)| pointing.labels[point]),
            mask,
            has_mask: Array2::from_elem((1, 1), f32::from(u8::from(pointing.before.is_some()))),
        };
        self.models.encode_prompts(clicks).context(ModelsSnafu { action: "encode clicks" })
    }
}

/// Does both, the first on a thread of its own.
fn at_once<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> Result<(A, B)> {
    thread::scope(|scope| {
        let one = thread::Builder::new().spawn_scoped(scope, one);
        let one = one.map_err(Into::into).context(ModelsSnafu { action: "start a thread" })?;
        let other = other();
        Ok((one.join().unwrap_or_else(|panic| resume_unwind(panic)), other))
    })
}
