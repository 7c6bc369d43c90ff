//! What leaves the house: the nodes and webhooks of the configuration, as `workflow` knows them.

mod dimse;
mod stow;
mod webhook;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engram_dimse::Commitments;
use engram_workflow::{Hook, Node};
use ureq::Agent;

use crate::cli::{Failure, trusting_the_system};
use crate::config::Config;
use crate::dimse::{KnownNode, transcoding};

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

/// Those of the configuration. Nobody is spoken to.
pub fn configured(
    config: &Config,
    known: &[KnownNode],
    commitments: &Arc<Commitments>,
) -> Result<Recipients, Failure> {
    let transcoding = transcoding(config);
    let of_dimse = known.iter().cloned().map(|known| -> Arc<dyn Node> {
        Arc::new(dimse::DimseNode { known, transcoding, commitments: Arc::clone(commitments) })
    });
    let mut nodes: Vec<Arc<dyn Node>> = of_dimse.collect();
    for node in &config.dicomweb.nodes {
        nodes.push(Arc::new(stow::DicomwebNode::new(node)?));
    }
    let mut hooks: Vec<Arc<dyn Hook>> = Vec::new();
    for hook in &config.webhooks {
        hooks.push(Arc::new(webhook::Webhook::new(hook)?));
    }
    each_once(nodes.iter().map(|node| node.name()), "nodes")?;
    each_once(hooks.iter().map(|hook| hook.name()), "webhooks")?;
    Ok(Recipients { nodes, hooks })
}

fn each_once<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> Result<(), Failure> {
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

/// What speaks HTTP to somebody for so long at the most; a status of failure is an answer.
fn agent(url: &str, patience: Duration) -> Result<Agent, Failure> {
    let is_url = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_url {
        return Err(Failure::say(format!("{url:?} is no URL of HTTP; write it with its scheme")));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_PATIENCE))
        .timeout_global(Some(patience));
    Ok(match url.starts_with("https:") {
        true => config.tls_config(trusting_the_system()).build().into(),
        false => config.build().into(),
    })
}
