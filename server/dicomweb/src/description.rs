//! Words for the OpenAPI document, which the HTTP faces describe their operations with.

use actix_web::http::StatusCode;
use utoipa::ToSchema;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Content, HeaderBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema};

use crate::media::Offer;

/// The media type of errors, and of what is no DICOM.
const JSON: &str = "application/json";

/// Every status of failure that is answered with `{code, message, what_to_do}`.
const FAILURES: [StatusCode; 17] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::CONFLICT,
    StatusCode::GONE,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::RANGE_NOT_SATISFIABLE,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// An operation that fails with 500 or 503 where the server is at fault.
pub fn operation(tag: &str, id: impl Into<String>, summary: impl Into<String>) -> OperationBuilder {
    OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(id))
        .summary(Some(summary))
        .failures(&[StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE])
}

/// What is said of an operation beyond the words that utoipa has.
pub trait Describe: Sized {
    /// It takes these query parameters of the document's components.
    fn query(self, names: &[&str]) -> Self;
    /// It answers failures with these statuses, which are among the document's components ([`failures`]).
    fn failures(self, statuses: &[StatusCode]) -> Self;
}

impl Describe for OperationBuilder {
    fn query(self, names: &[&str]) -> Self {
        names.iter().fold(self, |operation, name| operation.parameter_ref(parameter_ref(name)))
    }

    fn failures(self, statuses: &[StatusCode]) -> Self {
        statuses.iter().fold(self, |operation, status| {
            operation.response(status.as_str(), Ref::from_response_name(name_of(*status)))
        })
    }
}

/// Refers to a parameter of the document's components.
pub fn parameter_ref(name: &str) -> Ref {
    Ref::new(format!("#/components/parameters/{name}"))
}

/// Refers to a schema of the document's components.
pub fn schema_ref<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// The schemas of `T` and of all that it refers to, for the document's components.
pub fn schemas<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

/// A query parameter that may be left out.
pub fn query_parameter(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A part of a path.
pub fn path_parameter(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// Text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A whole number within bounds.
pub fn whole(least: u32, most: u32) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most))
}

/// Yes or no.
pub fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// An answer in one of these forms; where that is JSON, of this schema.
pub fn sent(description: &str, offers: &[Offer], json: Option<RefOr<Schema>>) -> ResponseBuilder {
    offers.iter().fold(ResponseBuilder::new().description(description), |response, offer| {
        let schema = json.clone().filter(|_| offer.is_json());
        response.content(offer.to_string(), Content::new(schema))
    })
}

/// An answer without a body.
pub fn bodiless(description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description)
}

/// An answer that is one JSON value of the type `T`.
pub fn json<T: ToSchema>(description: &str) -> ResponseBuilder {
    sent(description, &[Offer::single(JSON)], Some(schema_ref::<T>()))
}

/// An answer that is a JSON array of values of the type `T`.
pub fn json_list<T: ToSchema>(description: &str) -> ResponseBuilder {
    let list = ArrayBuilder::new().items(schema_ref::<T>());
    sent(description, &[Offer::single(JSON)], Some(list.into()))
}

/// A body that is one JSON value of the type `T`.
pub fn json_body<T: ToSchema>() -> RequestBody {
    RequestBodyBuilder::new()
        .content(JSON, Content::new(Some(schema_ref::<T>())))
        .required(Some(Required::True))
        .build()
}

/// A header of an answer.
pub fn header(description: &str, schema: impl Into<RefOr<Schema>>) -> utoipa::openapi::Header {
    HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
}

/// The answers that [`Describe::failures`] refers to: names, and what they are, with the schema `T`.
pub fn failures<T: ToSchema>() -> impl Iterator<Item = (String, Response)> {
    FAILURES.into_iter().map(|status| {
        let reason = status.canonical_reason().unwrap_or_default();
        (name_of(status), json::<T>(reason).build())
    })
}

/// The status's reason phrase, without spaces.
fn name_of(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace([' ', '-'], "")
}
