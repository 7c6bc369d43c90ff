//! Other application entities that are known by name.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

/// A DICOM node by name, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct RemoteNode {
    /// What people call it.
    pub name: String,
    /// Its AE title, which a C-MOVE names.
    pub ae_title: String,
    /// Host and port.
    pub address: String,
    /// The AE title that we call with.
    pub calling_ae_title: String,
    /// How long it may be silent, and a connection may take.
    pub timeout: Duration,
    /// How it is spoken to over TLS; `None`: not over TLS.
    pub tls: Option<NodeTls>,
}

/// TLS to a node.
#[derive(Debug, Clone)]
pub struct NodeTls {
    /// Whom to trust, and which certificate to show.
    pub config: Arc<ClientConfig>,
    /// The name, or the address, that the node's certificate must be for.
    pub server_name: String,
}
