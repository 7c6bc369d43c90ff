//! `/api/v1/models`: the bundles that are served, and which of them is in use.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::State;
use super::job_view::JobView;
use super::problem::{Problem, blocking};

/// `GET /models`: every bundle that is served or may be chosen, the one in use first.
pub async fn list(state: web::Data<State>) -> Result<impl Responder, Problem> {
    let bundles = blocking(move || state.workflow.bundles()).await?;
    Ok(HttpResponse::Ok().json(bundles))
}

/// The bundle to take into use.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BundleToUse)]
pub struct Use {
    /// Its id, the name of its folder, `name@version` or its name.
    bundle: String,
}

/// `POST /models/use {bundle}`: 202 and the job that encodes the exemplars for it and then takes it into use; 200 and
/// all bundles where it is in use already.
pub async fn use_bundle(state: web::Data<State>, body: web::Json<Use>) -> Result<HttpResponse, Problem> {
    let workflow = state.workflow.clone();
    match blocking(move || workflow.use_bundle(&body.bundle)).await? {
        Some(job) => {
            let view = JobView::from(job);
            Ok(HttpResponse::Accepted().insert_header((LOCATION, view.links.itself.clone())).json(view))
        }
        None => {
            let bundles = blocking(move || state.workflow.bundles()).await?;
            Ok(HttpResponse::Ok().json(bundles))
        }
    }
}

/// `DELETE /models/{bundle}`: it is no longer served, and its exemplars are removed.
pub async fn drop_bundle(
    state: web::Data<State>,
    bundle: web::Path<String>,
) -> Result<impl Responder, Problem> {
    blocking(move || state.workflow.drop_bundle(&bundle)).await?;
    Ok(HttpResponse::NoContent().finish())
}
