//! QIDO-RS, WADO-RS and DELETE from outside the crate, on small objects stored by STOW-RS.

#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for no tests")]

mod support;

use std::sync::Arc;

use actix_web::test::TestRequest;
use engram_archive::ArchiveOptions;
use engram_dicomweb::{DicomWebOptions, NoObserver, native_model};
use engram_imaging::{DecodeLimits, PixelReader, TargetSyntax, read_part10};
use support::*;

const STUDY: &str = "/studies/1.1";
const SERIES: &str = "/studies/1.1/series/1.1.1";
const INSTANCE: &str = "/studies/1.1/series/1.1.1/instances/1.1.1.1";
const OCTETS: &str = "multipart/related; type=\"application/octet-stream\"";
const OBJECTS: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// Two instances in one series, and another study.
async fn filled() -> Fixture {
    let fixture = Fixture::new();
    let objects =
        [ct("1.1", "1.1.1", "1.1.1.1"), ct("1.1", "1.1.1", "1.1.1.2"), ct("2.2", "2.2.1", "2.2.1.1")];
    let parts: Vec<_> = objects.iter().map(|object| (DICOM, object.as_slice())).collect();
    assert_eq!(fixture.call(stow("/studies", &parts)).await.status, 200);
    fixture
}

fn pixels() -> Vec<u8> {
    (0..12u16).flat_map(|value| (value * 100).to_le_bytes()).collect()
}

fn accepting(path: &str, accept: &str) -> TestRequest {
    get(path).insert_header(("accept", accept))
}

#[actix_web::test]
async fn searches_answer_dicom_json() {
    let fixture = filled().await;
    for (path, count) in [
        ("/studies", 2),
        ("/studies?PatientID=P1", 2),
        ("/studies?StudyInstanceUID=1.1,2.2", 2),
        ("/studies?0020000D=1.1", 1),
        ("/studies?PatientName=doe*", 2),
        ("/studies?PatientID=nobody", 0),
        ("/studies?limit=1&offset=1", 1),
        ("/series", 2),
        ("/series?Modality=SEG", 0),
        ("/instances", 3),
        ("/studies/1.1/series", 1),
        ("/studies/1.1/instances", 2),
        ("/studies/1.1/series/1.1.1/instances", 2),
        ("/studies/1.1/series/1.1.1/instances?SOPInstanceUID=1.1.1.2", 1),
        ("/studies/7.7/series", 0),
    ] {
        let answer = fixture.call(get(path)).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), "application/dicom+json", "{path}");
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{path}");
    }
}

const XML: &str = "multipart/related; type=\"application/dicom+xml\"";

/// Every part of an XML answer as DICOM JSON.
fn documents(answer: &Answer) -> Vec<serde_json::Value> {
    let document = |(content_type, content): (String, Vec<u8>)| {
        assert_eq!(content_type, native_model::MEDIA_TYPE);
        native_model::read(&content).unwrap().into()
    };
    answer.parts().into_iter().map(document).collect()
}

#[actix_web::test]
async fn xml_says_what_json_says() {
    let fixture = filled().await;
    for path in [
        "/studies",
        "/instances?includefield=all",
        "/studies/1.1/series",
        "/studies/1.1/metadata",
        "/studies/1.1/series/1.1.1/metadata",
        "/studies/1.1/series/1.1.1/instances/1.1.1.2/metadata",
    ] {
        let answer = fixture.call(accepting(path, XML)).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        assert_eq!(documents(&answer), *fixture.call(get(path)).await.json().as_array().unwrap(), "{path}");
    }
    assert_eq!(fixture.call(accepting("/studies?PatientID=nobody", XML)).await.status, 204);
    assert_eq!(fixture.call(accepting("/studies/9.9/metadata", XML)).await.status, 404);
    assert_eq!(fixture.call(accepting("/studies", "application/dicom+xml")).await.status, 406);
}

#[actix_web::test]
async fn a_validator_names_the_same_metadata_under_any_boundary() {
    let fixture = filled().await;
    let path = "/studies/1.1/metadata";
    let tag = fixture.call(accepting(path, XML)).await.header("etag").to_owned();
    let json = fixture.call(get(path)).await.header("etag").to_owned();
    assert_ne!(tag, json);
    for (known, status) in [(&tag, 304), (&json, 200)] {
        let request = accepting(path, XML).insert_header(("if-none-match", known.as_str()));
        assert_eq!(fixture.call(request).await.status.as_u16(), status);
    }
}

#[actix_web::test]
async fn matches_name_their_resource_and_what_was_asked_for() {
    let fixture = filled().await;
    let path = "/studies/1.1/instances?SOPInstanceUID=1.1.1.2&includefield=WindowCenter";
    let matches = fixture.call(get(path)).await.json();
    let url = values(&matches[0], "00081190")[0].as_str().unwrap();
    assert!(url.ends_with("/dicomweb/studies/1.1/series/1.1.1/instances/1.1.1.2"), "{url}");
    assert!(!values(&matches[0], "00281050").is_empty(), "{matches}");
}

#[actix_web::test]
async fn a_cut_search_warns() {
    let fixture = filled().await;
    assert!(fixture.call(get("/studies?limit=1")).await.header("warning").starts_with("299 "));
    assert_eq!(fixture.call(get("/studies?limit=2")).await.header("warning"), "");
    for (path, total) in [
        ("/studies", "2"),
        ("/studies?limit=1", ""),
        ("/studies/1.1/instances?limit=1", "2"),
        ("/instances?offset=2", "3"),
    ] {
        assert_eq!(fixture.call(get(path)).await.header("x-total-count"), total, "{path}");
    }
}

#[actix_web::test]
async fn matches_are_counted() {
    let fixture = filled().await;
    for (path, count) in [
        ("/studies/count", 2),
        ("/studies/count?StudyInstanceUID=1.1&limit=0", 1),
        ("/series/count?Modality=CT", 2),
        ("/instances/count", 3),
        ("/instances/count?SOPInstanceUID=1.1.1.2,2.2.1.1", 2),
        ("/studies/1.1/series/count", 1),
        ("/studies/1.1/instances/count?offset=1", 2),
        ("/studies/1.1/series/1.1.1/instances/count", 2),
        ("/studies/7.7/instances/count", 0),
    ] {
        let answer = fixture.call(get(path)).await;
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(answer.json(), serde_json::json!({ "count": count }), "{path}");
    }
}

#[actix_web::test]
async fn searches_that_do_not_read_are_refused() {
    let fixture = filled().await;
    for (request, status) in [
        (get("/studies?NotAnAttribute=1"), 400),
        (get("/studies?limit=many"), 400),
        (get("/studies?PatientName=%FF"), 400),
        (get("/studies?StudyDate=20240101-20240199"), 400),
        (get("/studies/count?StudyTime=99"), 400),
        (get("/studies?emptyvaluematching=perhaps"), 400),
        (get("/studies/x/series"), 400),
        (accepting("/studies", "text/csv"), 406),
    ] {
        assert_eq!(fixture.call(request).await.status.as_u16(), status);
    }
}

#[actix_web::test]
async fn objects_come_back_byte_for_byte() {
    let fixture = filled().await;
    let stored = [ct("1.1", "1.1.1", "1.1.1.1"), ct("1.1", "1.1.1", "1.1.1.2")];
    for path in [STUDY, SERIES] {
        let answer = fixture.call(accepting(path, OBJECTS)).await;
        assert_eq!(answer.status, 200);
        let contents: Vec<_> = answer.parts().into_iter().map(|part| part.1).collect();
        assert_eq!(contents, stored, "{path}");
    }
    let answer = fixture.call(accepting(INSTANCE, OBJECTS)).await;
    let syntax = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1";
    assert_eq!(answer.parts(), [(syntax.to_owned(), stored[0].clone())]);
    let answer = fixture.call(accepting(INSTANCE, "application/dicom")).await;
    assert_eq!((answer.header("content-type"), answer.body.as_ref()), (syntax, stored[0].as_slice()));
}

#[actix_web::test]
async fn what_is_not_there_or_not_acceptable_says_so() {
    let fixture = filled().await;
    let lossy = "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.91";
    for (request, status, code) in [
        (get("/studies/9.9"), 404, "not_found"),
        (get("/studies/9.9/metadata"), 404, "not_found"),
        (get("/studies/1.1/series/9"), 404, "not_found"),
        (get("/studies/2.2/series/1.1.1/instances/1.1.1.1/metadata"), 404, "not_found"),
        (get("/studies/abc/metadata"), 400, "bad_uid"),
        (accepting(INSTANCE, lossy), 406, "not_acceptable"),
        (accepting(SERIES, "application/dicom"), 406, "not_acceptable"),
        (get(&format!("{INSTANCE}/frames/2")), 404, "no_such_frame"),
        (get(&format!("{INSTANCE}/frames/0")), 400, "bad_query"),
        (get(&format!("{INSTANCE}/frames/x")), 400, "bad_query"),
        (accepting(&format!("{INSTANCE}/frames/1"), "image/jxl"), 406, "not_acceptable"),
        (accepting(&format!("{INSTANCE}/rendered"), "video/mp4"), 406, "not_acceptable"),
        (get(&format!("{INSTANCE}/rendered?window=1")), 400, "bad_query"),
        (get(&format!("{INSTANCE}/bulkdata/00000000")), 404, "not_found"),
        (get(&format!("{INSTANCE}/bulkdata/../../x")), 404, "not_found"),
        (TestRequest::delete().uri("/dicomweb/studies/9.9"), 404, "not_found"),
    ] {
        let answer = fixture.call(request).await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str().unwrap()), (status, code));
    }
}

#[actix_web::test]
async fn metadata_has_validators_and_bulk_data_that_can_be_fetched() {
    let fixture = filled().await;
    for (path, count) in [(STUDY, 2), (SERIES, 2), (INSTANCE, 1)] {
        let answer = fixture.call(get(&format!("{path}/metadata"))).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(answer.json().as_array().unwrap().len(), count);
        let again = get(&format!("{path}/metadata")).insert_header(("if-none-match", answer.header("etag")));
        let again = fixture.call(again).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    }
    let metadata = fixture.call(get(&format!("{SERIES}/metadata"))).await.json();
    let uri = metadata[0]["7FE00010"]["BulkDataURI"].as_str().unwrap();
    assert!(uri.starts_with("/dicomweb/studies/1.1/"), "relative to the server: {uri}");
    let fetch = |accept: &str| TestRequest::get().uri(uri).insert_header(("accept", accept.to_owned()));
    assert_eq!(fixture.call(fetch("*/*")).await.parts()[0].1, pixels());
    assert_eq!(fixture.call(fetch("application/octet-stream")).await.body, pixels());
}

#[actix_web::test]
async fn a_public_url_makes_bulk_data_absolute() {
    let public_url = Some("https://pacs.example/dicomweb/".to_owned());
    let options = DicomWebOptions { public_url, ..DicomWebOptions::default() };
    let fixture = Fixture::with(options, ArchiveOptions::new(""), Arc::new(NoObserver));
    fixture.call(stow("/studies", &[(DICOM, &ct("1.1", "1.1.1", "1.1.1.1"))])).await;
    let metadata = fixture.call(get(&format!("{INSTANCE}/metadata"))).await.json();
    let uri = metadata[0]["7FE00010"]["BulkDataURI"].as_str().unwrap();
    assert_eq!(uri, format!("https://pacs.example/dicomweb{INSTANCE}/bulkdata/7FE00010"));
    let url = &fixture.call(get("/studies")).await.json()[0]["00081190"]["Value"][0];
    assert_eq!(url, "https://pacs.example/dicomweb/studies/1.1");
}

#[actix_web::test]
async fn frames_come_as_parts_or_alone() {
    let fixture = filled().await;
    let path = format!("{INSTANCE}/frames/1");
    for accept in ["*/*", OCTETS] {
        let parts = fixture.call(accepting(&path, accept)).await.parts();
        let octets = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1";
        assert_eq!(parts, [(octets.to_owned(), pixels())]);
    }
    assert_eq!(fixture.call(accepting(&path, "application/octet-stream")).await.body, pixels());
    let twice = fixture.call(accepting(&format!("{INSTANCE}/frames/1,1"), OCTETS)).await;
    assert_eq!(twice.parts().len(), 2);
}

#[actix_web::test]
async fn what_is_named_is_transcoded() {
    let fixture = filled().await;
    let samples = |object: &[u8]| {
        let object = read_part10(object, object.len() as u64).unwrap();
        PixelReader::open(&object, DecodeLimits::default()).unwrap().frame(1).unwrap().data
    };
    let stored = fixture.call(accepting(SERIES, OBJECTS)).await.parts();
    for target in TargetSyntax::OF_OBJECTS.into_iter().skip(1) {
        let object = format!("application/dicom; transfer-syntax={}", target.uid());
        let accept =
            format!("multipart/related; type=\"application/dicom\"; transfer-syntax={}", target.uid());
        let parts = fixture.call(accepting(SERIES, &accept)).await.parts();
        assert_eq!(parts.len(), stored.len());
        for ((part_type, part), (_, stored)) in parts.iter().zip(&stored) {
            assert_eq!(*part_type, object);
            assert_eq!(samples(part), samples(stored));
        }
        let alone = fixture.call(accepting(INSTANCE, &object)).await;
        assert_eq!(
            (alone.header("content-type"), alone.body.as_ref()),
            (object.as_str(), parts[0].1.as_slice())
        );
        if !target.is_encapsulated() {
            continue;
        }
        for path in ["frames/1", "bulkdata/7FE00010"] {
            let accept = format!("{}; transfer-syntax={}", target.media_type(), target.uid());
            let frame = fixture.call(accepting(&format!("{INSTANCE}/{path}"), &accept)).await;
            assert_eq!(frame.header("content-type"), accept);
            assert!(parts[0].1.windows(frame.body.len()).any(|window| window == frame.body));
        }
    }
}

#[actix_web::test]
async fn what_is_too_large_to_be_transcoded_is_refused_before_the_answer_begins() {
    let small = DicomWebOptions { max_decode_bytes: 100, ..DicomWebOptions::default() };
    let fixture = Fixture::with(small, ArchiveOptions::new(""), Arc::new(NoObserver));
    let object = ct("1.1", "1.1.1", "1.1.1.1");
    assert_eq!(fixture.call(stow("/studies", &[(DICOM, &object)])).await.status, 200);
    let answer =
        fixture.call(accepting(INSTANCE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.5")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (406, Some("too_large_to_decode")));
}

#[actix_web::test]
async fn pictures_are_rendered() {
    let fixture = filled().await;
    for (path, accept, media_type, begins) in [
        (format!("{INSTANCE}/rendered"), "*/*", "image/jpeg", &b"\xff\xd8"[..]),
        (
            format!("{INSTANCE}/rendered?window=500,100,linear&viewport=2,2"),
            "image/png",
            "image/png",
            b"\x89PNG",
        ),
        (format!("{INSTANCE}/frames/1/rendered?quality=50"), "image/jpeg", "image/jpeg", b"\xff\xd8"),
        (format!("{INSTANCE}/rendered?accept=image/png"), "*/*", "image/png", b"\x89PNG"),
    ] {
        let answer = fixture.call(accepting(&path, accept)).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), media_type, "{path}");
        assert!(answer.body.starts_with(begins), "{path}");
    }
}

#[actix_web::test]
async fn deletion_takes_what_it_names() {
    let fixture = filled().await;
    let delete = |path: &str| TestRequest::delete().uri(&format!("/dicomweb{path}"));
    assert_eq!(fixture.call(delete(INSTANCE)).await.status, 204);
    assert_eq!(fixture.call(get(&format!("{INSTANCE}/metadata"))).await.status, 404);
    assert_eq!(fixture.call(get("/instances")).await.json().as_array().unwrap().len(), 2);
    assert_eq!(fixture.call(delete(SERIES)).await.status, 204);
    assert_eq!(fixture.call(delete("/studies/2.2")).await.status, 204);
    assert_eq!(fixture.call(get("/studies")).await.json().as_array().unwrap().len(), 0);
}

#[actix_web::test]
async fn methods_are_told_apart() {
    let fixture = filled().await;
    let send = |method, path: &str| TestRequest::default().method(method).uri(&format!("/dicomweb{path}"));
    use actix_web::http::Method;
    let answer = fixture.call(send(Method::OPTIONS, "/studies")).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "GET, HEAD, POST, OPTIONS"));
    assert_eq!(fixture.call(send(Method::PUT, "/studies")).await.status, 405);
    assert_eq!(fixture.call(send(Method::POST, INSTANCE)).await.status, 405);
    assert_eq!(fixture.call(send(Method::HEAD, "/studies")).await.status, 200);
}
