//! `GET /api/v1/health` and `GET /api/v1/rules`.

use actix_web::{HttpResponse, Responder, web};
use serde_json::json;

use super::State;

/// Answers once the server is ready to work.
pub async fn get(state: web::Data<State>) -> impl Responder {
    let status = state.workflow.status();
    HttpResponse::Ok().json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "bundle": status.bundle,
        "device": status.device,
        "exemplar_slices": status.exemplar_slices,
        "jobs_waiting": status.jobs_waiting,
        "jobs_running": status.jobs_running,
    }))
}

/// The rules in force.
pub async fn rules(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().json(&state.rules)
}
