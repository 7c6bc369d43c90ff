//! What a client asks: a request's target and its header fields, through every route.
//!
//! The first line of an input is the target below the server's mount, each further line a header field. Requests are
//! GETs: what they ask is looked for among a few small objects.

use crate::fixture::TemporaryArchive;
use crate::objects::{self, Pixels};
use actix_http::Request;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Uri};
use actix_web::rt::{System, SystemRunner};
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use bytes::Bytes;
use engram_archive::StoreRequirements;
use engram_dicomweb::media::MediaType;
use engram_dicomweb::multipart::{MultipartLimits, MultipartParser};
use engram_dicomweb::{DicomWeb, DicomWebOptions, configure};
use engram_imaging::TargetSyntax;
use serde_json::Value;
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;

/// The most header fields looked at.
const MAX_FIELDS: usize = 8;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

thread_local! {
    static SERVER: Server = Server::new();
}

pub fn check(input: &[u8]) {
    let Some(request) = request(input) else { return };
    SERVER.with(|server| is_sound(&server.answer(request)));
}

/// The request; `None` where it would not get through HTTP itself.
fn request(input: &[u8]) -> Option<Request> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let target = Uri::try_from([b"/dicomweb", lines.next()?].concat()).ok()?;
    target.authority().is_none().then_some(())?;
    let mut request = TestRequest::get().uri(&target.to_string());
    for line in lines.take(MAX_FIELDS) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        let value = HeaderValue::from_bytes(line.get(colon + 1..)?.trim_ascii()).ok()?;
        request = request.append_header((name, value));
    }
    Some(request.to_request())
}

/// Answers one request.
type Service = Box<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Answer>>>>;

/// The services over an archive that is filled.
struct Server {
    service: Service,
    runtime: SystemRunner,
    _archive: TemporaryArchive,
}

impl Server {
    fn new() -> Self {
        let temporary = TemporaryArchive::new();
        let frames = objects::image(1, Pixels::Grey16, 3);
        for object in [
            objects::in_syntax(&objects::image(2, Pixels::Grey8, 2), TargetSyntax::JpegLsLossless),
            objects::image(3, Pixels::Colour, 1),
            frames,
        ] {
            let mut incoming = temporary.archive.incoming().unwrap();
            incoming.write_all(&object).unwrap();
            temporary.archive.store(incoming, &StoreRequirements::default()).unwrap();
        }
        let options =
            DicomWebOptions { max_frame_bytes: 256 << 10, max_frames: 64, ..DicomWebOptions::default() };
        let state = DicomWeb::new(temporary.archive.clone(), temporary.worklist.clone(), options);
        let runtime = System::new();
        Self { service: service(state, &runtime), runtime, _archive: temporary }
    }

    fn answer(&self, request: Request) -> Answer {
        self.runtime.block_on((self.service)(request))
    }
}

/// The services below their mount, made once.
fn service(state: DicomWeb, runtime: &SystemRunner) -> Service {
    let services = web::scope("/dicomweb").configure(|scope| configure(scope, state));
    let app = Rc::new(runtime.block_on(test::init_service(App::new().service(services))));
    Box::new(move |request| {
        let app = Rc::clone(&app);
        Box::pin(async move {
            let response = test::call_service(&*app, request).await;
            let (status, headers) = (response.status(), response.headers().clone());
            Answer { status, headers, body: test::read_body(response).await }
        })
    })
}

fn is_sound(answer: &Answer) {
    assert!(!answer.status.is_server_error(), "{}: {:?}", answer.status, answer.body);
    let content_type = answer.headers.get("content-type").map(|value| value.to_str().unwrap());
    let Some(content_type) = content_type else { return };
    let content_type = MediaType::parse(content_type).unwrap();
    if answer.status.is_client_error() {
        let error: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(["code", "message", "what_to_do"].iter().all(|key| error[key].is_string()), "{error}");
    } else if answer.status != StatusCode::PARTIAL_CONTENT {
        is_of_its_type(&content_type, &answer.body);
    }
}

fn is_of_its_type(content_type: &MediaType, body: &Bytes) {
    match content_type.essence.as_str() {
        "application/dicom+json" | "application/json" => {
            serde_json::from_slice::<Value>(body).unwrap();
        }
        "multipart/related" => {
            let limits = MultipartLimits { max_parts: 1000, max_header_bytes: 1000, max_preamble_bytes: 10 };
            let boundary = content_type.parameter("boundary").unwrap();
            let mut parser = MultipartParser::new(boundary, limits).unwrap();
            let mut events = Vec::new();
            parser.push(body.clone(), &mut events).unwrap();
            parser.finish().unwrap();
            assert!(parser.parts() > 0);
        }
        _ => {}
    }
}
