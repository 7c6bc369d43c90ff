//! Pictures, WADO-URI, zips and ranges from outside the crate, on small objects stored by STOW-RS.

mod support;

use actix_web::test::TestRequest;
use support::*;

const STUDY: &str = "/studies/1.1";
const SERIES: &str = "/studies/1.1/series/1.1.1";
const INSTANCE: &str = "/studies/1.1/series/1.1.1/instances/1.1.1.1";

/// Two instances in one series.
async fn filled() -> Fixture {
    let fixture = Fixture::new();
    let objects = [ct("1.1", "1.1.1", "1.1.1.1"), ct("1.1", "1.1.1", "1.1.1.2")];
    let parts: Vec<_> = objects.iter().map(|object| (DICOM, object.as_slice())).collect();
    assert_eq!(fixture.call(stow("/studies", &parts)).await.status, 200);
    fixture
}

fn accepting(path: &str, accept: &str) -> TestRequest {
    get(path).insert_header(("accept", accept))
}

#[actix_web::test]
async fn several_pictures_are_parts() {
    let fixture = filled().await;
    for (path, accept, media_type, count) in [
        (STUDY, "*/*", "image/jpeg", 2),
        (SERIES, "multipart/related; type=\"image/png\"", "image/png", 2),
        (SERIES, "image/gif", "image/gif", 2),
        (INSTANCE, "multipart/related; type=\"image/gif\"", "image/gif", 1),
    ] {
        let answer = fixture.call(accepting(&format!("{path}/rendered"), accept)).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        let types: Vec<String> = answer.parts().into_iter().map(|part| part.0).collect();
        assert_eq!(types, vec![media_type; count], "{path} {accept}");
    }
}

#[actix_web::test]
async fn one_picture_is_the_body() {
    let fixture = filled().await;
    for path in [STUDY, SERIES, INSTANCE, &format!("{INSTANCE}/frames/1")] {
        let answer = fixture.call(accepting(&format!("{path}/thumbnail"), "image/png")).await;
        assert_eq!(answer.header("content-type"), "image/png", "{path}: {:?}", answer.body);
        assert!(answer.body.starts_with(b"\x89PNG"), "{path}");
    }
    let warned = fixture.call(get(&format!("{INSTANCE}/rendered?annotation=patient"))).await;
    assert!(warned.header("warning").starts_with("299 "), "{:?}", warned.headers);
}

#[actix_web::test]
async fn wado_uri_gives_pictures_and_objects() {
    let fixture = filled().await;
    let object = "/wado?requestType=WADO&studyUID=1.1&seriesUID=1.1.1&objectUID=1.1.1.1";
    for (parameters, media_type) in [
        ("", "image/jpeg"),
        ("&contentType=image/gif", "image/gif"),
        ("&contentType=application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    ] {
        let answer = fixture.call(get(&format!("{object}{parameters}"))).await;
        assert_eq!(answer.header("content-type"), media_type, "{parameters}: {:?}", answer.body);
    }
    for (parameters, status) in
        [("&contentType=video/mpeg", 406), ("&anonymize=yes", 400), ("&frameNumber=2", 404)]
    {
        let answer = fixture.call(get(&format!("{object}{parameters}"))).await;
        assert_eq!(answer.status.as_u16(), status, "{parameters}: {:?}", answer.body);
    }
}

#[actix_web::test]
async fn stretches_and_zips_are_sent() {
    let fixture = filled().await;
    let whole = ct("1.1", "1.1.1", "1.1.1.1");
    let stretch = accepting(INSTANCE, "application/dicom").insert_header(("range", "bytes=128-131"));
    let answer = fixture.call(stretch).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (206, b"DICM".as_slice()));
    assert_eq!(answer.header("content-range"), format!("bytes 128-131/{}", whole.len()));
    let beyond = accepting(INSTANCE, "application/dicom").insert_header(("range", "bytes=9999999-"));
    let answer = fixture.call(beyond).await;
    assert_eq!(answer.status, 416);
    assert_eq!(answer.header("content-range"), format!("bytes */{}", whole.len()));

    let answer = fixture.call(accepting(STUDY, "application/zip")).await;
    assert_eq!(answer.header("content-type"), "application/zip");
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    let mut first = Vec::new();
    std::io::copy(&mut zip.by_name("1.1.1/1.1.1.1.dcm").unwrap(), &mut first).unwrap();
    assert_eq!((zip.len(), first), (2, whole));
}
