//! What the OpenAPI document says of storing.

use actix_web::http::StatusCode;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{Content, Required};

use super::routes::MAX_COLLECTION_NAME;
use crate::data_set::DataSet;
use crate::description::{Describe, flag, operation, query_parameter, schema_ref, sent, text};
use crate::media::Offer;
use crate::native_model;
use crate::state::data_set_offers;

/// The parameters of storing.
pub fn parameters() -> [Parameter; 2] {
    let name = text().min_length(Some(1)).max_length(Some(MAX_COLLECTION_NAME));
    [
        query_parameter(
            "collection",
            "The collection that exemplars made of these instances belong to.",
            name,
        ),
        query_parameter(
            "partial",
            "Whether the SEGs are silent about slices that they have no frame for.",
            flag(),
        ),
    ]
}

/// The Store transaction (PS3.18 10.5).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.5>
pub fn store(id: &str, summary: &str) -> Operation {
    let answer = |description| sent(description, &data_set_offers(), Some(schema_ref::<DataSet>()));
    operation("STOW-RS", id, summary)
        .description(Some("Answers the Store Instances Response Module (PS3.18 Table 10.5.3-2)."))
        .query(&["collection", "partial", "accept"])
        .request_body(Some(instances()))
        .response("200", answer("Every instance is stored."))
        .response("202", answer("Some are stored, and some failed or were coerced: the data set says which."))
        .response("409", answer("No instance is stored: the data set says why."))
        .response("500", answer("No instance is stored, by the server's fault."))
        .response("503", answer("No instance is stored: there is no room for them."))
        .failures(&[
            StatusCode::BAD_REQUEST,
            StatusCode::NOT_ACCEPTABLE,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ])
        .build()
}

/// The forms of PS3.18 Table 10.5.2-1.
fn instances() -> RequestBody {
    let data_sets = ArrayBuilder::new().items(schema_ref::<DataSet>()).build();
    let types = ["application/dicom", "application/dicom+json", native_model::MEDIA_TYPE];
    let forms =
        types.into_iter().flat_map(|media_type| [Offer::multipart(media_type), Offer::single(media_type)]);
    let body = RequestBodyBuilder::new().required(Some(Required::True)).description(Some(
        "Part 10 objects, a part each or one alone; or metadata, in parts beside their bulk data or alone.",
    ));
    let body = forms.fold(body, |body, form| {
        let schema = form.is_json().then(|| data_sets.clone());
        body.content(form.to_string(), Content::new(schema))
    });
    body.build()
}
