//! The DICOMweb room alone, over an archive of its own: for benches and tests from outside. The server that people
//! run is `engram serve`.
//!
//!     cargo run --release -p engram-dicomweb --example serve -- --bind 127.0.0.1:8080 --data DIR

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use actix_web::{App, HttpResponse, HttpServer, web};
use clap::Parser;
use engram_archive::{Archive, ArchiveOptions};
use engram_dicomweb::{DicomWeb, DicomWebOptions, configure, configure_wado_uri};
use engram_worklist::{Worklist, WorklistOptions};

/// What to serve, and where.
#[derive(Parser)]
struct Arguments {
    /// Address and port.
    #[arg(long)]
    bind: String,
    /// Folder of the store; made if it is not there.
    #[arg(long)]
    data: PathBuf,
    /// The URL clients use, for RetrieveURL and BulkDataURI.
    #[arg(long)]
    public_url: Option<String>,
    /// Taken so that the command line of `engram serve` works; nothing is read from it.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.data)?;
    let database = arguments.data.join("db");
    let db = sled::open(&database)?;
    let archive = Archive::open(&arguments.data, &db, ArchiveOptions::new(database))?;
    let options = DicomWebOptions { public_url: arguments.public_url, ..DicomWebOptions::default() };
    let journal = arguments.data.join("worklist.journal");
    let worklist = Worklist::open(db.open_tree("worklist")?, &journal, WorklistOptions::default())?;
    let state = DicomWeb::new(archive, worklist, options);
    HttpServer::new(move || {
        App::new()
            .route("/api/v1/health", web::get().to(async || HttpResponse::Ok().json(["ok"])))
            .configure(|services| configure_wado_uri(services, state.clone()))
            .service(web::scope("/dicomweb").configure(|scope| configure(scope, state.clone())))
    })
    .bind(&arguments.bind)?
    .run()
    .await?;
    Ok(())
}
