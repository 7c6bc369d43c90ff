//! `GET /api/v1/health` and `GET /api/v1/rules`.

use actix_web::{HttpResponse, Responder, web};
use serde_json::{Value, json};

use super::State;
use crate::guard::Caller;

/// Answers once the server is ready to work. Who brings no token where one is asked for learns no more than that.
pub async fn get(state: web::Data<State>, caller: web::ReqData<Caller>) -> impl Responder {
    if *caller == Caller::Nobody {
        return HttpResponse::Ok().json(json!({ "status": "ok" }));
    }
    let status = state.workflow.status();
    HttpResponse::Ok().json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "bundle": status.bundle,
        "device": status.device,
        "devices": devices(&state),
        "exemplar_slices": status.exemplar_slices,
        "jobs_waiting": status.jobs_waiting,
        "jobs_running": status.jobs_running,
    }))
}

/// Every device of the bundle in use, whether it serves, and if not why.
fn devices(state: &State) -> Vec<Value> {
    let in_use = state.workflow.served_bundles().into_iter().next();
    let devices = in_use.map(|bundle| bundle.engine().metrics().devices).unwrap_or_default();
    let devices = devices.into_iter().map(|device| {
        json!({
            "device": device.device.to_string(),
            "serving": device.retired.is_none(),
            "retired_because": device.retired,
        })
    });
    devices.collect()
}

/// The rules in force.
pub async fn rules(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().json(&state.rules)
}
