//! `POST /workitems`, the Create transaction.
//!
//! The workitem's UID is the query (`?1.2.3`, as Table 11.4.1-1 has it; `?workitem=1.2.3` and `?AffectedSOPInstanceUID=1.2.3`,
//! as clients write it), or stands in the data set; without any, the server gives it.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.4>

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use snafu::ResultExt;

use super::{body, warning};
use crate::error::{Result, WorklistSnafu};
use crate::place::check;
use crate::query;
use crate::state::{DicomWeb, blocking};

/// Names under which the query gives the UID.
const NAMES: [&str; 3] = ["workitem", "uid", "AffectedSOPInstanceUID"];

/// Creates a workitem.
pub async fn create(request: HttpRequest, state: Data<DicomWeb>, payload: Payload) -> Result<HttpResponse> {
    let uid = uid_of(&request, &NAMES)?;
    let attributes = body::required(&request, payload, &state.options).await?;
    let url = state.urls(&request);
    let created =
        blocking(move || state.worklist.create(uid.as_deref(), attributes).context(WorklistSnafu)).await?;
    let url = url.workitem(&created.uid);
    let mut response = HttpResponse::Created();
    response
        .insert_header((header::LOCATION, url.as_str()))
        .insert_header((header::CONTENT_LOCATION, url.as_str()));
    if created.modified {
        response.insert_header((header::WARNING, warning("The UPS was created with modifications.")));
    }
    Ok(response.finish())
}

/// The UID that the query is, or gives under one of these names.
pub fn uid_of(request: &HttpRequest, names: &[&str]) -> Result<Option<String>> {
    let pairs = query::pairs(request.query_string())?;
    let named = names.iter().find_map(|name| query::value_of(&pairs, name));
    let is_uid = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
    let bare =
        || pairs.iter().find(|(name, value)| value.is_empty() && is_uid(name)).map(|(name, _)| name.as_str());
    named.or_else(bare).map(|uid| check("workitem", uid)).transpose()
}
