//! Webhooks over HTTP.

use std::time::Duration;

use engram_jobs::JobId;
use engram_workflow::{CallFailure, Hook, NewsKind};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use ureq::Agent;

use super::{ASKING_PATIENCE, Answer, agent};
use crate::cli::Failure;
use crate::config;

/// How long a script may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The resource is gone and will not come back (RFC 9110 15.5.11).
const GONE: u16 = 410;

/// A script's URL.
pub struct Webhook {
    name: String,
    url: String,
    secret: Option<String>,
    events: Vec<NewsKind>,
    agent: Agent,
}

impl Webhook {
    /// Of the configuration.
    pub fn new(configured: &config::Webhook) -> Result<Self, Failure> {
        let config::Webhook { name, url, secret, events } = configured.clone();
        Ok(Self { agent: agent(&url, PATIENCE)?, name, url, secret, events })
    }

    /// Whether somebody answers there; the status of the answer.
    pub fn ask(&self) -> Answer {
        let request = self.agent.head(&self.url).config().timeout_global(Some(ASKING_PATIENCE)).build();
        request.call().map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    }
}

impl Hook for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self, kind: NewsKind) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }

    fn call(&self, id: JobId, body: &str) -> Result<(), CallFailure> {
        let request = self.agent.post(&self.url).header("Content-Type", "application/json");
        let request = request.header("Engram-Delivery", id.to_string());
        let request = match &self.secret {
            Some(secret) => request.header("Engram-Signature", signature(secret, body)),
            None => request,
        };
        let answer = request.send(body);
        let answer = answer.map_err(|error| CallFailure { reason: error.to_string(), lasting: false })?;
        let status = answer.status();
        match status.is_success() {
            true => Ok(()),
            false => {
                Err(CallFailure { reason: format!("it answered {status}"), lasting: status.as_u16() == GONE })
            }
        }
    }
}

/// `sha256=` and the HMAC (RFC 2104) of the body with SHA-256, as hexadecimal digits: who knows the secret can tell that the
/// body is ours.
fn signature(secret: &str, body: &str) -> String {
    // Keys of any length are taken.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let digest = mac.map(|mac| mac.chain_update(body).finalize().into_bytes());
    digest.map(|digest| format!("sha256={}", hex::encode(digest))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", "what do ya want for nothing?"), expected);
    }
}
