//! What is told of the services, and what the OpenAPI document says of telling it.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Paths;
use utoipa::openapi::path::Operation;

use super::wadl;
use crate::description::{Describe, header, json, operation, sent, text};
use crate::media::Offer;
use crate::openapi::operations;

const TAG: &str = "Capabilities";

/// A DICOMweb server, in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conformance {
    /// The server's name.
    pub name: &'static str,
    /// The server's version.
    pub version: &'static str,
    /// The part of the standard that it follows.
    pub standard: &'static str,
    /// What it offers.
    pub services: Vec<Service>,
    /// Where to read on.
    pub links: Links,
}

/// One service, and what can be asked of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Service {
    /// STOW-RS, QIDO-RS, ….
    pub name: String,
    /// Method and path template of each operation; paths are relative to the services' root.
    pub operations: Vec<String>,
}

/// Where to read on: URLs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// Answers OPTIONS with the capabilities, as WADL or as an OpenAPI document.
    pub capabilities: String,
    /// The OpenAPI document of the whole server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openapi: Option<String>,
}

impl Service {
    /// The services of these paths, in the order in which they come.
    pub fn all(paths: &Paths) -> Vec<Self> {
        let mut services: Vec<Self> = Vec::new();
        for (path, method, operation) in operations(paths) {
            let name = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
            let line = format!("{method} {path}");
            match services.iter_mut().find(|service| service.name == name) {
                Some(service) => service.operations.push(line),
                None => services.push(Self { name, operations: vec![line] }),
            }
        }
        services
    }
}

/// What the capabilities can be sent as: WADL, which PS3.18 asks for, unless the client wants an OpenAPI document.
pub fn offers() -> [Offer; 2] {
    [wadl::MEDIA_TYPE, "application/json"].map(Offer::single)
}

/// The Retrieve Capabilities transaction (PS3.18 8.9).
pub fn retrieve(id: &str) -> Operation {
    let capabilities = sent("The capabilities, as WADL or as an OpenAPI document.", &offers(), None)
        .header("Allow", header("The methods that this resource takes.", text()));
    operation(TAG, id, "What these services can do, for programs.")
        .query(&["accept"])
        .response("200", capabilities)
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_ACCEPTABLE])
        .build()
}

/// The conformance resource.
pub fn conformance(id: &str) -> Operation {
    operation(TAG, id, "What these services can do, in short.")
        .query(&["accept"])
        .response("200", json::<Conformance>("Name, version and operations."))
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_ACCEPTABLE])
        .build()
}
