//! Making a SEG (PS3.3 A.51) from voxels on source slices.

mod attributes;
mod content;
mod equipment;
mod groups;
pub mod item;
mod segments;
pub(crate) mod voxels;

pub use attributes::copy_patient_and_study;
pub use content::put_lossy_history;
pub(crate) use groups::segment_dimension;
pub use groups::slice_thickness;

use dicom_dictionary_std::uids;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use ndarray::{ArrayView3, Axis};
use snafu::ResultExt;
use uuid::Uuid;

use crate::error::{EncodeSnafu, IncompleteSnafu, MetaSnafu, VoxelShapeSnafu};
use crate::{AlgorithmType, AnatomicRegion, LabelConcept, ReferencedSlice, Result, SegmentProvenance};

/// A segmentation to write.
#[derive(Debug, Clone)]
pub struct NewSegmentation<'a> {
    /// Source slices, all of one series and one size. The first axis of the voxels follows their order.
    pub slices: &'a [ReferencedSlice],
    /// An instance of the source series: patient, study and series attributes are taken from it.
    pub source: &'a InMemDicomObject,
    /// Which voxels belong to which segment.
    pub voxels: Voxels<'a>,
    /// The segments; they are numbered from 1 in this order.
    pub segments: Vec<NewSegment>,
    /// BINARY or LABELMAP.
    pub encoding: Encoding,
    /// Identity of the result.
    pub uids: ResultUids,
    /// What the result is called.
    pub content: Content,
    /// What made it.
    pub equipment: Equipment,
    /// SegmentationAlgorithmIdentificationSequence of every segment that is not MANUAL.
    pub algorithm: Option<AlgorithmIdentification>,
}

/// Which voxels belong to which segment, `[slice, row, column]`.
#[derive(Debug, Clone)]
pub enum Voxels<'a> {
    /// The number of the voxel's segment, from 1; 0 for none.
    LabelMap(ArrayView3<'a, u16>),
    /// A mask for each segment, other than 0 where in.
    Masks(Vec<ArrayView3<'a, u8>>),
}

/// How the voxels are to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// LABELMAP, or BINARY where segments overlap.
    #[default]
    Automatic,
    /// Label Map Segmentation Storage; refused where segments overlap.
    LabelMap,
    /// Segmentation Storage, BINARY.
    Binary,
}

/// A segment to write.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// SegmentLabel.
    pub label: String,
    /// SegmentDescription; where `None`, the provenance in words.
    pub description: Option<String>,
    /// What the segment is of. A category that is `None` is written as (91723000, SCT, "Anatomical Structure").
    pub concept: LabelConcept,
    /// AnatomicRegionSequence.
    pub anatomic_regions: Vec<AnatomicRegion>,
    /// SegmentAlgorithmType.
    pub algorithm_type: AlgorithmType,
    /// TrackingID; where `None`, the label.
    pub tracking_id: Option<String>,
    /// TrackingUID; where `None`, derived from the result's SOPInstanceUID and the segment's number.
    pub tracking_uid: Option<String>,
    /// RecommendedDisplayCIELabValue.
    pub recommended_cielab: Option<[u16; 3]>,
    /// How it came about.
    pub provenance: Option<SegmentProvenance>,
}

/// Identity of the result, fixed by the caller so that doing the work twice cannot make two objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultUids {
    /// SOPInstanceUID.
    pub sop_instance_uid: String,
    /// SeriesInstanceUID.
    pub series_instance_uid: String,
}

/// What the result is called, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SeriesNumber.
    pub series_number: i32,
    /// SeriesDescription.
    pub series_description: String,
    /// ContentLabel: upper-case letters, digits and `_`, at most 16; other characters are replaced.
    pub label: String,
    /// ContentDescription.
    pub description: String,
    /// ContentCreatorName.
    pub creator_name: Option<String>,
    /// Date of making, `YYYYMMDD`.
    pub date: String,
    /// Time of making, `HHMMSS` with up to six decimals.
    pub time: String,
}

/// What made the result: Enhanced General Equipment and ContributingEquipmentSequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equipment {
    /// Manufacturer.
    pub manufacturer: String,
    /// ManufacturerModelName.
    pub model_name: String,
    /// DeviceSerialNumber.
    pub device_serial_number: String,
    /// SoftwareVersions.
    pub software_versions: String,
    /// ContributionDescription: what the equipment did.
    pub contribution: String,
}

/// Name and version of the algorithm: for Engram, of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmIdentification {
    /// AlgorithmName, and SegmentAlgorithmName.
    pub name: String,
    /// AlgorithmVersion.
    pub version: String,
}

/// Make a SEG: the whole object, in Explicit VR Little Endian.
///
/// Frames are written where a segment has a voxel (LABELMAP: where any has); a result without any voxel keeps its
/// first slice, since an object must have a frame. Every source slice is listed as a reference; every frame
/// refers to its own. Where the source has no positions, no frame of reference is written and frames are ordered
/// by slice; where it has positions but names no frame of reference, one is derived from its series.
///
/// # Errors
/// [`Error::VoxelShape`](crate::Error::VoxelShape), [`Error::Incomplete`](crate::Error::Incomplete) for a request
/// that contradicts itself or a source without identity, [`Error::Overlap`](crate::Error::Overlap) for overlap in a
/// LABELMAP.
pub fn write(new: &NewSegmentation) -> Result<DefaultDicomObject> {
    check(new)?;
    let plan = voxels::plan(new)?;
    let mut object = InMemDicomObject::new_empty();
    attributes::copy_patient_and_study(new.source, &mut object);
    content::put(new, &plan, &mut object)?;
    equipment::put(new, &mut object);
    segments::put(new, &mut object)?;
    groups::put(new, &plan, &mut object);
    voxels::put(new, &plan, &mut object);
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).map_err(Box::new).context(MetaSnafu)
}

/// The Part 10 file of an object.
///
/// # Errors
/// [`Error::Encode`](crate::Error::Encode).
pub fn to_part10(object: &DefaultDicomObject) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(Box::new).context(EncodeSnafu)?;
    Ok(bytes)
}

fn check(new: &NewSegmentation) -> Result<()> {
    let incomplete = |reason: &str| IncompleteSnafu { reason }.fail();
    let Some(first) = new.slices.first() else { return incomplete("there is no source slice") };
    if new.segments.is_empty() {
        return incomplete("there is no segment");
    }
    if new.segments.len() > usize::from(u16::MAX) {
        return incomplete("there are more segments than numbers for them");
    }
    if new.slices.iter().any(|slice| (slice.rows, slice.columns) != (first.rows, first.columns)) {
        return incomplete("the source slices differ in size");
    }
    if first.rows == 0 || first.columns == 0 || first.rows.max(first.columns) > usize::from(u16::MAX) {
        return incomplete("the source slices have no size that an image can have");
    }
    let expected = [new.slices.len(), first.rows, first.columns];
    let shapes: Vec<&[usize]> = match &new.voxels {
        Voxels::LabelMap(labels) => vec![labels.shape()],
        Voxels::Masks(masks) if masks.len() == new.segments.len() => {
            masks.iter().map(|mask| mask.shape()).collect()
        }
        Voxels::Masks(_) => return incomplete("there is not one mask for each segment"),
    };
    for shape in shapes {
        if *shape != expected {
            let actual = [shape[0], shape[1], shape[2]];
            return VoxelShapeSnafu { expected, actual }.fail();
        }
    }
    if let Voxels::LabelMap(labels) = &new.voxels {
        let segments = new.segments.len();
        if labels.axis_iter(Axis(0)).flatten().any(|label| usize::from(*label) > segments) {
            return incomplete("a voxel has the number of no segment");
        }
    }
    let automatic = new.segments.iter().any(|segment| segment.algorithm_type != AlgorithmType::Manual);
    match automatic && new.algorithm.is_none() {
        true => incomplete("a segment was made by an algorithm that is not named"),
        false => Ok(()),
    }
}

/// A UID that follows from another and a purpose, so that repeating the work repeats the UID.
pub fn derived_uid(from: &str, purpose: &str) -> String {
    let name = format!("{from}/{purpose}");
    format!("2.25.{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128())
}
