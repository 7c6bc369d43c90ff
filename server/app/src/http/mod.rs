//! The HTTP face beside DICOMweb: `/api/v1`, `/metrics`, the page at `/` and `/viewer/`. Routes are thin; the work is `workflow`'s.

pub mod compression;
pub mod cors;
mod events;
mod exemplars;
mod health;
mod job_view;
mod jobs;
mod metrics;
mod models;
pub mod openapi;
pub mod page;
mod patience;
mod problem;
mod renditions;
mod resources;
mod segmentations;
pub mod tokens;
pub mod viewer;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::error::JsonPayloadError;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use engram_dicomweb::mount;
use engram_workflow::Workflow;

use crate::guard::Tokens;

pub use problem::Problem;

/// Largest JSON body of `/api/v1`, bytes.
const MAX_JSON_BYTES: usize = 1 << 20;

/// What the routes share.
pub struct State {
    /// The rooms, joined.
    pub workflow: Arc<Workflow>,
    /// The rules in force, for `/api/v1/rules`.
    pub rules: Vec<engram_routing::Rule>,
    /// Whether `/viewer/` has OHIF.
    pub has_viewer: bool,
    /// How long a request's body may take to arrive.
    pub patience: Duration,
}

/// Mounts `/api/v1` and `/metrics`.
pub fn configure(config: &mut ServiceConfig, state: web::Data<State>, tokens: web::Data<Tokens>) {
    let patience = state.patience;
    let json = web::JsonConfig::default()
        .limit(MAX_JSON_BYTES)
        .error_handler(|error, _| unreadable_json(&error).into());
    let query = web::QueryConfig::default()
        .error_handler(|error, _| Problem::bad_request(format!("the query is wrong: {error}")).into());
    let path = web::PathConfig::default()
        .error_handler(|error, _| Problem::bad_request(format!("the path is wrong: {error}")).into());
    config.app_data(state).app_data(tokens).configure(|root| mount(resources::at_root(), root)).service(
        web::scope("/api/v1")
            .wrap(from_fn(move |request, next| patience::limit(patience, request, next)))
            .app_data(json)
            .app_data(query)
            .app_data(path)
            .configure(|api| mount(resources::of_api(), api)),
    );
}

/// Answers where nothing is.
pub async fn nowhere() -> Result<HttpResponse, Problem> {
    Err(Problem::no_such_resource())
}

fn unreadable_json(error: &JsonPayloadError) -> Problem {
    match error {
        JsonPayloadError::Payload(error) if patience::is_over(error) => Problem::too_slow(),
        _ => Problem::bad_request(format!("the body is not the JSON expected: {error}")),
    }
}
