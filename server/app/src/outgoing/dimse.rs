//! A DIMSE node: instances are sent to it by C-STORE (PS3.4 Annex B).

use std::sync::Arc;

use engram_archive::InstanceEntry;
use engram_dimse::{Commitments, Error, Outgoing};
use engram_imaging::TranscodeLimits;
use engram_workflow::{Node, Origin, Sent, Unreachable, report};
use uuid::Uuid;

use crate::nodes::{COMMITMENT_PATIENCE, KnownNode, is_stored, reference};

/// Duplicate SOP Instance (PS3.7 C.5.7): the node has it.
const DUPLICATE: u16 = 0x0111;
/// SOP Class not supported (PS3.7 C.5.20).
const CLASS_REFUSED: u16 = 0x0122;

/// A node of `[[dimse.nodes]]`.
pub struct DimseNode {
    /// How it is spoken to.
    pub known: KnownNode,
    /// What may be transcoded for it.
    pub transcoding: TranscodeLimits,
    /// Where it commits itself to keep what it was sent.
    pub commitments: Arc<Commitments>,
}

impl Node for DimseNode {
    fn name(&self) -> &str {
        &self.known.remote.name
    }

    fn is_where(&self, origin: &Origin) -> bool {
        origin.calling_ae_title.as_deref() == Some(self.known.remote.ae_title.as_str())
    }

    fn send(
        &self,
        instances: &[InstanceEntry],
        told: &mut dyn FnMut(&InstanceEntry, Sent) -> bool,
    ) -> Result<(), Unreachable> {
        let mut outgoing = match Outgoing::to_store(&self.known.remote, instances) {
            Err(Error::NothingAccepted) => {
                for entry in instances {
                    told(entry, Sent::ClassRefused);
                }
                return Ok(());
            }
            outgoing => outgoing.map_err(unreachable)?,
        };
        let mut uncommitted = Vec::new();
        for entry in instances {
            let goes_on = match self.store(&mut outgoing, entry)? {
                // What a node does not keep, it does not have.
                Sent::Taken if self.known.commits => {
                    uncommitted.push(entry.clone());
                    true
                }
                sent => told(entry, sent),
            };
            if !goes_on {
                break;
            }
        }
        if let Err(error) = outgoing.release() {
            tracing::warn!(%error, node = self.name(), "a node did not end in good order");
        }
        self.commit(&uncommitted, told)
    }
}

impl DimseNode {
    fn store(&self, outgoing: &mut Outgoing, entry: &InstanceEntry) -> Result<Sent, Unreachable> {
        if !outgoing.accepts(entry) {
            return Ok(Sent::ClassRefused);
        }
        match outgoing.store(entry, None, self.transcoding) {
            Ok(status) => Ok(said(status)),
            Err(error) if error.is_of_the_instance() => {
                Ok(Sent::Refused { reason: report(&error), lasting: true })
            }
            Err(error) => Err(unreachable(error)),
        }
    }

    fn commit(
        &self,
        sent: &[InstanceEntry],
        told: &mut dyn FnMut(&InstanceEntry, Sent) -> bool,
    ) -> Result<(), Unreachable> {
        if sent.is_empty() {
            return Ok(());
        }
        let transaction = format!("2.25.{}", Uuid::new_v4().as_u128());
        let committed = Outgoing::request_commitment(
            &self.known.remote,
            &self.commitments,
            &transaction,
            sent.iter().map(reference).collect(),
            COMMITMENT_PATIENCE,
            || true,
        );
        let committed = committed.map_err(|error| Unreachable {
            reason: format!("it did not commit itself to keep what it was sent: {}", report(&error)),
        })?;
        for entry in sent {
            let uid = &entry.uids.sop_instance_uid;
            let kept = committed.instances().iter().find(|instance| instance.sop_instance_uid == *uid);
            let sent = match kept.map(|instance| instance.failure) {
                Some(None) => Sent::Taken,
                Some(Some(reason)) => not_kept(&format!("reason {reason:#06x}")),
                None => not_kept("it said nothing of it"),
            };
            told(entry, sent);
        }
        Ok(())
    }
}

/// What the status of a C-STORE says (PS3.4 table B.2-1).
fn said(status: u16) -> Sent {
    match status {
        DUPLICATE => Sent::Taken,
        CLASS_REFUSED => Sent::ClassRefused,
        status if is_stored(status) => Sent::Taken,
        status => Sent::Refused {
            reason: format!("status {status:#06x}"),
            // Cannot understand, does not match: the instance's fault. Else the node's.
            lasting: matches!(status, 0xA900..=0xA9FF | 0xC000..=0xCFFF),
        },
    }
}

fn not_kept(reason: &str) -> Sent {
    Sent::Refused { reason: format!("it does not keep it: {reason}"), lasting: false }
}

fn unreachable(error: Error) -> Unreachable {
    Unreachable { reason: report(&error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whether_to_try_again() {
        let lasting = |status| match said(status) {
            Sent::Refused { lasting, .. } => Some(lasting),
            Sent::Taken | Sent::ClassRefused => None,
        };
        assert_eq!([0, 0xB000, 0x0111].map(said), [Sent::Taken, Sent::Taken, Sent::Taken]);
        assert_eq!(said(0x0122), Sent::ClassRefused);
        let statuses = [0xA700, 0x0110, 0xA900, 0xC001];
        assert_eq!(statuses.map(lasting), [Some(false), Some(false), Some(true), Some(true)]);
    }
}
