//! C-STORE into the archive: what DIMSE brings goes the same way as what STOW-RS brings.

use std::sync::Arc;
use std::time::Duration;

use engram_archive::{Archive, Incoming, StoreOutcome, StoreRequirements};
use engram_dimse::{ANY_AE_TITLE, Named, Peer, Receiver, Refusal, Scp, ScpOptions};
use engram_workflow::{Workflow, report};

use crate::assembly::House;
use crate::cli::Failure;
use crate::config::Dimse;
use crate::guard::{AuditLog, Record};

/// Out of resources (PS3.4 B.2.3).
const OUT_OF_RESOURCES: u16 = 0xA700;

struct Store {
    archive: Archive,
    workflow: Arc<Workflow>,
    audit: AuditLog,
}

impl Receiver for Store {
    type Instance = Incoming;

    fn begin(&self) -> Result<Incoming, Refusal> {
        self.archive.incoming().map_err(|error| Refusal { status: OUT_OF_RESOURCES, comment: report(&error) })
    }

    fn finish(&self, instance: Incoming) -> Result<(), Refusal> {
        let outcome = self.archive.store(instance, &StoreRequirements::default()).map_err(|failure| {
            Refusal { status: failure.error.failure_reason(), comment: report(&failure) }
        })?;
        if let StoreOutcome::Stored(instance) = &outcome {
            self.workflow.instance_stored(instance);
        }
        Ok(())
    }

    fn stored(&self, peer: &Peer, instance: &Named, status: u16) {
        self.audit.write(Record {
            who: Some(peer.ae_title.clone()),
            peer: Some(peer.address.to_string()),
            action: "C-STORE".to_owned(),
            instance: Some(instance.sop_instance_uid.clone()),
            status: Some(status),
            bytes: instance.bytes,
            complete: true,
            ..Record::default()
        });
    }
}

/// Binds the port, if one is configured, and serves it on a thread of its own.
pub fn start(config: &Dimse, house: &House, audit: AuditLog) -> Result<(), Failure> {
    let Some(bind) = config.bind else { return Ok(()) };
    let options = ScpOptions {
        bind,
        ae_title: config.ae_title.clone(),
        calling_ae_titles: calling(config),
        max_associations: config.max_associations,
        timeout: Duration::from_secs(config.timeout_seconds.max(1)),
    };
    let store = Store { archive: house.archive.clone(), workflow: Arc::clone(&house.workflow), audit };
    let scp = Scp::bind(options, Arc::new(store)).map_err(Failure::of)?;
    tracing::info!(%bind, ae_title = config.ae_title, "C-STORE and C-ECHO are answered");
    std::thread::Builder::new()
        .name("dimse-listener".into())
        .spawn(move || scp.serve())
        .map(drop)
        .map_err(|error| Failure::say(format!("could not start the DIMSE listener: {error}")))
}

/// Who may call. That none is named outside of loopback, the guard has refused already.
fn calling(config: &Dimse) -> Vec<String> {
    match config.calling_ae_titles.as_slice() {
        [] => vec![ANY_AE_TITLE.to_owned()],
        named => named.to_vec(),
    }
}
