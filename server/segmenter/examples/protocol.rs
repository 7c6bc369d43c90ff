//! Runs a protocol of the public data sets with variants of the method beside each other.
//!
//!     cargo run --release -p engram-segmenter --example protocol -- chaos-5 --targets 3 --variants full,alone
//!
//! Variants: `full` (balanced), `fast`, `best`, `alone` (no propagation, no crops), `nocrop`, `noprop` (crops, no propagation), `shuffled`,
//! `copy`, `knn`; `sharing` measures retrieval. `--k N` sets the exemplars a slice, for a variant alone
//! `full:k=16`; so the other settings of `Tuning`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement may end at its first surprise

use dicom_object::{DefaultDicomObject, open_file};
use engram_imaging::{Volume, VolumeLimits, assemble};
use engram_inference::{Bundle, Engine, EngineOptions};
use engram_seg::{ReferencedSlice, read};
use engram_segmenter::baselines::Baselines;
use engram_segmenter::evaluate::{Case, OtherPatients, SliceScore, Summary, TargetScore, retrieval_sharing};
use engram_segmenter::{
    EngineModels, LabelMask, MemoryExemplars, Models, Observer, Options, Prompt, Quality, Request,
    Segmentation, Shown, SliceOrder, Stage, Unobserved, segment,
};
use ndarray::{Array3, Axis};
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Loaded {
    name: String,
    patient: String,
    volume: Volume,
    masks: Vec<(String, Array3<u8>)>,
}

impl Loaded {
    fn case(&self) -> Case<'_> {
        let masks = self.masks.iter().map(|(label, mask)| LabelMask { label, mask: mask.view() }).collect();
        Case { name: &self.name, patient: &self.patient, volume: &self.volume, masks }
    }
}

fn load(root: &Path, name: &str) -> Result<Loaded> {
    let mut objects: Vec<DefaultDicomObject> = vec![];
    for entry in std::fs::read_dir(root.join(name).join("images"))? {
        objects.push(open_file(entry?.path())?);
    }
    let volume = assemble(&objects, &VolumeLimits::default())?.swap_remove(0);
    let segmentation = read(&open_file(root.join(name).join("seg.dcm"))?)?;
    let slices = ReferencedSlice::of_volume(&volume);
    let mut masks = vec![];
    for segment in segmentation.description.foreground() {
        masks.push((segment.concept.key(), segmentation.masks_on(segment.number, &slices)?.mask));
    }
    let patient = name.split('/').take(2).collect::<Vec<_>>().join("/");
    Ok(Loaded { name: name.to_owned(), patient, volume, masks })
}

fn folders(path: &Path) -> Result<Vec<String>> {
    let mut names = vec![];
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Names of exemplars and targets.
fn protocol(root: &Path, name: &str) -> Result<(Vec<String>, Vec<String>)> {
    let (set, count) = name.rsplit_once('-').ok_or("no such protocol")?;
    let folder = match set {
        "chaos" => "chaos-mr",
        "acdc" => "acdc",
        "hippo" => "hippocampus",
        "hc18" => "hc18",
        "ct" => return Ok((vec![], vec!["chaos-ct/01".to_owned()])),
        _ => return Err("no such protocol".into()),
    };
    let count: usize = count.parse()?;
    let mut patients = folders(&root.join(folder))?;
    let first: Vec<String> = match set {
        "chaos" => ["01", "02", "03", "05", "08"].into_iter().take(count).map(str::to_owned).collect(),
        _ => patients.iter().take(count).cloned().collect(),
    };
    let all: Vec<String> = match set {
        "chaos" => ["01", "02", "03", "05", "08"].into_iter().map(str::to_owned).collect(),
        "acdc" => patients.iter().take(5).cloned().collect(),
        _ => patients.iter().take(10).cloned().collect(),
    };
    patients.retain(|patient| !all.contains(patient));
    let cases = |patients: Vec<String>| -> Result<Vec<String>> {
        let mut cases = vec![];
        for patient in patients {
            let name = format!("{folder}/{patient}");
            match set {
                "acdc" => {
                    cases.extend(folders(&root.join(&name))?.iter().map(|frame| format!("{name}/{frame}")))
                }
                _ => cases.push(name),
            }
        }
        Ok(cases)
    };
    Ok((cases(first)?, cases(patients)?))
}

/// Seconds by stage.
#[derive(Default)]
struct Clock(Mutex<(Option<Instant>, BTreeMap<Stage, f64>)>);

impl Observer for Clock {
    fn stage_started(&self, _stage: Stage) {
        self.0.lock().unwrap().0 = Some(Instant::now());
    }
    fn stage_finished(&self, stage: Stage) {
        let mut state = self.0.lock().unwrap();
        let seconds = state.0.take().map_or(0.0, |start| start.elapsed().as_secs_f64());
        *state.1.entry(stage).or_default() += seconds;
    }
}

/// Seconds that a variant took for so many slices: by the clock, and of processors.
#[derive(Default)]
struct Taken {
    seconds: f64,
    processor: f64,
    slices: usize,
}

/// Seconds of processors that this process took so far, in user and in kernel mode; 0 where `/proc` is not Linux's.
fn processor_seconds() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0; // what Linux says to programs, whatever its own clock
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_A_SECOND
}

struct Arguments {
    protocol: String,
    targets: usize,
    skip: usize,
    k: Option<usize>,
    variants: Vec<String>,
    bundle: PathBuf,
    library: Option<PathBuf>,
    verbose: bool,
    /// Where to write what is known of each slice and label, as lines of JSON.
    slices: Option<PathBuf>,
}

fn arguments() -> Result<Arguments> {
    let mut given = std::env::args().skip(1);
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact");
    let mut arguments = Arguments {
        protocol: given.next().ok_or("name a protocol")?,
        targets: usize::MAX,
        skip: 0,
        k: None,
        variants: vec!["full".to_owned()],
        bundle,
        library: std::env::var_os("ENGRAM_ORT").map(PathBuf::from),
        verbose: false,
        slices: None,
    };
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or("a value is missing");
        match flag.as_str() {
            "--targets" => arguments.targets = value()?.parse()?,
            "--skip" => arguments.skip = value()?.parse()?,
            "--k" => arguments.k = Some(value()?.parse()?),
            "--variants" => arguments.variants = value()?.split(',').map(str::to_owned).collect(),
            "--bundle" => arguments.bundle = value()?.into(),
            "--slices" => arguments.slices = Some(value()?.into()),
            "--verbose" => arguments.verbose = true,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    Ok(arguments)
}

/// A variant is a name, then settings: `full:k=16:remembered_iou=0.3`.
fn options(variant: &str, k: Option<usize>) -> Result<Options> {
    let mut parts = variant.split(':');
    let name = parts.next();
    let quality = match name {
        Some("fast") => Quality::Fast,
        Some("best") => Quality::Best,
        _ => Quality::Balanced,
    };
    let mut options = Options { exemplars_per_slice: k, ..Options::of(quality) };
    match name {
        Some("alone") => (options.propagate, options.crop) = (false, false),
        Some("nocrop") => options.crop = false,
        Some("noprop") => options.propagate = false,
        Some("shuffled") => options.slice_order = SliceOrder::Shuffled(1),
        _ => {}
    }
    for part in parts {
        let (key, value) = part.split_once('=').ok_or("a setting is KEY=VALUE")?;
        let tuning = &mut options.tuning;
        match key {
            "k" => options.exemplars_per_slice = Some(value.parse()?),
            "study_weight" => tuning.study_weight = value.parse()?,
            "remembered_iou" => tuning.remembered_iou = value.parse()?,
            "remembered_share" => tuning.remembered_share = value.parse()?,
            "recent_memories" => tuning.recent_memories = value.parse()?,
            "rounds" => tuning.rounds = value.parse()?,
            "close_weight" => tuning.close_weight = value.parse()?,
            "close_looks" => tuning.close_looks = value.parse()?,
            "large_look" => tuning.large_look = value.parse()?,
            "whole_share" => tuning.whole_share = value.parse()?,
            "agreement" => tuning.agreement = value.parse()?,
            "agreement_spread" => tuning.agreement_spread = value.parse()?,
            "presence" => tuning.presence = value.parse()?,
            "keep_component" => tuning.keep_component = value.parse()?,
            _ => return Err(format!("unknown setting {key}").into()),
        }
    }
    Ok(options)
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let shared = std::env::var_os("ENGRAM_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let root = shared.join("data");
    let (exemplars, mut targets) = protocol(&root, &arguments.protocol)?;
    let step = 1.max(targets.len() / arguments.targets.min(targets.len()));
    targets = targets.into_iter().skip(arguments.skip).step_by(step).take(arguments.targets).collect();

    let options_engine = EngineOptions { library: arguments.library.clone(), ..EngineOptions::default() };
    let engine = Engine::start(Bundle::open(&arguments.bundle)?, options_engine)?;
    let models = EngineModels::new(engine.clone());
    let loaded: Vec<Loaded> = exemplars.iter().map(|name| load(&root, name)).collect::<Result<_>>()?;
    let labels: Vec<String> = match loaded.first() {
        Some(first) => first.masks.iter().map(|(label, _)| label.clone()).collect(),
        None => load(&root, &targets[0])?.masks.into_iter().map(|(label, _)| label).collect(),
    };
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();

    let start = Instant::now();
    let mut bank = MemoryExemplars::new();
    let mut baselines = Baselines::new(&labels, &models.spec().input);
    for exemplar in &loaded {
        let case = exemplar.case();
        case.remember(&models, &mut bank, &case.slices(), &Unobserved)?;
        baselines.insert(case.volume, &case.masks, &case.slices())?;
    }
    println!("{} exemplar volumes in {:.1} s", loaded.len(), start.elapsed().as_secs_f64());
    let for_exemplars = engine.metrics().graphs;

    let mut scores: BTreeMap<String, Vec<TargetScore>> = BTreeMap::new();
    let mut taken: BTreeMap<String, Taken> = BTreeMap::new();
    let mut stages: BTreeMap<Stage, f64> = BTreeMap::new();
    for name in &targets {
        let target = load(&root, name)?;
        let case = target.case();
        let given = if exemplars.is_empty() { evenly(&target.masks[0].1, 5) } else { vec![] };
        let prompts: Vec<Prompt> = given
            .iter()
            .flat_map(|slice| case.masks.iter().map(|mask| (*slice, mask)))
            .map(|(slice, mask)| Prompt {
                label: mask.label,
                slice,
                shown: Shown::Mask(mask.mask.index_axis_move(Axis(0), slice)),
            })
            .collect();
        if !given.is_empty() {
            baselines.insert(case.volume, &case.masks, &given)?;
        }
        for variant in arguments.variants.iter().filter(|variant| *variant != "sharing") {
            let (start, processor) = (Instant::now(), processor_seconds());
            let clock = Clock::default();
            let score = match variant.as_str() {
                "copy" => TargetScore::of(&case, &baselines.copy(case.volume)?, &given),
                "knn" => TargetScore::of(&case, &baselines.knn(case.volume)?, &given),
                _ => {
                    let options = options(variant, arguments.k)?;
                    let request =
                        Request { volume: case.volume, labels: &labels, prompts: &prompts, options };
                    let others = OtherPatients { bank: &bank, patient: case.patient };
                    let result = segment(&models, &others, &request, &clock)?;
                    if let Some(path) = &arguments.slices {
                        write_slices(path, variant, &case, &result)?;
                    }
                    TargetScore::of_segmentation(&case, &result, &given)
                }
            };
            let took = start.elapsed().as_secs_f64();
            if arguments.verbose {
                let each: Vec<String> = score.dice.values().map(|dice| format!("{dice:.3}")).collect();
                println!(
                    "{name} {variant}: {:.3} [{}] {took:.1} s",
                    score.mean().unwrap_or_default(),
                    each.join(" ")
                );
            }
            for (stage, spent) in &clock.0.lock().unwrap().1 {
                *stages.entry(*stage).or_default() += spent;
            }
            scores.entry(variant.clone()).or_default().push(score);
            let total = taken.entry(variant.clone()).or_default();
            total.seconds += took;
            total.processor += processor_seconds() - processor;
            total.slices += case.slices().len();
        }
    }
    for (variant, scores) in scores {
        let summary = Summary::of(scores);
        let each: Vec<String> = summary
            .labels
            .values()
            .map(|label| format!("{:.3}±{:.3}", label.dice.mean, label.dice.sd))
            .collect();
        let Taken { seconds, processor, slices } = taken[&variant];
        let targets = summary.targets.len();
        println!(
            "{} {variant}: mean Dice {:.4} over {targets} targets [{}] {:.3} s a slice, {:.1} s of a core a target",
            arguments.protocol,
            summary.mean_dice,
            each.join(" "),
            seconds / slices as f64,
            processor / targets as f64
        );
    }
    let spent: Vec<String> =
        stages.iter().map(|(stage, spent)| format!("{} {spent:.1}", stage.name())).collect();
    println!("seconds by stage: {}", spent.join(", "));
    let spent: Vec<String> = engine
        .metrics()
        .graphs
        .iter()
        .zip(&for_exemplars)
        .map(|(all, before)| {
            let (seconds, rows) = (all.seconds - before.seconds, all.rows - before.rows);
            format!("{} {seconds:.1} ({rows} rows)", all.graph)
        })
        .collect();
    println!("seconds by graph: {}", spent.join(", "));
    if arguments.variants.iter().any(|variant| variant == "sharing") {
        let targets: Vec<Loaded> = targets.iter().map(|name| load(&root, name)).collect::<Result<_>>()?;
        let exemplars: Vec<Case> = loaded.iter().map(Loaded::case).collect();
        let targets: Vec<Case> = targets.iter().map(Loaded::case).collect();
        let k = arguments.k.unwrap_or(models.spec().memory.exemplars_per_slice);
        println!(
            "label sharing of {k}: {:?}",
            retrieval_sharing(&models, &exemplars, &targets, k, &Unobserved)?
        );
    }
    Ok(())
}

/// Appends a line for each slice and label: pixels of truth and result, Dice, and what speaks for the result.
fn write_slices(path: &Path, variant: &str, case: &Case, result: &Segmentation) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    for score in SliceScore::of_segmentation(case, result, &[]) {
        writeln!(file, "{}", json!({ "variant": variant, "target": case.name, "score": score }))?;
    }
    Ok(())
}

/// Slices evenly spaced over the extent of a mask.
fn evenly(mask: &Array3<u8>, count: usize) -> Vec<usize> {
    let with: Vec<usize> = mask
        .outer_iter()
        .enumerate()
        .filter(|(_, plane)| plane.iter().any(|v| *v != 0))
        .map(|(at, _)| at)
        .collect();
    (0..count).map(|index| with[index * (with.len() - 1) / (count - 1)]).collect()
}
