//! DIMSE over the archive: what C-STORE brings goes the same way as what STOW-RS brings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engram_archive::{Archive, Incoming, StoreOutcome, StoreRequirements};
use engram_dimse::{
    ANY_AE_TITLE, Asked, CommandField, Named, Outgoing, Peer, Receiver, Refusal, RemoteNode, Scp, ScpOptions,
};
use engram_imaging::{DecodeLimits, TranscodeLimits};
use engram_workflow::{Workflow, report};

use crate::assembly::House;
use crate::cli::Failure;
use crate::config::{Config, Dimse, Node, mebibytes};
use crate::guard::{AuditLog, Record, shortened};

/// Out of resources (PS3.4 B.2.3).
const OUT_OF_RESOURCES: u16 = 0xA700;
/// How long a node may take to answer a C-ECHO.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);

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
            action: "C-STORE".to_owned(),
            instance: Some(instance.sop_instance_uid.clone()),
            bytes: instance.bytes,
            ..record(peer, status)
        });
    }

    fn asked(&self, peer: &Peer, asked: &Asked) {
        let action = match asked.service {
            CommandField::Find => "C-FIND",
            CommandField::Get => "C-GET",
            CommandField::Action => "N-ACTION",
            _ => "C-MOVE",
        };
        let key = |level| (asked.level == level && !asked.key.is_empty()).then(|| shortened(&asked.key));
        self.audit.write(Record {
            action: action.to_owned(),
            query: key("PATIENT").filter(|_| self.audit.keeps_queries()),
            study: key("STUDY"),
            series: key("SERIES"),
            instance: key("IMAGE"),
            instances: Some(asked.instances),
            ..record(peer, asked.status)
        });
    }
}

fn record(peer: &Peer, status: u16) -> Record {
    Record {
        who: Some(peer.ae_title.clone()),
        peer: Some(peer.address.to_string()),
        status: Some(status),
        complete: true,
        ..Record::default()
    }
}

/// Binds the port, if one is configured, and serves it on a thread of its own.
pub fn start(config: &Config, house: &House, audit: AuditLog) -> Result<(), Failure> {
    let Some(bind) = config.dimse.bind else { return Ok(()) };
    let options = options(config, bind);
    let store = Store { archive: house.archive.clone(), workflow: Arc::clone(&house.workflow), audit };
    let scp = Scp::bind(options, house.archive.clone(), Arc::new(store)).map_err(Failure::of)?;
    tracing::info!(%bind, ae_title = config.dimse.ae_title, "DIMSE is answered");
    std::thread::Builder::new()
        .name("dimse-listener".into())
        .spawn(move || scp.serve())
        .map(drop)
        .map_err(|error| Failure::say(format!("could not start the DIMSE listener: {error}")))
}

fn options(config: &Config, bind: SocketAddr) -> ScpOptions {
    let (dimse, limits) = (&config.dimse, &config.limits);
    ScpOptions {
        bind,
        ae_title: dimse.ae_title.clone(),
        calling_ae_titles: calling(dimse),
        calling_addresses: dimse.calling_addresses.clone(),
        nodes: dimse.nodes.iter().map(remote).collect(),
        query_retrieve: dimse.query_retrieve,
        max_associations: dimse.max_associations,
        max_pdu_bytes: dimse.max_pdu_kb.saturating_mul(1024),
        timeout: Duration::from_secs(dimse.timeout_seconds.max(1)),
        transcoding: TranscodeLimits {
            decode: DecodeLimits { max_frame_bytes: mebibytes(limits.max_frame_mb) },
            max_object_bytes: mebibytes(limits.max_instance_mb),
        },
    }
}

/// Asks a node whether it is there (C-ECHO); its status.
pub fn echo(config: &Dimse, node: &Node) -> Result<u16, engram_dimse::Error> {
    let mut outgoing = Outgoing::to_verify(&remote(node), &config.ae_title, ECHO_PATIENCE)?;
    let status = outgoing.echo()?;
    outgoing.release()?;
    Ok(status)
}

fn remote(node: &Node) -> RemoteNode {
    RemoteNode { ae_title: node.ae_title.clone(), address: node.address.clone() }
}

/// Who may call. That none is named outside of loopback, the guard has refused already.
fn calling(config: &Dimse) -> Vec<String> {
    match config.calling_ae_titles.as_slice() {
        [] => vec![ANY_AE_TITLE.to_owned()],
        named => named.to_vec(),
    }
}
