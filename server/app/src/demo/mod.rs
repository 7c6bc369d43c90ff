//! `engram demo`: the main job on phantom patients, over HTTP as any client would do it. A server with a fresh
//! store remembers some patients with their annotations and segments the others; the phantoms' truth says how
//! well, beside what copying the most similar annotation and a nearest-neighbour vote would have given.

mod baselines;
mod compare;
mod report;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use engram_inference::Bundle;
use engram_phantom::{Organ, Phantom};
use indicatif::{ProgressBar, ProgressStyle};

use crate::bundles;
use crate::cli::Failure;
use crate::client::{Client, Job};
use crate::config::Config;
use crate::montage::montage;
use report::{Report, Target};
use server::Server;

/// How long exemplars may take to be ready before something must be wrong.
const EXEMPLARS_READY_WITHIN: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(200);

/// Make phantom patients, store some with annotations, segment the others through the HTTP API.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for the store, the results and the server's log; made new. None: one in the temporary folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The server's configuration file. None: the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Patients stored with their annotations.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    exemplars: u16,
    /// Patients to segment.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    targets: u16,
    /// Other patients for another number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
    /// Leave the server up until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the demo and prints what came of it.
pub fn run(options: &Options) -> Result<(), Failure> {
    let began = Instant::now();
    let config = Config::load(options.config.as_deref()).map_err(Failure::of)?;
    let bundle = Bundle::open(bundles::first_folder(&config)?).map_err(Failure::of)?;
    let folder = fresh_folder(options.out.as_deref())?;
    say(&format!("making {} phantom patients", options.exemplars + options.targets));
    let patients = patients(options)?;
    let (exemplars, targets) = patients.split_at(usize::from(options.exemplars));
    let made = began.elapsed();

    say("starting a server with a fresh store");
    let mut server = Server::start(&folder, options.config.as_deref())?;
    let client = server.client()?;
    let stored = store(&client, exemplars, targets)?;
    let remembered = remember(&client, exemplars.len())?;

    let mut segmented = Vec::new();
    for target in targets {
        segmented.push(segment(&client, target, &folder)?);
    }
    say("computing the baselines");
    let report = Report {
        targets: segmented,
        baselines: baselines::measure(exemplars, targets, &bundle.spec().input)?,
        seconds: vec![
            ("make patients", made.as_secs_f64()),
            ("store over STOW-RS", stored.as_secs_f64()),
            ("make exemplars", remembered.as_secs_f64()),
        ],
        total_seconds: began.elapsed().as_secs_f64(),
        server: server.url().to_owned(),
        folder,
    };
    report.print(options.json)?;
    if options.keep {
        say(&format!("the server stays up at {} until Ctrl-C", server.url()));
        return server.wait();
    }
    Ok(())
}

/// What is being done, for a person: on standard error, so that standard output stays the outcome's own.
fn say(line: &str) {
    eprintln!("{line}");
}

/// A folder that is not there yet, or empty: whatever lies in it later is this run's.
fn fresh_folder(wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(folder) = wanted else {
        let folder = tempfile::Builder::new().prefix("engram-demo-").tempdir();
        return folder
            .map(tempfile::TempDir::keep)
            .map_err(|e| Failure::say(format!("could not make a folder: {e}")));
    };
    let unusable = |error| Failure::say(format!("could not use the folder {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(unusable)?;
    if fs::read_dir(folder).map_err(unusable)?.next().is_some() {
        return Err(Failure::say(format!(
            "{} is not empty: choose a new folder with --out",
            folder.display()
        )));
    }
    fs::canonicalize(folder).map_err(unusable)
}

/// The patients, exemplars first; each is made on a thread of its own.
fn patients(options: &Options) -> Result<Vec<Phantom>, Failure> {
    let count = u64::from(options.exemplars) + u64::from(options.targets);
    let first = u64::from(options.seed) * 10_000;
    std::thread::scope(|scope| {
        let makers: Vec<_> =
            (first..first + count).map(|seed| scope.spawn(move || engram_phantom::patient(seed))).collect();
        makers
            .into_iter()
            .map(|maker| match maker.join() {
                Ok(patient) => patient.map_err(Failure::of),
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// Stores every patient's images, and the exemplars' annotations; how long the server took.
fn store(client: &Client, exemplars: &[Phantom], targets: &[Phantom]) -> Result<Duration, Failure> {
    say(&format!("storing {} annotated patients and {} others over STOW-RS", exemplars.len(), targets.len()));
    let began = Instant::now();
    for patient in exemplars {
        let parts: Vec<&[u8]> =
            patient.images.iter().chain([&patient.segmentation]).map(Vec::as_slice).collect();
        client.store(&parts)?;
    }
    for patient in targets {
        client.store(&patient.images.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    }
    Ok(began.elapsed())
}

/// Waits until the bank holds every organ of every exemplar; how long that took.
fn remember(client: &Client, exemplars: usize) -> Result<Duration, Failure> {
    say("waiting for the server to remember the annotations");
    let began = Instant::now();
    let wanted = Organ::ALL.map(|organ| organ.concept().key());
    loop {
        let labels = client.labels()?;
        let ready =
            |key: &String| labels.iter().any(|label| label.label == *key && label.studies >= exemplars);
        if wanted.iter().all(ready) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > EXEMPLARS_READY_WITHIN {
            return Err(Failure::say(format!(
                "the server did not remember every annotation: it knows {labels:?}"
            )));
        }
        std::thread::sleep(POLL);
    }
}

/// Has a target segmented, fetches its SEG, compares it with the truth, and leaves SEG and picture in `folder`.
fn segment(client: &Client, target: &Phantom, folder: &Path) -> Result<Target, Failure> {
    say(&format!("segmenting {}", target.patient_id));
    let began = Instant::now();
    let job = finished(client, client.segment(&target.study, &target.series)?)?;
    let bytes = client.retrieve_instance(&job.instance()?)?;
    let seconds = began.elapsed().as_secs_f64();
    let result = compare::organs_of(&bytes, target)?;
    let name = |suffix: &str| folder.join(format!("{}-{suffix}", target.patient_id));
    let written = fs::write(name("result.dcm"), &bytes)
        .and_then(|()| fs::write(name("truth.dcm"), &target.segmentation));
    written.map_err(|error| Failure::say(format!("could not write into {}: {error}", folder.display())))?;
    let picture = montage(target.pixels.mapv(f32::from).view(), &result, &target.truth);
    let path = name("overlay.png");
    picture
        .save(&path)
        .map_err(|error| Failure::say(format!("could not write {}: {error}", path.display())))?;
    Ok(Target {
        patient_id: target.patient_id.clone(),
        slices: target.images.len(),
        dice: compare::dice(&result, &target.truth),
        seconds,
        stage_seconds: job.stage_seconds,
    })
}

/// Waits for a job, showing how far it is.
fn finished(client: &Client, mut job: Job) -> Result<Job, Failure> {
    let bar = ProgressBar::new(job.slices_total);
    if let Ok(style) = ProgressStyle::with_template("  {bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    while !job.is_finished() {
        std::thread::sleep(POLL);
        job = client.job(&job.id)?;
        bar.set_length(job.slices_total);
        bar.set_position(job.slices_done);
        bar.set_message(job.stage.clone().unwrap_or_default());
    }
    bar.finish_and_clear();
    job.succeeded()
}
