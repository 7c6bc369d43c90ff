//! `engram tokens`: who may come in.

use clap::{Args, Subcommand};
use serde_json::json;
use time::OffsetDateTime;

use super::api::Client;
use super::{Common, Failure, ServerToken, print_json};
use crate::assembly;
use crate::guard::{MAX_DAYS, Role, Token, Tokens};
use crate::http::tokens::Made;

/// Make, list and revoke API tokens.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and show it, once.
    Add(Add),
    /// Show the tokens there are, and what they let their bearers do.
    List(List),
    /// End a token, for ever.
    Revoke(Revoke),
}

/// Where the tokens are.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    common: Common,
    /// Those of this running server: http://ADDR:PORT. None: of a data folder whose server is not running.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    #[command(flatten)]
    token: ServerToken,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Make a token.
#[derive(Debug, Args)]
struct Add {
    /// What to call it, after who or what will bear it: the audit log names it so.
    name: String,
    /// What it lets its bearer do; several by repeating it.
    #[arg(long, value_enum, required = true)]
    role: Vec<Role>,
    /// Days until it expires. None: it lives until it is revoked.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    expires: Option<u32>,
    #[command(flatten)]
    place: Place,
}

/// Show the tokens.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Place,
}

/// End a token.
#[derive(Debug, Args)]
struct Revoke {
    /// Its name.
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Add(options) => add(options),
        Command::List(options) => list(&options.place),
        Command::Revoke(options) => revoke(options),
    }
}

fn add(options: &Add) -> Result<(), Failure> {
    let Add { name, role, expires, place } = options;
    let made = match &place.server {
        Some(url) => {
            let body = json!({ "name": name, "roles": role, "expires_in_days": expires });
            let (_, answer) = Client::new(url, &place.token)?.post("/tokens", &body)?;
            serde_json::from_value(answer).map_err(Failure::of)?
        }
        None => on_store(place, |tokens| {
            let (token, text) =
                tokens.add(name, role.iter().copied().collect(), *expires).map_err(Failure::of)?;
            Ok(Made { token, text })
        })?,
    };
    if place.json {
        return print_json(&made);
    }
    eprintln!("{} may now come in: {}. Keep its token; it is not shown again:", name, made.token.roles);
    println!("{}", made.text);
    Ok(())
}

fn list(place: &Place) -> Result<(), Failure> {
    let tokens: Vec<Token> = match &place.server {
        Some(url) => Client::new(url, &place.token)?.get("/tokens")?,
        None => on_store(place, |tokens| Ok(tokens.list()))?,
    };
    if place.json {
        return print_json(&tokens);
    }
    for token in &tokens {
        let end = match token.expires_at {
            None => String::new(),
            Some(at) if token.is_expired() => format!("  expired on {}", day(at)),
            Some(at) => format!("  expires on {}", day(at)),
        };
        println!("{:<24} {:<28} made on {}{end}", token.name, token.roles.to_string(), day(token.created_at));
    }
    Ok(())
}

fn revoke(options: &Revoke) -> Result<(), Failure> {
    let Revoke { name, place } = options;
    match &place.server {
        Some(url) => Client::new(url, &place.token)?.delete(&format!("/tokens/{name}"))?,
        None => on_store(place, |tokens| tokens.revoke(name).map_err(Failure::of))?,
    }
    if place.json {
        return print_json(&json!({ "revoked": name }));
    }
    println!("{name} opens nothing any more");
    Ok(())
}

/// Works on the tokens of a data folder, which no server may have open meanwhile.
fn on_store<T>(place: &Place, work: impl FnOnce(&Tokens) -> Result<T, Failure>) -> Result<T, Failure> {
    let config = place.common.load_quietly()?;
    // Held while the tokens are changed: no server has the store open.
    let _store = assembly::database(&config).map_err(|failure| {
        Failure::say(format!("{failure} A running server takes it with --server URL --token TOKEN."))
    })?;
    work(&Tokens::open(&config.storage.data).map_err(Failure::of)?)
}

/// The date, UTC, of seconds since 1970.
fn day(seconds: u64) -> String {
    let time =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.map_or_else(|| "an unknown day".to_owned(), |time| time.date().to_string())
}
