//! A server over an archive in a temporary folder, and small DICOM objects to put into it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for no tests")]

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use bytes::Bytes;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use engram_archive::{Archive, ArchiveOptions};
use engram_dicomweb::media::MediaType;
use engram_dicomweb::multipart::{Event, MultipartLimits, MultipartParser};
use engram_dicomweb::{DicomWeb, DicomWebOptions, InstanceObserver, NoObserver, configure};
use engram_worklist::{Worklist, WorklistOptions};
use serde_json::Value;
use tempfile::TempDir;

/// The state over a fresh archive, and the folder that must outlive it.
pub struct Fixture {
    pub state: DicomWeb,
    _folder: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(DicomWebOptions::default(), ArchiveOptions::new(""), Arc::new(NoObserver))
    }

    pub fn with(
        options: DicomWebOptions,
        mut archive: ArchiveOptions,
        observer: Arc<dyn InstanceObserver>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        archive.database = folder.path().join("db");
        let db = sled::open(&archive.database).unwrap();
        let archive = Archive::open(folder.path(), &db, archive).unwrap();
        let tree = db.open_tree("worklist").unwrap();
        let journal = folder.path().join("worklist.journal");
        let worklist = Worklist::open(tree, &journal, WorklistOptions::default()).unwrap();
        Self { state: DicomWeb::new(archive, worklist, options).with_observer(observer), _folder: folder }
    }

    /// Sends a request to the services under `/dicomweb` and reads the whole answer.
    pub async fn call(&self, request: TestRequest) -> Answer {
        let state = self.state.clone();
        let services = web::scope("/dicomweb").configure(move |scope| configure(scope, state));
        let app = test::init_service(App::new().service(services)).await;
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = test::read_body(response).await;
        Answer { status, headers, body }
    }
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The parts of a multipart answer: `Content-Type` and content.
    pub fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let content_type = MediaType::parse(self.header("content-type")).unwrap();
        assert_eq!(content_type.essence, "multipart/related");
        let limits = MultipartLimits { max_parts: 1000, max_header_bytes: 1000, max_preamble_bytes: 10 };
        let mut parser = MultipartParser::new(content_type.parameter("boundary").unwrap(), limits).unwrap();
        let mut events = Vec::new();
        parser.push(self.body.clone(), &mut events).unwrap();
        parser.finish().unwrap();
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        for event in events {
            match event {
                Event::PartStart(headers) => {
                    parts.push((headers.get("content-type").unwrap().to_owned(), Vec::new()));
                }
                Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                Event::PartEnd | Event::End => {}
            }
        }
        parts
    }
}

pub fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(&format!("/dicomweb{path}"))
}

/// A small CT object of `rows` x 3 16-bit pixels in Part 10 form, Explicit VR Little Endian.
pub fn ct(study: &str, series: &str, instance: &str) -> Vec<u8> {
    let pixels: Vec<u16> = (0..12).map(|value| value * 100).collect();
    object(study, series, instance, pixels)
}

pub fn object(study: &str, series: &str, instance: &str, pixels: Vec<u16>) -> Vec<u8> {
    let text = |value: &str| PrimitiveValue::from(value);
    let element = |tag, vr, value: PrimitiveValue| DataElement::new(tag, vr, value);
    let data_set = InMemDicomObject::from_element_iter([
        element(tags::SOP_CLASS_UID, VR::UI, text(uids::CT_IMAGE_STORAGE)),
        element(tags::SOP_INSTANCE_UID, VR::UI, text(instance)),
        element(tags::STUDY_DATE, VR::DA, text("20240102")),
        element(tags::MODALITY, VR::CS, text("CT")),
        element(tags::STUDY_DESCRIPTION, VR::LO, text("A test")),
        element(tags::PATIENT_NAME, VR::PN, text("Doe^Jane")),
        element(tags::PATIENT_ID, VR::LO, text("P1")),
        element(tags::STUDY_INSTANCE_UID, VR::UI, text(study)),
        element(tags::SERIES_INSTANCE_UID, VR::UI, text(series)),
        element(tags::INSTANCE_NUMBER, VR::IS, text("1")),
        element(tags::SAMPLES_PER_PIXEL, VR::US, 1u16.into()),
        element(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, text("MONOCHROME2")),
        element(tags::ROWS, VR::US, 4u16.into()),
        element(tags::COLUMNS, VR::US, 3u16.into()),
        element(tags::BITS_ALLOCATED, VR::US, 16u16.into()),
        element(tags::BITS_STORED, VR::US, 16u16.into()),
        element(tags::HIGH_BIT, VR::US, 15u16.into()),
        element(tags::PIXEL_REPRESENTATION, VR::US, 0u16.into()),
        element(tags::WINDOW_CENTER, VR::DS, text("500")),
        element(tags::WINDOW_WIDTH, VR::DS, text("1000")),
        element(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
    ]);
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(instance);
    let mut bytes = Vec::new();
    data_set.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

/// A STOW request of these parts: headers beside content.
pub fn stow(path: &str, parts: &[(&str, &[u8])]) -> TestRequest {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend_from_slice(format!("\r\n--XX\r\n{headers}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
    }
    body.extend_from_slice(b"\r\n--XX--\r\n");
    stow_body(path, body)
}

pub fn stow_body(path: &str, body: Vec<u8>) -> TestRequest {
    TestRequest::post()
        .uri(&format!("/dicomweb{path}"))
        .insert_header(("content-type", "multipart/related; type=\"application/dicom\"; boundary=XX"))
        .set_payload(body)
}

/// The usual part header.
pub const DICOM: &str = "Content-Type: application/dicom";

/// `Value`s of a DICOM JSON element, e.g. `00081199`.
pub fn values<'a>(data_set: &'a Value, tag: &str) -> &'a [Value] {
    data_set[tag]["Value"].as_array().map(Vec::as_slice).unwrap_or_default()
}
