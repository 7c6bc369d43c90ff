//! `POST /workitems/{workitem}`, the Update transaction. The Transaction UID is the query (`?1.2.3`, or
//! `?transaction-uid=1.2.3`), or stands in the data set.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.6>

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::tags;
use engram_worklist::text;
use snafu::ResultExt;

use super::body;
use super::create::uid_of;
use super::path::Workitem;
use crate::error::{Result, WorklistSnafu};
use crate::state::{DicomWeb, blocking};

const NAMES: [&str; 2] = ["transaction-uid", "transaction"];

/// Changes attributes of a workitem.
pub async fn update(
    request: HttpRequest,
    state: Data<DicomWeb>,
    workitem: Workitem,
    payload: Payload,
) -> Result<HttpResponse> {
    let given = uid_of(&request, &NAMES)?;
    let changes = body::required(&request, payload, &state.options).await?;
    let url = state.urls(&request).workitem(&workitem.0);
    blocking(move || {
        let within = text(&changes, tags::TRANSACTION_UID).map(str::to_owned);
        let transaction = given.or(within);
        state.worklist.update(&workitem.0, transaction.as_deref(), changes).context(WorklistSnafu)
    })
    .await?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_LOCATION, url)).finish())
}
