//! `engram serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use clap::Args;
use engram_dicomweb::{DicomWeb, DicomWebOptions};

use super::{Common, Failure};
use crate::assembly::{self, House};
use crate::config::{Config, mebibytes};
use crate::{dimse, http};

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
    let house = assembly::open(&config)?;
    let workers = house.workflow.start_workers(config.jobs.segmentation_workers).map_err(Failure::of)?;
    dimse::start(&config.dimse, &house)?;
    let served = actix_web::rt::System::new().block_on(serve(&config, &house));
    workers.stop();
    served
}

async fn serve(config: &Config, house: &House) -> Result<(), Failure> {
    let state =
        web::Data::new(http::State { workflow: Arc::clone(&house.workflow), rules: config.rules.clone() });
    let dicomweb = DicomWeb::new(house.archive.clone(), dicomweb_options(config))
        .with_observer(Arc::new(assembly::Observer(Arc::clone(&house.workflow))));
    let threads = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        n => n,
    };
    let server = HttpServer::new(move || {
        let dicomweb = dicomweb.clone();
        let state = state.clone();
        App::new()
            .configure(|services| http::configure(services, state))
            .configure(|services| engram_dicomweb::configure_wado_uri(services, dicomweb.clone()))
            .service(web::scope("/dicomweb").configure(|scope| engram_dicomweb::configure(scope, dicomweb)))
    })
    .workers(threads)
    .shutdown_timeout(config.server.shutdown_seconds)
    .bind(config.server.bind)
    .map_err(|error| {
        Failure::say(format!(
            "could not listen on {}: {error}. Is another program on that port? Choose one with --bind.",
            config.server.bind
        ))
    })?;
    for address in server.addrs() {
        tracing::info!(%address, data = %config.storage.data.display(), "Engram listens: DICOMweb at /dicomweb, API at /api/v1");
    }
    server.run().await.map_err(Failure::of)
}

fn dicomweb_options(config: &Config) -> DicomWebOptions {
    DicomWebOptions {
        max_request_bytes: mebibytes(config.limits.max_request_mb),
        max_parts: config.limits.max_instances_per_request,
        max_decode_bytes: mebibytes(config.limits.max_instance_mb),
        ..DicomWebOptions::default()
    }
}
