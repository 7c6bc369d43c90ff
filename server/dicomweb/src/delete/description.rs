//! What the OpenAPI document says of deletion.

use actix_web::http::StatusCode;
use utoipa::openapi::path::Operation;

use crate::description::{Describe, bodiless, operation};

/// A deletion.
pub fn delete(id: impl Into<String>, summary: impl Into<String>) -> Operation {
    operation("DELETE", id, summary)
        .description(Some(
            "No transaction of PS3.18. The configuration may forbid it: `[dicomweb] allow_delete`.",
        ))
        .response("204", bodiless("It is durably gone."))
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND])
        .build()
}
