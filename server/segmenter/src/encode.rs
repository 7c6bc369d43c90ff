//! What an annotated volume teaches: retrieval vectors and memory features of its slices, computed once when it
//! enters the bank.

use crate::Result;
use crate::crop::PixelBox;
use crate::error::{MaskShapeSnafu, ModelsSnafu, SliceOutOfRangeSnafu};
use crate::models::{ModelSpec, Models, expect_shape};
use crate::observer::{Observer, Stage, Steps};
use crate::target::{SLICES_A_CALL, Target};
use engram_imaging::Volume;
use engram_imaging::resample::{Letterbox, Region};
use half::f16;
use ndarray::{Array1, Array2, Array3, Array4, ArrayView2, ArrayView3, Axis};
use snafu::{ResultExt, ensure};
use std::sync::Arc;

/// One label's annotation of a volume.
#[derive(Debug, Clone, Copy)]
pub struct LabelMask<'a> {
    /// Key of the label.
    pub label: &'a str,
    /// `[slice, row, column]` on the volume's grid, not 0 in the object.
    pub mask: ArrayView3<'a, u8>,
}

/// An annotated slice, ready for a bank.
#[derive(Debug, Clone)]
pub struct PreparedExemplar {
    /// Index of the slice in its volume.
    pub slice: usize,
    /// Retrieval vector, as the bundle gives it.
    pub vector: Array1<f32>,
    /// Every label that was asked for, present on this slice or not.
    pub labels: Vec<PreparedLabel>,
}

/// One label on an annotated slice.
#[derive(Debug, Clone)]
pub struct PreparedLabel {
    /// Key of the label.
    pub label: String,
    /// Whether it has pixels on this slice.
    pub present: bool,
    /// Fraction of the slice's pixels that it covers, 0..1.
    pub area_fraction: f32,
    /// Memory `[M, h, h]` from the whole slice. All absent labels of a slice share that of the empty mask.
    pub whole: Arc<Array3<f32>>,
    /// The same from the part of the slice around where the volume has the label, where that is small: of slices
    /// without the label too, so that a closer look can tell that there is none.
    pub crop: Option<CropMemory>,
}

/// A memory of a part of a slice.
#[derive(Debug, Clone)]
pub struct CropMemory {
    /// The part, in pixels of the slice.
    pub region: Region,
    /// `[M, h, h]`.
    pub memory: Arc<Array3<f32>>,
}

/// Encodes the slices named, each with every label of `masks`. A slice where a label has no pixel becomes a
/// negative exemplar of it, so name only slices that were annotated: all of them for a complete annotation, the
/// edited ones for a partial one.
///
/// A small label's crop is the box of the label over the slices named, the same on all of them.
///
/// # Errors
/// [`MaskShape`](crate::Error::MaskShape), [`SliceOutOfRange`](crate::Error::SliceOutOfRange), what the bundle
/// cannot do, cancellation.
pub fn encode_exemplars(
    models: &dyn Models,
    volume: &Volume,
    masks: &[LabelMask],
    slices: &[usize],
    observer: &dyn Observer,
) -> Result<Vec<PreparedExemplar>> {
    let target = Target::new(volume, &models.spec().input)?;
    check(&target, masks, slices)?;
    Steps::run(observer, Stage::Prepare, slices.len() * 2, |steps| {
        let vectors = target.retrieval_vectors(models, slices, steps)?;
        let mut exemplars: Vec<PreparedExemplar> = slices
            .iter()
            .zip(vectors.outer_iter())
            .map(|(slice, vector)| PreparedExemplar {
                slice: *slice,
                vector: vector.to_owned(),
                labels: vec![],
            })
            .collect();
        let encoder = Encoder { models, target: &target };
        let regions: Vec<Option<Region>> = masks.iter().map(|mask| encoder.region(mask, slices)).collect();
        for chunk in exemplars.chunks_mut(SLICES_A_CALL) {
            encoder.encode(chunk, masks, &regions)?;
            steps.advance(chunk.len())?;
        }
        Ok(exemplars)
    })
}

fn check(target: &Target, masks: &[LabelMask], slices: &[usize]) -> Result<()> {
    let expected = target.volume.voxels.shape();
    for mask in masks {
        let found = mask.mask.shape();
        ensure!(found == expected, MaskShapeSnafu { label: mask.label, expected, found });
    }
    for slice in slices {
        let slices = target.slices();
        ensure!(*slice < slices, SliceOutOfRangeSnafu { slice: *slice, slices });
    }
    Ok(())
}

struct Encoder<'a> {
    models: &'a dyn Models,
    target: &'a Target<'a>,
}

/// A mask that becomes a memory, and its row of a batch.
struct Entry<'a> {
    row: usize,
    mask: ArrayView2<'a, u8>,
}

impl Encoder<'_> {
    fn region(&self, mask: &LabelMask, slices: &[usize]) -> Option<Region> {
        let annotated = mask.mask.select(Axis(0), slices);
        let spacing = self.target.volume.geometry.pixel_spacing;
        PixelBox::of_mask(annotated.view())?.region(self.target.native(), spacing, &self.models.spec().memory)
    }

    /// Fills in the labels of some slices.
    fn encode(
        &self,
        exemplars: &mut [PreparedExemplar],
        masks: &[LabelMask],
        regions: &[Option<Region>],
    ) -> Result<()> {
        let slices: Vec<usize> = exemplars.iter().map(|exemplar| exemplar.slice).collect();
        let whole = self.target.whole(self.models.spec().input.image_size);
        let embed = self.embed(&slices, &whole)?;
        let empty = self.empty_memories(&embed)?;
        for (label, mask) in masks.iter().enumerate() {
            let entries: Vec<Entry> = slices
                .iter()
                .enumerate()
                .map(|(row, slice)| Entry { row, mask: mask.mask.index_axis_move(Axis(0), *slice) })
                .filter(|entry| entry.mask.iter().any(|value| *value != 0))
                .collect();
            let memories = self.memories(&embed, &entries, &whole)?;
            let crops = match regions.get(label).copied().flatten() {
                Some(region) => self.crops(&slices, mask.mask, region)?,
                None => vec![None; slices.len()],
            };
            let mut present: Vec<Option<PreparedLabel>> = vec![None; slices.len()];
            for (entry, memory) in entries.iter().zip(memories) {
                let covered = entry.mask.iter().filter(|value| **value != 0).count();
                present[entry.row] = Some(PreparedLabel {
                    label: mask.label.to_owned(),
                    present: true,
                    area_fraction: covered as f32 / entry.mask.len() as f32,
                    whole: memory,
                    crop: None,
                });
            }
            let rows = exemplars.iter_mut().zip(present).zip(&empty).zip(crops);
            for (((exemplar, prepared), empty), crop) in rows {
                let prepared = prepared.unwrap_or_else(|| PreparedLabel {
                    label: mask.label.to_owned(),
                    present: false,
                    area_fraction: 0.0,
                    whole: Arc::clone(empty),
                    crop: None,
                });
                exemplar.labels.push(PreparedLabel { crop, ..prepared });
            }
        }
        Ok(())
    }

    /// A label's memories of a region, one a slice.
    fn crops(
        &self,
        slices: &[usize],
        mask: ArrayView3<u8>,
        region: Region,
    ) -> Result<Vec<Option<CropMemory>>> {
        let spacing = self.target.volume.geometry.pixel_spacing;
        let size = self.models.spec().input.image_size;
        let letterbox = Letterbox::of_region(self.target.native(), region, spacing, size);
        let entries: Vec<Entry> = slices
            .iter()
            .enumerate()
            .map(|(row, slice)| Entry { row, mask: mask.index_axis_move(Axis(0), *slice) })
            .collect();
        let memories = self.memories(&self.embed(slices, &letterbox)?, &entries, &letterbox)?;
        Ok(memories.into_iter().map(|memory| Some(CropMemory { region, memory })).collect())
    }

    /// Image embeddings `[B, C, h, h]` of slices.
    fn embed(&self, slices: &[usize], letterbox: &Letterbox) -> Result<Array4<f32>> {
        let spec = self.models.spec();
        if slices.is_empty() {
            return Ok(Array4::zeros((0, spec.features.embed_channels, 0, 0)));
        }
        let images = self.target.images(slices, letterbox, spec.input.mean, spec.input.std);
        Ok(self.models.encode_image(images).context(ModelsSnafu { action: "encode annotated slices" })?.embed)
    }

    fn empty_memories(&self, embed: &Array4<f32>) -> Result<Vec<Arc<Array3<f32>>>> {
        let side = self.models.spec().input.image_size;
        let mask = self.models.spec().exemplar_mask(0.0);
        let rows = embed.len_of(Axis(0));
        let masks = Array4::from_elem((rows, 1, side, side), mask);
        given_memories(self.models, embed.clone(), masks, &vec![false; rows])
    }

    fn memories(
        &self,
        embed: &Array4<f32>,
        entries: &[Entry],
        letterbox: &Letterbox,
    ) -> Result<Vec<Arc<Array3<f32>>>> {
        if entries.is_empty() {
            return Ok(vec![]);
        }
        let rows: Vec<usize> = entries.iter().map(|entry| entry.row).collect();
        let side = letterbox.size;
        let mut masks = Array4::zeros((entries.len(), 1, side, side));
        for (mut row, entry) in masks.outer_iter_mut().zip(entries) {
            row.index_axis_mut(Axis(0), 0).assign(&graph_mask(self.models.spec(), entry.mask, letterbox));
        }
        let present: Vec<bool> =
            entries.iter().map(|entry| entry.mask.iter().any(|value| *value != 0)).collect();
        given_memories(self.models, embed.select(Axis(0), &rows), masks, &present)
    }
}

/// A given mask as the memory encoder wants it: resized with antialiasing, cut at a half, scaled.
pub(crate) fn graph_mask(spec: &ModelSpec, mask: ArrayView2<u8>, letterbox: &Letterbox) -> Array2<f32> {
    let coverage = mask.mapv(|value| f32::from(u8::from(value != 0)));
    letterbox.apply(coverage.view()).mapv_into(|value| spec.exemplar_mask(value))
}

/// Memories of given masks, rounded to half precision: a bank that stores them so and one in memory then lead to the
/// same voxels.
fn given_memories(
    models: &dyn Models,
    embed: Array4<f32>,
    masks: Array4<f32>,
    present: &[bool],
) -> Result<Vec<Arc<Array3<f32>>>> {
    let scores = Array2::from_shape_fn((present.len(), 1), |(row, _)| ModelSpec::given_score(present[row]));
    let memories = encode_memories(models, embed, masks, scores)?;
    let round = |memory: Arc<Array3<f32>>| Arc::new(memory.mapv(|value| f16::from_f32(value).to_f32()));
    Ok(memories.into_iter().map(round).collect())
}

/// Memories of masks, one a row.
pub(crate) fn encode_memories(
    models: &dyn Models,
    embed: Array4<f32>,
    masks: Array4<f32>,
    scores: Array2<f32>,
) -> Result<Vec<Arc<Array3<f32>>>> {
    let action = "encode memories";
    let rows = masks.len_of(Axis(0));
    let memories = models.encode_memory(embed, masks, scores).context(ModelsSnafu { action })?;
    let [channels, height, width] = models.spec().memory_shape();
    expect_shape(action, &[rows, channels, height, width], memories.shape())?;
    Ok(memories.outer_iter().map(|memory| Arc::new(memory.to_owned())).collect())
}
