//! Writes what the files decode to, for comparison with other decoders.
//!
//! `dump_pixels FOLDER FILE...`: for each file a line of JSON on standard output, with either `error`, or
//! `shape` (frames, rows, columns, samples), `dtype` (NumPy's name), `photometric`, `stored` (a file in
//! FOLDER with the samples of all frames, little endian) and, for luminance and chrominance, `rgb`
//! (likewise, converted).

use engram_imaging::{DecodeLimits, Frame, FrameData, Photometric, PixelReader, read_part10};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("usage: dump_pixels FOLDER FILE...")?;
    for (index, file) in arguments.enumerate() {
        let dumped = dump(&file, &folder.join(index.to_string()));
        let mut line = dumped.unwrap_or_else(|error| json!({ "error": story(error.as_ref()) }));
        line["file"] = json!(file);
        println!("{line}");
    }
    Ok(())
}

fn dump(file: &Path, target: &Path) -> Result<Value, Box<dyn Error>> {
    let source = File::open(file)?;
    let length = source.metadata()?.len();
    let object = read_part10(source, length)?;
    let reader = PixelReader::open(&object, DecodeLimits::default())?;
    let frames = (1..=reader.number_of_frames()).map(|frame| reader.frame(frame));
    let frames = frames.collect::<Result<Vec<Frame>, _>>()?;
    let first = frames.first().ok_or("no frame")?;
    let stored = target.with_extension("stored");
    std::fs::write(&stored, frames.iter().flat_map(|frame| bytes(&frame.data)).collect::<Vec<u8>>())?;
    let mut line = json!({
        "shape": [frames.len(), first.rows, first.columns, first.samples_per_pixel],
        "dtype": dtype(&first.data),
        "photometric": first.photometric.to_string(),
        "stored": stored,
    });
    if first.photometric == Photometric::YbrFull {
        let rgb = target.with_extension("rgb");
        let converted: Vec<u8> = frames.iter().flat_map(|frame| bytes(&frame.to_rgb().data)).collect();
        std::fs::write(&rgb, converted)?;
        line["rgb"] = json!(rgb);
    }
    Ok(line)
}

fn dtype(data: &FrameData) -> &'static str {
    match data {
        FrameData::U8(_) => "uint8",
        FrameData::I8(_) => "int8",
        FrameData::U16(_) => "uint16",
        FrameData::I16(_) => "int16",
        FrameData::U32(_) => "uint32",
        FrameData::I32(_) => "int32",
        FrameData::F32(_) => "float32",
        FrameData::F64(_) => "float64",
    }
}

fn bytes(data: &FrameData) -> Vec<u8> {
    match data {
        FrameData::U8(samples) => samples.clone(),
        FrameData::I8(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::U16(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::I16(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::U32(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::I32(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::F32(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::F64(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    }
}

/// An error and all that led to it.
fn story(error: &dyn Error) -> String {
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        story = format!("{story}: {error}");
        source = error.source();
    }
    story
}
