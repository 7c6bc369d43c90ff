//! A scan as DICOM: MR Image Storage instances (PS3.3 A.4) and their segmentation.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;
use engram_seg::{
    AlgorithmType, Content, Encoding, Equipment, NewSegment, NewSegmentation, ReferencedSlice, ResultUids,
    Voxels,
};
use ndarray::Axis;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use snafu::{ResultExt, Snafu};

use super::scan::{SIZE, Scan};
use super::{Organ, Phantom};

/// When every phantom was scanned.
const DATE: &str = "20260105";
const TIME: &str = "090000";
const MANUFACTURER: &str = "Engram";
const MODEL: &str = "Phantom scanner";
const SERIAL_NUMBER: &str = "1";
/// Grey values that a display should show, as a share of the brightest ones of the scan.
const WINDOW_PERCENTILE: f64 = 0.995;

/// Why a phantom could not be made.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The image's file meta information does not add up.
    #[snafu(display("could not make a phantom's file meta information"))]
    Meta {
        /// What is missing.
        source: Box<dicom_object::WithMetaError>,
    },
    /// The image cannot be encoded.
    #[snafu(display("could not encode a phantom's image"))]
    Encode {
        /// Why.
        source: Box<dicom_object::WriteError>,
    },
    /// The segmentation cannot be written.
    #[snafu(display("could not write a phantom's segmentation"))]
    Segmentation {
        /// Why.
        source: engram_seg::Error,
    },
}

/// What names a patient's objects.
struct Identity {
    patient_id: String,
    study: String,
    series: String,
    frame_of_reference: String,
    instances: Vec<String>,
    segmentation: ResultUids,
}

/// The patient of a seed, from his scan.
pub fn phantom(seed: u64, scan: Scan) -> Result<Phantom, Error> {
    let identity = Identity::new(seed, scan.pixels.len_of(Axis(0)));
    let objects: Vec<InMemDicomObject> =
        (0..identity.instances.len()).map(|i| image(&identity, &scan, i)).collect();
    Ok(Phantom {
        segmentation: segmentation(&identity, &scan, &objects)?,
        images: objects.into_iter().map(part10).collect::<Result<_, _>>()?,
        patient_id: identity.patient_id,
        study: identity.study,
        series: identity.series,
        pixels: scan.pixels,
        truth: scan.truth,
    })
}

impl Identity {
    fn new(seed: u64, instances: usize) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x1d);
        // Of a random number (PS3.5 B.2).
        let mut uid = || format!("2.25.{}", rng.random::<u128>());
        Self {
            patient_id: format!("PHANTOM-{seed:04}"),
            study: uid(),
            series: uid(),
            frame_of_reference: uid(),
            segmentation: ResultUids { series_instance_uid: uid(), sop_instance_uid: uid() },
            instances: (0..instances).map(|_| uid()).collect(),
        }
    }
}

/// The instance of one slice.
fn image(identity: &Identity, scan: &Scan, index: usize) -> InMemDicomObject {
    let mut object = InMemDicomObject::new_empty();
    put_patient_and_study(&mut object, identity);
    put_series(&mut object, identity);
    put_acquisition(&mut object, scan);
    put_plane(&mut object, scan, index);
    put_pixels(&mut object, scan, index);
    for (tag, vr, value) in [
        (tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE),
        (tags::SOP_INSTANCE_UID, VR::UI, identity.instances[index].as_str()),
        (tags::INSTANCE_NUMBER, VR::IS, &(index + 1).to_string()),
        (tags::ACQUISITION_NUMBER, VR::IS, "1"),
        (tags::CONTENT_DATE, VR::DA, DATE),
        (tags::CONTENT_TIME, VR::TM, TIME),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, &identity.frame_of_reference),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO, ""),
    ] {
        text(&mut object, tag, vr, value);
    }
    texts(&mut object, tags::IMAGE_TYPE, VR::CS, &["ORIGINAL", "PRIMARY", "OTHER"]);
    object
}

fn put_patient_and_study(object: &mut InMemDicomObject, identity: &Identity) {
    for (tag, vr, value) in [
        (tags::PATIENT_NAME, VR::PN, &*identity.patient_id.replace('-', "^")),
        (tags::PATIENT_ID, VR::LO, &identity.patient_id),
        (tags::PATIENT_BIRTH_DATE, VR::DA, ""),
        (tags::PATIENT_SEX, VR::CS, "O"),
        (tags::PATIENT_COMMENTS, VR::LT, "A phantom made by Engram: no person."),
        (tags::STUDY_INSTANCE_UID, VR::UI, &identity.study),
        (tags::STUDY_DATE, VR::DA, DATE),
        (tags::STUDY_TIME, VR::TM, TIME),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
        (tags::STUDY_ID, VR::SH, "1"),
        (tags::ACCESSION_NUMBER, VR::SH, ""),
        (tags::STUDY_DESCRIPTION, VR::LO, "Phantom abdomen"),
    ] {
        text(object, tag, vr, value);
    }
}

fn put_series(object: &mut InMemDicomObject, identity: &Identity) {
    for (tag, vr, value) in [
        (tags::MODALITY, VR::CS, "MR"),
        (tags::SERIES_INSTANCE_UID, VR::UI, identity.series.as_str()),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::SERIES_DESCRIPTION, VR::LO, "T2 fat-suppressed, axial"),
        (tags::BODY_PART_EXAMINED, VR::CS, "ABDOMEN"),
        (tags::PATIENT_POSITION, VR::CS, "HFS"),
        (tags::MANUFACTURER, VR::LO, MANUFACTURER),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, MODEL),
        (tags::DEVICE_SERIAL_NUMBER, VR::LO, SERIAL_NUMBER),
        (tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
    ] {
        text(object, tag, vr, value);
    }
}

fn put_acquisition(object: &mut InMemDicomObject, scan: &Scan) {
    for (tag, vr, value) in [
        (tags::SCANNING_SEQUENCE, VR::CS, "SE"),
        (tags::SEQUENCE_VARIANT, VR::CS, "NONE"),
        (tags::SCAN_OPTIONS, VR::CS, "FS"),
        (tags::MR_ACQUISITION_TYPE, VR::CS, "2D"),
        (tags::REPETITION_TIME, VR::DS, &*decimal(scan.sequence.repetition_time)),
        (tags::ECHO_TIME, VR::DS, &decimal(scan.sequence.echo_time)),
        (tags::ECHO_TRAIN_LENGTH, VR::IS, "1"),
        (tags::MAGNETIC_FIELD_STRENGTH, VR::DS, "1.5"),
    ] {
        text(object, tag, vr, value);
    }
}

fn put_plane(object: &mut InMemDicomObject, scan: &Scan, index: usize) {
    let grid = &scan.grid;
    let position = grid.point(index as f64, 0.0, 0.0);
    let orientation = [grid.row, grid.column].concat();
    decimals(object, tags::IMAGE_POSITION_PATIENT, &position);
    decimals(object, tags::IMAGE_ORIENTATION_PATIENT, &orientation);
    decimals(object, tags::PIXEL_SPACING, &[grid.spacing; 2]);
    decimals(object, tags::SLICE_THICKNESS, &[grid.thickness]);
    decimals(object, tags::SPACING_BETWEEN_SLICES, &[grid.thickness]);
}

fn put_pixels(object: &mut InMemDicomObject, scan: &Scan, index: usize) {
    text(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    let size = SIZE as u16;
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, size),
        (tags::COLUMNS, size),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 12),
        (tags::HIGH_BIT, 11),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    let mut sorted: Vec<u16> = scan.pixels.iter().copied().collect();
    sorted.sort_unstable();
    let bright = sorted.get((sorted.len() as f64 * WINDOW_PERCENTILE) as usize).copied().unwrap_or(u16::MAX);
    let width = f64::from(bright).max(2.0);
    decimals(object, tags::WINDOW_CENTER, &[width / 2.0]);
    decimals(object, tags::WINDOW_WIDTH, &[width]);
    let pixels: Vec<u16> = scan.pixels.index_axis(Axis(0), index).iter().copied().collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
}

/// The truth as a person would have drawn it.
fn segmentation(identity: &Identity, scan: &Scan, images: &[InMemDicomObject]) -> Result<Vec<u8>, Error> {
    let slices: Vec<ReferencedSlice> = images
        .iter()
        .map(ReferencedSlice::of_instance)
        .collect::<Result<Vec<_>, _>>()
        .context(SegmentationSnafu)?
        .concat();
    let labels = scan.truth.mapv(u16::from);
    let new = NewSegmentation {
        slices: &slices,
        source: &images[0],
        voxels: Voxels::LabelMap(labels.view()),
        segments: Organ::ALL.map(new_segment).into(),
        encoding: Encoding::Binary,
        uids: identity.segmentation.clone(),
        content: Content {
            series_number: 2,
            series_description: "Organs, drawn by hand".into(),
            label: "ORGANS".into(),
            description: "The phantom's true organs".into(),
            creator_name: Some("Phantom^Reader".into()),
            date: DATE.into(),
            time: TIME.into(),
        },
        equipment: Equipment {
            manufacturer: MANUFACTURER.into(),
            model_name: MODEL.into(),
            device_serial_number: SERIAL_NUMBER.into(),
            software_versions: env!("CARGO_PKG_VERSION").into(),
            contribution: "Wrote down what the phantom is made of".into(),
        },
        algorithm: None,
    };
    let object = engram_seg::write(&new).context(SegmentationSnafu)?;
    engram_seg::to_part10(&object).context(SegmentationSnafu)
}

fn new_segment(organ: Organ) -> NewSegment {
    NewSegment {
        label: organ.name().into(),
        description: None,
        concept: organ.concept(),
        anatomic_regions: Vec::new(),
        algorithm_type: AlgorithmType::Manual,
        tracking_id: None,
        tracking_uid: None,
        recommended_cielab: None,
        provenance: None,
    }
}

fn part10(object: InMemDicomObject) -> Result<Vec<u8>, Error> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let object = object.with_meta(meta).map_err(Box::new).context(MetaSnafu)?;
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(Box::new).context(EncodeSnafu)?;
    Ok(bytes)
}

fn text(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
}

fn texts(object: &mut InMemDicomObject, tag: Tag, vr: VR, values: &[&str]) {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    object.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
}

fn decimals(object: &mut InMemDicomObject, tag: Tag, values: &[f64]) {
    let values: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
    texts(object, tag, VR::DS, &values.iter().map(String::as_str).collect::<Vec<_>>());
}

/// A number as a DS value, which has at most 16 characters.
fn decimal(value: f64) -> String {
    let rounded = (value * 1e9).round() / 1e9;
    if rounded == 0.0 { "0".into() } else { format!("{rounded}") }
}
