//! Resources of an HTTP face: what answers a request, and what the OpenAPI document says of it, side by side. So nothing
//! is mounted that the document does not tell of, and the document tells of nothing that is not mounted.

use std::cmp::Reverse;

use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Responder, Route, guard, http};
use utoipa::openapi::path::{HttpMethod, Operation, PathItem, PathItemBuilder, Paths};

use crate::description::parameter_ref;
use crate::error::Error;

/// A resource: where it is, and what may be done with it. It answers OPTIONS with the methods there are, and others
/// with 405 and the same.
pub struct Resource {
    /// Patterns of actix-web; the first is what the document calls it.
    patterns: Vec<String>,
    operations: Vec<(HttpMethod, Operation)>,
    routes: Vec<Route>,
}

impl Resource {
    /// The resource at a path, in which `{name}` stands for a segment, and `{name:regex}` for what the expression fits.
    pub fn at(pattern: impl Into<String>) -> Self {
        Self { patterns: vec![pattern.into()], operations: vec![], routes: vec![] }
    }

    /// The root of a scope, with and without the slash at its end.
    pub fn root() -> Self {
        Self { patterns: vec!["/".to_owned(), String::new()], operations: vec![], routes: vec![] }
    }

    /// GET, and HEAD, whose body the HTTP layer leaves out.
    pub fn get<F, A>(self, handler: F, operation: impl Into<Operation>) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        self.with(HttpMethod::Get, route.to(handler), operation)
    }

    /// POST.
    pub fn post<F, A>(self, handler: F, operation: impl Into<Operation>) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Post, web::post().to(handler), operation)
    }

    /// PUT.
    pub fn put<F, A>(self, handler: F, operation: impl Into<Operation>) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Put, web::put().to(handler), operation)
    }

    /// DELETE.
    pub fn delete<F, A>(self, handler: F, operation: impl Into<Operation>) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(HttpMethod::Delete, web::delete().to(handler), operation)
    }

    /// OPTIONS with an answer of its own.
    pub fn options<F, A>(self, handler: F, operation: impl Into<Operation>) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::method(http::Method::OPTIONS);
        self.with(HttpMethod::Options, route.to(handler), operation)
    }

    fn with(mut self, method: HttpMethod, route: Route, operation: impl Into<Operation>) -> Self {
        self.routes.push(route);
        self.operations.push((method, operation.into()));
        self
    }

    /// What the document calls it: a path template.
    pub fn path(&self) -> String {
        let pattern = self.patterns.first().map(String::as_str).unwrap_or_default();
        let segments = pattern.split('/').map(|segment| match segment.split_once(':') {
            Some((name, _)) => format!("{name}}}"),
            None => segment.to_owned(),
        });
        segments.collect::<Vec<_>>().join("/")
    }

    /// The value of its `Allow` header.
    pub fn allow(&self) -> String {
        let offered = |method| self.operations.iter().any(|(offered, _)| *offered == method);
        let mut allowed = Vec::new();
        for (method, names) in [
            (HttpMethod::Get, &["GET", "HEAD"][..]),
            (HttpMethod::Post, &["POST"]),
            (HttpMethod::Put, &["PUT"]),
            (HttpMethod::Delete, &["DELETE"]),
        ] {
            if offered(method) {
                allowed.extend(names);
            }
        }
        allowed.push("OPTIONS");
        allowed.join(", ")
    }

    /// What the document says of it. Each `{name}` of its path is the parameter `name` of the document's components.
    pub fn describe(&self, paths: &mut Paths) {
        let path = self.path();
        let names: Vec<&str> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')))
            .collect();
        let parameters = names.into_iter().map(parameter_ref);
        let mut item = PathItemBuilder::new().parameter_refs(Some(parameters)).build();
        for (method, operation) in &self.operations {
            item.merge_operations(PathItem::new(method.clone(), operation.clone()));
        }
        paths.paths.insert(path, item);
    }

    /// The service that answers.
    pub fn service(self) -> actix_web::Resource {
        let allow = self.allow();
        let has_options = self.operations.iter().any(|(method, _)| *method == HttpMethod::Options);
        let mut service = web::resource(self.patterns);
        for route in self.routes {
            service = service.route(route);
        }
        if !has_options {
            let allow = allow.clone();
            let options = move || {
                let allow = allow.clone();
                async move { HttpResponse::NoContent().insert_header(("Allow", allow)).finish() }
            };
            service = service.route(web::method(http::Method::OPTIONS).to(options));
        }
        let other = move || {
            let allow = allow.clone();
            async move { Err::<HttpResponse, _>(Error::MethodNotAllowed { allow }) }
        };
        service.default_service(web::route().to(other))
    }
}

/// Mounts resources. Of those of one depth that fit a path the first answers. Deeper ones are asked first: each that is asked in vain
/// reads through the path's UIDs, and what is asked for most lies deep. In the order of the table, 30 such readings were 7 % of
/// what the metadata of an instance takes of the processors.
pub fn mount(resources: impl IntoIterator<Item = Resource>, services: &mut ServiceConfig) {
    let mut resources: Vec<Resource> = resources.into_iter().collect();
    resources.sort_by_cached_key(|resource| Reverse(resource.path().matches('/').count()));
    for resource in resources {
        services.service(resource.service());
    }
}

/// What the document says of resources.
pub fn describe<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Paths {
    let mut paths = Paths::new();
    for resource in resources {
        resource.describe(&mut paths);
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::operation;

    async fn nothing() -> HttpResponse {
        HttpResponse::NoContent().finish()
    }

    #[test]
    fn paths_methods_and_parameters_follow_from_what_is_mounted() {
        let about = || operation("A", "a", "A.");
        for (resource, path, allow, parameters) in [
            (Resource::root().get(nothing, about()), "/", "GET, HEAD, OPTIONS", 0),
            (Resource::at("/a/{b}").delete(nothing, about()), "/a/{b}", "DELETE, OPTIONS", 1),
            (Resource::at("/a/{b}").put(nothing, about()), "/a/{b}", "PUT, OPTIONS", 1),
            (
                Resource::at("/a/{b}/c/{d:.*}").post(nothing, about()).get(nothing, about()),
                "/a/{b}/c/{d}",
                "GET, HEAD, POST, OPTIONS",
                2,
            ),
        ] {
            assert_eq!((resource.path().as_str(), resource.allow().as_str()), (path, allow));
            let paths = describe([&resource]);
            let item = paths.get_path_item(path).unwrap();
            assert_eq!(item.parameters.as_ref().map_or(0, Vec::len), parameters, "{path}");
        }
    }
}
