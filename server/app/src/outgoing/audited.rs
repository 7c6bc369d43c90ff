//! What leaves the house has its lines in the audit log: one for each attempt.

use std::sync::Arc;

use engram_archive::{InstanceEntry, InstanceUids};
use engram_jobs::JobId;
use engram_workflow::{CallFailure, Hook, NewsKind, Node, Origin, Sent, Unreachable};

use crate::guard::{AuditLog, Record, shortened};

/// A node or webhook, and what is told of sending to it.
pub struct Audited<T: ?Sized> {
    /// Whom it is sent to.
    pub recipient: Arc<T>,
    /// What every line says: as whom, to whom, how.
    pub line: Record,
    /// Where the lines go.
    pub audit: AuditLog,
}

impl Node for Audited<dyn Node> {
    fn name(&self) -> &str {
        self.recipient.name()
    }

    fn is_where(&self, origin: &Origin) -> bool {
        self.recipient.is_where(origin)
    }

    fn send(
        &self,
        instances: &[InstanceEntry],
        told: &mut dyn FnMut(&InstanceEntry, Sent) -> bool,
    ) -> Result<(), Unreachable> {
        self.audit.write_timed(self.line.clone(), |record| {
            record.study = common(instances, |uids| &uids.study_instance_uid);
            record.series = common(instances, |uids| &uids.series_instance_uid);
            record.instance = common(instances, |uids| &uids.sop_instance_uid);
            let mut taken = 0;
            let sent = self.recipient.send(instances, &mut |entry, sent| {
                if sent == Sent::Taken {
                    taken += 1;
                    record.bytes += entry.size;
                }
                told(entry, sent)
            });
            record.instances = Some(taken);
            record.complete = sent.is_ok() && taken == instances.len() as u64;
            sent
        })
    }
}

/// The UID that all of them have.
fn common(instances: &[InstanceEntry], uid: impl Fn(&InstanceUids) -> &String) -> Option<String> {
    let (first, rest) = instances.split_first()?;
    let first = uid(&first.uids);
    rest.iter().all(|entry| uid(&entry.uids) == first).then(|| shortened(first))
}

impl Hook for Audited<dyn Hook> {
    fn name(&self) -> &str {
        self.recipient.name()
    }

    fn wants(&self, kind: NewsKind) -> bool {
        self.recipient.wants(kind)
    }

    fn call(&self, id: JobId, body: &str) -> Result<(), CallFailure> {
        self.audit.write_timed(self.line.clone(), |record| {
            let called = self.recipient.call(id, body);
            record.bytes = body.len() as u64;
            record.complete = called.is_ok();
            called
        })
    }
}
