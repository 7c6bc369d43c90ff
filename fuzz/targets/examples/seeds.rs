//! Writes the inputs that fuzzing began with to `fuzz/corpus`. The corpus has grown since: this is for a new beginning.

#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use engram_archive::ArchiveOptions;
use engram_archive::fuzzing::verify;
use engram_dicomweb::native_model;
use engram_fuzz_targets::objects::{Pixels, image, in_syntax};
use engram_imaging::{DecodeLimits, PixelReader, TargetSyntax, encode_frame, read_part10};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Requests: a target, and header fields below it.
const REQUESTS: &[&str] = &[
    "/studies?PatientName=M*&StudyDate=20240101-20250101&limit=5&offset=0",
    "/studies?fuzzymatching=true&PatientName=mu&includefield=all",
    "/series?Modality=CT&includefield=StudyDescription,00081030",
    "/instances?InstanceNumber=1&00080018=1.1.1.1,1.1.1.2",
    "/studies?StudyTime=1000-1100.5&StudyDate=20240102",
    "/studies?AnatomicRegionSequence.CodeValue=102*&emptyvaluematching=true&AccessionNumber=%22%22",
    "/studies?multiplevaluematching=true&StudyDescription=Bauch%5Cnativ&PatientAge=045Y",
    "/studies?ModalitiesInStudy=CT%5CMR&00090010.00091001=x",
    "/studies/1.1/series?NumberOfSeriesRelatedInstances=3",
    "/studies/1.1/series/1.1.1/instances/count",
    "/studies/1.1/metadata\nAccept: multipart/related; type=\"application/dicom+xml\"",
    "/studies/1.1/series/1.1.1/metadata\nIf-None-Match: \"x\", *",
    "/studies/1.1/series/1.1.1/instances/1.1.1.1\nAccept: application/dicom; transfer-syntax=*",
    "/studies/1.1/series/1.1.1/instances/1.1.1.1\nAccept: application/dicom\nRange: bytes=0-99",
    "/studies/1.1/series/1.1.1/instances/1.1.1.1/bulkdata/00091003\nAccept: application/octet-stream\nRange: bytes=-5",
    "/studies/1.1/series/1.1.1/instances/1.1.1.1/bulkdata/00082218/1/00080100",
    "/studies/1.1\nAccept: application/zip;q=0.5, multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",
    "/studies/1.1/series/1.1.1/instances/1.1.1.1/frames/1,3\nAccept: multipart/related; type=\"image/jls\"",
    "/studies/1.1/series/1.1.1/instances/1.1.1.2/frames/2\nAccept: application/octet-stream",
    "/studies/1.1/series/1.1.1/instances/1.1.1.3/rendered?window=40,400,sigmoid&viewport=8,8,1,1,5,5&quality=7",
    "/studies/1.1/series/1.1.1/rendered?accept=image/gif&annotation=patient,technique&iccprofile=no",
    "/studies/1.1/thumbnail?viewport=4,4\nAccept: image/png",
    "/studies/1.1/series/1.1.1/instances/1.1.1.1/pixeldata",
    "/wado?requestType=WADO&studyUID=1.1&seriesUID=1.1.1&objectUID=1.1.1.1&contentType=image/png&frameNumber=2&rows=4&columns=8&region=0.1,0.2,0.5,1&windowCenter=40&windowWidth=400&imageQuality=7",
    "/wado?requestType=WADO&objectUID=1.1.1.2&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.1",
];

/// Multipart bodies: lengths of chunks, and the body.
const BODIES: &[(&[u8], &str)] = &[
    (&[], "--b\r\nContent-Type: application/dicom\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"),
    (&[1], "preamble\r\n--b \t\r\nA: t;\r\n\tx=y\r\n\r\none\r\n--bc\r\n--b--\r\nepilogue"),
    (&[3, 7, 200], "--b\nContent-Location: x\n\none\r\n--b\n\ntwo\n--b--\n"),
    (&[2], "--b\r\nA: t\r\n\r\n\r\n--b\r\nA: t\r\n\r\n--b\r\nA: t\r\n--b--"),
];

fn main() {
    let images =
        [(1, Pixels::Grey16, 2), (2, Pixels::Grey8, 1), (3, Pixels::Colour, 1), (4, Pixels::Bits, 2)];
    let images: Vec<Vec<u8>> = images.map(|(number, pixels, frames)| image(number, pixels, frames)).into();
    for (number, object) in images.iter().enumerate() {
        let json = metadata(object);
        write("dicom_json", &format!("image-{number}"), &[b"[".as_slice(), &json, b"]"].concat());
        write("dicom_xml", &format!("image-{number}"), &native_model::write(&json).unwrap());
        write("part10", &format!("image-{number}"), object);
    }
    for syntax in TargetSyntax::OF_OBJECTS {
        for (number, object) in images.iter().take(3).enumerate() {
            write("part10", &format!("{syntax:?}-{number}"), &in_syntax(object, syntax));
        }
    }
    for syntax in [uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"] {
        write("part10", &format!("data-set-{syntax}"), &encoded(&images[0], syntax));
    }
    write("part10", "jpeg-baseline", &jpeg_baseline(&images[2]));
    for (number, request) in REQUESTS.iter().enumerate() {
        write("query", &format!("request-{number}"), request.as_bytes());
    }
    for (number, (cuts, body)) in BODIES.iter().enumerate() {
        let input = [&[cuts.len() as u8], *cuts, body.as_bytes()].concat();
        write("multipart", &format!("body-{number}"), &input);
    }
}

/// An object whose data set is encoded otherwise.
fn encoded(object: &[u8], transfer_syntax: &str) -> Vec<u8> {
    let object = read_part10(object, object.len() as u64).unwrap();
    let mut meta = object.meta().clone();
    meta.transfer_syntax = transfer_syntax.to_owned();
    meta.update_information_group_length();
    let mut bytes = Vec::new();
    object.into_inner().with_exact_meta(meta).write_all(&mut bytes).unwrap();
    bytes
}

/// A colour image compressed with loss, in two fragments.
fn jpeg_baseline(object: &[u8]) -> Vec<u8> {
    let mut object = read_part10(object, object.len() as u64).unwrap();
    let reader = PixelReader::open(&object, DecodeLimits::default()).unwrap();
    let frame = encode_frame(&reader, 1, TargetSyntax::JpegBaseline).unwrap();
    let (first, second) = frame.split_at(frame.len() / 4 * 2);
    let fragments = PixelFragmentSequence::new(vec![0u32], vec![first.to_vec(), second.to_vec()]);
    let mut meta = object.meta().clone();
    meta.transfer_syntax = TargetSyntax::JpegBaseline.uid().to_owned();
    meta.update_information_group_length();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::<_, Vec<u8>>::PixelSequence(fragments)));
    object.put(DataElement::new(
        tags::PHOTOMETRIC_INTERPRETATION,
        VR::CS,
        PrimitiveValue::from("YBR_FULL_422"),
    ));
    let mut bytes = Vec::new();
    object.into_inner().with_exact_meta(meta).write_all(&mut bytes).unwrap();
    bytes
}

/// The metadata of an object as STOW-RS would bring it: bulk data is where the targets have it.
fn metadata(object: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(object).unwrap();
    let options = ArchiveOptions { inline_binary_bytes: 64, ..ArchiveOptions::new("") };
    let json = String::from_utf8(verify(&mut file, &options).unwrap().metadata("")).unwrap();
    json.replace("bulkdata/00091003", "bulk").replace("bulkdata/7FE00010", "bulk").into_bytes()
}

fn write(target: &str, name: &str, content: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), content).unwrap();
}
