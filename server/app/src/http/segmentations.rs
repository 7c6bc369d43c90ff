//! `/api/v1/segmentations`: asks for a segmentation, `?wait=true` waits for it; tells of stored ones.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use engram_jobs::{Job, JobFailure, JobFilter, JobId, JobState};
use engram_workflow::{SEGMENTATION_KIND, SegmentationRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::State;
use super::job_view::JobView;
use super::problem::{Problem, blocking};

/// How often a waiting request looks whether its client is still there.
const LOOK: Duration = Duration::from_secs(5);

/// `?wait=true`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PostQuery {
    #[serde(default)]
    wait: bool,
}

/// 202 and the job; with `?wait=true` 200 and the finished job, or the SEG itself for `Accept: application/dicom`.
pub async fn post(
    state: web::Data<State>,
    query: web::Query<PostQuery>,
    body: web::Json<SegmentationRequest>,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let workflow = state.workflow.clone();
    let job = blocking(move || workflow.request_segmentation(body.into_inner())).await?;
    if !query.wait {
        let view = JobView::from(job);
        return Ok(HttpResponse::Accepted().insert_header((LOCATION, view.links.itself.clone())).json(view));
    }
    let job = finished(&state, job.id).await?;
    answer(&state, job, wants_dicom(&http)).await
}

/// The segmentation jobs, newest first.
pub async fn list(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let filter = JobFilter { kind: Some(SEGMENTATION_KIND.into()), states: vec![], limit: 100 };
    let jobs = blocking(move || state.workflow.jobs(&filter)).await?;
    Ok(HttpResponse::Ok().json(jobs.into_iter().map(JobView::brief).collect::<Vec<_>>()))
}

/// `GET /segmentations/{segmentation}`: what a stored SEG shows, and what the bank makes of it.
pub async fn get(state: web::Data<State>, uid: web::Path<String>) -> Result<HttpResponse, Problem> {
    let stored = blocking(move || state.workflow.stored_segmentation(&uid)).await?;
    Ok(HttpResponse::Ok().json(stored))
}

fn wants_dicom(http: &HttpRequest) -> bool {
    let accept = http.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/dicom") && !accept.contains("application/dicom+json")
}

/// Waits in slices of blocking time, so that a vanished client frees its thread soon.
async fn finished(state: &web::Data<State>, id: JobId) -> Result<Job, Problem> {
    loop {
        let workflow = state.workflow.clone();
        let job = blocking(move || workflow.wait(id, LOOK)).await?;
        match job {
            None => return Err(Problem::no_such_job(id)),
            Some(job) if job.state.is_finished() => return Ok(job),
            Some(_) => {}
        }
    }
}

async fn answer(state: &web::Data<State>, job: Job, dicom: bool) -> Result<HttpResponse, Problem> {
    match job.state {
        JobState::Succeeded if dicom => {
            let (workflow, id) = (state.workflow.clone(), job.id);
            let bytes = blocking(move || workflow.result_object(id)).await?;
            Ok(HttpResponse::Ok().content_type("application/dicom").body(bytes))
        }
        JobState::Succeeded => Ok(HttpResponse::Ok().json(JobView::from(job))),
        _ => Err(match job.error {
            Some(JobFailure { code, message, what_to_do }) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, &code, message, what_to_do)
            }
            None => Problem::new(
                StatusCode::CONFLICT,
                "cancelled",
                format!("job {} was cancelled", job.id),
                "Ask for the segmentation again.",
            ),
        }),
    }
}
