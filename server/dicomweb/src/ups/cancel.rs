//! `POST /workitems/{workitem}/cancelrequest`, the Request Cancellation transaction. The standard has no place for the
//! Requesting AE, which event reports must name: it may be the query `?requester=`, or stand in the data set.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.8>

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::tags;
use engram_worklist::{AeTitle, Attributes, CancelRequest, Change, text};
use snafu::ResultExt;

use super::path::Workitem;
use super::{body, warning};
use crate::error::{Result, WorklistSnafu};
use crate::query;
use crate::state::{DicomWeb, blocking};

/// Requesting AE of those who do not say.
const ANYONE: &str = "UPS-RS";

/// Passes on the wish that a workitem be canceled.
pub async fn request(
    request: HttpRequest,
    state: Data<DicomWeb>,
    workitem: Workitem,
    payload: Payload,
) -> Result<HttpResponse> {
    let action = body::data_set(&request, payload, &state.options).await?.unwrap_or_default();
    let requesting_ae = requester(&request, &action)?;
    let wish = CancelRequest::of(requesting_ae, &action);
    let change =
        blocking(move || state.worklist.request_cancellation(&workitem.0, wish).context(WorklistSnafu))
            .await?;
    let mut response = HttpResponse::Accepted();
    if change == Change::Already {
        let text = "The UPS is already in the requested state of CANCELED.";
        response.insert_header((header::WARNING, warning(text)));
    }
    Ok(response.finish())
}

fn requester(request: &HttpRequest, action: &Attributes) -> Result<String> {
    let pairs = query::pairs(request.query_string())?;
    let named = query::value_of(&pairs, "requester").or_else(|| text(action, tags::REQUESTING_AE));
    let title = AeTitle::parse(named.unwrap_or(ANYONE)).context(WorklistSnafu)?;
    Ok(title.to_string())
}
