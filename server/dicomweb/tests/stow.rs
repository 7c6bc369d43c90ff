//! STOW-RS from outside the crate: what is stored, what is refused, and what the answer says.

#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for no tests")]

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::test::TestRequest;
use actix_web::{App, HttpServer, web};
use engram_archive::{ArchiveOptions, StoreOutcome, StoredInstance};
use engram_dicomweb::{
    DicomWebOptions, InstanceObserver, ObserverError, StowOptions, configure, native_model,
};
use support::*;

const FAILURE_REASON: &str = "00081197";
const REFERENCED: &str = "00081199";
const FAILED: &str = "00081198";
const OTHER_FAILURES: &str = "0008119A";

#[actix_web::test]
async fn all_parts_are_stored_and_named() {
    let fixture = Fixture::new();
    let (one, two) = (ct("1.1", "1.1.1", "1.1.1.1"), ct("1.1", "1.1.1", "1.1.1.2"));
    let answer = fixture.call(stow("/studies", &[(DICOM, &one), (DICOM, &two)])).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.header("content-type"), "application/dicom+json");
    let data_set = answer.json();
    let referenced = values(&data_set, REFERENCED);
    let uids: Vec<_> = referenced.iter().map(|item| values(item, "00081155")[0].as_str().unwrap()).collect();
    assert_eq!(uids, ["1.1.1.1", "1.1.1.2"]);
    let url = values(&referenced[0], "00081190")[0].as_str().unwrap();
    assert!(url.ends_with("/dicomweb/studies/1.1/series/1.1.1/instances/1.1.1.1"), "{url}");
    assert!(values(&data_set, "00081190")[0].as_str().unwrap().ends_with("/dicomweb/studies/1.1"));

    // The same again: success, and nothing stored twice.
    let again = stow("/studies/1.1", &[(DICOM, &one)]).insert_header(("accept", native_model::MEDIA_TYPE));
    let answer = fixture.call(again).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, native_model::MEDIA_TYPE));
    assert!(native_model::read(&answer.body).unwrap().contains_key(REFERENCED));
    assert_eq!(fixture.state.archive.statistics().unwrap().instances, 2);
}

#[actix_web::test]
async fn a_bad_part_never_spoils_a_good_one() {
    let good = ct("1.1", "1.1.1", "1.1.1.1");
    let truncated = good[..good.len() - 7].to_vec();
    let lie = format!("{DICOM}\r\nContent-Length: {}", good.len() + 1);
    let other_study = ct("9.9", "9.9.1", "9.9.1.1");
    for (name, headers, content, reason, sequence) in [
        ("not DICOM", DICOM, &b"hello"[..], 0xC000, OTHER_FAILURES),
        ("empty", DICOM, b"", 0xC000, OTHER_FAILURES),
        ("of another type", "Content-Type: text/plain", b"hello", 0xC000, OTHER_FAILURES),
        ("lies about its length", lie.as_str(), &good, 0xC000, OTHER_FAILURES),
        ("truncated", DICOM, &truncated, 0xC000, FAILED),
        ("of another study", DICOM, &other_study, 0xA900, FAILED),
    ] {
        for bad_first in [true, false] {
            let fixture = Fixture::new();
            let mut parts = vec![(headers, content), (DICOM, &good[..])];
            if !bad_first {
                parts.reverse();
            }
            let answer = fixture.call(stow("/studies/1.1", &parts)).await;
            assert_eq!(answer.status, 202, "{name}: {:?}", answer.body);
            let data_set = answer.json();
            assert_eq!(values(&data_set, REFERENCED).len(), 1, "{name}");
            let failures = values(&data_set, sequence);
            assert_eq!(failures.len(), 1, "{name}: {data_set}");
            assert_eq!(values(&failures[0], FAILURE_REASON)[0], reason, "{name}");
            assert!(!values(&failures[0], "00000902").is_empty(), "{name}");
            assert_eq!(fixture.state.archive.statistics().unwrap().instances, 1, "{name}");
        }
        let fixture = Fixture::new();
        let answer = fixture.call(stow("/studies/1.1", &[(headers, content)])).await;
        assert_eq!(answer.status, 409, "{name} alone");
        assert_eq!(fixture.state.archive.statistics().unwrap().instances, 0, "{name} alone");
    }
}

#[actix_web::test]
async fn another_data_set_under_a_stored_uid_is_refused() {
    let fixture = Fixture::new();
    let first = ct("1.1", "1.1.1", "1.1.1.1");
    let second = object("1.1", "1.1.1", "1.1.1.1", vec![7; 12]);
    assert_eq!(fixture.call(stow("/studies", &[(DICOM, &first)])).await.status, 200);
    let answer = fixture.call(stow("/studies", &[(DICOM, &second)])).await;
    assert_eq!(answer.status, 409);
    let data_set = answer.json();
    let failed = &values(&data_set, FAILED)[0];
    assert_eq!(values(failed, FAILURE_REASON)[0], 0x0111);
    assert_eq!(values(failed, "00081155")[0], "1.1.1.1");
}

#[actix_web::test]
async fn a_body_cut_short_keeps_its_complete_parts() {
    let good = ct("1.1", "1.1.1", "1.1.1.1");
    let next = ct("1.1", "1.1.1", "1.1.1.2");
    let part = |content: &[u8]| [format!("--XX\r\n{DICOM}\r\n\r\n").as_bytes(), content, b"\r\n"].concat();
    let fixture = Fixture::new();
    let body = [part(&good), part(&next)[..300].to_vec()].concat();
    let answer = fixture.call(stow_body("/studies", body)).await;
    assert_eq!(answer.status, 202);
    let data_set = answer.json();
    assert_eq!(values(&data_set, REFERENCED).len(), 1);
    let comment = values(&values(&data_set, OTHER_FAILURES)[0], "00000902")[0].as_str().unwrap().to_owned();
    assert!(comment.contains("closing delimiter"), "{comment}");

    let answer = fixture.call(stow_body("/studies", part(&next))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["code"], "bad_multipart");
    assert_eq!(fixture.state.archive.statistics().unwrap().instances, 1);
}

#[actix_web::test]
async fn a_single_object_is_taken_as_it_is() {
    let fixture = Fixture::new();
    let post = |content: Vec<u8>| {
        TestRequest::post()
            .uri("/dicomweb/studies")
            .insert_header(("content-type", "application/dicom"))
            .set_payload(content)
    };
    assert_eq!(fixture.call(post(ct("1.1", "1.1.1", "1.1.1.1"))).await.status, 200);
    assert_eq!(fixture.call(post(b"not dicom".to_vec())).await.status, 409);
    let answer = fixture.call(post(Vec::new())).await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (400, Some("no_instances")));
}

#[actix_web::test]
async fn a_compressed_body_is_taken_and_its_limit_is_that_of_what_comes_out() {
    let object = ct("1.1", "1.1.1", "1.1.1.1");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&object).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(gzip.len() < object.len());
    for (limit, status) in [(object.len(), 200), (object.len() - 1, 413)] {
        let options = DicomWebOptions { max_request_bytes: limit as u64, ..DicomWebOptions::default() };
        let fixture = Fixture::with(options, ArchiveOptions::new(""), Arc::new(engram_dicomweb::NoObserver));
        let request = TestRequest::post().uri("/dicomweb/studies").set_payload(gzip.clone());
        let request = request
            .insert_header(("content-type", "application/dicom"))
            .insert_header(("content-encoding", "gzip"));
        assert_eq!(fixture.call(request).await.status.as_u16(), status, "{limit}");
    }
}

#[actix_web::test]
async fn requests_that_cannot_be_read_are_refused_with_advice() {
    let fixture = Fixture::new();
    let post = |content_type: &str| {
        TestRequest::post()
            .uri("/dicomweb/studies")
            .insert_header(("content-type", content_type.to_owned()))
            .set_payload("x")
    };
    for (name, request, status) in [
        ("no DICOM", post("text/plain"), 415),
        ("no DICOM in parts", post("multipart/related; type=\"image/png\"; boundary=x"), 415),
        ("no part of JSON", post("multipart/related; type=\"application/dicom+json\"; boundary=x"), 400),
        ("compress", post("application/dicom").insert_header(("content-encoding", "compress")), 415),
        ("no gzip", post("application/dicom").insert_header(("content-encoding", "gzip")), 400),
        ("no boundary", post("multipart/related; type=\"application/dicom\""), 400),
        ("no delimiter", post("multipart/related; type=\"application/dicom\"; boundary=x"), 400),
        ("answer", post("application/dicom").insert_header(("accept", "text/csv")), 406),
        ("UID", stow("/studies/abc", &[]), 400),
        ("no part", stow("/studies", &[]), 400),
        ("flag", stow("/studies?partial=perhaps", &[]), 400),
        ("collection", stow("/studies?collection=%0A", &[]), 400),
    ] {
        let answer = fixture.call(request).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        for field in ["code", "message", "what_to_do"] {
            assert!(!answer.json()[field].as_str().unwrap().is_empty(), "{name}: {field}");
        }
    }
}

#[actix_web::test]
async fn limits_hold() {
    let options = DicomWebOptions { max_request_bytes: 5000, max_parts: 2, ..DicomWebOptions::default() };
    let archive = ArchiveOptions { max_instance_bytes: 2000, ..ArchiveOptions::new("") };
    let fixture = Fixture::with(options, archive, Arc::new(engram_dicomweb::NoObserver));
    let small = ct("1.1", "1.1.1", "1.1.1.1");
    assert!(small.len() < 1500);
    let large = object("1.1", "1.1.1", "1.1.1.2", vec![1; 1500]);

    let answer = fixture.call(stow("/studies", &[(DICOM, &large), (DICOM, &small)])).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    let data_set = answer.json();
    let failures = [values(&data_set, FAILED), values(&data_set, OTHER_FAILURES)].concat();
    assert_eq!(values(&failures[0], FAILURE_REASON)[0], 0xA700);

    let answer = fixture.call(stow("/studies", &[(DICOM, &small), (DICOM, &small), (DICOM, &small)])).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);

    let answer = fixture.call(stow("/studies", &[(DICOM, &large), (DICOM, &large)])).await;
    assert_eq!(answer.status, 413);
    assert_eq!(fixture.state.archive.statistics().unwrap().instances, 1);
}

/// Keeps what it is told, and can be made to fail.
#[derive(Default)]
struct Recorder {
    fails: AtomicBool,
    told: Mutex<Vec<String>>,
}

impl InstanceObserver for Recorder {
    fn before_acknowledge(
        &self,
        stored: &[StoreOutcome],
        options: &StowOptions,
    ) -> Result<(), ObserverError> {
        let uids: Vec<_> = stored.iter().map(|one| one.instance().uids.sop_instance_uid.as_str()).collect();
        self.told.lock().unwrap().push(format!("before {} {options:?}", uids.join(",")));
        if self.fails.load(Ordering::Relaxed) { Err("the journal is full".into()) } else { Ok(()) }
    }

    fn instance_stored(&self, instance: &StoredInstance, options: &StowOptions) {
        let told = format!("stored {} {}", instance.uids.sop_instance_uid, options.partial);
        self.told.lock().unwrap().push(told);
    }

    fn deleted(&self, instances: &[StoredInstance]) {
        self.told.lock().unwrap().push(format!("deleted {}", instances.len()));
    }
}

#[actix_web::test]
async fn the_observer_hears_before_and_after() {
    let recorder = Arc::new(Recorder::default());
    let fixture =
        Fixture::with(DicomWebOptions::default(), ArchiveOptions::new(""), recorder.clone() as Arc<_>);
    let one = ct("1.1", "1.1.1", "1.1.1.1");
    let target = "/studies?partial=true&collection=liver%20CT";
    for _ in 0..2 {
        assert_eq!(fixture.call(stow(target, &[(DICOM, &one)])).await.status, 200);
    }
    assert_eq!(fixture.call(TestRequest::delete().uri("/dicomweb/studies/1.1")).await.status, 204);
    let before = "before 1.1.1.1 StowOptions { collection: Some(\"liver CT\"), partial: true }";
    assert_eq!(
        *recorder.told.lock().unwrap(),
        [before, "stored 1.1.1.1 true", before, "stored 1.1.1.1 true", "deleted 1"]
    );
}

#[actix_web::test]
async fn options_that_cannot_be_kept_fail_the_instance_and_a_repeat_heals() {
    let recorder = Arc::new(Recorder { fails: true.into(), ..Recorder::default() });
    let fixture =
        Fixture::with(DicomWebOptions::default(), ArchiveOptions::new(""), recorder.clone() as Arc<_>);
    let one = ct("1.1", "1.1.1", "1.1.1.1");
    let answer = fixture.call(stow("/studies?partial", &[(DICOM, &one)])).await;
    assert_eq!(answer.status, 500);
    assert_eq!(values(&values(&answer.json(), FAILED)[0], FAILURE_REASON)[0], 0x0110);
    assert_eq!(recorder.told.lock().unwrap().len(), 1, "instance_stored must not be called");

    recorder.fails.store(false, Ordering::Relaxed);
    assert_eq!(fixture.call(stow("/studies?partial", &[(DICOM, &one)])).await.status, 200);
    let told = recorder.told.lock().unwrap();
    assert!(told[1].contains("partial: true"));
    assert_eq!(told[2], "stored 1.1.1.1 true");
}

#[actix_web::test]
async fn a_body_that_stands_still_is_given_up() {
    let options = DicomWebOptions { read_timeout: Duration::from_millis(50), ..DicomWebOptions::default() };
    let fixture = Fixture::with(options, ArchiveOptions::new(""), Arc::new(engram_dicomweb::NoObserver));
    let state = fixture.state.clone();
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new().service(web::scope("/dicomweb").configure(|scope| configure(scope, state)))
    });
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let answer = web::block(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .write_all(b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: 100\r\n\r\nDICM")
            .unwrap();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    handle.stop(false).await;
}

const JSON: &str = "application/dicom+json";

/// The metadata of the slice that `ct` makes, with pixel data at `uri`.
fn metadata(instance: &str, uri: &str) -> serde_json::Value {
    let element = |vr: &str, value: serde_json::Value| serde_json::json!({ "vr": vr, "Value": [value] });
    serde_json::json!({
        "00080005": element("CS", "ISO_IR 100".into()),
        "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.2".into()),
        "00080018": element("UI", instance.into()),
        "00080060": element("CS", "CT".into()),
        "00083002": element("UI", "1.2.840.10008.1.2.1".into()),
        "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎" }] },
        "00100020": element("LO", "P1".into()),
        "00180050": element("DS", 2.5.into()),
        "0020000D": element("UI", "1.1".into()),
        "0020000E": element("UI", "1.1.1".into()),
        "00280010": element("US", 4.into()),
        "00280011": element("US", 3.into()),
        "00280100": element("US", 16.into()),
        "00400275": { "vr": "SQ", "Value": [{ "00400009": element("SH", "STEP".into()) }] },
        "7FE00010": { "vr": "OW", "BulkDataURI": uri },
    })
}

/// A STOW request of metadata and bulk data.
fn stow_metadata(path: &str, part_type: &str, parts: &[(&str, &[u8])]) -> TestRequest {
    let content_type = format!("multipart/related; type=\"{part_type}\"; boundary=XX");
    stow(path, parts).insert_header(("content-type", content_type))
}

/// What is stored of an instance.
async fn stored(fixture: &Fixture, instance: &str) -> dicom_object::DefaultDicomObject {
    let path = format!("/studies/1.1/series/1.1.1/instances/{instance}");
    let answer =
        fixture.call(get(&path).insert_header(("accept", "application/dicom; transfer-syntax=*"))).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    dicom_object::from_reader(&answer.body[..]).unwrap()
}

#[actix_web::test]
async fn metadata_and_bulk_data_become_objects() {
    let pixels: Vec<u8> = (0..24).collect();
    let one = metadata("1.1.1.1", "bulk/1");
    let two = metadata("1.1.1.2", "http://localhost:8080/dicomweb/studies/bulk/2");
    let json = serde_json::json!([one, two]).to_string();
    let xml = [&one, &two].map(|one| native_model::write(one.to_string().as_bytes()).unwrap());
    let octets =
        |location: &str| format!("Content-Type: application/octet-stream\r\nContent-Location: {location}");
    let (first, second) = (octets("http://localhost:8080/dicomweb/studies/bulk/1"), octets("bulk/2"));
    let as_json = format!("Content-Type: {JSON}");
    let as_xml = format!("Content-Type: {}", native_model::MEDIA_TYPE);
    let bulk = [(first.as_str(), &pixels[..]), (second.as_str(), &pixels[..])];
    for (name, part_type, parts) in [
        ("JSON", JSON, vec![(as_json.as_str(), json.as_bytes()), bulk[0], bulk[1]]),
        ("JSON last", JSON, vec![bulk[1], bulk[0], (as_json.as_str(), json.as_bytes())]),
        (
            "XML",
            native_model::MEDIA_TYPE,
            vec![(as_xml.as_str(), &xml[0][..]), (as_xml.as_str(), &xml[1][..]), bulk[0], bulk[1]],
        ),
    ] {
        let fixture = Fixture::new();
        let answer = fixture.call(stow_metadata("/studies/1.1", part_type, &parts)).await;
        assert_eq!(answer.status, 200, "{name}: {:?}", answer.body);
        for instance in ["1.1.1.1", "1.1.1.2"] {
            let object = stored(&fixture, instance).await;
            assert_eq!(
                object.meta().transfer_syntax().trim_end_matches('\0'),
                "1.2.840.10008.1.2.1",
                "{name}"
            );
            assert_eq!(object.element_by_name("PixelData").unwrap().to_bytes().unwrap(), pixels, "{name}");
            let text = |name: &str| object.element_by_name(name).unwrap().to_str().unwrap().into_owned();
            assert_eq!(text("PatientName"), "Yamada^Tarou=山田^太郎", "{name}");
            assert_eq!(text("SpecificCharacterSet"), "ISO_IR 192", "{name}");
            assert_eq!(text("SliceThickness").trim(), "2.5", "{name}");
            assert!(object.element_by_name("AvailableTransferSyntaxUID").is_err(), "{name}");
            let items = object.element_by_name("RequestAttributesSequence").unwrap().items().unwrap();
            assert_eq!(
                items[0].element_by_name("ScheduledProcedureStepID").unwrap().to_str().unwrap(),
                "STEP"
            );
        }
    }
}

#[actix_web::test]
async fn metadata_alone_may_hold_everything() {
    let mut one = metadata("1.1.1.1", "");
    one["7FE00010"] = serde_json::json!({ "vr": "OW", "InlineBinary": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX" });
    one["00280030"] = serde_json::json!({ "vr": "DS", "Value": [0.1 + 0.2, null] });
    let fixture = Fixture::new();
    let post = TestRequest::post().uri("/dicomweb/studies").insert_header(("content-type", JSON));
    let answer = fixture.call(post.set_payload(one.to_string())).await;
    assert_eq!(answer.status, 202, "a decimal was rounded: {:?}", answer.body);
    let data_set = answer.json();
    assert_eq!(values(&values(&data_set, REFERENCED)[0], "00081196"), [0xB000]);
    let object = stored(&fixture, "1.1.1.1").await;
    assert_eq!(object.element_by_name("PixelData").unwrap().to_bytes().unwrap()[..4], [0, 1, 2, 3]);
    let spacing = object.element_by_name("PixelSpacing").unwrap().to_multi_str().unwrap().into_owned();
    assert_eq!(spacing, ["0.3", ""]);
}

#[actix_web::test]
async fn compressed_frames_are_encapsulated() {
    let part = |location: &str| {
        format!(
            "Content-Type: image/jls; transfer-syntax=1.2.840.10008.1.2.4.80\r\nContent-Location: {location}"
        )
    };
    let (same, one, two) = (part("px"), part("px/frames/1"), part("px/frames/2"));
    for (parts, frames, status) in [
        (vec![(same.as_str(), &b"one"[..]), (same.as_str(), &b"two!"[..])], 2, 200),
        (vec![(two.as_str(), &b"two!"[..]), (one.as_str(), &b"one"[..])], 2, 200),
        (vec![(same.as_str(), &b"one"[..])], 1, 200),
        (vec![(same.as_str(), &b"one"[..])], 2, 409),
        (vec![(two.as_str(), &b"two!"[..])], 1, 409),
    ] {
        let fixture = Fixture::new();
        let mut instance = metadata("1.1.1.1", "px");
        instance["00280008"] = serde_json::json!({ "vr": "IS", "Value": [frames] });
        let json = instance.to_string();
        let headers = format!("Content-Type: {JSON}");
        let parts = [vec![(headers.as_str(), json.as_bytes())], parts].concat();
        let answer = fixture.call(stow_metadata("/studies", JSON, &parts)).await;
        assert_eq!(answer.status.as_u16(), status, "{frames} of {parts:?}: {:?}", answer.body);
        if status == 200 {
            let object = stored(&fixture, "1.1.1.1").await;
            assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), "1.2.840.10008.1.2.4.80");
            let fragments = object.element_by_name("PixelData").unwrap().fragments().unwrap().to_vec();
            let expected: &[&[u8]] = if frames == 2 { &[b"one\0", b"two!"] } else { &[b"one\0"] };
            assert_eq!(fragments, expected);
        }
    }
}

#[actix_web::test]
async fn a_bad_instance_never_spoils_a_good_one() {
    let pixels = [7u8; 24];
    let octets = "Content-Type: application/octet-stream\r\nContent-Location: good";
    let missing = |tag: &str| {
        let mut instance = metadata("1.1.1.2", "good");
        instance.as_object_mut().unwrap().remove(tag);
        instance
    };
    let changed = |tag: &str, element: serde_json::Value| {
        let mut instance = metadata("1.1.1.2", "good");
        instance[tag] = element;
        instance
    };
    let syntax = |uid: &str| serde_json::json!({ "vr": "UI", "Value": [uid] });
    for (name, bad, reason, sequence) in [
        ("bulk data missing", metadata("1.1.1.2", "bad"), 0xC000, FAILED),
        ("no SOPInstanceUID", missing("00080018"), 0xC000, OTHER_FAILURES),
        ("no SOPClassUID", missing("00080016"), 0xC000, FAILED),
        ("no StudyInstanceUID", missing("0020000D"), 0xC000, FAILED),
        ("another study", changed("0020000D", syntax("9.9")), 0xA900, FAILED),
        ("no object", serde_json::json!(7), 0xC000, OTHER_FAILURES),
        ("no tag", changed("Rows", serde_json::json!({ "vr": "US" })), 0xC000, OTHER_FAILURES),
        ("no VR", changed("00280010", serde_json::json!({})), 0xC000, FAILED),
        (
            "text in numbers",
            changed("00280010", serde_json::json!({ "vr": "US", "Value": ["x"] })),
            0xC000,
            FAILED,
        ),
        (
            "no Base64",
            changed("00282000", serde_json::json!({ "vr": "OB", "InlineBinary": "?" })),
            0xC000,
            FAILED,
        ),
        ("unknown transfer syntax", changed("00083002", syntax("1.2.3")), 0xC122, FAILED),
    ] {
        let fixture = Fixture::new();
        let json = serde_json::json!([bad, metadata("1.1.1.1", "good")]).to_string();
        let headers = format!("Content-Type: {JSON}");
        let parts = [(headers.as_str(), json.as_bytes()), (octets, &pixels[..])];
        let answer = fixture.call(stow_metadata("/studies/1.1", JSON, &parts)).await;
        assert_eq!(answer.status, 202, "{name}: {:?}", answer.body);
        let data_set = answer.json();
        assert_eq!(values(&data_set, REFERENCED).len(), 1, "{name}: {data_set}");
        let failures = values(&data_set, sequence);
        assert_eq!(failures.len(), 1, "{name}: {data_set}");
        assert_eq!(values(&failures[0], FAILURE_REASON)[0], reason, "{name}");
        assert_eq!(fixture.state.archive.statistics().unwrap().instances, 1, "{name}");
    }
}

#[actix_web::test]
async fn parts_that_belong_to_no_instance_are_named() {
    let json = serde_json::json!([metadata("1.1.1.1", "good")]).to_string();
    let headers = format!("Content-Type: {JSON}");
    let good = "Content-Type: application/octet-stream\r\nContent-Location: good";
    let lost = "Content-Type: application/octet-stream\r\nContent-Location: lost";
    let nowhere = "Content-Type: application/octet-stream";
    for other in [(lost, &b"x"[..]), (nowhere, b"x"), (headers.as_str(), b"{"), (headers.as_str(), b"x")] {
        let fixture = Fixture::new();
        let parts = [(headers.as_str(), json.as_bytes()), (good, &[7; 24][..]), other];
        let answer = fixture.call(stow_metadata("/studies", JSON, &parts)).await;
        assert_eq!(answer.status, 202, "{other:?}: {:?}", answer.body);
        assert_eq!(values(&answer.json(), OTHER_FAILURES).len(), 1, "{other:?}");
    }
    let options = DicomWebOptions { max_metadata_bytes: json.len() - 1, ..DicomWebOptions::default() };
    let fixture = Fixture::with(options, ArchiveOptions::new(""), Arc::new(engram_dicomweb::NoObserver));
    let answer = fixture.call(stow_metadata("/studies", JSON, &[(headers.as_str(), json.as_bytes())])).await;
    assert_eq!(answer.status, 409);
    assert_eq!(values(&values(&answer.json(), OTHER_FAILURES)[0], FAILURE_REASON)[0], 0xA700);
}

#[actix_web::test]
async fn metadata_cut_short_keeps_what_was_complete() {
    let json = serde_json::json!([metadata("1.1.1.1", "a"), metadata("1.1.1.2", "b")]).to_string();
    let part = |headers: &str, content: &[u8]| {
        [format!("--XX\r\n{headers}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
    };
    let octets =
        |location: &str| format!("Content-Type: application/octet-stream\r\nContent-Location: {location}");
    let mut body = part(&format!("Content-Type: {JSON}"), json.as_bytes());
    body.extend(part(&octets("a"), &[1; 24]));
    body.extend(&part(&octets("b"), &[2; 24])[..70]);
    let fixture = Fixture::new();
    let content_type = format!("multipart/related; type=\"{JSON}\"; boundary=XX");
    let answer =
        fixture.call(stow_body("/studies", body).insert_header(("content-type", content_type))).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    assert_eq!(values(&values(&answer.json(), REFERENCED)[0], "00081155"), ["1.1.1.1"]);
    assert_eq!(values(&values(&answer.json(), FAILED)[0], "00081155"), ["1.1.1.2"]);
}
