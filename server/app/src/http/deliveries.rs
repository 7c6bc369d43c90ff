//! `/api/v1/deliveries`: what leaves the house, and what could not.

use actix_web::{HttpResponse, Responder, web};
use engram_jobs::{Job, JobFailure, JobFilter, JobId, JobState};
use engram_workflow::{Content, Delivery, DeliverySummary, Item};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::problem::{Problem, blocking};

/// Deliveries a list holds at the most.
const MAX_LISTED: usize = 1000;

/// A delivery to a node, or a call of a webhook. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Its id.
    pub id: String,
    /// Name of the node or webhook.
    pub to: String,
    /// `node` or `webhook`.
    pub kind: String,
    /// `queued`: it waits; `failed`: it was given up, and stays until somebody resends or discards it.
    pub state: JobState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was made.
    pub created_at: u64,
    /// When it is tried again, where it waits for that.
    pub next_attempt_at: Option<u64>,
    /// When it ended.
    pub finished_at: Option<u64>,
    /// Names of the rules that ask for it.
    pub rules: Vec<String>,
    /// StudyInstanceUID.
    pub study: Option<String>,
    /// What a node gets.
    #[serde(flatten)]
    pub content: Option<Content>,
    /// Instances that the node has taken.
    pub sent: usize,
    /// Whether the SEG went as BINARY, since the node does not take LABELMAP.
    pub as_binary: bool,
    /// What a webhook gets.
    pub news: Option<Item>,
    /// Why it failed, for good or the last time.
    pub error: Option<JobFailure>,
}

impl From<Job> for DeliveryView {
    fn from(job: Job) -> Self {
        let delivery: Option<Delivery> = serde_json::from_value(job.payload.clone()).ok();
        let news: Option<Item> = serde_json::from_value(job.payload).ok();
        let summary: Option<DeliverySummary> =
            job.result.and_then(|result| serde_json::from_value(result).ok());
        let of_delivery = delivery.as_ref().map(|delivery| &delivery.sent);
        let taken = summary.as_ref().map(|summary| &summary.instances).or(of_delivery);
        let as_binary = summary.as_ref().is_some_and(|summary| summary.as_binary);
        let (kind, to) = job.kind.split_once(':').unwrap_or(("", &job.kind));
        Self {
            id: job.id.to_string(),
            to: to.to_owned(),
            kind: kind.to_owned(),
            state: job.state,
            attempts: job.attempts,
            created_at: job.created_at.0,
            next_attempt_at: job.not_before.map(|at| at.0).filter(|_| job.state == JobState::Queued),
            finished_at: job.finished_at.map(|at| at.0),
            rules: delivery.as_ref().map(|delivery| delivery.rules.clone()).unwrap_or_default(),
            study: delivery.as_ref().map(|delivery| delivery.study.clone()),
            sent: taken.map_or(0, |taken| taken.len()),
            as_binary,
            content: delivery.map(|delivery| delivery.content),
            news,
            error: job.error,
        }
    }
}

/// Which deliveries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    state: Option<JobState>,
    limit: Option<usize>,
}

/// `GET /deliveries?state=&limit=`: the newest first.
pub async fn list(state: web::Data<State>, query: web::Query<ListQuery>) -> Result<impl Responder, Problem> {
    let ListQuery { state: wanted, limit } = query.into_inner();
    let limit = limit.unwrap_or(100).clamp(1, MAX_LISTED);
    let filter = JobFilter { kind: None, states: wanted.into_iter().collect(), limit };
    let posted = blocking(move || state.workflow.outbox(&filter)).await?;
    Ok(HttpResponse::Ok().json(posted.into_iter().map(DeliveryView::from).collect::<Vec<_>>()))
}

/// `GET /deliveries/{delivery}`
pub async fn get(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    let posted = blocking(move || state.workflow.posted(id)).await?;
    Ok(HttpResponse::Ok().json(DeliveryView::from(posted.ok_or_else(|| unknown(id))?)))
}

/// `POST /deliveries/{delivery}/resend`: tries it now, also where it was given up.
pub async fn resend(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    let posted = blocking(move || state.workflow.resend(id)).await?;
    Ok(HttpResponse::Accepted().json(DeliveryView::from(posted.ok_or_else(|| unknown(id))?)))
}

/// `DELETE /deliveries/{delivery}`: it is not sent, and one that was given up is forgotten.
pub async fn discard(state: web::Data<State>, id: web::Path<JobId>) -> Result<impl Responder, Problem> {
    let id = id.into_inner();
    match blocking(move || state.workflow.discard(id)).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(unknown(id)),
    }
}

fn unknown(id: JobId) -> Problem {
    Problem::new(
        actix_web::http::StatusCode::NOT_FOUND,
        "no_such_delivery",
        format!("there is no delivery {id}"),
        "List them with GET /api/v1/deliveries; those that went well are forgotten after a while.",
    )
}
