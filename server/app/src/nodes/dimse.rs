//! The nodes of `[[dimse.nodes]]`, as they are spoken to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engram_dimse::{NodeTls, RemoteNode};

use crate::cli::Failure;
use crate::config::{Dimse, Node};
use crate::guard::Record;
use crate::tls::{self, Certificate};

/// An AE title's most characters (PS3.5 Table 6.2-1).
const MAX_AE_TITLE: usize = 16;
/// A name's most characters: it stands in paths.
const MAX_NAME: usize = 64;

/// A node that is configured.
#[derive(Debug, Clone)]
pub struct KnownNode {
    /// How it is spoken to.
    pub remote: RemoteNode,
    /// Whether what is sent to it counts as sent only once it has committed itself to keep it.
    pub commits: bool,
}

impl KnownNode {
    /// What every line of the audit log says of dealings with it: as whom, with whom, and what.
    pub fn audit_line(&self, action: &str) -> Record {
        let RemoteNode { calling_ae_title, name, address, .. } = &self.remote;
        Record::of_ours(calling_ae_title, format!("{name} ({address})"), action)
    }
}

/// Every node, in the configuration's order.
///
/// # Errors
/// Two have one name, an AE title or a name is none, or a file of TLS cannot be used.
pub fn configured(dimse: &Dimse, certificate: Option<&Arc<Certificate>>) -> Result<Vec<KnownNode>, Failure> {
    let mut names = BTreeSet::new();
    if let Some(twice) = dimse.nodes.iter().map(name).find(|name| !names.insert(*name)) {
        return Err(wrong(twice, "another node has this name; give one of them a `name` of its own"));
    }
    dimse.nodes.iter().map(|node| known(dimse, node, certificate)).collect()
}

/// What a node is called.
fn name(node: &Node) -> &str {
    node.name.as_deref().unwrap_or(&node.ae_title)
}

fn known(dimse: &Dimse, node: &Node, certificate: Option<&Arc<Certificate>>) -> Result<KnownNode, Failure> {
    let name = name(node);
    if let Some(problem) = problem(dimse, node) {
        return Err(wrong(name, problem));
    }
    let tls = if node.tls { Some(tls_to(node, certificate)?) } else { None };
    let timeout = node.timeout_seconds.unwrap_or(dimse.timeout_seconds);
    let remote = RemoteNode {
        name: name.to_owned(),
        ae_title: node.ae_title.clone(),
        address: node.address.clone(),
        calling_ae_title: calling(dimse, node).to_owned(),
        timeout: Duration::from_secs(timeout.max(1)),
        tls,
    };
    Ok(KnownNode { remote, commits: node.commit })
}

fn problem(dimse: &Dimse, node: &Node) -> Option<&'static str> {
    let is_named = |name: &str| {
        (1..=MAX_NAME).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_graphic() && !"/?#%\\".contains(c))
    };
    let names_tls = node.tls_ca.is_some() || node.tls_server_name.is_some();
    if ![node.ae_title.as_str(), calling(dimse, node)].into_iter().all(is_ae_title) {
        return Some("an AE title has 1 to 16 ASCII characters, no backslash, and no space at its ends");
    }
    if !is_named(name(node)) {
        return Some(
            "a name has 1 to 64 ASCII characters, no space and none of / ? # % \\; give it a `name` of its own",
        );
    }
    (names_tls && !node.tls).then_some("tls_ca and tls_server_name need tls = true")
}

fn is_ae_title(title: &str) -> bool {
    (1..=MAX_AE_TITLE).contains(&title.len())
        && title.trim() == title
        && title.chars().all(|c| (' '..='~').contains(&c) && c != '\\')
}

fn calling<'a>(dimse: &'a Dimse, node: &'a Node) -> &'a str {
    node.calling_ae_title.as_deref().unwrap_or(&dimse.ae_title)
}

fn tls_to(node: &Node, certificate: Option<&Arc<Certificate>>) -> Result<NodeTls, Failure> {
    let host = node.address.rsplit_once(':').map_or(node.address.as_str(), |(host, _)| host);
    let server_name = node.tls_server_name.as_deref().unwrap_or(host.trim_matches(['[', ']']));
    if rustls::pki_types::ServerName::try_from(server_name).is_err() {
        return Err(wrong(
            name(node),
            "its tls_server_name, or the host of its address, is no name of a server",
        ));
    }
    let config = tls::client_config(node.tls_ca.as_deref(), certificate.cloned())?;
    Ok(NodeTls { config: Arc::new(config), server_name: server_name.to_owned() })
}

fn wrong(name: &str, problem: &str) -> Failure {
    Failure::say(format!("[[dimse.nodes]] {name:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str) -> Result<Vec<KnownNode>, Failure> {
        configured(&toml::from_str(text).unwrap(), None)
    }

    #[test]
    fn a_node_is_called_by_its_name_else_by_its_ae_title() {
        let known = nodes(
            "ae_title = \"US\"\ntimeout_seconds = 7\n\
             [[nodes]]\nae_title = \"PACS\"\naddress = \"a:1\"\n\
             [[nodes]]\nname = \"archive\"\nae_title = \"PACS\"\naddress = \"b:2\"\ncalling_ae_title = \"ME\"\n\
             timeout_seconds = 3\ncommit = true\n",
        )
        .unwrap();
        let told: Vec<_> = known
            .iter()
            .map(|KnownNode { remote, commits }| {
                (remote.name.as_str(), remote.calling_ae_title.as_str(), remote.timeout.as_secs(), *commits)
            })
            .collect();
        assert_eq!(told, [("PACS", "US", 7, false), ("archive", "ME", 3, true)]);
    }

    #[test]
    fn what_cannot_be_spoken_to_is_refused() {
        for (wrong, says) in [
            (
                "[[nodes]]\nae_title = \"A\"\naddress = \"a:1\"\n[[nodes]]\nae_title = \"A\"\naddress = \"b:2\"\n",
                "another",
            ),
            ("[[nodes]]\nae_title = \"SEVENTEEN LETTERS\"\naddress = \"a:1\"\n", "AE title"),
            ("[[nodes]]\nae_title = \"A B\"\naddress = \"a:1\"\n", "name"),
            ("[[nodes]]\nname = \"a/b\"\nae_title = \"A\"\naddress = \"a:1\"\n", "name"),
            ("[[nodes]]\nae_title = \"A\"\naddress = \"a:1\"\ntls_server_name = \"a\"\n", "tls = true"),
            (
                "[[nodes]]\nae_title = \"A\"\naddress = \"a:1\"\ntls = true\ntls_ca = \"/nowhere.pem\"\n",
                "tls_ca",
            ),
            ("[[nodes]]\nae_title = \"A\"\naddress = \"a b:1\"\ntls = true\n", "server"),
        ] {
            let failure = nodes(wrong).unwrap_err().to_string();
            assert!(failure.contains(says), "{failure}");
        }
    }
}
