//! A small example that a bundle computes from end to end: made-up slices, their mask remembered, and the slices
//! segmented from that memory. The same numbers each time.

use std::ops::Range;

use engram_inference::{BundleSpec, Clicks, Engine, Graph, ImageFeatures, Pointers, Prompts, Result};
use ndarray::{Array1, Array2, Array3, Array4, Array5, ArrayD, Axis, Dimension, Slice};

/// Object score of a slice that shows the object (logit), as for an annotated slice.
const PRESENT: f32 = 10.0;
/// Radius of the made-up object, as a fraction of the image's side.
const RADIUS: f32 = 0.2;

/// An output of a graph and the shape that the manifest says it has.
pub struct Output {
    /// Its name in the contract.
    pub name: &'static str,
    /// Its values, a row each along the first axis.
    pub values: ArrayD<f32>,
    /// The shape it must have.
    pub expected: Vec<usize>,
}

/// Inputs for every graph, each made by the graphs before it.
pub struct Rehearsal<'a> {
    engine: &'a Engine,
    small: Array4<f32>,
    images: Array4<f32>,
    masks: Array4<f32>,
    features: ImageFeatures,
    memories: Array4<f32>,
    conditioned: Array4<f32>,
}

impl<'a> Rehearsal<'a> {
    /// Takes `rows` made-up slices through every graph but the decoder.
    ///
    /// # Errors
    /// Whatever a graph cannot compute.
    pub fn new(engine: &'a Engine, rows: usize) -> Result<Self> {
        let spec = engine.spec();
        let input = &spec.input;
        let images = images(rows, input.image_size, input.mean, input.std);
        let features = engine.encode_image(images.clone())?;
        let mut rehearsal = Self {
            engine,
            small: self::images(rows, spec.retrieval.image_size, spec.retrieval.mean, spec.retrieval.std),
            images,
            masks: object(rows, input.image_size)
                .mapv_into(|v| v * spec.memory.mask_scale + spec.memory.mask_bias),
            features,
            memories: Array4::zeros((0, 0, 0, 0)),
            conditioned: Array4::zeros((0, 0, 0, 0)),
        };
        rehearsal.memories = rehearsal.remember(0..rows)?;
        rehearsal.conditioned = rehearsal.attend(0..rows, 1)?;
        Ok(rehearsal)
    }

    /// What a graph makes of some rows; `memories` are attended to. `None` for a graph that is not rehearsed by itself.
    ///
    /// # Errors
    /// Whatever the graph cannot compute.
    pub fn call(&self, graph: Graph, rows: Range<usize>, memories: usize) -> Result<Option<Vec<Output>>> {
        let (spec, n) = (self.engine.spec(), rows.len());
        let f = &spec.features;
        let square = |channels: usize, side: usize| vec![n, channels, side, side];
        Ok(Some(match graph {
            Graph::Retrieval => {
                let answer = self.engine.retrieval(part(&self.small, &rows))?;
                vec![output("cls", answer.cls, vec![n, spec.retrieval.embedding_dim])]
            }
            Graph::ImageEncoder => {
                let answer = self.engine.encode_image(part(&self.images, &rows))?;
                vec![
                    output("image_embed", answer.embed, square(f.embed_channels, f.embed_size)),
                    output("high_res_0", answer.high_res_0, square(f.high_res_0_channels, f.high_res_0_size)),
                    output("high_res_1", answer.high_res_1, square(f.high_res_1_channels, f.high_res_1_size)),
                ]
            }
            Graph::MemoryEncoder => {
                vec![output("memory", self.remember(rows)?, square(f.memory_channels, f.memory_size))]
            }
            Graph::MemoryAttention => {
                vec![output(
                    "cond_embed",
                    self.attend(rows, memories)?,
                    square(f.cond_channels, f.embed_size),
                )]
            }
            Graph::MaskDecoder => self.decode(rows)?,
            Graph::MaskDownsample | Graph::PromptEncoder if !spec.prompts.used => return Ok(None),
            Graph::MaskDownsample => {
                let prompt = self.mask_prompt(&rows)?;
                vec![output("mask_prompt", prompt, square(1, f.mask_size))]
            }
            Graph::PromptEncoder => self.encode_prompts(&rows)?,
            _ => return Ok(None),
        }))
    }

    /// Images to masks, from `memories` memories: what one label of some slices costs.
    ///
    /// # Errors
    /// Whatever a graph cannot compute.
    pub fn segment(&self, rows: Range<usize>, memories: usize) -> Result<()> {
        let features = self.engine.encode_image(part(&self.images, &rows))?;
        let conditioned = self.attend_to(features.embed, &rows, memories)?;
        let (high_res_0, high_res_1) = (features.high_res_0, features.high_res_1);
        let prompts = prompts(self.engine.spec(), rows.len());
        self.engine.decode(conditioned, high_res_0, high_res_1, prompts).map(drop)
    }

    /// Dice of what the decoder makes of each slice, from the memory of its own mask, with that mask: near 1 for a
    /// trained bundle, anything for an untrained one.
    ///
    /// # Errors
    /// Whatever the decoder cannot compute.
    pub fn dice_with_itself(&self) -> Result<f64> {
        let rows = self.images.len_of(Axis(0));
        let spec = self.engine.spec();
        let (f, prompts) = (&self.features, prompts(spec, rows));
        let decoded = self.engine.decode(
            self.conditioned.clone(),
            f.high_res_0.clone(),
            f.high_res_1.clone(),
            prompts,
        )?;
        let truth = object(rows, spec.features.mask_size);
        let (mut both, mut either) = (0_usize, 0_usize);
        for row in 0..rows {
            let iou = decoded.iou.index_axis(Axis(0), row);
            let best = iou.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(token, _)| token);
            let (masks, truth) = (decoded.masks.index_axis(Axis(0), row), truth.index_axis(Axis(0), row));
            let (mask, truth) = (masks.index_axis(Axis(0), best), truth.index_axis(Axis(0), 0));
            for (logit, inside) in mask.iter().zip(&truth) {
                let (found, inside) = (*logit > 0.0, *inside > 0.5);
                both += usize::from(found && inside);
                either += usize::from(found) + usize::from(inside);
            }
        }
        Ok(2.0 * both as f64 / either.max(1) as f64)
    }

    fn mask_prompt(&self, rows: &Range<usize>) -> Result<Array4<f32>> {
        let all = object(self.images.len_of(Axis(0)), self.engine.spec().input.image_size);
        self.engine.mask_prompt(part(&all, rows))
    }

    /// A click and a mask prompt a row.
    fn encode_prompts(&self, rows: &Range<usize>) -> Result<Vec<Output>> {
        let (f, n) = (&self.engine.spec().features, rows.len());
        let middle = self.engine.spec().input.image_size as f32 / 2.0;
        let answer = self.engine.encode_prompts(Clicks {
            points: Array3::from_elem((n, 1, 2), middle),
            labels: Array2::ones((n, 1)),
            mask: self.mask_prompt(rows)?,
            has_mask: Array2::ones((n, 1)),
        })?;
        let tokens = answer.sparse.len_of(Axis(1));
        Ok(vec![
            output("sparse", answer.sparse, vec![n, tokens, f.cond_channels]),
            output("dense", answer.dense, vec![n, f.cond_channels, f.embed_size, f.embed_size]),
        ])
    }

    fn remember(&self, rows: Range<usize>) -> Result<Array4<f32>> {
        let scores = Array2::from_elem((rows.len(), 1), PRESENT);
        self.engine.encode_memory(part(&self.features.embed, &rows), part(&self.masks, &rows), scores)
    }

    fn attend(&self, rows: Range<usize>, memories: usize) -> Result<Array4<f32>> {
        self.attend_to(part(&self.features.embed, &rows), &rows, memories)
    }

    /// Every row is conditioned on the memory of its own mask, as often as asked for.
    fn attend_to(&self, embed: Array4<f32>, rows: &Range<usize>, memories: usize) -> Result<Array4<f32>> {
        let spec = self.engine.spec();
        let own = part(&self.memories, rows).insert_axis(Axis(1));
        let (n, _, channels, height, width) = own.dim();
        let repeated = own.broadcast((n, memories, channels, height, width));
        let repeated: Array5<f32> = repeated.map_or_else(|| own.clone(), |view| view.to_owned());
        let tpos = vec![spec.memory.conditioning_tpos; memories];
        self.engine.attend(embed, repeated, &tpos, pointers(spec, n, memories))
    }

    fn decode(&self, rows: Range<usize>) -> Result<Vec<Output>> {
        let (spec, n) = (self.engine.spec(), rows.len());
        let f = &self.features;
        let decoded = self.engine.decode(
            part(&self.conditioned, &rows),
            part(&f.high_res_0, &rows),
            part(&f.high_res_1, &rows),
            prompts(spec, n),
        )?;
        let (tokens, side) = (spec.features.mask_tokens, spec.features.mask_size);
        let mut outputs = vec![
            output("masks", decoded.masks, vec![n, tokens, side, side]),
            output("iou", decoded.iou, vec![n, tokens]),
            output("object_score", decoded.object_score, vec![n, 1]),
        ];
        outputs.extend(decoded.pointers.map(|p| output("obj_ptr", p, vec![n, tokens, spec.pointers.dim])));
        Ok(outputs)
    }
}

fn output<D: Dimension>(name: &'static str, values: ndarray::Array<f32, D>, expected: Vec<usize>) -> Output {
    Output { name, values: values.into_dyn(), expected }
}

fn part(all: &Array4<f32>, rows: &Range<usize>) -> Array4<f32> {
    all.slice_axis(Axis(0), Slice::from(rows.clone())).to_owned()
}

/// A pointer for each memory, where the bundle uses them.
fn pointers(spec: &BundleSpec, rows: usize, count: usize) -> Option<Pointers> {
    let wave = |(row, pointer, i): (usize, usize, usize)| 0.1 * ((row + 3 * pointer + i) as f32 * 0.7).sin();
    spec.pointers.used.then(|| Pointers {
        vectors: Array3::from_shape_fn((rows, count, spec.pointers.dim), wave),
        time_differences: Array1::from_elem(count, 1.0).to_vec(),
    })
}

/// A prompt that says nothing, where the decoder takes prompts.
fn prompts(spec: &BundleSpec, rows: usize) -> Option<Prompts> {
    let (channels, side) = (spec.features.cond_channels, spec.features.embed_size);
    spec.prompts.used.then(|| Prompts {
        sparse: Array3::zeros((rows, 1, channels)),
        dense: Array4::zeros((rows, channels, side, side)),
    })
}

/// Distance of a pixel from the middle of a row's object, as a fraction of the side; the objects of the rows differ.
fn distance(row: usize, y: usize, x: usize, side: usize) -> f32 {
    let at = |pixel: usize, middle: f32| (pixel as f32 + 0.5) / side as f32 - middle;
    let shift = 0.04 * (row % 5) as f32;
    at(y, 0.45 + shift).hypot(at(x, 0.55 - shift))
}

/// `[rows, 1, side, side]`: 1 in the object.
fn object(rows: usize, side: usize) -> Array4<f32> {
    Array4::from_shape_fn((rows, 1, side, side), |(row, _, y, x)| {
        f32::from(u8::from(distance(row, y, x, side) < RADIUS))
    })
}

/// `[rows, 3, side, side]`: a bright object in a darker body with a gentle texture, normalised.
fn images(rows: usize, side: usize, mean: [f32; 3], std: [f32; 3]) -> Array4<f32> {
    Array4::from_shape_fn((rows, 3, side, side), |(row, channel, y, x)| {
        let distance = distance(row, y, x, side);
        let body = if distance < 0.4 { 0.35 } else { 0.05 };
        let bright = if distance < RADIUS { 0.45 } else { 0.0 };
        let texture = 0.05 * ((y * 31 + x * 17) as f32 * 0.05).sin();
        (body + bright + texture - mean[channel]) / std[channel]
    })
}
