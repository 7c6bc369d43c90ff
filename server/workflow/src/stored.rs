//! A stored segmentation as the API tells of it: its segments, where its frames lie, and what the bank makes of it.

use std::collections::BTreeSet;

use engram_imaging::srgb_of_cielab;
use engram_memory::{ListFilter, SliceId};
use engram_seg::{
    AlgorithmType, Description, GridMap, Placement, ReferencedSlice, Segment, SegmentationType,
};
use serde::Serialize;
use snafu::ResultExt;
use utoipa::ToSchema;

use crate::error::{ArchiveSnafu, BankSnafu, Result};
use crate::series::open_header;
use crate::{Workflow, annotations};

/// A stored SEG without its voxels.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredSegmentation {
    /// SOPInstanceUID.
    pub segmentation: String,
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID of the SEG itself.
    pub series: String,
    /// SegmentationType: `BINARY`, `FRACTIONAL` or `LABELMAP`.
    pub encoding: &'static str,
    /// MaximumFractionalValue.
    pub maximum: Option<u16>,
    /// Rows of a frame.
    pub rows: u16,
    /// Columns of a frame.
    pub columns: u16,
    /// The series it refers to.
    pub targets: Vec<TargetSeries>,
    /// Its segments, without the background.
    pub segments: Vec<StoredSegment>,
    /// Those of its frames that lie on a stored slice.
    pub frames: Vec<PlacedFrame>,
    /// Slices that it gives the bank of the bundle in use.
    pub exemplars: usize,
    /// Whether a person vouched for it.
    pub approved: bool,
    /// Whether a person took it out of the bank.
    pub withdrawn: bool,
    /// Keys of the labels that a person took out of the bank.
    pub withdrawn_labels: BTreeSet<String>,
    /// Whether it is silent about slices without a frame.
    pub partial: bool,
}

/// A series that a SEG refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TargetSeries {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: String,
}

/// A segment of a stored SEG.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredSegment {
    /// SegmentNumber.
    pub number: u16,
    /// The label's key.
    pub label: String,
    /// SegmentLabel.
    pub meaning: String,
    /// SegmentAlgorithmType.
    pub algorithm_type: &'static str,
    /// RecommendedDisplayCIELabValue as sRGB: red, green, blue.
    pub colour: Option<[u8; 3]>,
}

/// A frame of a stored SEG on its slice. The frame's pixel `(r, c)` is the slice's pixel `origin + r * row_step + c *
/// column_step`; each is `[row, column]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlacedFrame {
    /// The SEG's frame, from 1.
    pub frame: u32,
    /// SegmentNumber of the one segment it holds; none: a LABELMAP's, which holds all.
    pub segment: Option<u16>,
    /// SOPInstanceUID of the slice.
    pub sop_instance: String,
    /// The slice's frame, from 1.
    pub sop_frame: u32,
    /// The slice's pixel where the frame's first lies.
    pub origin: [i64; 2],
    /// From a row of the frame to the next.
    pub row_step: [i64; 2],
    /// From a column of the frame to the next.
    pub column_step: [i64; 2],
}

impl Workflow {
    /// What a stored SEG shows, and what the bank makes of it. Reads the headers of the SEG and of the images that it
    /// refers to.
    ///
    /// # Errors
    /// [`Error::NoSuchSegmentation`](crate::Error::NoSuchSegmentation);
    /// [`Error::ReadSegmentation`](crate::Error::ReadSegmentation); archive or bank fail.
    pub fn stored_segmentation(&self, segmentation: &str) -> Result<StoredSegmentation> {
        let description = annotations::read_description(&self.segmentation_entry(segmentation)?)?;
        let slices = self.referenced_slices(&description)?;
        let flags = self.flags.of(segmentation);
        let (encoding, maximum) = match description.segmentation_type {
            SegmentationType::Binary => ("BINARY", None),
            SegmentationType::Fractional { maximum, .. } => ("FRACTIONAL", Some(maximum)),
            SegmentationType::LabelMap => ("LABELMAP", None),
        };
        let targets = description.referenced_series.iter().map(|series| TargetSeries {
            study: series.study_instance_uid.clone(),
            series: series.series_instance_uid.clone(),
        });
        Ok(StoredSegmentation {
            segmentation: description.sop_instance_uid.clone(),
            study: description.study_instance_uid.clone(),
            series: description.series_instance_uid.clone(),
            encoding,
            maximum,
            rows: description.rows,
            columns: description.columns,
            targets: targets.collect(),
            segments: description.foreground().map(stored_segment).collect(),
            frames: placed_frames(&description, &slices),
            exemplars: self.exemplars_of(segmentation)?,
            approved: flags.approved,
            withdrawn: flags.withdrawn,
            withdrawn_labels: flags.withdrawn_labels,
            partial: flags.partial,
        })
    }

    /// The slices of those of the images that are stored. What is no image has none.
    fn referenced_slices(&self, description: &Description) -> Result<Vec<ReferencedSlice>> {
        let mut slices = Vec::new();
        for uid in description.referenced_instances() {
            let Some(entry) = self.archive.find_instance(uid).context(ArchiveSnafu)? else { continue };
            let header = open_header(&entry)?;
            slices.extend(ReferencedSlice::of_instance(&header).unwrap_or_default());
        }
        Ok(slices)
    }

    fn exemplars_of(&self, segmentation: &str) -> Result<usize> {
        let bank = self.bundles.in_use().bank.clone();
        let filter = ListFilter { seg_sop_instance_uid: Some(segmentation), ..ListFilter::default() };
        let mut after: Option<SliceId> = None;
        let mut count = 0;
        loop {
            let page = bank.slices(&filter, after, usize::MAX).context(BankSnafu)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(last.id);
            count += page.len();
        }
    }
}

fn stored_segment(segment: &Segment) -> StoredSegment {
    StoredSegment {
        number: segment.number,
        label: segment.concept.key(),
        meaning: segment.label.clone(),
        algorithm_type: AlgorithmType::term(segment.algorithm_type),
        colour: segment.recommended_cielab.map(srgb_of_cielab),
    }
}

fn placed_frames(description: &Description, slices: &[ReferencedSlice]) -> Vec<PlacedFrame> {
    let placements = description.placements(slices);
    let frames = (1..).zip(description.frames.iter().zip(placements));
    let placed = frames.filter_map(|(number, (frame, placement))| {
        let Placement { slice, grid: GridMap { origin, row_step, column_step } } = placement?;
        let slice = slices.get(slice)?;
        Some(PlacedFrame {
            frame: number,
            segment: frame.segment_number,
            sop_instance: slice.sop_instance_uid.clone(),
            sop_frame: slice.frame,
            origin,
            row_step,
            column_step,
        })
    });
    placed.collect()
}
