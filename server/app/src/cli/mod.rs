//! The command line. One module a command; each returns a [`Failure`] that says what to do.

mod api;
mod doctor;
mod evaluate;
pub mod import;
mod models;
mod openapi;
mod rebuild;
mod segment;
mod serve;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ureq::SendBody;
use ureq::http::Request;
use ureq::http::header::{AUTHORIZATION, HeaderValue};
use ureq::middleware::MiddlewareNext;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::Config;
use crate::{demo, telemetry, tls};

/// A DICOMweb server that remembers annotated cases and segments the next one from them.
#[derive(Debug, Parser)]
#[command(name = "engram", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Options),
    /// Make phantom patients, store some with annotations, segment the others through the HTTP API.
    Demo(demo::Options),
    /// Store DICOM files and folders into a data folder, whose server is not running.
    Import(import::Options),
    /// Segment a series from what the store remembers.
    Segment(segment::Options),
    /// Measure segmentation on annotated cases: Dice per label, beside baselines if asked.
    Evaluate(evaluate::Options),
    /// List, verify, measure and choose bundles.
    Models(models::Options),
    /// Make, list and revoke API tokens.
    Tokens(tokens::Options),
    /// Make catalogue, exemplars and index anew from the stored objects.
    Rebuild(rebuild::Options),
    /// Check store, bundle, ONNX Runtime, disk and port, and say what to do.
    Doctor(doctor::Options),
    /// Print the OpenAPI document of everything that the server serves.
    Openapi,
}

/// What every command on a store takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration file (TOML). None: the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder, instead of the configuration's.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Common {
    /// The configuration with the command line's wishes, logging started.
    pub fn load(&self) -> Result<Config, Failure> {
        let config = self.config()?;
        telemetry::start(&config.log);
        Ok(config)
    }

    /// The same; without a configuration file only warnings are logged.
    pub fn load_quietly(&self) -> Result<Config, Failure> {
        let mut config = self.config()?;
        if self.config.is_none() {
            "warn".clone_into(&mut config.log.level);
        }
        telemetry::start(&config.log);
        Ok(config)
    }

    fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::load(self.config.as_deref()).map_err(Failure::of)?;
        if let Some(data) = &self.data {
            config.storage.data.clone_from(data);
        }
        Ok(config)
    }
}

/// Why a command failed, with its causes, for a person at a terminal.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// An error with all its sources on one line.
    pub fn of(error: impl std::error::Error) -> Self {
        Self(engram_workflow::report(&error))
    }

    /// Words of our own.
    pub fn say(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Serve(options) => serve::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Import(options) => import::run(&options),
        Command::Segment(options) => segment::run(&options),
        Command::Evaluate(options) => evaluate::run(&options),
        Command::Models(options) => models::run(&options),
        Command::Tokens(options) => tokens::run(&options),
        Command::Rebuild(options) => rebuild::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Openapi => openapi::run(),
    }
}

/// What a running server asks for.
#[derive(Clone, Default, Args)]
pub struct ServerToken {
    /// The token that the server of --server asks for.
    #[arg(long, env = "ENGRAM_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl std::fmt::Debug for ServerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.token.is_some() { "a token" } else { "no token" })
    }
}

/// What speaks HTTP to the running server at `url`, and shows it the token; a status of failure is an answer.
pub fn http_agent(url: &str, token: &ServerToken) -> Result<ureq::Agent, Failure> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_global(Some(Duration::from_secs(300)));
    let config = match url.starts_with("https:") {
        true => config.tls_config(trusting_the_system()),
        false => config,
    };
    let Some(token) = &token.token else { return Ok(config.build().into()) };
    let authorization: HeaderValue = format!("Bearer {token}")
        .parse()
        .map_err(|_| Failure::say("--token holds characters that no token has"))?;
    let with_token = move |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        next.handle(request)
    };
    Ok(config.middleware(with_token).build().into())
}

/// Trusts the system's certificate authorities, or those in the file that SSL_CERT_FILE names.
pub fn trusting_the_system() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "could not read a certificate authority of the system");
    }
    let roots = found.certs.iter().map(|root| Certificate::from_der(root).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(tls::provider())
        .build()
}

/// Writes a file that a person asked for.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::say(format!("could not write {}: {error}", path.display())))
}

/// The same, in a folder that may not be there yet.
pub fn write_into(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::say(format!("could not write into {}: {error}", folder.display())))?;
    write_file(&folder.join(name), bytes)
}

/// Prints a value as JSON for scripts.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::of)?;
    println!("{text}");
    Ok(())
}
