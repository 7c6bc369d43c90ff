//! gzip and zstd of answers that are text, for clients that ask for it. Objects, frames, pictures and events go out as
//! they are: they hardly shrink, or must not wait.

use std::sync::LazyLock;

use actix_http::encoding::Encoder;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AcceptEncoding, CONTENT_TYPE, ContentEncoding, Encoding, HeaderMap, HeaderValue, VARY,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};

/// Answers shorter than this, in bytes, are sent as they are: a packet holds them anyway.
const WORTH_IT: u64 = 1024;

/// What can be sent, the first where a client likes several as much.
static OFFERED: LazyLock<[Encoding; 3]> =
    LazyLock::new(|| [Encoding::identity(), Encoding::gzip(), Encoding::zstd()]);

/// Compresses what is worth it. What the client does not ask for costs a look at one header.
pub async fn compress(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<Encoder<impl MessageBody>>, Error> {
    let wanted = wanted(&request);
    let response = next.call(request).await?;
    Ok(response.map_body(|head, body| {
        let is_worth_it = is_text(head.headers()) && is_long(body.size());
        let encoding = if is_worth_it { wanted } else { ContentEncoding::Identity };
        // Where it encodes, the encoder says so itself.
        if is_worth_it && encoding == ContentEncoding::Identity {
            head.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        }
        Encoder::response(encoding, head, body)
    }))
}

fn wanted(request: &ServiceRequest) -> ContentEncoding {
    let accepted = request.get_header::<AcceptEncoding>();
    match accepted.and_then(|accepted| accepted.negotiate(OFFERED.iter())) {
        Some(Encoding::Known(encoding)) => encoding,
        // Who accepts nothing that there is gets the answer as it is (RFC 9110 12.5.3).
        _ => ContentEncoding::Identity,
    }
}

/// What the connection sends by itself (`engram_dicomweb::direct`) must be none of these: of stored files, those that are
/// `text/*` are read instead.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/event-stream" => false,
        "application/json" | "application/xml" | "application/javascript" | "image/svg+xml" => true,
        other => {
            other.starts_with("text/")
                || other.starts_with("application/") && (other.ends_with("+json") || other.ends_with("+xml"))
        }
    }
}

fn is_long(size: BodySize) -> bool {
    match size {
        BodySize::None => false,
        BodySize::Sized(length) => length >= WORTH_IT,
        BodySize::Stream => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG};
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, HttpResponse, web};

    #[test]
    fn only_text_is_compressed() {
        for (content_type, expected) in [
            ("application/dicom+json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/dicom+xml", true),
            ("text/plain; version=0.0.4", true),
            ("text/event-stream", false),
            ("application/dicom", false),
            ("application/octet-stream", false),
            ("image/jpeg", false),
            ("multipart/related; type=\"application/dicom+xml\"; boundary=a", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(is_text(&headers), expected, "{content_type}");
        }
    }

    #[actix_web::test]
    async fn what_is_asked_for_is_sent() {
        let text = "[\"the same again\"]".repeat(1000);
        let body = text.clone();
        let answer = move || {
            let body = body.clone();
            async move {
                HttpResponse::Ok()
                    .content_type("application/json")
                    .insert_header((ETAG, "W/\"1\""))
                    .body(body)
            }
        };
        let app = init_service(App::new().wrap(from_fn(compress)).route("/", web::get().to(answer))).await;
        for (accept, encoding) in [
            ("", None),
            ("gzip, deflate", Some("gzip")),
            ("zstd", Some("zstd")),
            ("br", None),
            ("*;q=0", None),
        ] {
            let request = TestRequest::get().uri("/");
            let request =
                if accept.is_empty() { request } else { request.insert_header((ACCEPT_ENCODING, accept)) };
            let response = call_service(&app, request.to_request()).await;
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header(CONTENT_ENCODING).as_deref(), encoding, "{accept}");
            assert_eq!(header(ETAG).as_deref(), Some("W/\"1\""));
            assert_eq!(header(VARY).as_deref(), Some("accept-encoding"));
            let body = read_body(response).await;
            assert!(if encoding.is_some() { body.len() < 1000 } else { body == text });
        }
    }
}
