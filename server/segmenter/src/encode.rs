//! What an annotated volume teaches: retrieval vectors and memory features of its slices, computed once when it
//! enters the bank.

use crate::Result;
use crate::crop::PixelBox;
use crate::error::{MaskShapeSnafu, ModelsSnafu, SliceOutOfRangeSnafu};
use crate::memorise;
use crate::models::{EncodedImages, Models};
use crate::observer::{Observer, Stage, Steps};
use crate::target::{SLICES_A_CALL, Target};
use engram_imaging::Volume;
use engram_imaging::resample::{Letterbox, Region};
use engram_memory::Memory;
use half::f16;
use ndarray::{Array1, Array4, ArrayView2, ArrayView3, Axis};
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
    /// Memory from the whole slice. All absent labels of a slice share that of the empty mask.
    pub whole: Arc<Memory>,
    /// The same from the part of the slice around where the volume has the label, where that is small: of slices
    /// without the label too, so that a closer look can tell that there is none.
    pub crop: Option<CropMemory>,
}

/// A memory of a part of a slice.
#[derive(Debug, Clone)]
pub struct CropMemory {
    /// The part, in pixels of the slice.
    pub region: Region,
    /// What is remembered of it.
    pub memory: Arc<Memory>,
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
        let images = self.images(&slices, &whole)?;
        let empty = self.empty_memories(&images)?;
        for (label, mask) in masks.iter().enumerate() {
            let entries: Vec<Entry> = slices
                .iter()
                .enumerate()
                .map(|(row, slice)| Entry { row, mask: mask.mask.index_axis_move(Axis(0), *slice) })
                .filter(|entry| entry.mask.iter().any(|value| *value != 0))
                .collect();
            let memories = self.memories(&images, &entries, &whole)?;
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
        let memories = self.memories(&self.images(slices, &letterbox)?, &entries, &letterbox)?;
        Ok(memories.into_iter().map(|memory| Some(CropMemory { region, memory })).collect())
    }

    /// Image features of slices.
    fn images(&self, slices: &[usize], letterbox: &Letterbox) -> Result<EncodedImages> {
        let spec = self.models.spec();
        let images = self.target.images(slices, letterbox, spec.input.mean, spec.input.std);
        self.models.encode_image(images).context(ModelsSnafu { action: "encode annotated slices" })
    }

    fn empty_memories(&self, images: &EncodedImages) -> Result<Vec<Arc<Memory>>> {
        let side = self.models.spec().input.image_size;
        let rows = images.embed.len_of(Axis(0));
        Ok(kept(memorise::given(self.models, images, Array4::zeros((rows, 1, side, side)))?))
    }

    fn memories(
        &self,
        images: &EncodedImages,
        entries: &[Entry],
        letterbox: &Letterbox,
    ) -> Result<Vec<Arc<Memory>>> {
        if entries.is_empty() {
            return Ok(vec![]);
        }
        let rows: Vec<usize> = entries.iter().map(|entry| entry.row).collect();
        let side = letterbox.size;
        let mut coverage = Array4::zeros((entries.len(), 1, side, side));
        for (row, entry) in entries.iter().enumerate() {
            memorise::put_coverage(&mut coverage, row, entry.mask, letterbox);
        }
        Ok(kept(memorise::given(self.models, &images.select(&rows), coverage)?))
    }
}

/// Memories rounded to half precision: a bank that stores them so and one in memory then lead to the same voxels.
fn kept(memories: Vec<Memory>) -> Vec<Arc<Memory>> {
    let round = |value: f32| f16::from_f32(value).to_f32();
    let kept = memories.into_iter().map(|memory| {
        let pointer = memory.pointer.map(|pointer| pointer.mapv_into(round));
        Arc::new(Memory { features: memory.features.mapv_into(round), pointer })
    });
    kept.collect()
}
