//! Phantom patients: made-up people, scanned by a made-up MR scanner, as DICOM objects with the truth beside
//! them. For the demo, where real studies are neither at hand nor wanted.
//!
//! Anatomies are solids in space, images the spin-echo signal of what fills each voxel. Nothing here is shared
//! with what trained the models: the phantoms are as new to them as a patient is.

mod anatomy;
mod dicom;
mod scan;
mod shape;
mod tissue;

use engram_seg::{Code, LabelConcept};
use ndarray::Array3;

pub use dicom::Error;

/// The organs that phantoms are annotated with. Everything else in the image is there to be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Organ {
    /// Liver, with its vessels.
    Liver = 1,
    /// The kidney on the person's right, without the renal sinus.
    RightKidney,
    /// The kidney on the person's left, without the renal sinus.
    LeftKidney,
    /// Spleen.
    Spleen,
}

impl Organ {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Liver, Self::RightKidney, Self::LeftKidney, Self::Spleen];

    /// Its number in a truth volume, and its SegmentNumber: from 1.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Liver => "Liver",
            Self::RightKidney => "Right kidney",
            Self::LeftKidney => "Left kidney",
            Self::Spleen => "Spleen",
        }
    }

    /// Its coded concept (SNOMED CT, PS3.16 CID 7166 and 244).
    pub fn concept(self) -> LabelConcept {
        let (value, meaning, side) = match self {
            Self::Liver => ("10200004", "Liver", None),
            Self::RightKidney => ("64033007", "Kidney", Some(("24028007", "Right"))),
            Self::LeftKidney => ("64033007", "Kidney", Some(("7771000", "Left"))),
            Self::Spleen => ("78961009", "Spleen", None),
        };
        LabelConcept {
            category: Some(Code::new("123037004", "SCT", "Anatomical Structure")),
            property_type: Code::new(value, "SCT", meaning),
            modifiers: side.into_iter().map(|(value, meaning)| Code::new(value, "SCT", meaning)).collect(),
        }
    }
}

/// A phantom patient's study: one series of axial slices, its annotation, and the truth.
pub struct Phantom {
    /// PatientID.
    pub patient_id: String,
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID of the images.
    pub series: String,
    /// The images as Part 10 files, from the lowest slice to the highest.
    pub images: Vec<Vec<u8>>,
    /// A MANUAL SEG of every organ, exactly the truth, as a Part 10 file.
    pub segmentation: Vec<u8>,
    /// Stored pixel values: slice, row, column; slices as in `images`.
    pub pixels: Array3<u16>,
    /// The organ's number for each voxel, 0 for none.
    pub truth: Array3<u8>,
}

/// Makes the patient of a seed. The same seed makes the same patient, UIDs included.
///
/// # Errors
/// When a DICOM object cannot be written.
pub fn patient(seed: u64) -> Result<Phantom, Error> {
    dicom::phantom(seed, scan::scan(seed))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// A patient that the tests share, since making one takes a while.
    static EXAMPLE: LazyLock<Phantom> = LazyLock::new(|| patient(1).unwrap());

    #[test]
    fn patients_differ_and_repeat() {
        let [again, b] = [1, 2].map(|seed| patient(seed).unwrap());
        let a = &*EXAMPLE;
        assert_eq!((&a.images, &a.segmentation), (&again.images, &again.segmentation));
        assert_ne!(a.study, b.study);
        assert_ne!(a.pixels, b.pixels);
        for organ in Organ::ALL {
            let volume = |phantom: &Phantom| phantom.truth.iter().filter(|n| **n == organ.number()).count();
            // At 57 mm³ a voxel or so, the smallest organ still has some 50 ml.
            assert!(volume(a) > 900 && volume(&b) > 900, "{organ:?}: {} and {}", volume(a), volume(&b));
            assert_ne!(volume(a), volume(&b), "{organ:?}");
        }
    }

    #[test]
    fn the_segmentation_says_what_the_truth_says() {
        let phantom = &*EXAMPLE;
        let slices: Vec<_> = phantom
            .images
            .iter()
            .flat_map(|bytes| {
                let image = dicom_object::from_reader(bytes.as_slice()).unwrap();
                engram_seg::ReferencedSlice::of_instance(&image).unwrap()
            })
            .collect();
        let object = dicom_object::from_reader(phantom.segmentation.as_slice()).unwrap();
        let segmentation = engram_seg::read(&object).unwrap();
        for organ in Organ::ALL {
            let found = segmentation.masks_on(organ.number().into(), &slices).unwrap().mask;
            assert_eq!(found, phantom.truth.mapv(|n| u8::from(n == organ.number())), "{organ:?}");
        }
    }
}
