//! `/viewer/`: OHIF, from a folder that `cargo xtask viewer` made, looking at this server.

use std::path::{Path, PathBuf};

use actix_files::{NamedFile, PathBufWrap};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, guard};
use engram_inference::runtime;

use super::problem::{Problem, blocking};
use crate::cli::Failure;

/// The folder in the user's cache, below `ohif`, that `cargo xtask viewer` makes.
const FOLDER: &str = "3.13.2-1";
/// The page that everything starts from, and its configuration.
const PAGE: &str = "index.html";
const CONFIGURATION: &str = include_str!("app-config.js");

/// What the page may do (Content Security Policy): everything that OHIF needs, with this server alone. Its WebAssembly
/// bindings compile functions from text, which is `unsafe-eval`.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; \
                      style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
                      media-src 'self' blob:; connect-src 'self' data: blob:; manifest-src 'self'; frame-src 'self' blob:; \
                      frame-ancestors 'self'; base-uri 'self'; form-action 'self'";

/// Where the viewer is.
pub struct Viewer {
    folder: Option<PathBuf>,
}

impl Viewer {
    /// The one that is configured, else the one that was fetched, if it is there.
    ///
    /// # Errors
    /// When the one that is configured is none.
    pub fn find(configured: Option<&Path>) -> Result<Self, Failure> {
        let is_viewer = |folder: &Path| folder.join(PAGE).is_file();
        if let Some(folder) = configured {
            return match is_viewer(folder) {
                true => Ok(Self { folder: Some(folder.to_path_buf()) }),
                false => Err(Failure::say(format!(
                    "[viewer] folder: there is no {PAGE} in {}. Name the folder that `cargo xtask viewer` prints, or \
                     leave it out.",
                    folder.display()
                ))),
            };
        }
        let fetched = runtime::user_cache().map(|cache| cache.join("ohif").join(FOLDER));
        Ok(Self { folder: fetched.filter(|folder| is_viewer(folder)) })
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.folder.is_some()
    }
}

/// Mounts `/viewer/`.
pub fn configure(services: &mut ServiceConfig, viewer: web::Data<Viewer>) {
    // Cross-origin isolation gives the page SharedArrayBuffer, which its image loaders use where they may.
    let headers = DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, POLICY))
        .add((header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"))
        .add((header::CROSS_ORIGIN_EMBEDDER_POLICY, "require-corp"))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "same-origin"))
        // Its files change with the viewer's version: a browser keeps them, and asks whether they are still right.
        .add((header::CACHE_CONTROL, "no-cache"));
    let is_read = guard::Any(guard::Get()).or(guard::Head());
    services.service(
        web::scope("/viewer")
            .wrap(headers)
            .app_data(viewer)
            .route("", web::get().to(enter))
            .route("/app-config.js", web::get().to(configuration))
            .default_service(web::route().guard(is_read).to(file)),
    );
}

/// `GET /viewer`
async fn enter() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/viewer/")).finish()
}

/// `GET /viewer/app-config.js`
async fn configuration() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(CONFIGURATION)
}

/// `GET /viewer/{path}`: the file of that name; the page itself for what has no suffix, since those paths are the
/// page's own, such as `/viewer/viewer?StudyInstanceUIDs=`.
async fn file(request: HttpRequest, viewer: web::Data<Viewer>) -> Result<HttpResponse, Problem> {
    let folder = viewer.folder.clone().ok_or_else(no_viewer)?;
    let path = PathBufWrap::parse_unprocessed_req(&request, false)
        .map_err(|error| Problem::bad_request(format!("the path is wrong: {error}")))?;
    let path = match path.as_ref() {
        path if path.extension().is_none() => Path::new(PAGE),
        path => path,
    };
    let path = folder.join(path);
    let file = blocking(move || open(&path)).await?;
    Ok(file.disable_content_disposition().into_response(&request))
}

fn open(path: &Path) -> Result<NamedFile, Problem> {
    if !path.is_file() {
        return Err(no_such_file());
    }
    NamedFile::open(path)
        .map_err(|error| Problem::internal(format!("could not open {}: {error}", path.display())))
}

fn no_viewer() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_viewer",
        "there is no viewer on this server",
        "Fetch it with `cargo xtask viewer`, or name its folder in [viewer] folder; then start the server anew.",
    )
}

fn no_such_file() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_file",
        "the viewer has no such file",
        "Load the page /viewer/ anew: a browser may have kept one of another version.",
    )
}
