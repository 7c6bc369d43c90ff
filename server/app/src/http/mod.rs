//! The HTTP face beside DICOMweb: `/api/v1`, `/metrics` and `/viewer/`. Routes are thin; the work is `workflow`'s.

pub mod compression;
pub mod cors;
mod events;
mod exemplars;
mod health;
mod job_view;
mod jobs;
mod metrics;
mod models;
mod patience;
mod problem;
mod segmentations;
pub mod tokens;
pub mod viewer;

use std::sync::Arc;
use std::time::Duration;

use actix_web::error::JsonPayloadError;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
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
    config.app_data(state).app_data(tokens).route("/metrics", web::get().to(metrics::get)).service(
        web::scope("/api/v1")
            .wrap(from_fn(move |request, next| patience::limit(patience, request, next)))
            .app_data(json)
            .app_data(query)
            .app_data(path)
            .route("/health", web::get().to(health::get))
            .route("/labels", web::get().to(exemplars::labels))
            .service(
                web::resource("/exemplars")
                    .route(web::get().to(exemplars::list))
                    .route(web::post().to(exemplars::approve))
                    .route(web::delete().to(exemplars::withdraw)),
            )
            .route("/exemplars/suggestions", web::get().to(exemplars::suggestions))
            .route("/models", web::get().to(models::list))
            .route("/models/use", web::post().to(models::use_bundle))
            .route("/models/{bundle}", web::delete().to(models::drop_bundle))
            .route("/rules", web::get().to(health::rules))
            .service(
                web::resource("/segmentations")
                    .route(web::get().to(segmentations::list))
                    .route(web::post().to(segmentations::post)),
            )
            .route("/jobs", web::get().to(jobs::list))
            .service(
                web::resource("/jobs/{id}")
                    .route(web::get().to(jobs::get))
                    .route(web::delete().to(jobs::cancel)),
            )
            .route("/jobs/{id}/events", web::get().to(events::get))
            .route("/jobs/{id}/result", web::get().to(jobs::result))
            .route("/jobs/{id}/provenance", web::get().to(jobs::provenance))
            .service(
                web::resource("/tokens")
                    .route(web::get().to(tokens::list))
                    .route(web::post().to(tokens::add)),
            )
            .route("/tokens/{name}", web::delete().to(tokens::revoke)),
    );
}

fn unreadable_json(error: &JsonPayloadError) -> Problem {
    match error {
        JsonPayloadError::Payload(error) if patience::is_over(error) => Problem::too_slow(),
        _ => Problem::bad_request(format!("the body is not the JSON expected: {error}")),
    }
}
