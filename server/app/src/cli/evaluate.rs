//! `engram evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, print_json};
use crate::config::Config;
use crate::evaluate::{self, Wishes};
use crate::telemetry;

/// Measure segmentation on annotated cases.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration file (TOML). None: the defaults. Its store is not touched.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder with the cases: CASE/images/*.dcm and CASE/seg.dcm.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A protocol by name: chaos-5, acdc-5, hippo-10, hc18-10, their -1 variants, ct-sparse.
    #[arg(long, required_unless_present_all = ["exemplars", "targets"], conflicts_with_all = ["exemplars", "targets"])]
    protocol: Option<String>,
    /// Cases that teach, by folder; several by commas.
    #[arg(long, value_delimiter = ',', requires = "targets")]
    exemplars: Vec<String>,
    /// Cases that are measured, by folder; several by commas.
    #[arg(long, value_delimiter = ',', requires = "exemplars")]
    targets: Vec<String>,
    /// Also copy the most similar mask, and kNN on intensity and position.
    #[arg(long)]
    baselines: bool,
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
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Measures in a temporary store.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut config = Config::load(options.config.as_deref()).map_err(Failure::of)?;
    if options.config.is_none() {
        "warn".clone_into(&mut config.log.level);
    }
    telemetry::start(&config.log);
    let plan = match &options.protocol {
        Some(name) => evaluate::named(&options.data, name)?,
        None => evaluate::chosen(&options.data, &options.exemplars, &options.targets)?,
    };
    let store = tempfile::tempdir().map_err(Failure::of)?;
    let wishes = Wishes {
        baselines: options.baselines,
        retrieval: options.retrieval,
        no_propagation: options.no_propagation,
        no_close_up: options.no_close_up,
        shuffle: options.shuffle,
        exemplars_per_slice: options.exemplars_per_slice,
        limit: options.limit,
        save: options.save.clone(),
    };
    let report = evaluate::evaluate(&config, store.path(), &plan, &wishes)?;
    if options.json {
        return print_json(&report);
    }
    evaluate::print(&report);
    Ok(())
}
