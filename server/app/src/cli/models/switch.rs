//! `engram models use`.

use std::time::Duration;

use clap::Args;
use engram_inference::Bundle;
use engram_workflow::ask_on_stopped_store;
use serde_json::{Value, json};

use crate::assembly;
use crate::cli::api::{Client, words};
use crate::cli::import::progress_bar;
use crate::cli::{Common, Failure, ServerToken, print_json};

/// How often a running server is asked how far it is.
const LOOK: Duration = Duration::from_millis(300);

/// Take a bundle into use.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// A known bundle: its id, the name of its folder, NAME@VERSION or its name. Without --server also a folder.
    #[arg(value_name = "NAME")]
    bundle: String,
    /// Have this running server do it: http://ADDR:PORT. None: the store is not in use, and its server will do it
    /// when it starts.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    #[command(flatten)]
    token: ServerToken,
    /// Do not wait until the server has encoded the exemplars.
    #[arg(long, requires = "server")]
    no_wait: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks the server, or writes the choice into the store.
pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.server {
        Some(url) => on_server(options, &Client::new(url, &options.token)?),
        None => on_store(options),
    }
}

fn on_store(options: &Options) -> Result<(), Failure> {
    let config = options.common.load_quietly()?;
    let bundle = super::find(&config, &options.bundle)?;
    let bundle = Bundle::open(bundle.folder()).map_err(Failure::of)?;
    // Held while the choice is written: no server has the store open.
    let _store = assembly::database(&config)
        .map_err(|failure| Failure::say(format!("{failure} A running server takes it with --server URL.")))?;
    ask_on_stopped_store(&config.storage.data, &bundle).map_err(Failure::of)?;
    if options.json {
        return print_json(&json!({ "bundle": bundle.id(), "in_use": false }));
    }
    println!("{} comes into use when the server has started and encoded the exemplars for it", bundle.id());
    Ok(())
}

fn on_server(options: &Options, client: &Client) -> Result<(), Failure> {
    let Some(job) = client.use_bundle(&options.bundle)? else {
        return told(options, &json!({ "bundle": options.bundle, "in_use": true }), "it is in use already");
    };
    if options.no_wait {
        return told(options, &job, &format!("job {} encodes the exemplars for it", text(&job, "id")));
    }
    let job = finished(client, text(&job, "id"))?;
    if text(&job, "state") != "succeeded" {
        return Err(Failure::say(match job.get("error").filter(|error| !error.is_null()) {
            Some(error) => words(error),
            None => format!("the switch is {}; the bundle before is in use", text(&job, "state")),
        }));
    }
    let result = job.get("result").cloned().unwrap_or_default();
    let exemplars = result.get("exemplars").and_then(Value::as_u64).unwrap_or_default();
    let message = format!("{} is in use, with {exemplars} annotated slices", text(&result, "bundle"));
    told(options, &result, &message)
}

/// The job, when it has ended; a bar shows how far it is.
fn finished(client: &Client, id: &str) -> Result<Value, Failure> {
    let bar = progress_bar(0, "encoding");
    loop {
        let job: Value = client.get(&format!("/jobs/{id}"))?;
        let number = |name: &str| job.get(name).and_then(Value::as_u64).unwrap_or_default();
        bar.set_length(number("slices_total"));
        bar.set_position(number("slices_done"));
        if !matches!(text(&job, "state"), "queued" | "running") {
            bar.finish_and_clear();
            return Ok(job);
        }
        std::thread::sleep(LOOK);
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn told(options: &Options, value: &Value, words: &str) -> Result<(), Failure> {
    if options.json {
        return print_json(value);
    }
    println!("{words}");
    Ok(())
}
