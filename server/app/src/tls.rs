//! TLS by rustls, from a certificate and a key file: for HTTP, and for DIMSE in both directions. What rustls speaks is
//! what BCP 195 asks for: TLS 1.2 and 1.3 with forward secrecy and authenticated encryption (PS3.15 B.12).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::cli::Failure;
use crate::config::{Config, Server};

/// The certificate that we show, and where it came from.
#[derive(Debug)]
pub struct Certificate {
    /// The section of the configuration that names it.
    section: String,
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// The configured one for HTTP; `None` where TLS is not asked for.
    pub fn configured(server: &Server) -> Result<Option<Arc<Self>>, Failure> {
        Self::of("server", server.tls_certificate.as_deref(), server.tls_key.as_deref())
    }

    /// The one for DIMSE: its own, or HTTP's where it has none; `None` where there is none either.
    pub fn of_dimse(config: &Config, of_http: Option<&Arc<Self>>) -> Result<Option<Arc<Self>>, Failure> {
        let dimse = &config.dimse;
        let own = Self::of("dimse", dimse.tls_certificate.as_deref(), dimse.tls_key.as_deref())?;
        Ok(own.or_else(|| of_http.cloned()))
    }

    fn of(
        section: &str,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Arc<Self>>, Failure> {
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Self::load(section, certificate, key).map(Arc::new).map(Some),
            _ => Err(Failure::say(format!(
                "[{section}] tls_certificate and tls_key go together: name both or none"
            ))),
        }
    }

    fn load(section: &str, certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let current = RwLock::new(Arc::new(read(section, certificate, key)?));
        let section = section.to_owned();
        Ok(Self { section, certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads both files again; connections from now on get what they hold. Where they do not fit, the certificate
    /// before stays.
    pub fn reload(&self) -> Result<(), Failure> {
        *self.current.write() = Arc::new(read(&self.section, &self.certificate, &self.key)?);
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// rustls' settings: TLS 1.2 and 1.3. actix-web adds what ALPN offers: HTTP/2, then HTTP/1.1.
pub fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, Failure> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Failure::of)?;
    Ok(config.with_no_client_auth().with_cert_resolver(certificate))
}

/// For who calls by DIMSE. Where authorities of clients are named, a client must show a certificate of theirs.
pub fn dimse_server_config(
    certificate: Arc<Certificate>,
    client_ca: Option<&Path>,
) -> Result<ServerConfig, Failure> {
    let Some(client_ca) = client_ca else { return server_config(certificate) };
    let roots = Arc::new(authorities("[dimse] tls_client_ca", client_ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Failure::of)?;
    let config = config.with_client_cert_verifier(verifier.map_err(Failure::of)?);
    Ok(config.with_cert_resolver(certificate))
}

/// For calling nodes: trusts the authorities in the file `ca`, or the system's where none is named, and shows our
/// certificate to who asks for one.
pub fn client_config(
    ca: Option<&Path>,
    certificate: Option<Arc<Certificate>>,
) -> Result<ClientConfig, Failure> {
    let roots = match ca {
        Some(ca) => authorities("[[dimse.nodes]] tls_ca", ca)?,
        None => authorities_of_the_system(),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Failure::of)?
        .with_root_certificates(roots);
    Ok(match certificate {
        Some(certificate) => config.with_client_cert_resolver(certificate),
        None => config.with_no_client_auth(),
    })
}

fn authorities(setting: &str, path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(setting, path)? {
        roots.add(certificate).map_err(|error| wrong(setting, path, &error))?;
    }
    Ok(roots)
}

/// What the system trusts, or the file that SSL_CERT_FILE names. What there is unusable counts for nothing.
fn authorities_of_the_system() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "could not read a certificate authority of the system");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

/// What computes the cryptography, for servers and clients: ring, which builds with a C compiler alone.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(section: &str, certificate: &Path, key: &Path) -> Result<CertifiedKey, Failure> {
    let chain = chain(&format!("[{section}] tls_certificate"), certificate)?;
    let setting = format!("[{section}] tls_key");
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&setting, key, &error))?;
    let made = CertifiedKey::from_der(chain, private, &ring::default_provider());
    made.map_err(|error| wrong(&setting, key, &error))
}

/// The certificates in a PEM file; there is one at least.
fn chain(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(setting, path, &error))?;
    match chain.is_empty() {
        true => Err(wrong(setting, path, &"it holds no certificate in PEM")),
        false => Ok(chain),
    }
}

fn wrong(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::say(format!("could not use {setting}, {}: {error}", path.display()))
}
