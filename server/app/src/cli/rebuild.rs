//! `engram rebuild`: derived state anew from the object files and the journals.

use clap::Args;
use engram_archive::Archive;

use super::import::progress_bar;
use super::{Common, Failure, print_json};
use crate::assembly;
use crate::outgoing::Recipients;

/// Make catalogue, exemplars and index anew from the stored objects.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Rebuilds the catalogue, then the bank.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = options.common.load()?;
    let db = assembly::database(&config)?;
    let bar = progress_bar(0, "cataloguing");
    let (archive, report) =
        Archive::rebuild(&config.storage.data, &db, assembly::archive_options(&config), &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        })
        .map_err(Failure::of)?;
    bar.finish_and_clear();
    let house = assembly::join(&config, &db, archive, Recipients::default())?;
    house.workflow.rebuild_banks().map_err(Failure::of)?;
    let exemplar_slices = house.workflow.status().exemplar_slices;
    let instances = report.statistics.instances;
    if options.json {
        let unreadable: Vec<_> = report
            .unreadable
            .iter()
            .map(|(file, reason)| serde_json::json!({"file": file, "reason": reason}))
            .collect();
        return print_json(&serde_json::json!({
            "instances": instances,
            "unreadable": unreadable,
            "exemplar_slices": exemplar_slices,
        }));
    }
    println!("{instances} instances catalogued, {exemplar_slices} annotated slices in the bank");
    for (path, reason) in &report.unreadable {
        println!("  left alone: {}: {reason}", path.display());
    }
    Ok(())
}
