//! A DICOM node, as far as this room knows one.

use engram_archive::InstanceEntry;
use engram_routing::Origin;

/// What became of an instance that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The node has it.
    Taken,
    /// The node takes no instances of its SOP class.
    ClassRefused,
    /// The node does not take it.
    Refused {
        /// What it said.
        reason: String,
        /// Whether it would say the same again.
        lasting: bool,
    },
}

/// The node cannot be reached, or went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// What happened.
    pub reason: String,
}

/// A DICOM node that instances can be sent to. Called on a thread of its own; it may block, but must not for ever.
pub trait Node: Send + Sync {
    /// Its name, by which rules know it.
    fn name(&self) -> &str;

    /// Whether it is the node that a study came from.
    fn is_where(&self, origin: &Origin) -> bool;

    /// Sends instances, one after the other, telling of each what became of it, and stops where that is answered with
    /// `false`.
    ///
    /// # Errors
    /// [`Unreachable`]: what was not told of may have arrived all the same.
    fn send(
        &self,
        instances: &[InstanceEntry],
        told: &mut dyn FnMut(&InstanceEntry, Sent) -> bool,
    ) -> Result<(), Unreachable>;
}
