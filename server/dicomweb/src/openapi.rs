//! The OpenAPI document of these services, made of the table in [`routes`](crate::routes).
//!
//! <https://spec.openapis.org/oas/v3.1.0>

use actix_web::http::Method;
use utoipa::openapi::path::{Operation, Parameter, PathItem};
use utoipa::openapi::schema::{Components, ComponentsBuilder};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder, Paths};

use crate::capabilities::description::{Conformance, Links, Service};
use crate::data_set::{Attribute, DataSet};
use crate::description::{failures, path_parameter, query_parameter, text};
use crate::error::ErrorBody;
use crate::place::UID;
use crate::qido::description::Count;
use crate::resource::describe;
use crate::routes::{resources, wado_uri};
use crate::{qido, stow, ups, wado};

/// The document of what [`configure`](crate::configure) mounts. Paths are relative to where that is.
pub fn openapi() -> OpenApi {
    let mut resources = resources();
    resources.push(wado_uri("RetrieveByUri"));
    document(describe(&resources))
}

/// The document of what [`configure_wado_uri`](crate::configure_wado_uri) mounts.
pub fn openapi_wado_uri() -> OpenApi {
    document(describe([&wado_uri("RetrieveByUriAtRoot")]))
}

/// Every operation of a document: path, method, and what is said of it.
pub fn operations(paths: &Paths) -> impl Iterator<Item = (&str, Method, &Operation)> {
    paths.paths.iter().flat_map(|(path, item)| {
        operations_of(item).map(|(method, operation)| (path.as_str(), method, operation))
    })
}

/// The same, for who has more to say of them.
pub fn operations_mut(paths: &mut Paths) -> impl Iterator<Item = (&str, Method, &mut Operation)> {
    paths.paths.iter_mut().flat_map(|(path, item)| {
        let operations = [
            (Method::OPTIONS, &mut item.options),
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::DELETE, &mut item.delete),
        ];
        let path = path.as_str();
        operations
            .into_iter()
            .filter_map(move |(method, operation)| Some((path, method, operation.as_mut()?)))
    })
}

/// Every operation of a path: method, and what is said of it.
pub fn operations_of(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let operations = [
        (Method::OPTIONS, &item.options),
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::DELETE, &item.delete),
    ];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn document(paths: Paths) -> OpenApi {
    let info = Info::new("Engram DICOMweb", env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components())).build()
}

/// What operations refer to.
fn components() -> Components {
    let components = ComponentsBuilder::new()
        .schema_from::<Attribute>()
        .schema_from::<Conformance>()
        .schema_from::<Count>()
        .schema_from::<DataSet>()
        .schema_from::<ErrorBody>()
        .schema_from::<Links>()
        .schema_from::<Service>()
        .responses_from_iter(failures::<ErrorBody>());
    let parameters = parameters().chain(qido::description::parameters());
    let parameters = parameters.chain(stow::description::parameters());
    let parameters = parameters.chain(wado::description::parameters());
    let parameters = parameters.chain(ups::description::parameters());
    let parameters = parameters.chain(wado::uri::description::parameters());
    parameters
        .fold(components, |components, parameter| components.parameter(parameter.name.clone(), parameter))
        .build()
}

/// The parameters of several transactions.
fn parameters() -> impl Iterator<Item = Parameter> {
    let uid =
        |name, attribute: &str| path_parameter(name, &format!("{attribute}."), text().pattern(Some(UID)));
    let accept = "What to answer as, instead of the `Accept` header (PS3.18 8.3.3.1).";
    [
        uid("study", "StudyInstanceUID"),
        uid("series", "SeriesInstanceUID"),
        uid("instance", "SOPInstanceUID"),
        query_parameter("accept", accept, text()),
    ]
    .into_iter()
}
