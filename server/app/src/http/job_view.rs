//! A job as the API shows it.

use engram_jobs::{Job, JobFailure, JobState};
use engram_workflow::SegmentationSummary;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What clients see of a job. Times are milliseconds since 1970; units are seconds and slices.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)] // the names say it; docs/api.md explains them
#[schema(as = Job)]
pub struct JobView {
    pub id: String,
    pub kind: String,
    pub state: JobState,
    pub stage: Option<String>,
    pub slices_done: u64,
    pub slices_total: u64,
    pub estimated_seconds_left: Option<f64>,
    /// Seconds of each finished stage, in order; they add up to the job's running time.
    pub stage_seconds: Vec<(String, f64)>,
    pub created_at: u64,
    pub started_at: Option<u64>,
    pub finished_at: Option<u64>,
    pub attempts: u32,
    pub error: Option<JobFailure>,
    /// Names of the rules that asked for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    #[schema(value_type = Object)]
    pub request: Value,
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    pub links: Links,
}

/// Where to go from a job; relative to the server's root.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)]
#[schema(as = JobLinks)]
pub struct Links {
    #[serde(rename = "self")]
    pub itself: String,
    pub events: String,
    pub result: String,
    pub provenance: String,
    /// Where WADO-RS gives the stored SEG, once it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl JobView {
    /// For lists and events: without the request's prompts, which may be many and large.
    pub fn brief(mut job: Job) -> Self {
        if let Some(request) = job.payload.get_mut("request").and_then(Value::as_object_mut) {
            request.remove("prompts");
        }
        Self::from(job)
    }
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let base = format!("/api/v1/jobs/{}", job.id);
        let summary = job.result.clone().and_then(|r| serde_json::from_value::<SegmentationSummary>(r).ok());
        let instance = summary.filter(|s| s.stored).map(|s| {
            format!("/dicomweb/studies/{}/series/{}/instances/{}", s.study, s.series, s.sop_instance)
        });
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            state: job.state,
            stage: job.stage,
            slices_done: job.progress.done,
            slices_total: job.progress.total,
            estimated_seconds_left: job.seconds_left,
            stage_seconds: job.stages.into_iter().map(|t| (t.stage, t.seconds)).collect(),
            created_at: job.created_at.0,
            started_at: job.started_at.map(|t| t.0),
            finished_at: job.finished_at.map(|t| t.0),
            attempts: job.attempts,
            error: job.error,
            rules: rules_of(&job.payload),
            request: job.payload.get("request").cloned().unwrap_or(job.payload),
            result: job.result,
            links: Links {
                events: format!("{base}/events"),
                result: format!("{base}/result"),
                provenance: format!("{base}/provenance"),
                itself: base,
                instance,
            },
        }
    }
}

fn rules_of(payload: &Value) -> Vec<String> {
    let names = payload.pointer("/route/rules").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
