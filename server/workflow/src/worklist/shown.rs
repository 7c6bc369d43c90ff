//! A segmentation job as a workitem: what is to be done, what was done, and why it was not.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use engram_archive::StudyEntry;
use engram_jobs::{Job, JobState, Timestamp};
use engram_worklist::{Attributes, CancelRequest, Discontinuation, code, element, format_moment, key};
use serde_json::Value;
use time::OffsetDateTime;

use super::asked::{parameters_of, station_code, workitem_code};
use crate::request::{SegmentationJob, SegmentationSummary};

/// Patient attributes that a workitem has of its study.
const OF_THE_STUDY: [Tag; 8] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::ACCESSION_NUMBER,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
];
/// Longest LO, in characters.
const MOST_OF_A_LABEL: usize = 64;

/// How this server is named where it performs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Code Value of its Station Name Code, in the coding scheme 99ENGRAM.
    pub name: String,
    /// The AE title under which results can be retrieved.
    pub ae_title: String,
}

fn attributes(elements: impl IntoIterator<Item = (Tag, Vec<Value>)>) -> Attributes {
    elements.into_iter().map(|(tag, values)| (key(tag), element(tag, values))).collect()
}

/// The workitem of a job that somebody asked for elsewhere.
pub fn workitem(
    job: &Job,
    asked: &SegmentationJob,
    study: Option<&StudyEntry>,
    station: &Station,
) -> Attributes {
    let request = &asked.request;
    let of_study = study.map(|study| &study.attributes);
    let mut workitem: Attributes = OF_THE_STUDY
        .into_iter()
        .filter_map(|tag| Some((key(tag), of_study?.get(&key(tag))?.clone())))
        .collect();
    let input = attributes([
        (tags::TYPE_OF_INSTANCES, vec!["DICOM".into()]),
        (tags::STUDY_INSTANCE_UID, vec![request.study.as_str().into()]),
        (tags::SERIES_INSTANCE_UID, vec![request.series.as_str().into()]),
        (tags::DICOM_RETRIEVAL_SEQUENCE, vec![retrieval(station)]),
    ]);
    workitem.extend(attributes([
        (tags::PROCEDURE_STEP_STATE, vec!["SCHEDULED".into()]),
        (tags::SCHEDULED_PROCEDURE_STEP_PRIORITY, vec!["MEDIUM".into()]),
        (tags::PROCEDURE_STEP_LABEL, vec![label(asked).into()]),
        (tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME, vec![moment(job.created_at).into()]),
        (tags::INPUT_READINESS_STATE, vec!["READY".into()]),
        (tags::SCHEDULED_WORKITEM_CODE_SEQUENCE, vec![workitem_code()]),
        (tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE, vec![station_code(&station.name)]),
        (tags::SCHEDULED_PROCESSING_PARAMETERS_SEQUENCE, parameters_of(request)),
        (tags::INPUT_INFORMATION_SEQUENCE, vec![input.into()]),
        (tags::STUDY_INSTANCE_UID, vec![request.study.as_str().into()]),
    ]));
    workitem
}

fn label(asked: &SegmentationJob) -> String {
    let label = match &asked.request.labels {
        None => "Segmentation".to_owned(),
        Some(labels) => format!("Segmentation of {}", labels.join(", ")),
    };
    // A backslash would set values apart.
    label.replace('\\', "/").chars().take(MOST_OF_A_LABEL).collect()
}

fn retrieval(station: &Station) -> Value {
    attributes([(tags::RETRIEVE_AE_TITLE, vec![station.ae_title.as_str().into()])]).into()
}

/// What a job that succeeded has done: the item of the Performed Procedure Sequence.
pub fn performed(job: &Job, station: &Station) -> Attributes {
    let summary =
        job.result.clone().and_then(|result| serde_json::from_value::<SegmentationSummary>(result).ok());
    let output = summary.filter(|summary| summary.stored).map(|summary| output(&summary, station));
    let finished = job.finished_at.unwrap_or(job.created_at);
    attributes([
        (tags::PERFORMED_STATION_NAME_CODE_SEQUENCE, vec![station_code(&station.name)]),
        (tags::PERFORMED_WORKITEM_CODE_SEQUENCE, vec![workitem_code()]),
        (
            tags::PERFORMED_PROCEDURE_STEP_START_DATE_TIME,
            vec![moment(job.started_at.unwrap_or(job.created_at)).into()],
        ),
        (tags::PERFORMED_PROCEDURE_STEP_END_DATE_TIME, vec![moment(finished).into()]),
        (tags::OUTPUT_INFORMATION_SEQUENCE, output.into_iter().collect()),
    ])
}

/// The stored SEG (PS3.3 Table 10-3b).
fn output(summary: &SegmentationSummary, station: &Station) -> Value {
    let instance = attributes([
        (tags::REFERENCED_SOP_CLASS_UID, vec![summary.sop_class.as_str().into()]),
        (tags::REFERENCED_SOP_INSTANCE_UID, vec![summary.sop_instance.as_str().into()]),
    ]);
    let output = attributes([
        (tags::TYPE_OF_INSTANCES, vec!["DICOM".into()]),
        (tags::STUDY_INSTANCE_UID, vec![summary.study.as_str().into()]),
        (tags::SERIES_INSTANCE_UID, vec![summary.series.as_str().into()]),
        (tags::REFERENCED_SOP_SEQUENCE, vec![instance.into()]),
        (tags::DICOM_RETRIEVAL_SEQUENCE, vec![retrieval(station)]),
    ]);
    output.into()
}

/// Why a job that failed or was cancelled did nothing. Who asked for that may have said why.
pub fn discontinued(job: &Job, asked: Option<CancelRequest>) -> Discontinuation {
    match (&job.error, asked) {
        (Some(failure), _) if job.state == JobState::Failed => {
            let reason = format!("{} {}", failure.message, failure.what_to_do);
            refused(&failure.code, reason)
        }
        (_, Some(CancelRequest { reason, discontinuation, .. })) => {
            let reason = reason.or_else(|| Some("Its cancellation was requested.".to_owned()));
            Discontinuation { reason, codes: discontinuation }
        }
        _ => Discontinuation { reason: Some("The job was cancelled.".to_owned()), codes: vec![] },
    }
}

/// A failure, with the code of CID 9300 that is nearest to it.
pub fn refused(failure: &str, reason: String) -> Discontinuation {
    let (value, meaning) = match failure {
        "no_such_series" | "no_exemplars" => ("110523", "Object Set incomplete"),
        "not_a_volume" => ("110522", "Object Types not supported"),
        "too_large" | "queue_full" | "bundle_not_ready" => ("110527", "Resource inadequate"),
        "unknown_label" | "other_modality" | "bad_request" | "no_such_bundle" => {
            ("110502", "Incorrect procedure ordered")
        }
        _ => ("110501", "Equipment failure"),
    };
    Discontinuation { reason: Some(reason), codes: vec![code(value, "DCM", meaning)] }
}

/// How far a running job is, 0 to 99, and the stage it is in.
pub fn progress(job: &Job, now: Timestamp) -> (u8, &str) {
    let stage = job.stage.as_deref().unwrap_or("waiting");
    let gone = job.started_at.map_or(0.0, |started| now.seconds_since(started));
    let percent = match job.seconds_left {
        Some(left) if gone + left > 0.0 => 100.0 * gone / (gone + left),
        // Without anything to go by, the stage's own share.
        _ => 100.0 * job.progress.done as f64 / job.progress.total.max(1) as f64,
    };
    (percent.clamp(0.0, 99.0) as u8, stage)
}

fn moment(timestamp: Timestamp) -> String {
    let nanoseconds = i128::from(timestamp.0) * 1_000_000;
    format_moment(
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH),
    )
}
