//! How long a series takes from end to end, how much of that is spent outside of ONNX Runtime, and what it would take
//! to encode the exemplars anew for each target.
//!
//!     cargo run --release -p engram-segmenter --example series -- --bundle DIR [--slices 36] [--patients 1,5,20]
//!         [--exemplars K] [--threads T] [--save DIR]
//!
//! Patients are noise with an ellipsoid, the same for the same number. `--save` writes target, exemplar patients and
//! result as raw numbers, for the same method written elsewhere (`models/export/bench`). *Overhead* is the share of
//! the wall time in which no graph was being computed: one device computes one graph at a time, so the time inside
//! ONNX Runtime is the sum of its calls.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement may end at its first surprise

use engram_imaging::{SliceSource, Volume, VolumeGeometry};
use engram_inference::{Bundle, Engine, EngineOptions};
use engram_segmenter::{
    EngineModels, LabelMask, MemoryExemplars, Models, Options, Request, Segmentation, Unobserved,
    encode_exemplars, segment,
};
use ndarray::Array3;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LABEL: &str = "SCT:64033007";
/// Rows and columns of a slice.
const SIDE: usize = 256;

struct Arguments {
    bundle: PathBuf,
    slices: usize,
    patients: Vec<u64>,
    exemplars: Option<usize>,
    threads: usize,
    save: Option<PathBuf>,
}

fn arguments() -> Result<Arguments> {
    let compact = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact");
    let mut parsed = Arguments {
        bundle: compact,
        slices: 36,
        patients: vec![1, 5, 20],
        exemplars: None,
        threads: 0,
        save: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--bundle" => parsed.bundle = value.into(),
            "--slices" => parsed.slices = value.parse()?,
            "--patients" => {
                parsed.patients = value.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?
            }
            "--exemplars" => parsed.exemplars = Some(value.parse()?),
            "--threads" => parsed.threads = value.parse()?,
            "--save" => parsed.save = Some(value.into()),
            other => return Err(format!("could not understand {other}").into()),
        }
    }
    Ok(parsed)
}

/// Numbers in -1..1, the same for the same seed.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// A patient: a body of grey 4 with an ellipsoid of grey 7, and noise.
fn patient(number: u64, slices: usize) -> (Volume, Array3<u8>) {
    let mut noise = noise(number + 1);
    let (row, column) = (118.0 + 12.0 * noise(), 120.0 + 12.0 * noise());
    let (height, width) = (34.0 + 8.0 * noise(), 40.0 + 8.0 * noise());
    let middle = slices as f32 / 2.0;
    let inside = |slice: usize, at: (usize, usize)| {
        let z = (slice as f32 - middle) / (middle * 0.8);
        let (y, x) = ((at.0 as f32 - row) / height, (at.1 as f32 - column) / width);
        x * x + y * y + z * z < 1.0
    };
    let body = |at: (usize, usize)| {
        let (y, x) = ((at.0 as f32 - 128.0) / 100.0, (at.1 as f32 - 128.0) / 115.0);
        x * x + y * y < 1.0
    };
    let mask = Array3::from_shape_fn((slices, SIDE, SIDE), |(z, y, x)| u8::from(inside(z, (y, x))));
    let voxels = Array3::from_shape_fn((slices, SIDE, SIDE), |(z, y, x)| {
        let grey = if inside(z, (y, x)) { 7.0 } else { 4.0 * f32::from(u8::from(body((y, x)))) };
        grey + 0.8 * noise()
    });
    (volume(voxels, number), mask)
}

fn volume(voxels: Array3<f32>, number: u64) -> Volume {
    let slices = voxels.shape()[0];
    let source = |index: usize| SliceSource {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.4".to_owned(),
        sop_instance_uid: format!("2.25.{number}.{index}"),
        frame: 1,
        frames: 1,
    };
    Volume {
        sources: (0..slices).map(source).collect(),
        voxels,
        geometry: VolumeGeometry {
            columns: SIDE,
            rows: SIDE,
            pixel_spacing: [1.0, 1.0],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            positions: (0..slices).map(|z| [0.0, 0.0, 4.0 * z as f64]).collect(),
            spatial: true,
        },
        modality: "MR".to_owned(),
        patient_id: number.to_string(),
        study_instance_uid: format!("2.25.{number}"),
        series_instance_uid: format!("2.25.{number}.0"),
        frame_of_reference_uid: None,
        window: None,
        notes: vec![],
    }
}

/// Takes the annotated slices of a patient into the bank.
fn remember(models: &dyn Models, bank: &mut MemoryExemplars, number: u64, slices: usize) -> Result<()> {
    let (volume, mask) = patient(number, slices);
    let masks = [LabelMask { label: LABEL, mask: mask.view() }];
    let all: Vec<usize> = (0..slices).collect();
    let encoded = encode_exemplars(models, &volume, &masks, &all, &Unobserved)?;
    bank.insert(&volume.study_instance_uid, &volume.modality, encoded);
    Ok(())
}

/// Peak resident memory of this process, MiB; 0 where the system does not tell.
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}

fn save(folder: &Path, target: &Volume, patients: u64, slices: usize, found: &Segmentation) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let floats = |array: &Array3<f32>| array.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    std::fs::write(folder.join("target.f32"), floats(&target.voxels))?;
    for number in 1..=patients {
        let (volume, mask) = patient(number, slices);
        std::fs::write(folder.join(format!("patient-{number}.f32")), floats(&volume.voxels))?;
        std::fs::write(
            folder.join(format!("patient-{number}.u8")),
            mask.iter().copied().collect::<Vec<u8>>(),
        )?;
    }
    std::fs::write(folder.join("result.u8"), found.voxels.iter().copied().collect::<Vec<u8>>())?;
    Ok(())
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let slices = arguments.slices;
    let options = EngineOptions {
        threads: arguments.threads,
        memory_budget_bytes: 4 << 30,
        ..EngineOptions::default()
    };
    let models = EngineModels::new(Engine::start(Bundle::open(&arguments.bundle)?, options)?);
    println!("bundle {}, {slices} slices, one label", models.spec().id);
    let (target, _) = patient(0, slices);
    let options = Options { exemplars_per_slice: arguments.exemplars, ..Options::default() };
    let request = Request { volume: &target, labels: &[LABEL], prompts: &[], options };
    println!("patients   encode s  segment s  slices/s  overhead  anew/kept  peak MiB");
    let mut bank = MemoryExemplars::new();
    let (mut known, mut encoding) = (0, 0.0);
    for patients in arguments.patients {
        let start = Instant::now();
        for number in known + 1..=patients {
            remember(&models, &mut bank, number, slices)?;
        }
        known = known.max(patients);
        encoding += start.elapsed().as_secs_f64();
        let before = models.engine().metrics().seconds();
        let start = Instant::now();
        let found = segment(&models, &bank, &request, &Unobserved)?;
        let wall = start.elapsed().as_secs_f64();
        let inside = models.engine().metrics().seconds() - before;
        println!(
            "{patients:>8} {encoding:>10.2} {wall:>10.2} {:>9.2} {:>8.2}% {:>10.2} {:>9}",
            slices as f64 / wall,
            100.0 * (wall - inside) / wall,
            (encoding + wall) / wall,
            peak_rss(),
        );
        if let Some(folder) = &arguments.save {
            save(folder, &target, patients, slices, &found)?;
        }
    }
    Ok(())
}
