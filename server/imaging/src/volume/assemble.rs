//! From the objects of a series to volumes.

use super::group::{Group, commonest, groups};
use super::slice::{self, Candidate, Plane};
use super::spacing;
use super::{NotAVolume, Volume, VolumeGeometry, VolumeNote};
use crate::attributes::text;
use crate::error::{Error, MismatchSnafu, NoSuchFrameSnafu, NotAVolumeSnafu, Result, TooLargeSnafu};
use crate::pixels::{DecodeLimits, PixelReader};
use crate::transform::{Modality, Voi};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use ndarray::parallel::prelude::*;
use ndarray::{Array3, Axis};
use snafu::{OptionExt, ensure};
use std::borrow::Borrow;

/// How much memory one call of [`assemble`] may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeLimits {
    /// Bytes of all volumes' voxels together. Default: 4 GiB.
    pub max_bytes: u64,
    /// Limits of each frame.
    pub decode: DecodeLimits,
}

impl Default for VolumeLimits {
    fn default() -> Self {
        Self { max_bytes: 4 << 30, decode: DecodeLimits::default() }
    }
}

/// Row and column directions where the file gives none.
const NOMINAL_ORIENTATION: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

/// Makes volumes of the objects of one series, given in any order.
///
/// One volume, or several: where frames differ in size, spacing or orientation, the largest group first;
/// and where positions hold several frames, a volume each time point, echo or acquisition. Slices are
/// sorted along the normal, on their own grid; gaps, irregular steps and the like are in the volume's
/// notes. Frames without a position (ultrasound, radiographs) make a volume an instance, with nominal
/// geometry. Slices are decoded in parallel.
///
/// # Errors
/// [`Error::NotAVolume`] where no object is a slice: localizers, secondary captures without a position,
/// colour, objects that are no images. Otherwise what decoding any slice reports, or [`Error::TooLarge`].
pub fn assemble<O>(objects: &[O], limits: &VolumeLimits) -> Result<Vec<Volume>>
where
    O: Borrow<DefaultDicomObject> + Sync,
{
    let mut readers = Vec::with_capacity(objects.len());
    let mut candidates = Vec::new();
    let mut refused = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let object = object.borrow();
        if let Some(reason) = slice::refusal(object) {
            refused.push((reason, 1));
            readers.push(None);
            continue;
        }
        let reader = PixelReader::open(object, limits.decode)?;
        reader.ensure_complete()?;
        let frames = reader.number_of_frames();
        let needed = frames as u64 * (reader.rows() * reader.columns()) as u64 * 4;
        ensure_fits(needed, limits)?;
        candidates.extend(slice::candidates(index, object, reader.rows(), reader.columns(), frames));
        readers.push(Some(reader));
    }
    let refused = commonest(&refused);
    if candidates.is_empty() {
        let reason = refused.first().map_or(NotAVolume::Empty, |(reason, _)| *reason);
        return NotAVolumeSnafu { reason }.fail();
    }
    ensure_fits(candidates.iter().map(|slice| (slice.rows * slice.columns) as u64 * 4).sum(), limits)?;

    let excluded = refused.into_iter().map(|(reason, frames)| VolumeNote::Excluded { frames, reason });
    let excluded: Vec<VolumeNote> = excluded.collect();
    groups(candidates, objects)
        .into_iter()
        .map(|mut group| {
            group.notes.extend(excluded.iter().cloned());
            volume(group, objects, &readers)
        })
        .collect()
}

fn ensure_fits(needed: u64, limits: &VolumeLimits) -> Result<()> {
    ensure!(needed <= limits.max_bytes, TooLargeSnafu { what: "a volume", needed, limit: limits.max_bytes });
    Ok(())
}

fn volume<O: Borrow<DefaultDicomObject> + Sync>(
    group: Group,
    objects: &[O],
    readers: &[Option<PixelReader>],
) -> Result<Volume> {
    let Group { slices, spatial, mut notes } = group;
    let empty = || NotAVolumeSnafu { reason: NotAVolume::Empty };
    let first = slices.first().with_context(empty)?;
    let object = objects.get(first.object).with_context(empty)?.borrow();
    let geometry = geometry(&slices, first, spatial);
    if !spatial || first.spacing.is_none() {
        notes.push(VolumeNote::NominalGeometry);
    }
    if spatial {
        notes.extend(spacing::notes(&geometry));
    }
    let middle = slices.get(slices.len() / 2).unwrap_or(first);
    let window = objects.get(middle.object).and_then(|object| {
        match Voi::of_frame(object.borrow(), middle.source.frame as usize) {
            Some(Voi::Window(window)) => Some(window),
            _ => None,
        }
    });
    let value = |tag: Tag| text(object, tag).unwrap_or_default();
    Ok(Volume {
        voxels: voxels(&slices, first, objects, readers)?,
        geometry,
        modality: value(tags::MODALITY),
        patient_id: value(tags::PATIENT_ID),
        study_instance_uid: value(tags::STUDY_INSTANCE_UID),
        series_instance_uid: value(tags::SERIES_INSTANCE_UID),
        frame_of_reference_uid: text(object, tags::FRAME_OF_REFERENCE_UID),
        window,
        notes,
        sources: slices.into_iter().map(|slice| slice.source).collect(),
    })
}

fn geometry(slices: &[Candidate], first: &Candidate, spatial: bool) -> VolumeGeometry {
    let nominal = |index: usize| [0.0, 0.0, index as f64];
    let position = |(index, slice): (usize, &Candidate)| {
        slice.plane.map_or_else(|| nominal(index), |plane: Plane| plane.position)
    };
    VolumeGeometry {
        columns: first.columns,
        rows: first.rows,
        pixel_spacing: first.spacing.unwrap_or([1.0, 1.0]),
        orientation: first.plane.map_or(NOMINAL_ORIENTATION, |plane| plane.orientation),
        positions: slices.iter().enumerate().map(position).collect(),
        spatial,
    }
}

/// Decodes the slices, as many at a time as there are threads.
fn voxels<O: Borrow<DefaultDicomObject> + Sync>(
    slices: &[Candidate],
    first: &Candidate,
    objects: &[O],
    readers: &[Option<PixelReader>],
) -> Result<Array3<f32>> {
    let mut voxels = Array3::zeros((slices.len(), first.rows, first.columns));
    voxels.axis_iter_mut(Axis(0)).into_par_iter().zip(slices.par_iter()).try_for_each(
        |(mut target, slice)| -> Result<(), Error> {
            let frame = slice.source.frame as usize;
            let missing = || NoSuchFrameSnafu { frame, frames: slice.source.frames as usize };
            let reader = readers.get(slice.object).and_then(Option::as_ref).with_context(missing)?;
            let object = objects.get(slice.object).with_context(missing)?.borrow();
            let decoded = reader.frame(frame)?;
            let values = Modality::of_frame(object, frame).apply(&decoded.data);
            let (found, expected) = (values.len() as u64, target.len() as u64);
            ensure!(
                found == expected,
                MismatchSnafu { frame, what: "the number of samples", found, expected }
            );
            for (voxel, value) in target.iter_mut().zip(values) {
                *voxel = value;
            }
            Ok(())
        },
    )?;
    Ok(voxels)
}
