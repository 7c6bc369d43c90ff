//! `engram segment`: one series, from what the store remembers.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use engram_workflow::{
    FixedUids, LoadedSeries, NoProgress, RequestOptions, ResultEncoding, SegmentationRequest, SlicePrompt,
};

use super::evaluate::Quality;
use super::import::files_below;
use super::{Common, Failure, print_json, write_file};
use crate::assembly::{self, House};
use crate::outgoing::Recipients;

/// Segment a series from what the store remembers.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// A folder with the series' files. None: a stored series, named by --study and --series.
    #[arg(value_name = "DIR", conflicts_with_all = ["study", "series"], required_unless_present_all = ["study", "series"])]
    folder: Option<PathBuf>,
    /// StudyInstanceUID of a stored series.
    #[arg(long, requires = "series")]
    study: Option<String>,
    /// SeriesInstanceUID of a stored series.
    #[arg(long, requires = "study")]
    series: Option<String>,
    /// Only these labels, by key (such as SCT:10200004); several by commas.
    #[arg(long, value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// Draw only from this collection.
    #[arg(long)]
    collection: Option<String>,
    /// The bundle that computes, of those served: id, folder name, NAME@VERSION or name. None: as the rules say,
    /// else the one in use.
    #[arg(long, value_name = "NAME")]
    bundle: Option<String>,
    /// Speed against accuracy. None: as configured.
    #[arg(long, value_enum)]
    quality: Option<Quality>,
    /// How the result is encoded.
    #[arg(long, value_enum, default_value_t = Encoding::Labelmap)]
    encoding: Encoding,
    /// A JSON file with what you show on the target itself: clicks, boxes or masks on slices, as `prompts` in
    /// docs/api.md.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// SOPInstanceUID of a stored SEG of the target: its slices stay as they are and condition the others.
    #[arg(long, value_name = "UID")]
    prompt_segmentation: Option<String>,
    /// Where to write the DICOM-SEG.
    #[arg(long, value_name = "FILE", default_value = "segmentation.dcm")]
    out: PathBuf,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Encoding {
    Labelmap,
    Binary,
}

/// Segments and writes the SEG to a file; nothing is stored.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = options.common.load()?;
    let house = assembly::open(&config, Recipients::default())?;
    let target = load(options, &house)?;
    let request = SegmentationRequest {
        study: options.study.clone().unwrap_or_default(),
        series: options.series.clone().unwrap_or_default(),
        labels: options.labels.clone(),
        collection: options.collection.clone(),
        options: RequestOptions {
            encoding: match options.encoding {
                Encoding::Labelmap => ResultEncoding::Labelmap,
                Encoding::Binary => ResultEncoding::Binary,
            },
            bundle: options.bundle.clone(),
            quality: options.quality.map(Into::into),
            ..RequestOptions::default()
        },
        prompts: prompts(options.prompts.as_deref())?,
        prompt_segmentation: options.prompt_segmentation.clone(),
        store: false,
    };
    let result =
        house.workflow.segment(&target, &request, &FixedUids::fresh(), &NoProgress).map_err(Failure::of)?;
    write_file(&options.out, &result.part10)?;
    if options.json {
        return print_json(&result.summary);
    }
    for label in &result.summary.labels {
        let review = match label.review.len() {
            0 => String::new(),
            slices => format!("  slices for review: {slices}"),
        };
        let (meaning, voxels, confidence) = (&label.meaning, label.voxels, label.confidence);
        println!("{meaning:<40} {voxels:>9} voxels  confidence {confidence:.2}{review}");
    }
    result.summary.notes.iter().for_each(|note| println!("note: {note}"));
    println!("written to {}", options.out.display());
    Ok(())
}

/// What is shown on the target, from a JSON file.
fn prompts(path: Option<&Path>) -> Result<Vec<SlicePrompt>, Failure> {
    let Some(path) = path else { return Ok(vec![]) };
    let could_not = |error: &dyn std::fmt::Display| {
        Failure::say(format!("could not read prompts from {}: {error}", path.display()))
    };
    let text = fs::read(path).map_err(|error| could_not(&error))?;
    serde_json::from_slice(&text).map_err(|error| could_not(&error))
}

fn load(options: &Options, house: &House) -> Result<LoadedSeries, Failure> {
    let workflow = &house.workflow;
    match (&options.folder, &options.study, &options.series) {
        (Some(folder), ..) => {
            workflow.load_files(&files_below(std::slice::from_ref(folder))?).map_err(Failure::of)
        }
        (None, Some(study), Some(series)) => workflow.load_series(study, series).map_err(Failure::of),
        _ => Err(Failure::say("name a folder, or --study and --series of a stored series")),
    }
}
