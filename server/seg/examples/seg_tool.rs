//! Reads and rewrites SEGs with this crate, for tests that compare it with other readers and writers.
//!
//! ```text
//! seg_tool read SEG [--sources PATH]                    description and voxel digests, as JSON
//! seg_tool rewrite SEG SOURCES OUT --type TYPE          TYPE: automatic, labelmap or binary
//! ```
//! SOURCES is an image file or a folder of them: the slices, which are sorted along their normal.

use std::error::Error;
use std::path::{Path, PathBuf};

use dicom_object::{DefaultDicomObject, open_file};
use engram_seg::{
    AlgorithmIdentification, Content, Encoding, Equipment, NewSegment, NewSegmentation, ReferencedSlice,
    ResultUids, SegmentProvenance, Segmentation, Voxels, read, to_part10, write,
};
use ndarray::{Array3, Axis};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--json").collect();
    match words.as_slice() {
        ["read", seg] => describe(Path::new(seg), None),
        ["read", seg, "--sources", sources] => describe(Path::new(seg), Some(Path::new(sources))),
        ["rewrite", seg, sources, out, "--type", kind] => {
            rewrite(Path::new(seg), Path::new(sources), Path::new(out), encoding(kind)?)
        }
        _ => Err("usage: seg_tool read SEG [--sources PATH] | rewrite SEG SOURCES OUT --type TYPE".into()),
    }
}

fn encoding(kind: &str) -> Result<Encoding, String> {
    match kind {
        "automatic" => Ok(Encoding::Automatic),
        "labelmap" => Ok(Encoding::LabelMap),
        "binary" => Ok(Encoding::Binary),
        other => Err(format!("{other}: no such type")),
    }
}

fn describe(seg: &Path, sources: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let segmentation = read(&open_file(seg)?)?;
    let slices = sources.map(slices_in).transpose()?.map(|(slices, _)| slices);
    let description = &segmentation.description;
    let segments: Result<Vec<Value>, Box<dyn Error>> = description
        .segments
        .iter()
        .map(|segment| {
            let mut value = serde_json::to_value(segment)?;
            value["key"] = json!(segment.concept.key());
            value["background"] = json!(segment.is_background());
            value["frames"] = frames(&segmentation, segment.number);
            if let Some(slices) = &slices {
                value["slices"] = on_slices(&segmentation, segment.number, slices)?;
            }
            Ok(value)
        })
        .collect();
    let series: Vec<Value> = description
        .referenced_series
        .iter()
        .map(|series| json!({"uid": series.series_instance_uid, "instances": series.instances.len()}))
        .collect();
    let report = json!({
        "type": format!("{:?}", description.segmentation_type),
        "rows": description.rows,
        "columns": description.columns,
        "number_of_frames": description.number_of_frames,
        "tiled": description.total_pixel_matrix.is_some(),
        "referenced_series": series,
        "referenced_instances": description.referenced_instances().len(),
        "segments": segments?,
    });
    println!("{report:#}");
    Ok(())
}

/// The frames (index from 0) that hold voxels of the segment or are its own, their voxel counts, and a digest of
/// their masks in stored order.
fn frames(segmentation: &Segmentation, number: u16) -> Value {
    let (mut counts, mut digest) = (serde_json::Map::new(), Sha256::new());
    for frame in 0..segmentation.description.number_of_frames as usize {
        let owner = segmentation.description.frame_segment(frame);
        let Some(mask) = segmentation.frame_mask(frame, number) else { continue };
        if owner.is_some_and(|owner| owner != number) {
            continue;
        }
        digest.update(&mask);
        counts.insert(frame.to_string(), json!(mask.iter().filter(|voxel| **voxel != 0).count()));
    }
    json!({"voxels": counts, "sha256": hex::encode(digest.finalize())})
}

fn on_slices(
    segmentation: &Segmentation,
    number: u16,
    slices: &[ReferencedSlice],
) -> Result<Value, Box<dyn Error>> {
    let masks = match segmentation.masks_on(number, slices) {
        Ok(masks) => masks,
        Err(error) => return Ok(json!({"error": error.to_string()})),
    };
    let voxels: Vec<usize> = masks
        .mask
        .axis_iter(Axis(0))
        .map(|slice| slice.iter().filter(|voxel| **voxel != 0).count())
        .collect();
    let bytes: Vec<u8> = masks.mask.iter().copied().collect();
    Ok(json!({
        "voxels": voxels,
        "frames_present": masks.frames_present,
        "unplaced_frames": masks.unplaced_frames,
        "sha256": hex::encode(Sha256::digest(bytes)),
    }))
}

fn rewrite(seg: &Path, sources: &Path, out: &Path, encoding: Encoding) -> Result<(), Box<dyn Error>> {
    let segmentation = read(&open_file(seg)?)?;
    let (slices, source) = slices_in(sources)?;
    let (mut segments, mut masks): (Vec<NewSegment>, Vec<Array3<u8>>) = (Vec::new(), Vec::new());
    for segment in segmentation.description.foreground() {
        // Sources converted to other instances are in the same place.
        let placed = segmentation.masks_on(segment.number, &slices);
        masks.push(placed.or_else(|_| segmentation.masks_by_geometry(segment.number, &slices))?.mask);
        segments.push(NewSegment {
            label: segment.label.clone(),
            description: None,
            concept: segment.concept.clone(),
            anatomic_regions: segment.anatomic_regions.clone(),
            algorithm_type: engram_seg::AlgorithmType::Automatic,
            tracking_id: None,
            tracking_uid: None,
            recommended_cielab: segment.recommended_cielab,
            provenance: Some(SegmentProvenance {
                exemplars: 5,
                similarity: 0.875,
                confidence: 0.5,
                bundle: "seg_tool 1".into(),
                review: vec![],
            }),
        });
    }
    let uid = |purpose: &str| {
        let name = format!("{}/{encoding:?}/{purpose}", segmentation.description.sop_instance_uid);
        format!("2.25.{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).as_u128())
    };
    let new = NewSegmentation {
        slices: &slices,
        source: &source,
        voxels: Voxels::Masks(masks.iter().map(|mask| mask.view()).collect()),
        segments,
        encoding,
        uids: ResultUids { sop_instance_uid: uid("instance"), series_instance_uid: uid("series") },
        content: Content {
            series_number: 900,
            series_description: "Rewritten segmentation".into(),
            label: "REWRITTEN".into(),
            description: "Segmentation rewritten by seg_tool".into(),
            creator_name: None,
            date: "20260101".into(),
            time: "120000".into(),
        },
        equipment: Equipment {
            manufacturer: "Engram".into(),
            model_name: "seg_tool".into(),
            device_serial_number: "1".into(),
            software_versions: env!("CARGO_PKG_VERSION").into(),
            contribution: "Segmentation rewritten".into(),
        },
        algorithm: Some(AlgorithmIdentification { name: "seg_tool".into(), version: "1".into() }),
    };
    std::fs::write(out, to_part10(&write(&new)?)?)?;
    Ok(())
}

/// The slices of an image file or a folder, sorted along their normal, and one of the images.
fn slices_in(path: &Path) -> Result<(Vec<ReferencedSlice>, DefaultDicomObject), Box<dyn Error>> {
    let mut files: Vec<PathBuf> = match path.is_dir() {
        true => std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?,
        false => vec![path.to_owned()],
    };
    files.sort();
    let images: Vec<DefaultDicomObject> = files.iter().map(open_file).collect::<Result<_, _>>()?;
    let mut slices = Vec::new();
    for image in &images {
        slices.extend(ReferencedSlice::of_instance(image)?);
    }
    slices.sort_by(|a, b| along_normal(a).total_cmp(&along_normal(b)));
    let first = images.into_iter().next().ok_or("no image")?;
    Ok((slices, first))
}

fn along_normal(slice: &ReferencedSlice) -> f64 {
    let (Some(p), Some([ax, ay, az, bx, by, bz])) = (slice.position, slice.orientation) else { return 0.0 };
    p[0] * (ay * bz - az * by) + p[1] * (az * bx - ax * bz) + p[2] * (ax * by - ay * bx)
}
