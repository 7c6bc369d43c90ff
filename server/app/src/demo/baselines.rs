//! What simpler methods make of the same patients: a figure says little without these beside it.

use dicom_object::DefaultDicomObject;
use engram_imaging::{Volume, VolumeLimits};
use engram_inference::InputSpec;
use engram_phantom::{Organ, Phantom};
use engram_segmenter::LabelMask;
use engram_segmenter::baselines::Baselines;
use ndarray::Array3;

use super::compare::{self, OrganDice, Summary};
use crate::cli::Failure;

/// One method.
pub struct Baseline {
    /// What it is called.
    pub name: &'static str,
    /// How well it does on the targets.
    pub summary: Summary,
}

/// Copying the annotation of the most similar slice, and a vote of the pixels nearest in intensity and place.
/// `input` says how images are windowed, as for the models.
pub fn measure(
    exemplars: &[Phantom],
    targets: &[Phantom],
    input: &InputSpec,
) -> Result<Vec<Baseline>, Failure> {
    let keys = Organ::ALL.map(|organ| organ.concept().key());
    let mut baselines = Baselines::new(&keys.each_ref().map(String::as_str), input);
    for exemplar in exemplars {
        let masks = Organ::ALL.map(|organ| exemplar.truth.mapv(|number| u8::from(number == organ.number())));
        let masks: Vec<LabelMask> =
            keys.iter().zip(&masks).map(|(key, mask)| LabelMask { label: key, mask: mask.view() }).collect();
        let slices: Vec<usize> = (0..exemplar.images.len()).collect();
        baselines.insert(&volume(exemplar)?, &masks, &slices).map_err(Failure::of)?;
    }
    let (mut knn, mut copy) = (Vec::new(), Vec::new());
    for target in targets {
        let volume = volume(target)?;
        knn.push(dice(&baselines.knn(&volume).map_err(Failure::of)?, target));
        copy.push(dice(&baselines.copy(&volume).map_err(Failure::of)?, target));
    }
    Ok(vec![
        Baseline { name: "kNN", summary: Summary::of(&knn) },
        Baseline { name: "copy", summary: Summary::of(&copy) },
    ])
}

/// Of masks in the order of [`Organ::ALL`]; where they overlap, the later organ has the voxel.
fn dice(masks: &[Array3<bool>], target: &Phantom) -> OrganDice {
    let mut organs = Array3::zeros(target.truth.raw_dim());
    for (organ, mask) in Organ::ALL.into_iter().zip(masks) {
        organs.zip_mut_with(mask, |voxel, inside| {
            if *inside {
                *voxel = organ.number();
            }
        });
    }
    compare::dice(&organs, &target.truth)
}

/// The volume of a patient's images; slices from the lowest to the highest, as in the truth.
fn volume(patient: &Phantom) -> Result<Volume, Failure> {
    let unreadable =
        |error: dicom_object::ReadError| Failure::say(format!("could not read an object: {error}"));
    let objects: Vec<DefaultDicomObject> = patient
        .images
        .iter()
        .map(|image| dicom_object::from_reader(image.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    let volumes = engram_imaging::assemble(&objects, &VolumeLimits::default()).map_err(Failure::of)?;
    volumes.into_iter().next().ok_or_else(|| Failure::say("a phantom's images are no volume"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phantoms_images_are_one_volume_in_the_order_of_its_truth() {
        let patient = &engram_phantom::patient(1).unwrap();
        let volume = volume(patient).unwrap();
        assert!(volume.geometry.spatial);
        assert_eq!(volume.voxels, patient.pixels.mapv(f32::from));
    }
}
