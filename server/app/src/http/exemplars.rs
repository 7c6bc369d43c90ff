//! `/api/v1/labels` and `/api/v1/exemplars`: what the bank holds.

use actix_web::{HttpResponse, Responder, web};
use engram_workflow::{ExemplarFilter, SuggestionQuery};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::problem::{Problem, blocking};

/// Exemplars a page holds at the most.
const MAX_PAGE: usize = 1000;
/// Suggestions of one answer at the most.
const MAX_SUGGESTIONS: usize = 100;

/// `GET /labels`: every label with its counts.
pub async fn labels(state: web::Data<State>) -> Result<impl Responder, Problem> {
    let labels = blocking(move || state.workflow.labels()).await?;
    Ok(HttpResponse::Ok().json(labels))
}

/// Which exemplars to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    label: Option<String>,
    study: Option<String>,
    series: Option<String>,
    collection: Option<String>,
    bundle: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

/// `GET /exemplars?label=&study=&series=&collection=&bundle=&offset=&limit=`
pub async fn list(state: web::Data<State>, query: web::Query<ListQuery>) -> Result<impl Responder, Problem> {
    let query = query.into_inner();
    let filter = ExemplarFilter {
        label: query.label,
        study: query.study,
        series: query.series,
        collection: query.collection,
        bundle: query.bundle,
    };
    let limit = query.limit.unwrap_or(100).clamp(1, MAX_PAGE);
    let page = blocking(move || state.workflow.exemplars(&filter, query.offset, limit)).await?;
    Ok(HttpResponse::Ok().json(page))
}

/// What to suggest.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuggestionsQuery {
    label: Option<String>,
    modality: Option<String>,
    collection: Option<String>,
    limit: Option<usize>,
}

/// `GET /exemplars/suggestions?label=&modality=&collection=&limit=`: what to annotate next.
pub async fn suggestions(
    state: web::Data<State>,
    query: web::Query<SuggestionsQuery>,
) -> Result<impl Responder, Problem> {
    let SuggestionsQuery { label, modality, collection, limit } = query.into_inner();
    let limit = limit.unwrap_or(10).clamp(1, MAX_SUGGESTIONS);
    let query = SuggestionQuery { label, modality, collection, limit };
    let suggestions = blocking(move || state.workflow.suggestions(&query)).await?;
    Ok(HttpResponse::Ok().json(suggestions))
}

/// A segmentation to make exemplars of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// SOPInstanceUID of the SEG.
    segmentation: String,
}

/// `POST /exemplars {segmentation}`: a person vouches for it, whatever made it.
pub async fn approve(state: web::Data<State>, body: web::Json<Approval>) -> Result<impl Responder, Problem> {
    blocking(move || state.workflow.approve(&body.segmentation)).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// What to take out of the bank.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Withdrawal {
    /// SOPInstanceUID of the SEG.
    segmentation: String,
    /// One of its labels; none: all.
    label: Option<String>,
}

/// `DELETE /exemplars?segmentation=&label=`: the SEG stays stored, its exemplars go and do not come back.
pub async fn withdraw(
    state: web::Data<State>,
    query: web::Query<Withdrawal>,
) -> Result<impl Responder, Problem> {
    blocking(move || state.workflow.withdraw(&query.segmentation, query.label.as_deref())).await?;
    Ok(HttpResponse::Accepted().finish())
}
