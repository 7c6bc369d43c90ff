//! `engram doctor`: what is wrong, and what to do.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use engram_archive::Archive;
use engram_dimse::RemoteNode;
use engram_inference::{Bundle, Device, runtime};
use engram_workflow::report;
use serde::Serialize;

use super::{Common, Failure, print_json};
use crate::config::{self, Config};
use crate::guard::AuditLog;
use crate::http::cors;
use crate::nodes::{DicomwebNode, Nodes};
use crate::outgoing::Answer;
use crate::tls::Certificate;
use crate::{assembly, bundles, dimse, guard, outgoing};

/// Less free space than this is a warning, bytes.
const LITTLE_SPACE: u64 = 2 << 30;

/// Check store, bundle, ONNX Runtime, disk, port, nodes and webhooks.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Read every stored object and compare its digest, not only its size.
    #[arg(long)]
    deep: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    what_to_do: String,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, found: found.into(), what_to_do: String::new() }
    }

    fn warning(what: &'static str, found: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Warning, found: found.into(), what_to_do: what_to_do.into() }
    }

    fn bad(what: &'static str, found: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Bad, found: found.into(), what_to_do: what_to_do.into() }
    }
}

/// Runs every check; fails when one is bad.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = options.common.load()?;
    let mut checks =
        vec![disk(&config), port(&config), access(&config), runtime_library(&config), bundle(&config)];
    if checks.iter().skip(3).all(|check| check.verdict == Verdict::Good) {
        checks.push(device(&config));
    }
    checks
        .extend(config.models.bundles.iter().map(|folder| opened(Bundle::open(folder).map_err(Failure::of))));
    checks.extend(nodes(&config));
    checks.extend(dicomweb_nodes(&config));
    checks.extend(outgoing::ask_webhooks(&config).into_iter().map(webhook));
    checks.extend(store(&config, options.deep));
    if options.json {
        print_json(&checks)?;
    } else {
        checks.iter().for_each(print);
    }
    match checks.iter().filter(|check| check.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        n => Err(Failure::say(format!("{n} checks are bad"))),
    }
}

fn print(check: &Check) {
    let sign = match check.verdict {
        Verdict::Good => "good   ",
        Verdict::Warning => "warning",
        Verdict::Bad => "BAD    ",
    };
    println!("{sign}  {:<13} {}", check.what, check.found);
    if !check.what_to_do.is_empty() {
        println!("{:24}{}", "", check.what_to_do);
    }
}

fn disk(config: &Config) -> Check {
    const WHAT: &str = "disk";
    let data = config.storage.data.as_path();
    // The folder may not be there yet: its nearest ancestor lies on the same disk.
    let existing = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if let Err(error) = tempfile::tempfile_in(existing) {
        let advice = format!("Let the user that runs Engram write to {}.", existing.display());
        return Check::bad(WHAT, format!("{} cannot be written: {error}", existing.display()), advice);
    }
    match rustix::fs::statvfs(existing).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)) {
        Ok(free) if free < LITTLE_SPACE => Check::warning(
            WHAT,
            format!("{} MiB free below {}", free >> 20, data.display()),
            "Make room, or move [storage] data to a larger disk.",
        ),
        Ok(free) => Check::good(WHAT, format!("{} GiB free below {}", free >> 30, data.display())),
        Err(error) => Check::warning(WHAT, format!("free space is unknown: {error}"), ""),
    }
}

fn port(config: &Config) -> Check {
    const WHAT: &str = "port";
    let bind = config.server.bind;
    match TcpListener::bind(bind) {
        Ok(_) if bind.ip().is_loopback() => Check::good(WHAT, format!("{bind} is free")),
        Ok(_) => Check::warning(
            WHAT,
            format!("{bind} is free, and can be reached from other machines"),
            "Requests need a token there; see to TLS and the firewall as well (docs/security.md).",
        ),
        Err(error) => Check::warning(
            WHAT,
            format!("{bind} cannot be opened: {error}"),
            "If that is Engram itself, all is well; else choose another [server] bind.",
        ),
    }
}

/// Whether the nodes are there.
fn nodes(config: &Config) -> Vec<Check> {
    let known = Certificate::configured(&config.server)
        .and_then(|of_http| dimse::Settings::read(config, of_http.as_ref()));
    // That they cannot be read, `access` tells.
    known.iter().flat_map(|settings| settings.nodes.iter()).map(|known| node(&known.remote)).collect()
}

fn node(node: &RemoteNode) -> Check {
    const WHAT: &str = "DIMSE node";
    let over = if node.tls.is_some() { " over TLS" } else { "" };
    let name = format!("{} ({} at {}{over})", node.name, node.ae_title, node.address);
    let advice = format!("See that it is up, and that it knows our AE title {}.", node.calling_ae_title);
    match dimse::echo(node) {
        Ok(0) => Check::good(WHAT, format!("{name} answers")),
        Ok(status) => Check::warning(WHAT, format!("{name} answers with status {status:#06x}"), advice),
        Err(error) => Check::warning(WHAT, format!("{name} does not answer: {}", report(&error)), advice),
    }
}

/// Whether the DICOMweb nodes are there.
fn dicomweb_nodes(config: &Config) -> Vec<Check> {
    let node = |configured| {
        let name = |configured: &config::DicomwebNode| format!("{} ({})", configured.name, configured.url);
        let answer =
            DicomwebNode::new(configured, &config.dimse.ae_title).map_err(|failure| failure.to_string());
        dicomweb_node(&name(configured), answer.and_then(|node| node.ask()))
    };
    config.dicomweb.nodes.iter().map(node).collect()
}

fn dicomweb_node(node: &str, answer: Answer) -> Check {
    const WHAT: &str = "DICOMweb node";
    const ADVICE: &str =
        "See that it is up, that the URL is the one its /studies lies below, and who may ask there.";
    match answer {
        Ok(status) if (200..300).contains(&status) => Check::good(WHAT, format!("{node} answers")),
        Ok(status) => Check::warning(WHAT, format!("{node} answers a search with status {status}"), ADVICE),
        Err(reason) => Check::warning(WHAT, format!("{node} does not answer: {reason}"), ADVICE),
    }
}

fn webhook((name, answer): (String, Answer)) -> Check {
    const WHAT: &str = "webhook";
    match answer {
        // A script need not understand HEAD.
        Ok(_) => Check::good(WHAT, format!("somebody answers where {name} is called")),
        Err(reason) => Check::warning(
            WHAT,
            format!("nobody answers where {name} is called: {reason}"),
            "See that it is up; what it is to hear is kept until then ([outbox] give_up_hours).",
        ),
    }
}

/// Whether the server would start as it is to be reached, and with whom it is to speak.
fn access(config: &Config) -> Check {
    const WHAT: &str = "access";
    let checked = guard::check_addresses(config)
        .and_then(|()| cors::check(&config.server.cors_origins))
        .and_then(|()| Certificate::configured(&config.server))
        .and_then(|of_http| dimse::Settings::read(config, of_http.as_ref()).map(|dimse| (of_http, dimse)))
        .and_then(|(of_http, dimse)| {
            let nodes = Nodes::configured(config, Arc::clone(&dimse.nodes))?;
            outgoing::configured(config, &nodes, &Arc::default(), &AuditLog::default()).map(|_| of_http)
        });
    match checked {
        Ok(None) => Check::good(WHAT, "HTTP, as configured"),
        Ok(Some(_)) => Check::good(WHAT, "HTTPS, as configured"),
        Err(failure) => {
            Check::bad(WHAT, failure.to_string(), "The server does not start until that is mended.")
        }
    }
}

fn runtime_library(config: &Config) -> Check {
    const WHAT: &str = "onnxruntime";
    let located = bundles::devices(config).and_then(|devices| {
        runtime::locate(config.models.onnxruntime.as_deref(), &devices).map_err(Failure::of)
    });
    match located {
        Ok(path) => Check::good(WHAT, path.display().to_string()),
        Err(failure) => Check::bad(
            WHAT,
            failure.to_string(),
            format!(
                "Run `{}` (with `--gpu` for NVIDIA GPUs), or mend [models] device and onnxruntime.",
                runtime::FETCH_COMMAND
            ),
        ),
    }
}

fn bundle(config: &Config) -> Check {
    opened(bundles::folder_in_use(config).and_then(|folder| Bundle::open(folder).map_err(Failure::of)))
}

fn opened(bundle: Result<Bundle, Failure>) -> Check {
    const WHAT: &str = "bundle";
    match bundle {
        Ok(bundle) => Check::good(WHAT, format!("{} in {}", bundle.id(), bundle.folder().display())),
        Err(failure) => Check::bad(
            WHAT,
            failure.to_string(),
            "Restore the bundle's files, or choose another: `engram models use`, [models] bundle.",
        ),
    }
}

fn device(config: &Config) -> Check {
    const WHAT: &str = "device";
    let started =
        bundle_in_use(config).and_then(|bundle| Ok((bundle.clone(), bundles::engine(config, bundle)?)));
    match started {
        Ok((bundle, engine)) if engine.device() == "cpu" && config.models.device == "auto" => Check::good(
            WHAT,
            format!("every graph loads on cpu, which \"auto\" settled for: {}", why_no_gpu(config, bundle)),
        ),
        Ok((_, engine)) => Check::good(WHAT, format!("every graph loads on {}", engine.device())),
        Err(failure) => Check::bad(WHAT, failure.to_string(), "Choose another [models] device or bundle."),
    }
}

fn bundle_in_use(config: &Config) -> Result<Bundle, Failure> {
    Bundle::open(bundles::folder_in_use(config)?).map_err(Failure::of)
}

/// What keeps "auto" from a GPU.
fn why_no_gpu(config: &Config, bundle: Bundle) -> String {
    match bundles::engine_on(config, bundle, vec![Device::Cuda(0)]) {
        Ok(_) => "a GPU works now and did not a moment ago".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

fn store(config: &Config, deep: bool) -> Vec<Check> {
    const WHAT: &str = "store";
    if !assembly::database_folder(&config.storage.data).exists() {
        return vec![Check::good(WHAT, "none yet; `engram serve` makes one")];
    }
    let db = match assembly::database(config) {
        Ok(db) => db,
        Err(failure) => {
            return vec![Check::warning(
                WHAT,
                failure.to_string(),
                "If the server is running, stop it to have its store checked; else run `engram rebuild`.",
            )];
        }
    };
    let checked = Archive::open(&config.storage.data, &db, assembly::archive_options(config))
        .and_then(|archive| archive.check(deep, &mut |_| {}));
    match checked {
        Err(error) => vec![Check::bad(WHAT, report(&error), "Run `engram rebuild`.")],
        Ok(report) if report.findings.is_empty() => vec![Check::good(
            WHAT,
            format!(
                "{} studies, {} series, {} instances, all in order",
                report.statistics.studies, report.statistics.series, report.statistics.instances
            ),
        )],
        Ok(report) => report
            .findings
            .iter()
            .map(|finding| {
                Check::bad(
                    WHAT,
                    format!("{finding:?}"),
                    "Run `engram rebuild`; restore lost files from a backup.",
                )
            })
            .collect(),
    }
}
