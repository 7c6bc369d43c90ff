//! `/`: the page for people. Its files are part of the binary, and ask this server alone.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, guard};
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// What the page may do (Content Security Policy): its own files and this server, nothing inline, and no text ever
/// becomes markup or script (Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
    tag: EntityTag,
}

macro_rules! assets {
    ($($name:literal: $content_type:ident),* $(,)?) => {
        [$(Asset::new($name, $content_type, include_str!($name))),*]
    };
}

static ASSETS: LazyLock<[Asset; 28]> = LazyLock::new(|| {
    assets![
        "index.html": HTML,
        "style.css": CSS,
        "icon.svg": PICTURE,
        "api.js": SCRIPT,
        "approval.js": SCRIPT,
        "bank.js": SCRIPT,
        "confidence.js": SCRIPT,
        "dicom.js": SCRIPT,
        "dom.js": SCRIPT,
        "exemplars.js": SCRIPT,
        "files.js": SCRIPT,
        "jobs.js": SCRIPT,
        "main.js": SCRIPT,
        "masks.js": SCRIPT,
        "nodes.js": SCRIPT,
        "outcome.js": SCRIPT,
        "outgoing.js": SCRIPT,
        "provenance.js": SCRIPT,
        "result.js": SCRIPT,
        "rules.js": SCRIPT,
        "segment.js": SCRIPT,
        "series.js": SCRIPT,
        "server.js": SCRIPT,
        "stack.js": SCRIPT,
        "studies.js": SCRIPT,
        "study.js": SCRIPT,
        "suggestions.js": SCRIPT,
        "upload.js": SCRIPT,
    ]
});

impl Asset {
    fn new(name: &'static str, content_type: &'static str, content: &'static str) -> Self {
        // Weak, since it may be sent compressed.
        let tag = EntityTag::new_weak(hex::encode(&Sha256::digest(content)[..12]));
        Self { name, content_type, content, tag }
    }
}

/// Mounts `/` and `/page`.
pub fn configure(services: &mut ServiceConfig) {
    let is_read = || guard::Any(guard::Get()).or(guard::Head());
    services
        .service(web::resource("/").wrap(headers()).route(web::route().guard(is_read()).to(index)))
        .service(web::resource("/page/{name}").wrap(headers()).route(web::route().guard(is_read()).to(file)));
}

fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, POLICY))
        .add((header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"))
        .add((header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        // Its files change with the server's version: a browser keeps them, and asks whether they are still right.
        .add((header::CACHE_CONTROL, "no-cache"))
}

/// `GET /`
async fn index(request: HttpRequest) -> Result<HttpResponse, Problem> {
    send(&request, "index.html")
}

/// `GET /page/{name}`
async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    send(&request, &name)
}

fn send(request: &HttpRequest, name: &str) -> Result<HttpResponse, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(no_such_file)?;
    let known = IfNoneMatch::parse(request).is_ok_and(|tags| match tags {
        IfNoneMatch::Any => request.headers().contains_key(header::IF_NONE_MATCH),
        IfNoneMatch::Items(tags) => tags.iter().any(|tag| tag.weak_eq(&asset.tag)),
    });
    let mut response = HttpResponse::build(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response.insert_header(ETag(asset.tag.clone()));
    match known {
        true => Ok(response.finish()),
        false => Ok(response.content_type(asset.content_type).body(asset.content)),
    }
}

fn no_such_file() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_file",
        "the page has no such file",
        "Load the page / anew: a browser may have kept one of another version.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    #[test]
    fn what_a_file_imports_is_there() {
        for asset in ASSETS.iter() {
            let imports = asset.content.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
            for name in imports {
                assert!(ASSETS.iter().any(|other| other.name == name), "{} imports {name}", asset.name);
            }
        }
    }

    #[actix_web::test]
    async fn files_come_once_and_then_only_if_they_changed() {
        let app = init_service(App::new().configure(configure)).await;
        for (path, content_type) in [("/", HTML), ("/page/style.css", CSS), ("/page/main.js", SCRIPT)] {
            let first = call_service(&app, TestRequest::get().uri(path).to_request()).await;
            assert_eq!(first.status(), StatusCode::OK, "{path}");
            let header = |name| first.headers().get(name).unwrap().clone();
            assert_eq!(header(header::CONTENT_TYPE), content_type);
            assert_eq!(header(header::CONTENT_SECURITY_POLICY), POLICY);
            let tag = header(header::ETAG);
            assert!(!read_body(first).await.is_empty());
            for (known, status) in [(tag.to_str().unwrap(), 304), ("W/\"other\"", 200)] {
                let again = TestRequest::get().uri(path).insert_header((header::IF_NONE_MATCH, known));
                let again = call_service(&app, again.to_request()).await;
                assert_eq!(again.status().as_u16(), status, "{path} {known}");
            }
        }
        let other = call_service(&app, TestRequest::get().uri("/page/mod.rs").to_request()).await;
        assert_eq!(other.status(), StatusCode::NOT_FOUND);
    }
}
