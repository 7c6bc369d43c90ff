//! Everything a SEG says but its voxels.

use std::collections::{BTreeSet, HashSet};

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use crate::dataset::{first_item, integer, items, text};
use crate::error::{FrameCountSnafu, InvalidAttributeSnafu, MissingAttributeSnafu, NotASegmentationSnafu};
use crate::frame::{self, Frame};
use crate::segment::{self, Segment};
use crate::{Error, Result};

/// How the pixels of a SEG stand for segments (SegmentationType, PS3.3 C.8.20.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentationType {
    /// A frame holds one segment: in or out.
    Binary,
    /// A frame holds one segment: how probable, or how much of the pixel it fills.
    Fractional {
        /// SegmentationFractionalType.
        kind: FractionalKind,
        /// MaximumFractionalValue: the pixel value that means 1.
        maximum: u16,
    },
    /// A frame holds every segment: the pixel value is the segment's number.
    LabelMap,
}

/// What a fraction means: SegmentationFractionalType.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FractionalKind {
    /// The probability that the pixel belongs to the segment.
    Probability,
    /// The share of the pixel that the segment fills.
    Occupancy,
}

/// An instance that the SEG refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReferencedInstance {
    /// ReferencedSOPClassUID, empty where absent.
    pub sop_class_uid: String,
    /// ReferencedSOPInstanceUID.
    pub sop_instance_uid: String,
}

/// A series that the SEG refers to (Common Instance Reference, PS3.3 C.12.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedSeries {
    /// The study: the SEG's own, or one of StudiesContainingOtherReferencedInstancesSequence.
    pub study_instance_uid: String,
    /// SeriesInstanceUID.
    pub series_instance_uid: String,
    /// The instances, in the order listed.
    pub instances: Vec<ReferencedInstance>,
}

/// The large image that a tiled SEG's frames are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalPixelMatrix {
    /// TotalPixelMatrixRows.
    pub rows: u32,
    /// TotalPixelMatrixColumns.
    pub columns: u32,
    /// Frames in regular order without functional groups of their own (TILED_FULL), so that
    /// [`Description::frames`] is empty.
    pub full: bool,
}

/// A SEG without its voxels. Reading it needs no pixel data.
#[derive(Debug, Clone)]
pub struct Description {
    /// SOPClassUID: Segmentation Storage or Label Map Segmentation Storage.
    pub sop_class_uid: String,
    /// SOPInstanceUID.
    pub sop_instance_uid: String,
    /// SeriesInstanceUID of the SEG itself.
    pub series_instance_uid: String,
    /// StudyInstanceUID.
    pub study_instance_uid: String,
    /// PatientID.
    pub patient_id: Option<String>,
    /// FrameOfReferenceUID; absent where the source has none.
    pub frame_of_reference_uid: Option<String>,
    /// SeriesDescription.
    pub series_description: Option<String>,
    /// ContentLabel.
    pub content_label: Option<String>,
    /// ContentDescription.
    pub content_description: Option<String>,
    /// ContentCreatorName.
    pub content_creator_name: Option<String>,
    /// ContentDate and ContentTime, as written.
    pub content_date_time: Option<String>,
    /// Manufacturer of the equipment that made the SEG.
    pub manufacturer: Option<String>,
    /// SegmentationType and what goes with it.
    pub segmentation_type: SegmentationType,
    /// Rows of a frame.
    pub rows: u16,
    /// Columns of a frame.
    pub columns: u16,
    /// NumberOfFrames.
    pub number_of_frames: u32,
    /// The segments, a LABELMAP's background included where it is listed.
    pub segments: Vec<Segment>,
    /// PixelPaddingValue of a LABELMAP: the pixel value that belongs to no segment.
    pub background: Option<u16>,
    /// The frames, in stored order. Empty for TILED_FULL.
    pub frames: Vec<Frame>,
    /// The series it refers to, each once.
    pub referenced_series: Vec<ReferencedSeries>,
    /// Set for a tiled (whole slide) SEG.
    pub total_pixel_matrix: Option<TotalPixelMatrix>,
}

impl Description {
    /// The segments that stand for something: all but a LABELMAP's background.
    pub fn foreground(&self) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(|segment| !segment.is_background() && Some(segment.number) != self.background)
    }

    /// The segment of a number.
    pub fn segment(&self, number: u16) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.number == number)
    }

    /// SOPInstanceUIDs of every image it refers to, from the referenced series and from the frames.
    pub fn referenced_instances(&self) -> BTreeSet<&str> {
        let listed = self.referenced_series.iter().flat_map(|series| &series.instances);
        let derived = self.frames.iter().flat_map(|frame| &frame.sources);
        listed
            .map(|instance| instance.sop_instance_uid.as_str())
            .chain(derived.map(|source| source.sop_instance_uid.as_str()))
            .collect()
    }

    /// The segment that a frame (index from 0) holds; `None` past the end, and for a LABELMAP.
    pub fn frame_segment(&self, frame: usize) -> Option<u16> {
        match self.total_pixel_matrix {
            Some(matrix) if matrix.full && self.segmentation_type != SegmentationType::LabelMap => {
                // TILED_FULL: segment by segment, each with all its tiles (PS3.3 C.7.6.17.3).
                let tiles = (self.number_of_frames as usize).checked_div(self.segments.len())?;
                self.segments.get(frame.checked_div(tiles)?).map(|segment| segment.number)
            }
            _ => self.frames.get(frame)?.segment_number,
        }
    }
}

/// Read everything but the voxels of a SEG. The pixel data may be absent.
///
/// # Errors
/// [`Error::NotASegmentation`] for another SOP class; [`Error::MissingAttribute`], [`Error::InvalidAttribute`] and
/// [`Error::FrameCount`] where the object cannot be understood.
pub fn describe(object: &InMemDicomObject) -> Result<Description> {
    let sop_class_uid = text(object, tags::SOP_CLASS_UID).unwrap_or_default();
    if ![uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE].contains(&sop_class_uid.as_str()) {
        return NotASegmentationSnafu { sop_class_uid }.fail();
    }
    let segmentation_type = segmentation_type(object)?;
    let segments = segments(object)?;
    let number_of_frames: u32 = required_integer(object, tags::NUMBER_OF_FRAMES, "NumberOfFrames")?;
    let total_pixel_matrix = total_pixel_matrix(object);
    let frames = match total_pixel_matrix {
        Some(matrix) if matrix.full => {
            check_tile_count(&matrix, object, segmentation_type, segments.len(), number_of_frames)?;
            Vec::new()
        }
        _ => frames(object, number_of_frames)?,
    };
    let description = Description {
        sop_instance_uid: required_text(object, tags::SOP_INSTANCE_UID, "SOPInstanceUID")?,
        series_instance_uid: required_text(object, tags::SERIES_INSTANCE_UID, "SeriesInstanceUID")?,
        study_instance_uid: required_text(object, tags::STUDY_INSTANCE_UID, "StudyInstanceUID")?,
        patient_id: text(object, tags::PATIENT_ID),
        frame_of_reference_uid: text(object, tags::FRAME_OF_REFERENCE_UID),
        series_description: text(object, tags::SERIES_DESCRIPTION),
        content_label: text(object, tags::CONTENT_LABEL),
        content_description: text(object, tags::CONTENT_DESCRIPTION),
        content_creator_name: text(object, tags::CONTENT_CREATOR_NAME),
        content_date_time: text(object, tags::CONTENT_DATE)
            .map(|date| date + &text(object, tags::CONTENT_TIME).unwrap_or_default()),
        manufacturer: text(object, tags::MANUFACTURER),
        rows: required_size(object, tags::ROWS, "Rows")?,
        columns: required_size(object, tags::COLUMNS, "Columns")?,
        background: integer(object, tags::PIXEL_PADDING_VALUE),
        referenced_series: referenced_series(object),
        sop_class_uid,
        segmentation_type,
        segments,
        number_of_frames,
        frames,
        total_pixel_matrix,
    };
    check_frames(&description)?;
    Ok(description)
}

const OBJECT: &str = "the segmentation";

fn required_text(object: &InMemDicomObject, tag: dicom_core::Tag, attribute: &'static str) -> Result<String> {
    text(object, tag).ok_or_else(|| MissingAttributeSnafu { attribute, within: OBJECT }.build())
}

fn required_integer<T: TryFrom<i64>>(
    object: &InMemDicomObject,
    tag: dicom_core::Tag,
    attribute: &'static str,
) -> Result<T> {
    integer(object, tag).ok_or_else(|| MissingAttributeSnafu { attribute, within: OBJECT }.build())
}

fn required_size(object: &InMemDicomObject, tag: dicom_core::Tag, attribute: &'static str) -> Result<u16> {
    match required_integer(object, tag, attribute)? {
        0 => InvalidAttributeSnafu { attribute, within: OBJECT, value: "0" }.fail(),
        size => Ok(size),
    }
}

fn segmentation_type(object: &InMemDicomObject) -> Result<SegmentationType> {
    let invalid =
        |attribute, value: String| InvalidAttributeSnafu { attribute, within: OBJECT, value }.build();
    match required_text(object, tags::SEGMENTATION_TYPE, "SegmentationType")?.as_str() {
        "BINARY" => Ok(SegmentationType::Binary),
        "LABELMAP" => Ok(SegmentationType::LabelMap),
        "FRACTIONAL" => {
            let kind = match required_text(
                object,
                tags::SEGMENTATION_FRACTIONAL_TYPE,
                "SegmentationFractionalType",
            )?
            .as_str()
            {
                "PROBABILITY" => FractionalKind::Probability,
                "OCCUPANCY" => FractionalKind::Occupancy,
                other => return Err(invalid("SegmentationFractionalType", other.to_owned())),
            };
            let maximum = required_integer(object, tags::MAXIMUM_FRACTIONAL_VALUE, "MaximumFractionalValue")?;
            match maximum {
                0 => Err(invalid("MaximumFractionalValue", "0".to_owned())),
                _ => Ok(SegmentationType::Fractional { kind, maximum }),
            }
        }
        other => Err(invalid("SegmentationType", other.to_owned())),
    }
}

fn segments(object: &InMemDicomObject) -> Result<Vec<Segment>> {
    let segments: Vec<Segment> =
        items(object, tags::SEGMENT_SEQUENCE).iter().map(segment::parse).collect::<Result<_>>()?;
    if segments.is_empty() {
        return MissingAttributeSnafu { attribute: "SegmentSequence", within: OBJECT }.fail();
    }
    let mut numbers = HashSet::new();
    match segments.iter().find(|segment| !numbers.insert(segment.number)) {
        Some(twice) => InvalidAttributeSnafu {
            attribute: "SegmentNumber",
            within: OBJECT,
            value: format!("{} twice", twice.number),
        }
        .fail(),
        None => Ok(segments),
    }
}

fn total_pixel_matrix(object: &InMemDicomObject) -> Option<TotalPixelMatrix> {
    let organization = text(object, tags::DIMENSION_ORGANIZATION_TYPE).unwrap_or_default();
    let rows = integer(object, tags::TOTAL_PIXEL_MATRIX_ROWS);
    let columns = integer(object, tags::TOTAL_PIXEL_MATRIX_COLUMNS);
    let tiled = organization.starts_with("TILED") || (rows.is_some() && columns.is_some());
    tiled.then(|| TotalPixelMatrix {
        rows: rows.unwrap_or(0),
        columns: columns.unwrap_or(0),
        full: organization == "TILED_FULL",
    })
}

fn check_tile_count(
    matrix: &TotalPixelMatrix,
    object: &InMemDicomObject,
    segmentation_type: SegmentationType,
    segments: usize,
    declared: u32,
) -> Result<()> {
    let rows: u16 = required_size(object, tags::ROWS, "Rows")?;
    let columns: u16 = required_size(object, tags::COLUMNS, "Columns")?;
    let planes: u64 = integer::<u32>(object, tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES).unwrap_or(1).into();
    let copies = if segmentation_type == SegmentationType::LabelMap { 1 } else { segments as u64 };
    let tiles =
        u64::from(matrix.rows.div_ceil(rows.into())) * u64::from(matrix.columns.div_ceil(columns.into()));
    let described = tiles.saturating_mul(planes).saturating_mul(copies);
    match described == u64::from(declared) && declared > 0 {
        true => Ok(()),
        false => FrameCountSnafu { declared, described }.fail(),
    }
}

fn frames(object: &InMemDicomObject, declared: u32) -> Result<Vec<Frame>> {
    let shared = first_item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let per_frame = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    if declared == 0 || per_frame.len() as u64 != u64::from(declared) {
        return FrameCountSnafu { declared, described: per_frame.len() as u64 }.fail();
    }
    Ok(per_frame.iter().map(|item| frame::parse(Some(item), shared)).collect())
}

/// Every frame of a BINARY or FRACTIONAL SEG must name a segment that there is.
fn check_frames(description: &Description) -> Result<()> {
    if description.segmentation_type == SegmentationType::LabelMap {
        return Ok(());
    }
    let numbers: HashSet<u16> = description.segments.iter().map(|segment| segment.number).collect();
    for (index, frame) in description.frames.iter().enumerate() {
        let within = || format!("frame {}", index + 1);
        let number = frame.segment_number.ok_or_else(|| {
            MissingAttributeSnafu { attribute: "ReferencedSegmentNumber", within: within() }.build()
        })?;
        if !numbers.contains(&number) {
            return Err(Error::InvalidAttribute {
                attribute: "ReferencedSegmentNumber",
                within: within(),
                value: number.to_string(),
            });
        }
    }
    Ok(())
}

fn referenced_series(object: &InMemDicomObject) -> Vec<ReferencedSeries> {
    let own_study = text(object, tags::STUDY_INSTANCE_UID).unwrap_or_default();
    let mut series = series_of(object, &own_study);
    for study in items(object, tags::STUDIES_CONTAINING_OTHER_REFERENCED_INSTANCES_SEQUENCE) {
        series.extend(series_of(study, &text(study, tags::STUDY_INSTANCE_UID).unwrap_or_default()));
    }
    series
}

fn series_of(object: &InMemDicomObject, study_instance_uid: &str) -> Vec<ReferencedSeries> {
    let instances = |item: &InMemDicomObject| {
        items(item, tags::REFERENCED_INSTANCE_SEQUENCE)
            .iter()
            .filter_map(|instance| {
                Some(ReferencedInstance {
                    sop_class_uid: text(instance, tags::REFERENCED_SOP_CLASS_UID).unwrap_or_default(),
                    sop_instance_uid: text(instance, tags::REFERENCED_SOP_INSTANCE_UID)?,
                })
            })
            .collect()
    };
    items(object, tags::REFERENCED_SERIES_SEQUENCE)
        .iter()
        .filter_map(|item| {
            Some(ReferencedSeries {
                study_instance_uid: study_instance_uid.to_owned(),
                series_instance_uid: text(item, tags::SERIES_INSTANCE_UID)?,
                instances: instances(item),
            })
        })
        .collect()
}
