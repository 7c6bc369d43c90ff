//! `engram evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, ServerToken, print_json, write_file};
use crate::config::Config;
use crate::evaluate::{self, OutsideMethod, RemoteWishes, Report, Wishes};
use crate::telemetry;

/// Measure segmentation on annotated cases, or on a running server's own bank.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration file (TOML). None: the defaults. Its store is not touched.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder with the cases: CASE/images/*.dcm and CASE/seg.dcm.
    #[arg(long, value_name = "DIR", required_unless_present = "server", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// A protocol by name: chaos-5, acdc-5, hippo-10, hc18-10, their -1 variants, ct-sparse.
    #[arg(long, required_unless_present_any = ["exemplars", "server"], conflicts_with_all = ["exemplars", "targets", "server"])]
    protocol: Option<String>,
    /// Cases that teach, by folder; several by commas.
    #[arg(long, value_delimiter = ',', requires = "targets")]
    exemplars: Vec<String>,
    /// Cases that are measured, by folder; several by commas.
    #[arg(long, value_delimiter = ',', requires = "exemplars")]
    targets: Vec<String>,
    /// Instead: the bank of the server at this address, each annotated series from the exemplars of other patients.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    token: ServerToken,
    /// A label of the server's bank, by key or in words; several by repeating it. None: all of them.
    #[arg(long, value_name = "LABEL", requires = "server")]
    label: Vec<String>,
    /// Only this collection of the server's bank.
    #[arg(long, requires = "server")]
    collection: Option<String>,
    /// Speed against accuracy.
    #[arg(long, value_enum)]
    quality: Option<Quality>,
    /// Also copy the most similar mask, and kNN on intensity and position.
    #[arg(long)]
    baselines: bool,
    /// Also another method: NAME=COMMAND, called once a target as COMMAND --out FILE --target CASE EXEMPLAR...
    #[arg(long, value_name = "NAME=COMMAND")]
    method: Vec<OutsideMethod>,
    /// Also banks of so many patients, by commas, such as 1,2,3,5,8.
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    curve: Vec<u16>,
    /// Also measure how often retrieved exemplars share the slice's labels.
    #[arg(long)]
    retrieval: bool,
    /// Without propagation through the slices.
    #[arg(long)]
    no_propagation: bool,
    /// Without the second pass on small organs.
    #[arg(long)]
    no_close_up: bool,
    /// Propagate in an order of slices shuffled by this seed.
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Exemplars each slice is conditioned on.
    #[arg(long, value_name = "K")]
    exemplars_per_slice: Option<usize>,
    /// Measure at most so many targets, evenly chosen.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write each target's result as DICOM-SEG into this folder.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Draw the worst, the median and the best target, and a box plot, into this folder.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Write the report as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// List every slice and label in the JSON.
    #[arg(long)]
    slices: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// As the library calls them.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Quality {
    /// Two fifths of the exemplars that the bundle recommends, one closer look, no propagation.
    Fast,
    /// The exemplars that the bundle recommends, fewer of them where that costs little.
    Balanced,
    /// All of them everywhere, a second round of propagation, a third closer look.
    Best,
}

impl From<Quality> for engram_segmenter::Quality {
    fn from(quality: Quality) -> Self {
        match quality {
            Quality::Fast => Self::Fast,
            Quality::Balanced => Self::Balanced,
            Quality::Best => Self::Best,
        }
    }
}

/// Measures in a temporary store, or from a server. Fails if a target could not be measured, after the report.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut config = Config::load(options.config.as_deref()).map_err(Failure::of)?;
    if options.config.is_none() {
        "warn".clone_into(&mut config.log.level);
    }
    telemetry::start(&config.log);
    let report = match &options.server {
        Some(url) => evaluate::evaluate_server(url, &options.token, &remote_wishes(options))?,
        None => on_cases(&config, options)?,
    };
    if let Some(path) = &options.markdown {
        write_file(path, evaluate::markdown(&report).as_bytes())?;
    }
    if options.json {
        print_json(&report)?;
    } else {
        println!("{}", evaluate::text(&report));
    }
    match report.errors.len() {
        0 => Ok(()),
        errors => Err(Failure::say(format!("{errors} results could not be measured; the report says why"))),
    }
}

fn on_cases(config: &Config, options: &Options) -> Result<Report, Failure> {
    let data = options.data.as_deref().ok_or_else(|| Failure::say("name the folder with the cases"))?;
    let plan = match &options.protocol {
        Some(name) => evaluate::named(data, name)?,
        None => evaluate::chosen(data, &options.exemplars, &options.targets)?,
    };
    let store = tempfile::tempdir().map_err(Failure::of)?;
    evaluate::evaluate(config, store.path(), &plan, &wishes(options))
}

fn wishes(options: &Options) -> Wishes {
    Wishes {
        baselines: options.baselines,
        retrieval: options.retrieval,
        quality: options.quality.map(Into::into),
        no_propagation: options.no_propagation,
        no_close_up: options.no_close_up,
        shuffle: options.shuffle,
        exemplars_per_slice: options.exemplars_per_slice,
        limit: options.limit,
        save: options.save.clone(),
        methods: options.method.clone(),
        curve: options.curve.iter().map(|patients| usize::from(*patients)).collect(),
        pictures: options.pictures.clone(),
        slices: options.slices,
    }
}

fn remote_wishes(options: &Options) -> RemoteWishes {
    RemoteWishes {
        labels: options.label.clone(),
        collection: options.collection.clone(),
        limit: options.limit,
        quality: options.quality.map(Into::into),
        slices: options.slices,
    }
}
