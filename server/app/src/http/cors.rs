//! CORS (Fetch standard): which web pages' scripts may call this server from a browser.

use actix_cors::Cors;
use actix_web::http::Uri;

use crate::cli::Failure;

/// Any page.
const ANY: &str = "*";
/// Seconds that a browser may remember what it was allowed.
const MAX_AGE: usize = 3600;
/// What scripts may read of an answer beyond what they always may.
const EXPOSED: [&str; 10] = [
    "Accept-Ranges",
    "Content-Encoding",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Location",
    "Retry-After",
    "Warning",
    "X-Total-Count",
];

/// Refuses what can be no origin: a typing mistake would only show in a browser.
pub fn check(origins: &[String]) -> Result<(), Failure> {
    let is_origin = |text: &str| {
        let parts = text.parse::<Uri>().map(Uri::into_parts).ok();
        let is_bare = |path: Option<&str>| path.is_none_or(|path| path == "/") && !text.ends_with('/');
        parts.is_some_and(|parts| {
            parts.scheme.is_some()
                && parts.authority.is_some()
                && is_bare(parts.path_and_query.as_ref().map(|path| path.as_str()))
        })
    };
    match origins.iter().find(|origin| *origin != ANY && !is_origin(origin)) {
        None => Ok(()),
        Some(wrong) => Err(Failure::say(format!(
            "[server] cors_origins: {wrong:?} is no origin. Write scheme, host and port, such as \
             \"https://viewer.example\" or \"http://localhost:3000\", without a path; or \"*\" for any."
        ))),
    }
}

/// The answer to preflights, and the headers of the others. Cookies are none of ours, so credentials mode is off;
/// an `Authorization` header of the script's own is allowed.
pub fn allowing(origins: &[String]) -> Cors {
    let cors = Cors::default().allow_any_method().allow_any_header().expose_headers(EXPOSED).max_age(MAX_AGE);
    if origins.iter().any(|origin| origin == ANY) {
        return cors.allow_any_origin().send_wildcard();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_origin_is_refused() {
        let check = |origin: &str| check(&[origin.to_owned()]).is_ok();
        for origin in ["*", "https://viewer.example", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(check(origin), "{origin}");
        }
        for wrong in
            ["", "viewer.example", "https://", "https://viewer.example/", "https://a/ohif", "**", "null"]
        {
            assert!(!check(wrong), "{wrong}");
        }
    }
}
