//! What an object says of each of its frames: where it lies, and when it was taken.

use super::geometry::{cross, dot};
use super::{NotAVolume, SliceSource};
use crate::attributes::{codes, first_item, float, float_array, floats, integer, of_frame, text};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};

/// A frame that may become a slice.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Index of its object.
    pub object: usize,
    pub source: SliceSource,
    pub rows: usize,
    pub columns: usize,
    /// Row spacing, column spacing, mm.
    pub spacing: Option<[f64; 2]>,
    /// Where it lies; None where the file does not say.
    pub plane: Option<Plane>,
    pub instance_number: i64,
}

/// A slice's place in the patient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plane {
    /// ImagePositionPatient.
    pub position: [f64; 3],
    /// ImageOrientationPatient, orthonormal.
    pub orientation: [f64; 6],
}

/// What tells frames at one position apart, in order of preference: a functional group, an attribute, and
/// the name it has in notes.
pub(super) const TIME_KEYS: [(Tag, Tag, &str); 9] = [
    (tags::TEMPORAL_POSITION_SEQUENCE, tags::TEMPORAL_POSITION_IDENTIFIER, "TemporalPositionIdentifier"),
    (tags::FRAME_CONTENT_SEQUENCE, tags::TEMPORAL_POSITION_INDEX, "TemporalPositionIndex"),
    (
        tags::CARDIAC_SYNCHRONIZATION_SEQUENCE,
        tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME,
        "NominalCardiacTriggerDelayTime",
    ),
    (tags::CARDIAC_SYNCHRONIZATION_SEQUENCE, tags::TRIGGER_TIME, "TriggerTime"),
    (tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME, "EffectiveEchoTime"),
    (tags::MR_ECHO_SEQUENCE, tags::ECHO_TIME, "EchoTime"),
    (tags::MR_DIFFUSION_SEQUENCE, tags::DIFFUSION_B_VALUE, "DiffusionBValue"),
    (tags::FRAME_CONTENT_SEQUENCE, tags::ACQUISITION_NUMBER, "AcquisitionNumber"),
    (tags::FRAME_CONTENT_SEQUENCE, tags::ACQUISITION_TIME, "AcquisitionTime"),
];

/// Why an object's frames are no slices, if they are not.
pub(super) fn refusal(object: &DefaultDicomObject) -> Option<NotAVolume> {
    let class = text(object, tags::SOP_CLASS_UID).unwrap_or_default();
    let has_pixels = [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
        .into_iter()
        .any(|tag| object.get(tag).is_some());
    let is_label = [uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE]
        .contains(&class.as_str())
        || text(object, tags::MODALITY).as_deref() == Some("SEG");
    if !has_pixels || is_label {
        return Some(NotAVolume::NotAnImage);
    }
    let colour = integer(object, tags::SAMPLES_PER_PIXEL).unwrap_or(1) != 1
        || text(object, tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("PALETTE COLOR");
    if colour {
        return Some(NotAVolume::Colour);
    }
    if codes(object, tags::IMAGE_TYPE).iter().any(|value| value == "LOCALIZER" || value == "SCOUT") {
        return Some(NotAVolume::Localizer);
    }
    let is_capture = class == uids::SECONDARY_CAPTURE_IMAGE_STORAGE
        || class.starts_with(&format!("{}.", uids::SECONDARY_CAPTURE_IMAGE_STORAGE));
    if is_capture && plane(object, 1).is_none() {
        return Some(NotAVolume::SecondaryCapture);
    }
    None
}

/// The frames of an object. `frames` is what its pixel data hold.
pub(super) fn candidates(
    index: usize,
    object: &DefaultDicomObject,
    rows: usize,
    columns: usize,
    frames: usize,
) -> Vec<Candidate> {
    let sop_class_uid = text(object, tags::SOP_CLASS_UID).unwrap_or_default();
    let sop_instance_uid = text(object, tags::SOP_INSTANCE_UID).unwrap_or_default();
    let instance_number = integer(object, tags::INSTANCE_NUMBER).unwrap_or(0);
    let planes = planes(object, frames);
    (1..=frames)
        .zip(planes)
        .map(|(frame, plane)| Candidate {
            object: index,
            source: SliceSource {
                sop_class_uid: sop_class_uid.clone(),
                sop_instance_uid: sop_instance_uid.clone(),
                frame: frame as u32,
                frames: frames as u32,
            },
            rows,
            columns,
            spacing: spacing(object, frame),
            plane,
            instance_number,
        })
        .collect()
}

/// The value of one of [`TIME_KEYS`].
pub(super) fn time_value(object: &DefaultDicomObject, frame: usize, group: Tag, tag: Tag) -> Option<f64> {
    of_frame(object, frame, group, |item| {
        // A time such as 101530.25 orders as a number does.
        float(item, tag).or_else(|| text(item, tag)?.parse().ok())
    })
}

/// Planes of all frames. Where a classic multi-frame object gives the first one only, the others follow it
/// along the normal: by GridFrameOffsetVector (RT dose) or SpacingBetweenSlices (reconstructed NM and PET).
fn planes(object: &DefaultDicomObject, frames: usize) -> Vec<Option<Plane>> {
    let own = object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).is_some();
    if frames == 1 || own {
        return (1..=frames).map(|frame| plane(object, frame)).collect();
    }
    let Some(first) = plane(object, 1).or_else(|| {
        let detector = first_item(object, tags::DETECTOR_INFORMATION_SEQUENCE)?;
        plane_of(
            float_array(detector, tags::IMAGE_POSITION_PATIENT)?,
            float_array(detector, tags::IMAGE_ORIENTATION_PATIENT)?,
        )
    }) else {
        return vec![None; frames];
    };
    let offsets = floats(object, tags::GRID_FRAME_OFFSET_VECTOR)
        .filter(|offsets| offsets.len() == frames)
        .map(|offsets| offsets.iter().map(|offset| offset - offsets[0]).collect::<Vec<f64>>());
    let offsets = offsets.or_else(|| {
        let step = float(object, tags::SPACING_BETWEEN_SLICES).filter(|step| *step != 0.0)?;
        Some((0..frames).map(|frame| frame as f64 * step).collect())
    });
    let Some(offsets) = offsets else { return vec![None; frames] };
    let normal = first.normal();
    offsets
        .into_iter()
        .map(|offset| {
            let mut plane = first;
            for (coordinate, direction) in plane.position.iter_mut().zip(normal) {
                *coordinate += offset * direction;
            }
            Some(plane)
        })
        .collect()
}

fn plane(object: &DefaultDicomObject, frame: usize) -> Option<Plane> {
    plane_of(
        of_frame(object, frame, tags::PLANE_POSITION_SEQUENCE, |item| {
            float_array(item, tags::IMAGE_POSITION_PATIENT)
        })?,
        of_frame(object, frame, tags::PLANE_ORIENTATION_SEQUENCE, |item| {
            float_array(item, tags::IMAGE_ORIENTATION_PATIENT)
        })?,
    )
}

/// None where the two directions are not roughly perpendicular unit vectors; made exactly so otherwise.
fn plane_of(position: [f64; 3], orientation: [f64; 6]) -> Option<Plane> {
    let [a, b, c, d, e, f] = orientation;
    let row = unit([a, b, c])?;
    let column = [d, e, f];
    let along = dot(row, unit(column)?);
    if along.abs() > 0.05 {
        return None;
    }
    let length = dot(row, column);
    let column =
        unit([column[0] - length * row[0], column[1] - length * row[1], column[2] - length * row[2]])?;
    let orientation = [row[0], row[1], row[2], column[0], column[1], column[2]];
    Some(Plane { position, orientation })
}

fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(vector, vector).sqrt();
    (length > 1e-3).then(|| vector.map(|coordinate| coordinate / length))
}

impl Plane {
    pub fn normal(&self) -> [f64; 3] {
        let [a, b, c, d, e, f] = self.orientation;
        cross([a, b, c], [d, e, f])
    }
}

/// Row spacing, column spacing: of the patient's plane, else of the detector's, else of the ultrasound
/// region.
fn spacing(object: &DefaultDicomObject, frame: usize) -> Option<[f64; 2]> {
    let positive = |spacing: &[f64; 2]| spacing.iter().all(|value| *value > 0.0);
    of_frame(object, frame, tags::PIXEL_MEASURES_SEQUENCE, |item| {
        float_array::<2>(item, tags::PIXEL_SPACING).filter(positive)
    })
    .or_else(|| float_array(object, tags::IMAGER_PIXEL_SPACING).filter(positive))
    .or_else(|| float_array(object, tags::NOMINAL_SCANNED_PIXEL_SPACING).filter(positive))
    .or_else(|| {
        ultrasound_spacing(first_item(object, tags::SEQUENCE_OF_ULTRASOUND_REGIONS)?).filter(positive)
    })
}

/// PhysicalDeltaX and PhysicalDeltaY, where they are centimetres (PS3.3 C.8.5.5.1.3).
fn ultrasound_spacing(region: &InMemDicomObject) -> Option<[f64; 2]> {
    const CENTIMETRES: i64 = 3;
    let units = [tags::PHYSICAL_UNITS_X_DIRECTION, tags::PHYSICAL_UNITS_Y_DIRECTION];
    if units.iter().any(|unit| integer(region, *unit) != Some(CENTIMETRES)) {
        return None;
    }
    let [x, y] = [tags::PHYSICAL_DELTA_X, tags::PHYSICAL_DELTA_Y].map(|tag| float(region, tag));
    Some([y?.abs() * 10.0, x?.abs() * 10.0])
}
