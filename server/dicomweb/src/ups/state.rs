//! `PUT /workitems/{workitem}/state`, the Change State transaction.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.7>

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::tags;
use engram_worklist::{Change, State, text};
use snafu::ResultExt;

use super::path::Workitem;
use super::{body, warning};
use crate::error::{BadDataSetSnafu, Result, WorklistSnafu};
use crate::state::{DicomWeb, blocking};

/// Claims a workitem, or ends one that was claimed.
pub async fn change(
    request: HttpRequest,
    state: Data<DicomWeb>,
    workitem: Workitem,
    payload: Payload,
) -> Result<HttpResponse> {
    let action = body::required(&request, payload, &state.options).await?;
    let Some(wanted) = text(&action, tags::PROCEDURE_STEP_STATE).and_then(State::named) else {
        let problem = "its Procedure Step State (0074,1000) is none of IN PROGRESS, COMPLETED, CANCELED";
        return BadDataSetSnafu { problem }.fail();
    };
    let url = state.urls(&request).workitem(&workitem.0);
    let change = blocking(move || {
        let transaction = text(&action, tags::TRANSACTION_UID);
        state.worklist.change_state(&workitem.0, wanted, transaction).context(WorklistSnafu)
    })
    .await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_LOCATION, url));
    if change == Change::Already {
        let text = format!("The UPS is already in the requested state of {wanted}.");
        response.insert_header((header::WARNING, warning(&text)));
    }
    Ok(response.finish())
}
