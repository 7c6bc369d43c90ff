//! `engram import`: files and folders into a store.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use engram_archive::{Archive, StoreOutcome, StoreRequirements, StoreTicket};
use engram_workflow::Workflow;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Common, Failure, print_json};
use crate::assembly;
use crate::outgoing::Recipients;

/// Instances on their way at a time: enough that they share syncs.
const IN_FLIGHT: usize = 64;

/// Store DICOM files and folders.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Files, and folders that are searched whole.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The collection that exemplars of the segmentations among them belong to.
    #[arg(long)]
    collection: Option<String>,
    /// Segmentations among them annotate only the slices they have frames for.
    #[arg(long)]
    partial: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of the files.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// Newly stored.
    pub stored: usize,
    /// There before, with the same dataset.
    pub already_stored: usize,
    /// Files that are not DICOM, left alone.
    pub not_dicom: usize,
    /// Refused, each with the reason.
    pub failed: Vec<Refused>,
    /// Annotated slices the bank holds afterwards.
    pub exemplar_slices: u64,
}

/// A file that was not stored.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// Stores everything, then makes exemplars of the segmentations.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = options.common.load()?;
    let files = files_below(&options.paths)?;
    let house = assembly::open(&config, Recipients::default())?;
    let bar = progress_bar(files.len() as u64, "storing");
    let importer = Importer {
        archive: &house.archive,
        workflow: &house.workflow,
        partial: options.partial,
        collection: options.collection.as_deref(),
    };
    let mut outcome = importer.store(&files, &bar)?;
    bar.finish_and_clear();
    house.workflow.ingest_pending().map_err(Failure::of)?;
    outcome.exemplar_slices = house.workflow.status().exemplar_slices;
    if options.json {
        print_json(&outcome)?
    } else {
        print(&outcome)
    }
    match outcome.failed.len() {
        0 => Ok(()),
        n => Err(Failure::say(format!("{n} of {} files were refused", files.len()))),
    }
}

fn print(outcome: &Outcome) {
    println!(
        "{} stored, {} there already, {} not DICOM, {} refused; the bank holds {} annotated slices",
        outcome.stored,
        outcome.already_stored,
        outcome.not_dicom,
        outcome.failed.len(),
        outcome.exemplar_slices
    );
    for refused in &outcome.failed {
        println!("  {}: {}", refused.file.display(), refused.reason);
    }
}

/// Stores files into an open store.
pub struct Importer<'a> {
    /// Where to.
    pub archive: &'a Archive,
    /// Who is told.
    pub workflow: &'a Workflow,
    /// Whether segmentations are partial.
    pub partial: bool,
    /// The collection asked for.
    pub collection: Option<&'a str>,
}

impl Importer<'_> {
    /// Stores the files, many at a time; a refused file does not stop the others.
    pub fn store(&self, files: &[PathBuf], bar: &ProgressBar) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        for group in files.chunks(IN_FLIGHT) {
            let tickets: Vec<_> = group.iter().map(|file| (file, self.submit(file))).collect();
            let mut present = Vec::new();
            for (file, ticket) in tickets {
                bar.inc(1);
                match ticket {
                    Submitted::NotDicom => outcome.not_dicom += 1,
                    Submitted::Unreadable(reason) => {
                        outcome.failed.push(Refused { file: file.clone(), reason });
                    }
                    Submitted::Ticket(ticket) => match ticket.wait() {
                        Ok(StoreOutcome::Stored(instance)) => {
                            outcome.stored += 1;
                            present.push(instance);
                        }
                        Ok(StoreOutcome::AlreadyStored(instance)) => {
                            outcome.already_stored += 1;
                            present.push(instance);
                        }
                        Err(failure) => outcome
                            .failed
                            .push(Refused { file: file.clone(), reason: engram_workflow::report(&failure) }),
                    },
                }
            }
            self.workflow
                .before_acknowledge(present.iter(), self.partial, self.collection)
                .map_err(Failure::of)?;
            present.iter().for_each(|instance| self.workflow.instance_stored(instance));
        }
        Ok(outcome)
    }

    fn submit(&self, file: &Path) -> Submitted {
        match self.receive(file) {
            Ok(submitted) => submitted,
            Err(reason) => Submitted::Unreadable(reason),
        }
    }

    fn receive(&self, path: &Path) -> Result<Submitted, String> {
        let mut file = fs::File::open(path).map_err(|e| e.to_string())?;
        if !is_part_10(&mut file).map_err(|e| e.to_string())? {
            return Ok(Submitted::NotDicom);
        }
        let mut incoming = self.archive.incoming().map_err(|e| engram_workflow::report(&e))?;
        std::io::copy(&mut file, &mut incoming).map_err(|e| e.to_string())?;
        incoming.flush().map_err(|e| e.to_string())?;
        Ok(Submitted::Ticket(self.archive.submit(incoming, &StoreRequirements::default())))
    }
}

enum Submitted {
    Ticket(StoreTicket),
    NotDicom,
    Unreadable(String),
}

/// Whether the preamble is followed by `DICM`; leaves the file at its start.
fn is_part_10(file: &mut fs::File) -> std::io::Result<bool> {
    use std::io::{Read, Seek};
    let mut head = Vec::with_capacity(132);
    Read::by_ref(file).take(132).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head.get(128..132) == Some(b"DICM".as_slice()))
}

/// Every file at or below the paths, sorted, links not followed.
pub fn files_below(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut pending: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = pending.pop() {
        let unreadable = |error| Failure::say(format!("could not read {}: {error}", path.display()));
        if fs::metadata(&path).map_err(unreadable)?.is_dir() {
            for entry in fs::read_dir(&path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                if !entry.file_type().map_err(unreadable)?.is_symlink() {
                    pending.push(entry.path());
                }
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A bar on standard error, silent where that is no terminal.
pub fn progress_bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what)
}
