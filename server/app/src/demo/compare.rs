//! A result beside the truth.

use engram_phantom::{Organ, Phantom};
use engram_seg::ReferencedSlice;
use engram_segmenter::Spread;
use ndarray::Array3;

use crate::cli::Failure;

/// The Dice coefficient of each organ, in the order of [`Organ::ALL`]; `None` where both volumes lack it.
pub type OrganDice = [Option<f64>; Organ::ALL.len()];

/// Compares two volumes of organ numbers.
pub fn dice(result: &Array3<u8>, truth: &Array3<u8>) -> OrganDice {
    Organ::ALL.map(|organ| {
        let mask = |volume: &Array3<u8>| volume.mapv(|number| number == organ.number());
        engram_segmenter::dice(&mask(result), &mask(truth))
    })
}

/// What several targets come to.
pub struct Summary {
    /// For each organ, over the targets that have it.
    pub organs: [Spread; Organ::ALL.len()],
    /// Mean over the organs.
    pub mean: f64,
}

impl Summary {
    /// Of the targets' coefficients.
    pub fn of(targets: &[OrganDice]) -> Self {
        let organs = std::array::from_fn(|organ| Spread::of(targets.iter().filter_map(|dice| dice[organ])));
        let counted = organs.iter().filter(|spread: &&Spread| spread.count > 0);
        let mean = Spread::of(counted.map(|spread| spread.mean)).mean;
        Self { organs, mean }
    }
}

/// The organ numbers that a SEG gives the voxels of a target, segments told apart by their coded concepts.
pub fn organs_of(segmentation: &[u8], target: &Phantom) -> Result<Array3<u8>, Failure> {
    let unreadable =
        |error: dicom_object::ReadError| Failure::say(format!("could not read an object: {error}"));
    let object = dicom_object::from_reader(segmentation).map_err(unreadable)?;
    let segmentation = engram_seg::read(&object).map_err(Failure::of)?;
    let mut slices = Vec::new();
    for image in &target.images {
        let image = dicom_object::from_reader(image.as_slice()).map_err(unreadable)?;
        slices.extend(ReferencedSlice::of_instance(&image).map_err(Failure::of)?);
    }
    let mut organs = Array3::zeros(target.truth.raw_dim());
    for organ in Organ::ALL {
        let concept = organ.concept();
        for segment in segmentation.description.foreground().filter(|segment| segment.concept == concept) {
            let mask = segmentation.masks_on(segment.number, &slices).map_err(Failure::of)?.mask;
            organs.zip_mut_with(&mask, |voxel, inside| {
                if *inside != 0 {
                    *voxel = organ.number();
                }
            });
        }
    }
    Ok(organs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organ_nobody_has_is_left_out_and_one_that_only_one_has_counts_nothing() {
        let volume = |voxels: [u8; 4]| Array3::from_shape_vec((1, 2, 2), voxels.to_vec()).unwrap();
        let a = dice(&volume([1, 1, 2, 0]), &volume([1, 0, 0, 4]));
        assert_eq!(a, [Some(2.0 / 3.0), Some(0.0), None, Some(0.0)]);
        let b = dice(&volume([1, 1, 0, 0]), &volume([1, 1, 0, 0]));
        let summary = Summary::of(&[a, b]);
        assert_eq!(summary.organs.map(|spread| spread.count), [2, 1, 0, 1]);
        assert!((summary.mean - (5.0 / 6.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_patients_own_annotation_is_the_truth() {
        let patient = &engram_phantom::patient(1).unwrap();
        assert_eq!(organs_of(&patient.segmentation, patient).unwrap(), patient.truth);
    }
}
