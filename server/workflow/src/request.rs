//! What a segmentation is asked for, and what comes of it.

use engram_segmenter::Quality;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::prompts::SlicePrompt;
use crate::routing::{Route, named};

/// How a result is encoded (DESIGN, "A SEG made by Engram").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ResultEncoding {
    /// Label Map Segmentation Storage.
    #[default]
    Labelmap,
    /// Segmentation Storage, BINARY.
    Binary,
}

/// Settings of one segmentation; what is left out is as configured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestOptions {
    /// Speed against accuracy.
    pub quality: Option<Quality>,
    /// Exemplars each slice is conditioned on.
    pub exemplars_per_slice: Option<usize>,
    /// Whether neighbouring slices condition each other.
    pub propagation: Option<bool>,
    /// Whether small organs get a second pass on a crop.
    pub close_up: Option<bool>,
    /// LABELMAP or BINARY.
    pub encoding: ResultEncoding,
    /// The bundle that computes, of those served: id, folder name, name@version or name. None: as the rules say,
    /// else the one in use.
    pub bundle: Option<String>,
    /// Confidence, 0 to 1, below which a slice is for review. None: as configured, else as the bundle recommends.
    pub review_below: Option<f32>,
    /// Whether nothing of the target's own patient counts: for measuring.
    pub leave_out_patient: bool,
}

/// Segment this series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentationRequest {
    /// StudyInstanceUID of the target.
    pub study: String,
    /// SeriesInstanceUID of the target.
    pub series: String,
    /// Label keys; none: every label that has exemplars of the target's modality in the collection.
    #[serde(default)]
    pub labels: Option<Vec<String>>,
    /// The part of the bank to draw from; none: all of it.
    #[serde(default)]
    pub collection: Option<String>,
    /// What a person shows on the target itself: such slices keep what was shown, and condition the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<SlicePrompt>,
    /// SOPInstanceUID of a stored SEG of the target: each slice that it has a frame for is such a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_segmentation: Option<String>,
    /// How.
    #[serde(default)]
    pub options: RequestOptions,
    /// False: a preview; the SEG is kept with the job and does not enter the archive.
    #[serde(default = "yes")]
    pub store: bool,
}

fn yes() -> bool {
    true
}

/// The UIDs of the SEG to come, fixed when the job is made, so that a job that runs twice makes one SEG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedUids {
    /// SeriesInstanceUID of the SEG.
    pub series_instance_uid: String,
    /// SOPInstanceUID of the SEG.
    pub sop_instance_uid: String,
    /// Content date and time of the SEG, as DICOM DA and TM.
    pub content: (String, String),
}

impl FixedUids {
    /// New UIDs, and the time now, UTC.
    pub fn fresh() -> Self {
        Self::of_job(Uuid::new_v4())
    }

    /// UIDs below the UUID root 2.25 (PS3.5 B.2) that follow from the job's id, and the time now, UTC.
    pub(crate) fn of_job(job: Uuid) -> Self {
        let uid = |level: &str| format!("2.25.{}", named(&[level, &job.to_string()]).as_u128());
        let now = time::OffsetDateTime::now_utc();
        let date = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let time =
            format!("{:02}{:02}{:02}.{:06}", now.hour(), now.minute(), now.second(), now.microsecond());
        Self { series_instance_uid: uid("series"), sop_instance_uid: uid("instance"), content: (date, time) }
    }
}

/// The payload of a segmentation job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentationJob {
    /// What was asked for.
    pub request: SegmentationRequest,
    /// What the result will be called.
    pub uids: FixedUids,
    /// Where it goes; none: nowhere but into the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// SOP Instance UID of the workitem that it performs; None: it was asked for elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workitem: Option<String>,
}

/// What came of a segmentation: a job's `result`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentationSummary {
    /// StudyInstanceUID of target and SEG.
    pub study: String,
    /// SeriesInstanceUID of the SEG.
    pub series: String,
    /// SOPInstanceUID of the SEG.
    pub sop_instance: String,
    /// SOPClassUID of the SEG.
    pub sop_class: String,
    /// Whether the SEG is in the archive.
    pub stored: bool,
    /// Id of the bundle that computed it.
    #[serde(default)]
    pub bundle: String,
    /// Slices of the target.
    pub slices: usize,
    /// The segments of the SEG.
    pub labels: Vec<LabelSummary>,
    /// What a reader should know: gaps, nominal geometry, labels without a voxel.
    pub notes: Vec<String>,
}

/// One segment of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelSummary {
    /// The label's key.
    pub label: String,
    /// The label in words.
    pub meaning: String,
    /// SegmentNumber in the SEG; none where the label has no voxel.
    pub segment_number: Option<u16>,
    /// Voxels of the segment.
    pub voxels: u64,
    /// Mean confidence over the slices it is on, 0 to 1.
    pub confidence: f64,
    /// Slices that a person should look at first: where the confidence is low, of a mask or of there being none.
    #[serde(default)]
    pub review: Vec<SliceForReview>,
}

/// A slice of the target that a person should look at first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceForReview {
    /// SOPInstanceUID.
    pub sop_instance: String,
    /// Its frame.
    pub frame: u32,
    /// Of the mask, or of there being none, 0 to 1.
    pub confidence: f32,
    /// Pixels of the label.
    pub pixels: usize,
}
