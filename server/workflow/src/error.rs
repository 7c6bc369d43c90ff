//! What this room could not do, and what a person can do about it.

use std::path::PathBuf;

use engram_jobs::JobFailure;
use snafu::Snafu;

use crate::bundles::BoxError;

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What could not be done, and why.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The series is not in the archive.
    #[snafu(display("could not find series {series} of study {study}"))]
    NoSuchSeries {
        /// StudyInstanceUID.
        study: String,
        /// SeriesInstanceUID.
        series: String,
    },
    /// The segmentation is not in the archive.
    #[snafu(display("could not find a segmentation {segmentation}"))]
    NoSuchSegmentation {
        /// SOPInstanceUID.
        segmentation: String,
    },
    /// The job has no result yet, or never will.
    #[snafu(display("could not find a result of job {id}"))]
    NoSuchResult {
        /// The job.
        id: engram_jobs::JobId,
    },
    /// The series cannot be segmented: it is no volume, or its pixels cannot be decoded.
    #[snafu(display("could not make a volume of series {series}: {source}"))]
    NotAVolume {
        /// SeriesInstanceUID.
        series: String,
        /// Why not.
        source: engram_imaging::Error,
    },
    /// The series is larger than one may be.
    #[snafu(display("could not read series {series}: {bytes} bytes are more than is allowed"))]
    TooLarge {
        /// SeriesInstanceUID.
        series: String,
        /// Bytes of its objects.
        bytes: u64,
    },
    /// The bank is empty, or holds nothing that may be used.
    #[snafu(display("could not segment: {reason}"))]
    NoExemplars {
        /// What is missing.
        reason: String,
    },
    /// No exemplar carries the label.
    #[snafu(display("could not segment {label}: nobody annotated it yet"))]
    UnknownLabel {
        /// The label's key.
        label: String,
    },
    /// The label was annotated in other modalities only.
    #[snafu(display("could not segment {label} in {modality}: it was annotated only in {}", available.join(", ")))]
    OtherModality {
        /// The label's key.
        label: String,
        /// The target's modality.
        modality: String,
        /// The exemplars' modalities.
        available: Vec<String>,
    },
    /// The request makes no sense.
    #[snafu(display("could not accept the request: {reason}"))]
    BadRequest {
        /// Why.
        reason: String,
    },
    /// No bundle, or more than one, is called that.
    #[snafu(display("could not find bundle {bundle}: {reason}"))]
    NoSuchBundle {
        /// What was asked for.
        bundle: String,
        /// What there is.
        reason: String,
    },
    /// The bundle's exemplars are still being made.
    #[snafu(display(
        "could not use bundle {bundle} yet: {done} of {total} annotated series are encoded for it"
    ))]
    BundleNotReady {
        /// Its id.
        bundle: String,
        /// Series that are done.
        done: usize,
        /// Series in all.
        total: usize,
    },
    /// The bundle cannot be loaded or dropped as things stand.
    #[snafu(display("could not change what bundle {bundle} does: {reason}"))]
    BundleNeeded {
        /// Its id.
        bundle: String,
        /// What stands in the way.
        reason: String,
    },
    /// Another bundle is about to come into use.
    #[snafu(display("could not switch the bundle: job {job} is about to take {bundle} into use"))]
    SwitchUnderWay {
        /// Id of that bundle.
        bundle: String,
        /// Its job.
        job: engram_jobs::JobId,
    },
    /// The bundle's folder is damaged or no bundle.
    #[snafu(display("could not open the bundle in {}: {source}", folder.display()))]
    OpenBundle {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: engram_inference::Error,
    },
    /// The bundle does not run here.
    #[snafu(display("could not start bundle {bundle}: {source}"))]
    StartBundle {
        /// Its id.
        bundle: String,
        /// Why not.
        source: BoxError,
    },
    /// The banks of bundles could not be listed or removed.
    #[snafu(display("could not tidy the banks of bundles: {source}"))]
    Bundles {
        /// Why not.
        source: BoxError,
    },
    /// The job was cancelled.
    #[snafu(display("could not finish: the job was cancelled"))]
    Cancelled,
    /// The archive failed.
    #[snafu(display("could not use the archive: {source}"))]
    Archive {
        /// Why.
        source: engram_archive::Error,
    },
    /// The result could not be stored.
    #[snafu(display("could not store the result: {source}"))]
    StoreResult {
        /// Why.
        source: engram_archive::StoreFailure,
    },
    /// A journal failed.
    #[snafu(display("could not keep what was said about a segmentation: {source}"))]
    Journal {
        /// Why.
        source: engram_archive::JournalError,
    },
    /// The queue failed.
    #[snafu(display("could not use the queue: {source}"))]
    Queue {
        /// Why.
        source: engram_jobs::Error,
    },
    /// The bank failed.
    #[snafu(display("could not use the bank: {source}"))]
    Bank {
        /// Why.
        source: engram_memory::Error,
    },
    /// The method failed.
    #[snafu(display("could not segment: {source}"))]
    Segment {
        /// Why.
        source: engram_segmenter::Error,
    },
    /// A stored segmentation could not be read.
    #[snafu(display("could not read segmentation {segmentation}: {source}"))]
    ReadSegmentation {
        /// SOPInstanceUID.
        segmentation: String,
        /// Why.
        source: engram_seg::Error,
    },
    /// None of the images that the segmentation refers to is in the archive.
    #[snafu(display("could not find an image that segmentation {segmentation} was made on"))]
    SourceNotStored {
        /// SOPInstanceUID.
        segmentation: String,
    },
    /// A picture or a report could not be made of a segmentation.
    #[snafu(display("could not make another form of segmentation {segmentation}: {source}"))]
    Rendition {
        /// SOPInstanceUID.
        segmentation: String,
        /// Why.
        source: engram_report::Error,
    },
    /// A segmentation could not be made BINARY.
    #[snafu(display("could not make segmentation {segmentation} BINARY: {source}"))]
    MakeBinary {
        /// SOPInstanceUID.
        segmentation: String,
        /// Why.
        source: engram_seg::Error,
    },
    /// The segmentation says nothing of these labels on the series.
    #[snafu(display("could not use segmentation {segmentation}: none of its frames shows {} on series {series}", labels.join(" or ")))]
    NotOnSeries {
        /// SOPInstanceUID.
        segmentation: String,
        /// SeriesInstanceUID.
        series: String,
        /// The labels' keys.
        labels: Vec<String>,
    },
    /// A result could not be put into DICOM.
    #[snafu(display("could not write the segmentation: {source}"))]
    WriteSegmentation {
        /// Why.
        source: engram_seg::Error,
    },
    /// A stored object could not be read.
    #[snafu(display("could not read {}: {source}", path.display()))]
    OpenObject {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Box<dicom_object::ReadError>,
    },
    /// A file of the workflow's own could not be read or written.
    #[snafu(display("could not {action} {}: {source}", path.display()))]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record of ours does not read or write as JSON.
    #[snafu(display("could not read or write {what}: {source}"))]
    Json {
        /// What it holds.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The system gave no thread.
    #[snafu(display("could not start a worker: {source}"))]
    StartWorker {
        /// Why.
        source: std::io::Error,
    },
}

/// An error with its causes in one line; a cause that the message before it already tells is left out.
pub fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// The error in the shape that jobs and the API show: a stable code, the message, what to do.
pub fn failure(error: &Error) -> JobFailure {
    let (code, what_to_do) = advice(error);
    JobFailure { code: code.into(), message: report(error), what_to_do: what_to_do.into() }
}

fn advice(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::NoSuchSeries { .. } => {
            ("no_such_series", "Store the series first; QIDO-RS lists what is there.")
        }
        Error::NoSuchSegmentation { .. } => {
            ("no_such_segmentation", "Store the DICOM-SEG first; QIDO-RS lists what is there.")
        }
        Error::NoSuchResult { .. } => ("no_result", "Wait until the job has succeeded."),
        Error::NotAVolume { .. } => (
            "not_a_volume",
            "Choose a series of images of a patient: no localizer, no secondary capture, no colour pictures.",
        ),
        Error::TooLarge { .. } => ("too_large", "Raise [limits] max_volume_mb if the server has the memory."),
        Error::NoExemplars { .. } => (
            "no_exemplars",
            "Store annotated studies with their DICOM-SEG, MANUAL or SEMIAUTOMATIC, and try again.",
        ),
        Error::UnknownLabel { .. } => {
            ("unknown_label", "GET /api/v1/labels lists the labels that have exemplars.")
        }
        Error::OtherModality { .. } => {
            ("other_modality", "Store an annotated study of the target's modality with this label.")
        }
        Error::BadRequest { .. } => {
            ("bad_request", "Compare the request with the API page of the documentation.")
        }
        Error::NoSuchBundle { .. } => {
            ("no_such_bundle", "GET /api/v1/models lists the bundles; name one that is served.")
        }
        Error::BundleNotReady { .. } => {
            ("bundle_not_ready", "Wait until GET /api/v1/models calls it ready, or leave the bundle out.")
        }
        Error::BundleNeeded { .. } => ("bundle_needed", "GET /api/v1/models shows what each bundle does."),
        Error::SwitchUnderWay { .. } => {
            ("switch_under_way", "Wait for that job, or cancel it with DELETE /api/v1/jobs/{id}.")
        }
        Error::OpenBundle { .. } | Error::StartBundle { .. } => {
            ("broken_bundle", "`engram models verify` says more; copy the bundle anew, or choose another.")
        }
        Error::Cancelled => ("cancelled", "Ask again if the result is wanted after all."),
        Error::Queue { source: engram_jobs::Error::Full { .. } } => {
            ("queue_full", "Try again when some of the waiting jobs are done.")
        }
        Error::ReadSegmentation { .. } => {
            ("unreadable_segmentation", "Check the object with a DICOM validator and store it anew.")
        }
        Error::SourceNotStored { .. }
        | Error::Rendition {
            source: engram_report::Error::NoSlices | engram_report::Error::FramesElsewhere { .. },
            ..
        } => ("source_not_stored", "Store all images of the series that it was made on."),
        Error::Rendition { source: engram_report::Error::TooLarge { .. }, .. }
        | Error::MakeBinary { source: engram_seg::Error::TooLarge { .. }, .. } => {
            ("too_large", "Raise [limits] max_volume_mb if the server has the memory.")
        }
        Error::Rendition { .. } => (
            "no_rendition",
            "See whether WADO-RS renders the images of the series, and check the segmentation with a DICOM validator.",
        ),
        Error::MakeBinary { .. } => {
            ("no_label_map", "Fetch the segmentation itself: only a LABELMAP is made BINARY.")
        }
        Error::NotOnSeries { .. } => {
            ("not_on_series", "Name a segmentation of that series, with frames of the labels in question.")
        }
        _ => ("internal", "The server's log says more; `engram doctor` checks store, bundle and disk."),
    }
}

impl From<engram_segmenter::Error> for Error {
    fn from(source: engram_segmenter::Error) -> Self {
        use engram_segmenter::Error as Method;
        match source {
            Method::Cancelled => Self::Cancelled,
            Method::UnknownLabel { label } => Self::UnknownLabel { label },
            Method::ModalityMismatch { label, modality, available } => {
                Self::OtherModality { label, modality, available }
            }
            Method::Prompt { .. } | Method::NoClicks { .. } => {
                Self::BadRequest { reason: source.to_string() }
            }
            Method::NoExemplars { .. } | Method::NoLabels => Self::NoExemplars { reason: source.to_string() },
            source => Self::Segment { source },
        }
    }
}
