//! `/api/v1/jobs`: what is being done, and stopping it.

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, Responder, web};
use engram_jobs::{CancelOutcome, JobFilter, JobId, JobState};
use serde::Deserialize;
use utoipa::IntoParams;

use super::State;
use super::job_view::JobView;
use super::problem::{Problem, blocking};

/// Jobs a list holds at the most.
const MAX_LISTED: usize = 1000;

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    kind: Option<String>,
    state: Option<JobState>,
    limit: Option<usize>,
}

/// `GET /jobs?kind=&state=&limit=`
pub async fn list(state: web::Data<State>, query: web::Query<ListQuery>) -> Result<impl Responder, Problem> {
    let query = query.into_inner();
    let filter = JobFilter {
        kind: query.kind,
        states: query.state.into_iter().collect(),
        limit: query.limit.unwrap_or(100).clamp(1, MAX_LISTED),
    };
    let jobs = blocking(move || state.workflow.jobs(&filter)).await?;
    Ok(HttpResponse::Ok().json(jobs.into_iter().map(JobView::brief).collect::<Vec<_>>()))
}

/// `GET /jobs/{id}`
pub async fn get(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    match blocking(move || state.workflow.job(id)).await? {
        Some(job) => Ok(HttpResponse::Ok().json(JobView::from(job))),
        None => Err(Problem::no_such_job(id)),
    }
}

/// `DELETE /jobs/{id}`: cancels it. A finished job stays as it is: 409.
pub async fn cancel(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    match blocking(move || state.workflow.cancel(id)).await? {
        None => Err(Problem::no_such_job(id)),
        Some(CancelOutcome::AlreadyFinished(_)) => Err(Problem::new(
            actix_web::http::StatusCode::CONFLICT,
            "job_finished",
            format!("job {id} is finished and can no longer be cancelled"),
            "Delete its result through DICOMweb if it is not wanted.",
        )),
        Some(_) => Ok(HttpResponse::Accepted().finish()),
    }
}

/// `GET /jobs/{id}/result`: the SEG, stored or preview.
pub async fn result(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    let bytes = blocking(move || state.workflow.result_object(id)).await?;
    Ok(HttpResponse::Ok().content_type("application/dicom").body(bytes))
}

/// `GET /jobs/{id}/provenance`: which exemplars led to each slice's mask.
pub async fn provenance(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    let bytes = blocking(move || state.workflow.provenance(id)).await?;
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(bytes))
}
