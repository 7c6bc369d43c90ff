//! TLS by rustls, from a certificate and a key file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::cli::Failure;
use crate::config::Server;

/// The certificate that is shown to clients, and where it came from.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// The configured one; `None` where TLS is not asked for.
    pub fn configured(server: &Server) -> Result<Option<Arc<Self>>, Failure> {
        match (&server.tls_certificate, &server.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Self::load(certificate, key).map(Arc::new).map(Some),
            _ => Err(Failure::say("[server] tls_certificate and tls_key go together: name both or none")),
        }
    }

    fn load(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads both files again; connections from now on get what they hold. Where they do not fit, the certificate
    /// before stays.
    pub fn reload(&self) -> Result<(), Failure> {
        *self.current.write() = Arc::new(read(&self.certificate, &self.key)?);
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

/// rustls' settings: TLS 1.2 and 1.3. actix-web adds what ALPN offers: HTTP/2, then HTTP/1.1.
pub fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, Failure> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Failure::of)?;
    Ok(config.with_no_client_auth().with_cert_resolver(certificate))
}

/// What computes the cryptography, for servers and clients: ring, which builds with a C compiler alone.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Failure> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong("tls_certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong("tls_certificate", certificate, &"it holds no certificate in PEM"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls_key", key, &error))?;
    let made = CertifiedKey::from_der(chain, private, &ring::default_provider());
    let made = made.map_err(|error| wrong("tls_key", key, &error))?;
    Ok(made)
}

fn wrong(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::say(format!("could not use [server] {setting}, {}: {error}", path.display()))
}
