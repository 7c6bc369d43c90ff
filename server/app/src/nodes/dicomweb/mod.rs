//! A node of `[[dicomweb.nodes]]`: a DICOMweb server that is searched by QIDO-RS, retrieved from by WADO-RS and sent to by STOW-RS
//! (PS3.18 10.4 to 10.6).

mod answer;
mod error;
mod retrieve;
mod search;
mod store;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::HeaderValue;
use ureq::{Agent, RequestBuilder};

use crate::cli::Failure;
use crate::config;
use crate::guard::Record;
use crate::outgoing::{ASKING_PATIENCE, Answer, agent};

pub use error::NodeError;

/// How long a request may take at all: a series of tens of gigabytes may go over a slow line.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How long a node may be silent: where the configuration does not say it, and at the most.
const USUAL_SILENCE_SECONDS: u64 = 60;
const MAX_SILENCE_SECONDS: u64 = 24 * 3600;
/// What metadata comes in.
const DICOM_JSON: &str = "application/dicom+json";

/// A DICOMweb server by name.
pub struct DicomwebNode {
    name: String,
    /// What its resources are below, without a slash at the end.
    url: String,
    authorization: Option<HeaderValue>,
    silence: Duration,
    agent: Agent,
    our_name: String,
}

impl DicomwebNode {
    /// Of the configuration. `our_name` is who the audit log says that asks it.
    ///
    /// # Errors
    /// Its URL is none, or holds a password; or it is told who asks in two ways.
    pub fn new(configured: &config::DicomwebNode, our_name: &str) -> Result<Self, Failure> {
        let url = configured.url.trim_end_matches('/');
        let authority = url.split_once("://").and_then(|(_, rest)| rest.split('/').next());
        if authority.is_some_and(|authority| authority.contains('@')) {
            // It would be told to whoever lists the nodes.
            let problem = "its url holds a user or a password; give `username` and `password` instead";
            return Err(Failure::say(format!("node {:?}: {problem}", configured.name)));
        }
        let silence = configured.timeout_seconds.unwrap_or(USUAL_SILENCE_SECONDS);
        let silence = silence.clamp(1, MAX_SILENCE_SECONDS);
        Ok(Self {
            name: configured.name.clone(),
            url: url.to_owned(),
            authorization: authorization(configured)?,
            silence: Duration::from_secs(silence),
            agent: agent(url, PATIENCE)?,
            our_name: our_name.to_owned(),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL that its `/studies` lies below.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for one study (PS3.18 10.6); the status of the answer.
    pub fn ask(&self) -> Answer {
        let request = self.get("/studies?limit=1", DICOM_JSON);
        let asked = request.config().timeout_global(Some(ASKING_PATIENCE)).build().call();
        asked.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    }

    /// Asks it whether it answers searches.
    ///
    /// # Errors
    /// It does not.
    pub fn echo(&self) -> Result<(), NodeError> {
        self.found_within(ASKING_PATIENCE, "/studies?limit=1", 1, &|| true).map(drop)
    }

    /// What every line of the audit log says of dealings with it: as whom, with whom, and what.
    pub fn audit_line(&self, action: &str) -> Record {
        Record::of_ours(&self.our_name, format!("{} ({})", self.name, self.url), action)
    }

    fn get(&self, path: &str, accept: &str) -> RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(format!("{}{path}", self.url));
        self.impatient(self.authorized(request.header("Accept", accept)))
    }

    /// Given up once nothing has gone to and fro for so long as the node may be silent.
    fn impatient<Body>(&self, request: RequestBuilder<Body>) -> RequestBuilder<Body> {
        let silence = Some(self.silence);
        request.config().timeout_per_read(silence).timeout_per_write(silence).build()
    }

    fn authorized<Body>(&self, request: RequestBuilder<Body>) -> RequestBuilder<Body> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }
}

fn authorization(node: &config::DicomwebNode) -> Result<Option<HeaderValue>, Failure> {
    let value = match (&node.token, &node.username) {
        (Some(token), None) => format!("Bearer {token}"),
        (None, Some(user)) => {
            let password = node.password.as_deref().unwrap_or_default();
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        }
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Failure::say(format!("node {:?} has a token and a username; choose one", node.name)));
        }
    };
    let value: Result<HeaderValue, _> = value.parse();
    value
        .map(Some)
        .map_err(|_| Failure::say(format!("the token of node {:?} holds odd characters", node.name)))
}
