//! The OpenAPI document of the whole server: what each face says of itself, and the roles that requests need.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder};
use engram_dicomweb::description::Describe;
use engram_dicomweb::{Resource, describe, openapi_wado_uri, operations_mut};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter};
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, SecurityRequirement,
};

use super::resources;
use crate::guard::{Access, Role, needed};

/// Where the document is served.
pub const URL: &str = "/api/v1/openapi.json";

const BEARER: &str = "bearer";
const BASIC: &str = "basic";

const DESCRIPTION: &str = "DICOMweb, and segmentation from the cases that the archive holds. HEAD is answered wherever \
    GET is; OPTIONS tells the methods of every resource. Where the server asks for tokens, `security` \
    names the roles of which a token must have one; `admin` holds every role.";

/// The document.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Engram")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()));
    let dicomweb = engram_dicomweb::openapi();
    // Merging documents leaves their parameters out.
    let parameters =
        dicomweb.components.iter().flat_map(|components| components.parameters.clone()).collect();
    let mut document = described(&resources::at_root())
        .info(info)
        .components(Some(components(parameters)))
        .build()
        .nest("/api/v1", described(&resources::of_api()))
        .nest("/dicomweb", dicomweb)
        .merge_from(openapi_wado_uri());
    for (path, method, operation) in operations_mut(&mut document.paths) {
        guard(operation, needed(&method, path));
    }
    document
}

/// Sends it.
pub async fn get() -> impl Responder {
    HttpResponse::Ok().json(document())
}

fn described(resources: &[Resource]) -> OpenApiBuilder {
    OpenApiBuilder::new().paths(describe(resources))
}

fn components(parameters: BTreeMap<String, RefOr<Parameter>>) -> Components {
    let scheme = |scheme, description| {
        let mut http = Http::new(scheme);
        http.description = Some(String::from(description));
        SecurityScheme::Http(http)
    };
    let components = ComponentsBuilder::from(resources::components());
    parameters
        .into_iter()
        .fold(components, |components, (name, parameter)| components.parameter(name, parameter))
        .security_scheme(BEARER, scheme(HttpAuthScheme::Bearer, "A token of `engram tokens add`."))
        .security_scheme(
            BASIC,
            scheme(HttpAuthScheme::Basic, "The token as the password, with any user name."),
        )
        .build()
}

/// Says which roles let a request in, and how one is refused that has none of them.
fn guard(operation: &mut Operation, access: Access) {
    let guarded = OperationBuilder::from(operation.clone()).failures(&[StatusCode::UNAUTHORIZED]);
    let guarded = match access {
        // Nothing at all is one of the choices; a token that comes all the same must be right.
        Access::Open => {
            guarded.securities(Some([SecurityRequirement::default()].into_iter().chain(tokens(None))))
        }
        Access::AnyOf([]) => {
            guarded.securities(Some(tokens(Some(Role::Admin)))).failures(&[StatusCode::FORBIDDEN])
        }
        Access::AnyOf(roles) => {
            let choices = roles.iter().flat_map(|role| tokens(Some(*role)));
            guarded.securities(Some(choices)).failures(&[StatusCode::FORBIDDEN])
        }
    };
    *operation = guarded.build();
}

/// The ways in which a token comes that has this role, or is one at all.
fn tokens(role: Option<Role>) -> [SecurityRequirement; 2] {
    [BEARER, BASIC].map(|scheme| SecurityRequirement::new(scheme, role.map(|role| role.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Everything below a value that has this name.
    fn all<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get(name));
                members.values().for_each(|member| all(member, name, found));
            }
            Value::Array(items) => items.iter().for_each(|item| all(item, name, found)),
            _ => {}
        }
    }

    #[test]
    fn what_it_refers_to_is_there_and_names_are_unique() {
        let document = serde_json::to_value(document()).unwrap();
        let mut references = Vec::new();
        all(&document, "$ref", &mut references);
        assert!(references.len() > 100);
        for reference in references {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let mut ids = Vec::new();
        all(&document["paths"], "operationId", &mut ids);
        let count = ids.len();
        ids.sort_by_key(|id| id.as_str());
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn roles_stand_in_it() {
        let document = serde_json::to_value(document()).unwrap();
        for (operation, roles) in [
            ("/paths/~1api~1v1~1health/get", vec![None, Some(vec![])]),
            ("/paths/~1api~1v1~1tokens/get", vec![Some(vec!["admin"])]),
            ("/paths/~1api~1v1~1labels/get", vec![Some(vec!["read"]), Some(vec!["segment"])]),
            ("/paths/~1dicomweb~1studies/post", vec![Some(vec!["write"])]),
            ("/paths/~1dicomweb~1/options", vec![Some(vec!["read"])]),
        ] {
            let choices = document.pointer(operation).unwrap()["security"].as_array().unwrap();
            let bearer = |choice: &Value| {
                choice.get(BEARER).map(|roles| serde_json::from_value(roles.clone()).unwrap())
            };
            let found: Vec<Option<Vec<String>>> =
                choices.iter().filter(|choice| choice.get(BASIC).is_none()).map(bearer).collect();
            assert_eq!(serde_json::json!(found), serde_json::json!(roles), "{operation}");
        }
    }
}
