//! DIMSE over the archive: what C-STORE brings goes the same way as what STOW-RS brings.

use std::sync::Arc;
use std::time::Duration;

use engram_archive::{Archive, Incoming, StoreRequirements};
use engram_dimse::{
    ANY_AE_TITLE, Asked, CommandField, Commitments, Named, Outgoing, Peer, Port, Receiver, Refusal,
    RemoteNode, Scp, ScpOptions,
};
use engram_imaging::{DecodeLimits, TranscodeLimits};
use engram_workflow::{Origin, Source, Workflow, report};

use crate::assembly::House;
use crate::cli::Failure;
use crate::config::{Config, Dimse, mebibytes};
use crate::guard::{AuditLog, Record, shortened};
use crate::nodes::{KnownNode, configured_for_dimse};
use crate::tls::{self, Certificate};

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
        self.archive
            .incoming_file()
            .map_err(|error| Refusal { status: OUT_OF_RESOURCES, comment: report(&error) })
    }

    fn finish(&self, peer: &Peer, instance: Incoming) -> Result<(), Refusal> {
        let outcome = self.archive.store(instance, &StoreRequirements::default()).map_err(|failure| {
            Refusal { status: failure.error.failure_reason(), comment: report(&failure) }
        })?;
        let origin = Origin { source: Source::Dimse, calling_ae_title: Some(peer.ae_title.clone()) };
        self.workflow
            .arriving(std::iter::once(outcome.instance()), &origin)
            .map_err(|error| Refusal { status: OUT_OF_RESOURCES, comment: report(&error) })?;
        self.workflow.instance_stored(outcome.instance());
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

/// What DIMSE needs of the configuration, read and checked.
pub struct Settings {
    ports: Vec<Port>,
    /// The nodes that are known.
    pub nodes: Arc<Vec<KnownNode>>,
    /// The certificate that is shown, if there is one.
    pub certificate: Option<Arc<Certificate>>,
}

impl Settings {
    /// Reads files of TLS; `of_http` is HTTP's certificate.
    pub fn read(config: &Config, of_http: Option<&Arc<Certificate>>) -> Result<Self, Failure> {
        let certificate = Certificate::of_dimse(config, of_http)?;
        let nodes = Arc::new(configured_for_dimse(&config.dimse, certificate.as_ref())?);
        Ok(Self { ports: ports(&config.dimse, certificate.as_ref())?, nodes, certificate })
    }

    /// Whether a node can call us.
    pub fn is_reachable(&self) -> bool {
        !self.ports.is_empty()
    }
}

fn ports(dimse: &Dimse, certificate: Option<&Arc<Certificate>>) -> Result<Vec<Port>, Failure> {
    let mut ports: Vec<_> = dimse.bind.map(|bind| Port { bind, tls: None }).into_iter().collect();
    if let Some(bind) = dimse.tls_bind {
        let certificate = certificate.cloned().ok_or_else(|| {
            Failure::say("[dimse] tls_bind needs tls_certificate and tls_key, there or in [server]")
        })?;
        let config = tls::dimse_server_config(certificate, dimse.tls_client_ca.as_deref())?;
        ports.push(Port { bind, tls: Some(Arc::new(config)) });
    }
    Ok(ports)
}

/// Binds the ports, if any are configured, and serves them on threads of their own.
pub fn start(
    config: &Config,
    settings: &Settings,
    house: &House,
    audit: AuditLog,
    commitments: Arc<Commitments>,
) -> Result<(), Failure> {
    if settings.ports.is_empty() {
        return Ok(());
    }
    let options = options(config, settings);
    let store = Store { archive: house.archive.clone(), workflow: Arc::clone(&house.workflow), audit };
    let scp = Scp::bind(options, house.archive.clone(), Arc::new(store), commitments).map_err(Failure::of)?;
    for Port { bind, tls } in &settings.ports {
        tracing::info!(%bind, tls = tls.is_some(), ae_title = config.dimse.ae_title, "DIMSE is answered");
    }
    std::thread::Builder::new()
        .name("dimse-scp".into())
        .spawn(move || {
            if let Err(error) = scp.serve() {
                tracing::error!(%error, "DIMSE is not answered");
            }
        })
        .map(drop)
        .map_err(|error| Failure::say(format!("could not start the DIMSE listener: {error}")))
}

fn options(config: &Config, settings: &Settings) -> ScpOptions {
    let dimse = &config.dimse;
    ScpOptions {
        ports: settings.ports.clone(),
        ae_title: dimse.ae_title.clone(),
        calling_ae_titles: calling(dimse),
        calling_addresses: dimse.calling_addresses.clone(),
        nodes: settings.nodes.iter().map(|node| node.remote.clone()).collect(),
        query_retrieve: dimse.query_retrieve,
        max_associations: dimse.max_associations,
        max_pdu_bytes: dimse.max_pdu_kb.saturating_mul(1024),
        timeout: Duration::from_secs(dimse.timeout_seconds.max(1)),
        transcoding: transcoding(config),
        commitment_journal: config.storage.data.join("commitment.journal"),
    }
}

/// What may be transcoded for a peer.
pub fn transcoding(config: &Config) -> TranscodeLimits {
    TranscodeLimits {
        decode: DecodeLimits { max_frame_bytes: mebibytes(config.limits.max_frame_mb) },
        max_object_bytes: mebibytes(config.limits.max_instance_mb),
    }
}

/// Asks a node whether it is there (C-ECHO); its status.
pub fn echo(node: &RemoteNode) -> Result<u16, engram_dimse::Error> {
    let node = RemoteNode { timeout: node.timeout.min(ECHO_PATIENCE), ..node.clone() };
    let mut outgoing = Outgoing::to_verify(&node)?;
    let status = outgoing.echo()?;
    outgoing.release()?;
    Ok(status)
}

/// Who may call. That none is named outside of loopback, the guard has refused already.
fn calling(config: &Dimse) -> Vec<String> {
    match config.calling_ae_titles.as_slice() {
        [] => vec![ANY_AE_TITLE.to_owned()],
        named => named.to_vec(),
    }
}
