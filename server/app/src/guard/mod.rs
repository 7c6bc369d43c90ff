//! Who may do what, and the record of who did: tokens and their roles, the audit log, how many requests are served at
//! a time. One middleware, [`watch`], stands before every route; routes and the other rooms know nothing of it.

mod access;
mod audit;
mod credentials;
mod role;
mod tokens;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::cli::Failure;
use crate::config::{Config, Dimse};

pub use access::{Access, needed};
pub use audit::{AuditLog, Record, Writer, shortened};
pub use role::Role;
pub use tokens::{Error as TokenError, MAX_DAYS, Token, Tokens};
pub use watch::{Caller, watch};

/// What [`watch`] decides by.
pub struct Guard {
    tokens: Arc<Tokens>,
    demand: Demand,
    audit: AuditLog,
    /// A permit for each request that may be served at the same time.
    places: Arc<Semaphore>,
    max_requests: usize,
}

impl Guard {
    /// Over the tokens of the data folder, as configured.
    pub fn new(config: &Config, tokens: Arc<Tokens>, audit: AuditLog) -> Self {
        let max_requests = config.limits.max_requests.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tokens,
            demand: Demand::of(config),
            audit,
            places: Arc::new(Semaphore::new(max_requests)),
            max_requests,
        }
    }
}

/// When a token is asked for: `[auth] required`, and where the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Demand {
    required: Option<bool>,
    is_loopback: bool,
}

impl Demand {
    fn of(config: &Config) -> Self {
        Self { required: config.auth.required, is_loopback: config.server.bind.ip().is_loopback() }
    }

    /// Where nothing is configured, the first token that was ever made switches it on; revoking the last one must
    /// not open the door again.
    fn is_on(self, ever_any_token: bool) -> bool {
        self.required.unwrap_or(!self.is_loopback || ever_any_token)
    }
}

/// Refuses an address that other machines reach where nothing would ask who they are.
pub fn check_addresses(config: &Config) -> Result<(), Failure> {
    let any_in_force = tokens::any_in_force(&config.storage.data).map_err(Failure::of)?;
    check_http(Demand::of(config), config.server.bind, any_in_force)?;
    check_dimse(&config.dimse)
}

fn check_http(demand: Demand, bind: SocketAddr, any_in_force: bool) -> Result<(), Failure> {
    if demand.is_loopback {
        return Ok(());
    }
    if demand.required == Some(false) {
        return Err(Failure::say(format!(
            "other machines can reach {bind}, and [auth] required = false lets anyone in. Take that line out of the \
             configuration, or listen on 127.0.0.1."
        )));
    }
    if !any_in_force {
        return Err(Failure::say(format!(
            "other machines can reach {bind}, and there is no token to let anyone in by. Make one with \
             `engram tokens add NAME --role admin` (with the same --config and --data), or listen on 127.0.0.1."
        )));
    }
    Ok(())
}

/// Over TLS with certificates of clients, those say who calls.
fn check_dimse(dimse: &Dimse) -> Result<(), Failure> {
    let of_certified = dimse.tls_bind.filter(|_| dimse.tls_client_ca.is_none());
    let open = [("bind", dimse.bind), ("tls_bind", of_certified)];
    let open = open.into_iter().find_map(|(setting, bind)| {
        bind.filter(|bind| !bind.ip().is_loopback() && dimse.calling_ae_titles.is_empty())
            .map(|bind| (setting, bind))
    });
    match open {
        Some((setting, bind)) => Err(Failure::say(format!(
            "other machines can reach [dimse] {setting} = \"{bind}\", and DIMSE knows no tokens. Name the AE titles that \
             may call in [dimse] calling_ae_titles, or listen on 127.0.0.1."
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_demanded_where_they_must_be() {
        let demand = |required, is_loopback| Demand { required, is_loopback };
        for (demand, ever_any, is_on) in [
            (demand(None, true), false, false),
            (demand(None, true), true, true),
            (demand(None, false), false, true),
            (demand(Some(true), true), false, true),
            (demand(Some(false), true), true, false),
        ] {
            assert_eq!(demand.is_on(ever_any), is_on, "{demand:?}");
        }
    }

    #[test]
    fn the_server_does_not_open_itself_to_other_machines() {
        let inside: SocketAddr = "[::1]:80".parse().unwrap();
        let outside: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let http = |required, bind: SocketAddr, any| {
            check_http(Demand { required, is_loopback: bind.ip().is_loopback() }, bind, any).is_ok()
        };
        assert!(http(None, inside, false) && http(Some(false), inside, false));
        assert!(http(None, outside, true) && http(Some(true), outside, true));
        assert!(!http(None, outside, false) && !http(Some(true), outside, false));
        assert!(!http(Some(false), outside, true));
        let dimse = |bind, tls_bind, titles: &[&str]| Dimse {
            bind,
            tls_bind,
            calling_ae_titles: titles.iter().map(|title| title.to_string()).collect(),
            ..Dimse::default()
        };
        for (dimse, is_fine) in [
            (dimse(None, None, &[]), true),
            (dimse(Some(inside), Some(inside), &[]), true),
            (dimse(Some(outside), None, &[]), false),
            (dimse(None, Some(outside), &[]), false),
            (dimse(Some(outside), Some(outside), &["CT1"]), true),
            (Dimse { tls_client_ca: Some("ca.pem".into()), ..dimse(None, Some(outside), &[]) }, true),
            (Dimse { tls_client_ca: Some("ca.pem".into()), ..dimse(Some(outside), None, &[]) }, false),
        ] {
            assert_eq!(check_dimse(&dimse).is_ok(), is_fine, "{dimse:?}");
        }
    }
}
