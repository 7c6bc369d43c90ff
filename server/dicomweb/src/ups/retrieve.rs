//! `GET /workitems/{workitem}`, the Retrieve transaction.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.5>

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use snafu::ResultExt;

use super::body;
use super::path::Workitem;
use crate::error::{Result, WorklistSnafu};
use crate::state::{DicomWeb, blocking, data_set_offers, negotiate};

/// Sends the workitem, without its Transaction UID.
pub async fn retrieve(
    request: HttpRequest,
    state: Data<DicomWeb>,
    workitem: Workitem,
) -> Result<HttpResponse> {
    let offer = negotiate(&request, &data_set_offers())?;
    let attributes = blocking(move || state.worklist.retrieve(&workitem.0).context(WorklistSnafu)).await?;
    body::answer(&attributes, &offer)
}
