//! Other archives that the configuration names: what each is asked, what is brought from it and sent to it, whichever protocol it
//! speaks.

mod by_dimse;
mod dicomweb;
mod dimse;
mod objects;
mod query;
mod transfer;

use std::sync::Arc;

use crate::cli::Failure;
use crate::config::Config;
use crate::outgoing::each_once;

pub use by_dimse::{COMMITMENT_PATIENCE, is_stored, reference};
pub use dicomweb::{DicomwebNode, NodeError};
pub use dimse::{KnownNode, configured as configured_for_dimse};
pub use objects::Objects;
pub use query::{search, search_of_keys_alone, told};
pub use transfer::{RETRIEVE_KIND, SEND_KIND, Transfers, enqueue};

/// Every node, by name. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    /// Those of `[[dimse.nodes]]`.
    pub dimse: Arc<Vec<KnownNode>>,
    /// Those of `[[dicomweb.nodes]]`.
    pub dicomweb: Arc<Vec<Arc<DicomwebNode>>>,
}

/// A node that was named.
pub enum Named<'a> {
    /// It speaks DIMSE.
    Dimse(&'a KnownNode),
    /// It speaks DICOMweb.
    Dicomweb(&'a Arc<DicomwebNode>),
}

impl Nodes {
    /// Of the configuration, of which those that speak DIMSE were read before. Nobody is spoken to.
    ///
    /// # Errors
    /// Two have one name, or one cannot be spoken to as it is configured.
    pub fn configured(config: &Config, dimse: Arc<Vec<KnownNode>>) -> Result<Self, Failure> {
        let our_name = config.dimse.ae_title.as_str();
        let nodes = config.dicomweb.nodes.iter().map(|node| DicomwebNode::new(node, our_name).map(Arc::new));
        let nodes = Self { dimse, dicomweb: Arc::new(nodes.collect::<Result<_, _>>()?) };
        let of_dimse = nodes.dimse.iter().map(|known| known.remote.name.as_str());
        each_once(of_dimse.chain(nodes.dicomweb.iter().map(|node| node.name())), "nodes")?;
        Ok(nodes)
    }

    /// The node of that name.
    pub fn named(&self, name: &str) -> Option<Named<'_>> {
        let of_dimse = self.dimse.iter().find(|known| known.remote.name == name).map(Named::Dimse);
        of_dimse.or_else(|| self.dicomweb.iter().find(|node| node.name() == name).map(Named::Dicomweb))
    }
}
