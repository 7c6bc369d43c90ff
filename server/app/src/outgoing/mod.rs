//! What leaves the house: the nodes and webhooks of the configuration, as `workflow` knows them.

mod audited;
mod dimse;
mod webhook;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engram_dimse::Commitments;
use engram_workflow::{Hook, Node};
use ureq::Agent;

use crate::cli::{Failure, trusting_the_system};
use crate::config::{self, Config};
use crate::dimse::transcoding;
use crate::guard::{AuditLog, Record};
use crate::nodes::Nodes;

use self::audited::Audited;

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Everyone that something can be sent to. By default nobody.
#[derive(Default)]
pub struct Recipients {
    /// Nodes, DIMSE's first.
    pub nodes: Vec<Arc<dyn Node>>,
    /// Webhooks.
    pub hooks: Vec<Arc<dyn Hook>>,
}

/// Those of the configuration. Nobody is spoken to. What they are sent will be told to the audit log.
pub fn configured(
    config: &Config,
    known: &Nodes,
    commitments: &Arc<Commitments>,
    audit: &AuditLog,
) -> Result<Recipients, Failure> {
    let transcoding = transcoding(config);
    let audit = || audit.clone();
    let ours = config.dimse.ae_title.as_str();
    let mut nodes: Vec<Arc<dyn Node>> = Vec::new();
    for known in known.dimse.iter().cloned() {
        let line = known.audit_line("C-STORE to a node");
        let recipient =
            Arc::new(dimse::DimseNode { known, transcoding, commitments: Arc::clone(commitments) });
        nodes.push(Arc::new(Audited::<dyn Node> { recipient, line, audit: audit() }));
    }
    for recipient in known.dicomweb.iter().cloned() {
        let line = recipient.audit_line("STOW-RS to a node");
        nodes.push(Arc::new(Audited::<dyn Node> { recipient, line, audit: audit() }));
    }
    let mut hooks: Vec<Arc<dyn Hook>> = Vec::new();
    for hook in &config.webhooks {
        // Its URL may hold a secret.
        let line = Record::of_ours(ours, hook.name.clone(), "POST to a webhook");
        let recipient = Arc::new(webhook::Webhook::new(hook)?);
        hooks.push(Arc::new(Audited::<dyn Hook> { recipient, line, audit: audit() }));
    }
    each_once(hooks.iter().map(|hook| hook.name()), "webhooks")?;
    Ok(Recipients { nodes, hooks })
}

/// How long somebody may take to answer whether it is there.
pub const ASKING_PATIENCE: Duration = Duration::from_secs(10);

/// What a recipient answers that is asked whether it is there: the status of HTTP, or why there is none.
pub type Answer = Result<u16, String>;

/// Asks every webhook by HEAD, which hands it nothing; each with its name.
pub fn ask_webhooks(config: &Config) -> Vec<(String, Answer)> {
    let asked = |hook: &config::Webhook| {
        let answer = webhook::Webhook::new(hook).map_err(|failure| failure.to_string());
        (hook.name.clone(), answer.and_then(|hook| hook.ask()))
    };
    config.webhooks.iter().map(asked).collect()
}

/// Sees that each has a name of its own.
///
/// # Errors
/// One has none, or two have one.
pub fn each_once<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> Result<(), Failure> {
    let mut known = BTreeSet::new();
    for name in names {
        if name.trim().is_empty() {
            return Err(Failure::say(format!("one of the {what} of the configuration has no name")));
        }
        if !known.insert(name) {
            return Err(Failure::say(format!("two {what} of the configuration are called {name:?}")));
        }
    }
    Ok(())
}

/// What speaks HTTP to somebody for so long at the most. A status of failure is an answer, and so is one that leads elsewhere: followed, a
/// POST would become a GET, and what is sent or fetched could go in the clear.
pub fn agent(url: &str, patience: Duration) -> Result<Agent, Failure> {
    let is_url = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_url {
        return Err(Failure::say(format!("{url:?} is no URL of HTTP; write it with its scheme")));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_PATIENCE))
        .timeout_global(Some(patience));
    Ok(match url.starts_with("https:") {
        true => config.tls_config(trusting_the_system()).build().into(),
        false => config.build().into(),
    })
}
