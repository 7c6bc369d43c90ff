//! `engram serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::Uri;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, web};
use clap::Args;
use engram_dicomweb::{DicomWeb, DicomWebOptions};
use engram_dimse::Commitments;
use engram_worklist::Worklist;

use super::{Common, Failure};
use crate::assembly::{self, House};
use crate::config::{Config, at_least_a_second, mebibytes};
use crate::guard::{self, AuditLog, Guard, Tokens};
use crate::http::viewer::{self, Viewer};
use crate::http::{compression, cors, page};
use crate::nodes::{Nodes, Transfers};
use crate::tls::Certificate;
use crate::{dimse, http, listen, outgoing};

/// Run the server.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Address and port to listen on, instead of the configuration's.
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<SocketAddr>,
}

/// Opens the store, binds, serves until asked to stop, then lets running work come to a safe point.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut config = options.common.load()?;
    if let Some(bind) = options.bind {
        config.server.bind = bind;
    }
    cors::check(&config.server.cors_origins)?;
    check_public_url(config.dicomweb.public_url.as_deref())?;
    guard::check_addresses(&config)?;
    let certificate = Certificate::configured(&config.server)?;
    let dimse = dimse::Settings::read(&config, certificate.as_ref())?;
    let viewer = Viewer::find(config.viewer.folder.as_deref())?;
    let commitments = Arc::new(Commitments::default());
    let (audit, writer) = AuditLog::start(&config.storage.data, &config.audit)?;
    let nodes = Nodes::configured(&config, Arc::clone(&dimse.nodes))?;
    let recipients = outgoing::configured(&config, &nodes, &commitments, &audit)?;
    let house = assembly::open(&config, recipients)?;
    house.workflow.check_rules().map_err(Failure::of)?;
    let workers = house.workflow.start_workers(config.jobs.segmentation_workers).map_err(Failure::of)?;
    dimse::start(&config, &dimse, &house, audit.clone(), Arc::clone(&commitments))?;
    let dicomweb = DicomWeb::new(house.archive.clone(), house.worklist.clone(), dicomweb_options(&config))
        .with_observer(Arc::new(assembly::Observer(Arc::clone(&house.workflow))));
    let transfers = Transfers {
        queue: house.queue.clone(),
        dicomweb: dicomweb.clone(),
        nodes: nodes.clone(),
        transcoding: dimse::transcoding(&config),
        commitments,
        audit: audit.clone(),
    };
    let transfers = transfers.start(config.dimse.max_transfers)?;
    let nodes = http::Nodes::new(nodes, dimse.is_reachable(), house.queue.clone(), house.archive.clone());
    let faces = Faces { dicomweb, nodes, viewer, audit, certificate, of_dimse: dimse.certificate };
    let served = actix_web::rt::System::new().block_on(serve(&config, &house, faces));
    transfers.stop();
    workers.stop();
    writer.into_iter().for_each(guard::Writer::stop);
    served
}

/// What is shown to the network, and how.
struct Faces {
    dicomweb: DicomWeb,
    nodes: http::Nodes,
    viewer: Viewer,
    audit: AuditLog,
    /// HTTP's.
    certificate: Option<Arc<Certificate>>,
    of_dimse: Option<Arc<Certificate>>,
}

async fn serve(config: &Config, house: &House, faces: Faces) -> Result<(), Failure> {
    let Faces { dicomweb, nodes, viewer, audit, certificate, of_dimse } = faces;
    let patience = at_least_a_second(config.limits.request_body_seconds);
    let state = http::State::new(Arc::clone(&house.workflow), viewer.is_there(), patience);
    let state = web::Data::new(state);
    let nodes = web::Data::new(nodes);
    let tokens: web::Data<Tokens> = Arc::clone(&house.tokens).into();
    let guard = web::Data::new(Guard::new(config, Arc::clone(&house.tokens), audit));
    let viewer = web::Data::new(viewer);
    let origins = config.server.cors_origins.clone();
    let app = move || {
        let (dicomweb, state, nodes, tokens, viewer) =
            (dicomweb.clone(), state.clone(), nodes.clone(), tokens.clone(), viewer.clone());
        // The last to be wrapped stands before the others: preflights carry no token, so CORS comes first.
        App::new()
            .app_data(guard.clone())
            .wrap(from_fn(compression::compress))
            .wrap(from_fn(guard::watch))
            .wrap(Condition::new(!origins.is_empty(), cors::allowing(&origins)))
            // Of many requests for little the path is a fair part of the work, and paths are tried in turn.
            .service(
                web::scope("/dicomweb")
                    .configure(|scope| engram_dicomweb::configure(scope, dicomweb.clone())),
            )
            .configure(|services| http::configure(services, state, nodes, tokens))
            .configure(page::configure)
            .configure(|services| viewer::configure(services, viewer))
            .configure(|services| engram_dicomweb::configure_wado_uri(services, dicomweb))
            .default_service(web::to(http::nowhere))
    };
    allow_many_files(config);
    let server = listen::start(config, certificate.as_ref(), app)?;
    warn_of_what_is_open(config);
    let is_another =
        |of_dimse: &Arc<Certificate>| !certificate.as_ref().is_some_and(|one| Arc::ptr_eq(one, of_dimse));
    let of_dimse = of_dimse.filter(is_another);
    certificate.into_iter().chain(of_dimse).try_for_each(reload_on_hangup)?;
    take_leave_when_asked_to_stop(house.worklist.clone())?;
    server.await.map_err(Failure::of)
}

/// Files that are open beside connections: the database, objects that are received, folders that are synced.
const OTHER_FILES: u64 = 512;

/// Lets the process open as many files as the system allows, and says so where connections could use them up.
#[cfg(unix)]
fn allow_many_files(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A connection is a socket, and a file that is being sent.
    let wanted = (config.limits.max_connections as u64).saturating_mul(2).saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if is_enough(current) {
        return;
    }
    let most = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    if raised.is_err() || !is_enough(Some(most)) {
        tracing::warn!(
            wanted,
            allowed = if raised.is_ok() { Some(most) } else { current },
            "fewer files may be open than [limits] max_connections could use: requests beyond are refused"
        );
    }
}

#[cfg(not(unix))]
fn allow_many_files(_config: &Config) {}

fn warn_of_what_is_open(config: &Config) {
    if config.server.tls_certificate.is_none() && !config.server.bind.ip().is_loopback() {
        tracing::warn!(
            "tokens and images cross the network unencrypted: set [server] tls_certificate, or put a proxy with TLS \
             before this port"
        );
    }
}

/// Refuses what clients could not reach anything under.
fn check_public_url(url: Option<&str>) -> Result<(), Failure> {
    let is_url = |text: &str| {
        let uri = text.parse::<Uri>().ok();
        uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && uri.query().is_none()
        })
    };
    match url.filter(|url| !is_url(url)) {
        None => Ok(()),
        Some(wrong) => Err(Failure::say(format!(
            "[dicomweb] public_url: {wrong:?} is no URL of a server. Write scheme, host and path, such as \
             \"https://pacs.example/dicomweb\"."
        ))),
    }
}

/// Reads the certificate again whenever the process gets SIGHUP.
#[cfg(unix)]
fn reload_on_hangup(certificate: Arc<Certificate>) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup()).map_err(Failure::of)?;
    drop(actix_web::rt::spawn(async move {
        while hangups.recv().await.is_some() {
            let certificate = Arc::clone(&certificate);
            match web::block(move || certificate.reload()).await {
                Ok(Ok(())) => tracing::info!("the TLS certificate was read again"),
                Ok(Err(failure)) => tracing::error!(%failure, "the TLS certificate before stays"),
                Err(error) => tracing::error!(%error, "the TLS certificate before stays"),
            }
        }
    }));
    Ok(())
}

#[cfg(not(unix))]
fn reload_on_hangup(_certificate: Arc<Certificate>) -> Result<(), Failure> {
    Ok(())
}

/// Ends the connections of those who watch the worklist when the process is asked to stop: the server would wait for them.
#[cfg(unix)]
fn take_leave_when_asked_to_stop(worklist: Worklist) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut stops = signal(kind).map_err(Failure::of)?;
        let worklist = worklist.clone();
        drop(actix_web::rt::spawn(async move {
            if stops.recv().await.is_some() {
                worklist.close();
            }
        }));
    }
    Ok(())
}

#[cfg(not(unix))]
fn take_leave_when_asked_to_stop(_worklist: Worklist) -> Result<(), Failure> {
    Ok(())
}

fn dicomweb_options(config: &Config) -> DicomWebOptions {
    let defaults = DicomWebOptions::default();
    DicomWebOptions {
        max_metadata_bytes: usize::try_from(mebibytes(config.limits.max_metadata_mb)).unwrap_or(usize::MAX),
        max_frame_bytes: mebibytes(config.limits.max_frame_mb),
        max_frames: config.limits.max_frames_per_answer,
        max_decoding: match config.limits.max_decoding {
            0 => defaults.max_decoding,
            most => most,
        },
        max_request_bytes: mebibytes(config.limits.max_request_mb),
        max_parts: config.limits.max_instances_per_request,
        max_workitem_bytes: config.worklist.max_workitem_kb.saturating_mul(2 << 10),
        max_decode_bytes: mebibytes(config.limits.max_instance_mb),
        read_timeout: at_least_a_second(config.limits.request_body_seconds),
        allow_delete: config.dicomweb.allow_delete,
        public_url: config.dicomweb.public_url.clone(),
        openapi_url: Some(http::openapi::URL.to_owned()),
        ..defaults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_a_server_is_refused() {
        for url in ["https://pacs.example/dicomweb", "http://10.0.0.7:8080/dicomweb/"] {
            assert!(check_public_url(Some(url)).is_ok(), "{url}");
        }
        for wrong in ["", "pacs.example", "/dicomweb", "ftp://pacs.example", "https://pacs.example/?a=b"] {
            assert!(check_public_url(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
