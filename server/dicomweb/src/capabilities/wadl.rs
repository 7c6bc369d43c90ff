//! The capabilities as a Web Application Description (PS3.18 Annex H), made of the OpenAPI document.
//!
//! <https://www.w3.org/submissions/2009/SUBM-wadl-20090831/>

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, Event};
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr, Required, Response};

use crate::openapi::operations_of;

/// The media type of the description.
pub const MEDIA_TYPE: &str = "application/vnd.sun.wadl+xml";

const NAMESPACE: &str = "http://wadl.dev.java.net/2009/02";

type Xml = Writer<Vec<u8>>;

/// Writes what the document says of resources, parameters, media types and statuses. `base` is the URL of the services'
/// root.
///
/// # Errors
/// None: writing to memory succeeds.
pub fn write(document: &OpenApi, base: &str) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new(Vec::new());
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("application").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|xml| {
        let base = format!("{base}/");
        xml.create_element("resources")
            .with_attribute(("base", base.as_str()))
            .write_inner_content(|xml| resources(xml, document))?;
        Ok(())
    })?;
    Ok(xml.into_inner())
}

fn resources(xml: &mut Xml, document: &OpenApi) -> io::Result<()> {
    for (path, item) in &document.paths.paths {
        xml.create_element("resource")
            .with_attribute(("path", path.trim_start_matches('/')))
            .write_inner_content(|xml| resource(xml, document, item))?;
    }
    Ok(())
}

fn resource(xml: &mut Xml, document: &OpenApi, item: &PathItem) -> io::Result<()> {
    params(xml, document, item.parameters.as_deref())?;
    for (method, operation) in operations_of(item) {
        let id = operation.operation_id.as_deref().unwrap_or_default();
        xml.create_element("method")
            .with_attributes([("name", method.as_str()), ("id", id)])
            .write_inner_content(|xml| {
                request(xml, document, operation)?;
                responses(xml, operation)
            })?;
    }
    Ok(())
}

fn params(xml: &mut Xml, document: &OpenApi, parameters: Option<&[RefOr<Parameter>]>) -> io::Result<()> {
    for parameter in parameters.into_iter().flatten().filter_map(|parameter| resolved(document, parameter)) {
        let style = match parameter.parameter_in {
            ParameterIn::Path => "template",
            _ => "query",
        };
        let required = if parameter.required == Required::True { "true" } else { "false" };
        xml.create_element("param")
            .with_attributes([("name", parameter.name.as_str()), ("style", style), ("required", required)])
            .write_empty()?;
    }
    Ok(())
}

/// The parameter itself, where only its name among the components stands.
fn resolved<'a>(document: &'a OpenApi, parameter: &'a RefOr<Parameter>) -> Option<&'a Parameter> {
    match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next()?;
            match document.components.as_ref()?.parameters.get(name)? {
                RefOr::T(parameter) => Some(parameter),
                RefOr::Ref(_) => None,
            }
        }
    }
}

fn request(xml: &mut Xml, document: &OpenApi, operation: &Operation) -> io::Result<()> {
    let body = match &operation.request_body {
        Some(RefOr::T(body)) => Some(body),
        _ => None,
    };
    xml.create_element("request").write_inner_content(|xml| {
        params(xml, document, operation.parameters.as_deref())?;
        representations(xml, body.into_iter().flat_map(|body| body.content.keys()))
    })?;
    Ok(())
}

fn responses(xml: &mut Xml, operation: &Operation) -> io::Result<()> {
    for (status, response) in &operation.responses.responses {
        xml.create_element("response")
            .with_attribute(("status", status.as_str()))
            .write_inner_content(|xml| representations(xml, media_types(response)))?;
    }
    Ok(())
}

/// What a response can be sent as; those that are only referred to are failures.
fn media_types(response: &RefOr<Response>) -> impl Iterator<Item = &String> {
    let response = match response {
        RefOr::T(response) => Some(response),
        RefOr::Ref(_) => None,
    };
    response.into_iter().flat_map(|response| response.content.keys())
}

fn representations<'a>(xml: &mut Xml, media_types: impl Iterator<Item = &'a String>) -> io::Result<()> {
    for media_type in media_types {
        xml.create_element("representation")
            .with_attribute(("mediaType", media_type.as_str()))
            .write_empty()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::{openapi, operations};

    #[test]
    fn every_operation_is_a_method() {
        let document = openapi();
        let text = String::from_utf8(write(&document, "http://a/dicomweb").unwrap()).unwrap();
        assert!(text.contains(r#"<resources base="http://a/dicomweb/">"#));
        let methods = operations(&document.paths).count();
        assert_eq!(text.matches("<method ").count(), methods);
        let store = text.split("<method ").find(|method| method.contains(r#"id="StoreInstances""#)).unwrap();
        for expected in [
            r#"name="POST""#,
            r#"<param name="collection" style="query" required="false"/>"#,
            r#"<representation mediaType="multipart/related; type=&quot;application/dicom&quot;"/>"#,
            r#"<response status="409">"#,
        ] {
            assert!(store.contains(expected), "{expected} in {store}");
        }
        assert!(text.contains(r#"<param name="study" style="template" required="true"/>"#));
    }
}
