//! A Part 10 object: what STOW-RS verifies, and what is later made of an object that it took.

use crate::fixture::{file_of, options};
use crate::metadata::{bulk_data_uris, reads_back};
use engram_archive::BulkValue;
use engram_archive::fuzzing::{Verified, locate, verify};
use engram_imaging::{
    DecodeLimits, Frame, PictureFormat, PixelReader, RenderOptions, TargetSyntax, TranscodeLimits,
    read_header, read_part10, render, transcode,
};
use serde_json::Value;
use std::fs::File;
use std::io::Cursor;

const DECODE: DecodeLimits = DecodeLimits { max_frame_bytes: 1 << 20 };
const TRANSCODE: TranscodeLimits = TranscodeLimits { decode: DECODE, max_object_bytes: 4 << 20 };

/// The input is the object. Only what the archive takes is looked at further, as in the server.
pub fn check(input: &[u8]) {
    let mut file = file_of(input);
    let Ok(verified) = verify(&mut file, &options()) else { return };
    metadata(&verified, &mut file);
    let length = input.len() as u64;
    let _ = read_header(Cursor::new(input), length);
    let Ok(object) = read_part10(input, length) else { return };
    let Ok(reader) = PixelReader::open(&object, DECODE) else { return };
    let ends = [1, reader.number_of_frames()];
    let frames = ends.map(|frame| reader.frame(frame).ok());
    for frame in ends {
        let _ = reader.stored_frame(frame);
        let viewport = Some((64, 64));
        let formats = [PictureFormat::Png, PictureFormat::Jpeg { quality: 50 }, PictureFormat::Gif];
        let format = formats[input.len() % formats.len()];
        let _ =
            render(&object, frame, &RenderOptions { format, viewport, ..RenderOptions::default() }, DECODE);
    }
    let target = TargetSyntax::OF_OBJECTS[input.len() % TargetSyntax::OF_OBJECTS.len()];
    if let Ok(transcoded) = transcode(input, target, TRANSCODE) {
        says_the_same(&transcoded.bytes, &verified, &frames);
    }
}

/// Asserts that the metadata is DICOM JSON, can be written as XML, and names bulk data that is there.
fn metadata(verified: &Verified, file: &mut File) {
    let json = verified.metadata("");
    let data_set: Value = serde_json::from_slice(&json).unwrap();
    let elements = data_set.as_object().unwrap();
    assert!(elements.values().all(|element| element["vr"].is_string()));
    reads_back(&json);
    for uri in bulk_data_uris(&data_set) {
        let path = uri.strip_prefix("bulkdata/").unwrap();
        let found = locate(file, path, &options()).unwrap().unwrap_or_else(|| panic!("{uri}"));
        let native = matches!(found.value, BulkValue::Native(_)) && !found.big_endian;
        if path == "7FE00010" && native {
            let range = verified.pixel_data.clone().map(BulkValue::Native);
            assert_eq!(range, Some(found.value), "where the pixels lie");
        }
    }
}

/// Asserts that a transcoded object can be stored, is the same instance, and has the same grey pixels in whole samples:
/// colour may be coded otherwise, and bits beyond those stored mean nothing.
fn says_the_same(transcoded: &[u8], before: &Verified, frames: &[Option<Frame>; 2]) {
    let after = verify(&mut file_of(transcoded), &options()).unwrap();
    assert_eq!(after.uids, before.uids);
    let object = read_part10(transcoded, transcoded.len() as u64).unwrap();
    let Ok(reader) = PixelReader::open(&object, DECODE) else { return };
    for (frame, number) in frames.iter().zip([1, reader.number_of_frames()]) {
        let Some(frame) = frame else { continue };
        let again = reader.frame(number).unwrap();
        if reader.bits_allocated() == frame.bits_stored && frame.samples_per_pixel == 1 {
            assert!(again.data == frame.data, "other pixels in frame {number}");
        }
    }
}
