//! `GET /api/v1/health`.

use actix_web::{HttpResponse, Responder, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use crate::guard::Caller;

/// All that a stranger learns.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alive {
    /// `ok`.
    status: &'static str,
}

/// How the server stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
    /// The server's version.
    version: &'static str,
    /// Id of the bundle in use.
    bundle: String,
    /// The devices that serve.
    device: String,
    /// Every device of the bundle in use.
    devices: Vec<DeviceHealth>,
    /// Annotated slices in the bank.
    exemplar_slices: u64,
    /// Jobs that wait for a worker.
    jobs_waiting: usize,
    /// Jobs that a worker has.
    jobs_running: usize,
    /// Whether `/viewer/` has OHIF.
    viewer: bool,
}

/// Whether a device serves, and if not why.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceHealth {
    /// Its name: `cpu`, `cuda:0`.
    device: String,
    /// Whether it computes.
    serving: bool,
    /// Why it was retired.
    retired_because: Option<String>,
}

const OK: &str = "ok";

/// Answers once the server is ready to work. Who brings no token where one is asked for learns no more than that.
pub async fn get(state: web::Data<State>, caller: web::ReqData<Caller>) -> impl Responder {
    if *caller == Caller::Nobody {
        return HttpResponse::Ok().json(Alive { status: OK });
    }
    let status = state.workflow.status();
    HttpResponse::Ok().json(Health {
        status: OK,
        version: env!("CARGO_PKG_VERSION"),
        bundle: status.bundle,
        device: status.device,
        devices: devices(&state),
        exemplar_slices: status.exemplar_slices,
        jobs_waiting: status.jobs_waiting,
        jobs_running: status.jobs_running,
        viewer: state.has_viewer,
    })
}

fn devices(state: &State) -> Vec<DeviceHealth> {
    let in_use = state.workflow.served_bundles().into_iter().next();
    let devices = in_use.map(|bundle| bundle.engine().metrics().devices).unwrap_or_default();
    let devices = devices.into_iter().map(|device| DeviceHealth {
        device: device.device.to_string(),
        serving: device.retired.is_none(),
        retired_because: device.retired,
    });
    devices.collect()
}
