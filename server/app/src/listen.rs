//! Listening for HTTP: by plain connections, which send stored files themselves, or by TLS.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceFactory, ServiceRequest, ServiceResponse, fn_service};
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, HttpServer};
use engram_dicomweb::direct::Connection;

use crate::cli::Failure;
use crate::config::{Config, at_least_a_second};
use crate::tls::{self, Certificate};

/// Connections that the system keeps until they are taken.
const BACKLOG: i32 = 1024;
/// How long the end of a connection may take.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What connections may cost.
struct Limits {
    threads: usize,
    connections: usize,
    head: Duration,
    keep_alive: Duration,
    shutdown_seconds: u64,
}

impl Limits {
    fn of(config: &Config) -> Self {
        let threads = match config.server.workers {
            0 => thread::available_parallelism().map_or(2, usize::from),
            threads => threads,
        };
        Self {
            threads,
            connections: config.limits.max_connections.div_ceil(threads).max(1),
            head: at_least_a_second(config.limits.request_head_seconds),
            keep_alive: Duration::from_secs(config.limits.keep_alive_seconds),
            shutdown_seconds: config.server.shutdown_seconds,
        }
    }
}

/// Serves `app` on the configured address, from a system of actix: by TLS where there is a certificate.
pub fn start<F, T, B>(
    config: &Config,
    certificate: Option<&Arc<Certificate>>,
    app: F,
) -> Result<Server, Failure>
where
    F: Fn() -> App<T> + Clone + Send + 'static,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let (bind, limits) = (config.server.bind, Limits::of(config));
    let started = match certificate {
        None => plain(bind, &limits, app),
        Some(certificate) => {
            let tls = tls::server_config(Arc::clone(certificate))?;
            let server = HttpServer::new(app)
                .workers(limits.threads)
                .tcp_nodelay(true)
                .max_connections(limits.connections)
                .client_request_timeout(limits.head)
                .tls_handshake_timeout(limits.head)
                .keep_alive(limits.keep_alive)
                .shutdown_timeout(limits.shutdown_seconds)
                .bind_rustls_0_23(bind, tls);
            server.map(|server| (server.addrs(), server.run()))
        }
    };
    let (addresses, server) = started.map_err(|error| {
        Failure::say(format!(
            "could not listen on {bind}: {error}. Is another program on that port? Choose one with --bind."
        ))
    })?;
    let scheme = if certificate.is_some() { "https" } else { "http" };
    for address in addresses {
        tracing::info!(%address, scheme, data = %config.storage.data.display(), "Engram listens: DICOMweb at /dicomweb, API at /api/v1");
    }
    Ok(server)
}

/// As `HttpServer` does it, but that each socket is a [`Connection`].
fn plain<F, T, B>(bind: SocketAddr, limits: &Limits, app: F) -> io::Result<(Vec<SocketAddr>, Server)>
where
    F: Fn() -> App<T> + Clone + Send + 'static,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let listener = TcpListener::bind(bind)?;
    rustix::net::listen(&listener, BACKLOG)?;
    let address = listener.local_addr()?;
    let builder = Server::build()
        .workers(limits.threads)
        .max_concurrent_connections(limits.connections)
        .shutdown_timeout(limits.shutdown_seconds);
    let (shutdown, head, keep_alive) = (builder.graceful_shutdown_signal(), limits.head, limits.keep_alive);
    let server = builder.listen("http", listener, move || {
        let shutdown = shutdown.clone();
        let app = app().into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(head)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .on_connect_ext(Connection::introduce)
            // The one way for others than `HttpServer` to say where the server is.
            .h1(map_config(app, move |()| AppConfig::__priv_test_new(false, address.to_string(), address)));
        fn_service(async |socket: TcpStream| {
            // An answer's last, short packet must not wait for the acknowledgement of those before it: 40 ms, where it did.
            socket.set_nodelay(true)?;
            let peer = socket.peer_addr().ok();
            Ok((Connection::new(socket), peer))
        })
        .and_then(http)
    })?;
    Ok((vec![address], server.run()))
}
