//! `engram models list`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use engram_inference::Bundle;
use engram_workflow::{Decided, report};
use serde::Serialize;
use serde_json::Value;

use crate::bundles;
use crate::cli::api::Client;
use crate::cli::{Common, Failure, ServerToken, print_json};
use crate::config::Config;

/// Show the bundles there are.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Ask this running server, which also knows exemplars and progress: http://ADDR:PORT.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    #[command(flatten)]
    token: ServerToken,
    /// Print the list as JSON.
    #[arg(long)]
    json: bool,
}

/// A bundle as the command shows it.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    state: &'static str,
    bytes: u64,
    licence: String,
    source: String,
    folder: PathBuf,
}

/// Lists what the configuration and the data folder lead to, or what a server says.
pub fn run(options: &Options) -> Result<(), Failure> {
    if let Some(url) = &options.server {
        let bundles: Vec<Value> = Client::new(url, &options.token)?.get("/models")?;
        if options.json {
            return print_json(&bundles);
        }
        bundles.iter().for_each(print_served);
        return Ok(());
    }
    let config = options.common.load_quietly()?;
    let listed = listed(&config)?;
    if options.json {
        return print_json(&listed);
    }
    for bundle in &listed {
        println!("{:<10} {}", bundle.state, bundle.id);
        println!(
            "{:10} {} MiB, {}; {}",
            "",
            bundle.bytes.div_ceil(1 << 20),
            bundle.licence,
            bundle.folder.display()
        );
    }
    Ok(())
}

fn listed(config: &Config) -> Result<Vec<Listed>, Failure> {
    let decided = Decided::read(&config.storage.data).map_err(Failure::of)?;
    let folder = bundles::folder_in_use(config)?;
    let in_use = match Bundle::read(&folder) {
        Ok(bundle) => Some(bundle),
        Err(error) => {
            eprintln!("engram: the bundle in use is broken: {}", report(&error));
            None
        }
    };
    let mut known = bundles::known(config);
    known.retain(|bundle| in_use.as_ref().is_none_or(|in_use| in_use.id() != bundle.id()));
    let state = |bundle: &Bundle| {
        let kept = decided.kept.iter().any(|kept| kept.id == bundle.id());
        let beside = config.models.bundles.iter().any(|beside| bundles::absolute(beside) == bundle.folder());
        match &decided.asked {
            Some(asked) if asked.bundle.id == bundle.id() => "asked for",
            _ if kept || beside => "served",
            _ => "available",
        }
    };
    let first = in_use.iter().map(|bundle| of(bundle, "in use"));
    Ok(first.chain(known.iter().map(|bundle| of(bundle, state(bundle)))).collect())
}

fn of(bundle: &Bundle, state: &'static str) -> Listed {
    Listed {
        id: bundle.id().to_owned(),
        state,
        bytes: bytes_in(bundle.folder()),
        licence: bundle.spec().licence.clone(),
        source: bundle.spec().source.clone(),
        folder: bundle.folder().to_path_buf(),
    }
}

/// Bytes of the files right in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|file| file.is_file())
        .map(|file| file.len())
        .sum()
}

fn print_served(bundle: &Value) {
    let text = |name: &str| bundle.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| bundle.get(name).and_then(Value::as_u64);
    let state = match (number("series_done"), number("series_total")) {
        (Some(done), Some(total)) => format!("{}, {done} of {total} series encoded", text("state")),
        _ => text("state").to_owned(),
    };
    println!("{}: {state}", text("id"));
    println!(
        "    {} annotated slices, {}; {}",
        number("exemplars").unwrap_or_default(),
        text("licence"),
        text("folder")
    );
}
