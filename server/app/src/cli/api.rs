//! What commands ask `/api/v1` of a running server.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;

use crate::cli::{Failure, ServerToken, http_agent};

/// A connection to `/api/v1` of a server.
pub struct Client {
    agent: Agent,
    base: String,
}

impl Client {
    /// Of the server at `url`, such as `http://127.0.0.1:8080`.
    pub fn new(url: &str, token: &ServerToken) -> Result<Self, Failure> {
        Ok(Self { agent: http_agent(url, token)?, base: format!("{}/api/v1", url.trim_end_matches('/')) })
    }

    /// What lies at a path.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let (_, body) = answer(self.agent.get(format!("{}{path}", self.base)).call())?;
        serde_json::from_value(body).map_err(Failure::of)
    }

    /// Status and answer of what is sent to a path.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<(u16, Value), Failure> {
        let body = serde_json::to_string(body).map_err(Failure::of)?;
        let request = self.agent.post(format!("{}{path}", self.base));
        answer(request.header("Content-Type", "application/json").send(body))
    }

    /// Has what lies at a path deleted.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        answer(self.agent.delete(format!("{}{path}", self.base)).call()).map(drop)
    }

    /// Takes a bundle into use: the job, or none where it is in use already.
    pub fn use_bundle(&self, bundle: &str) -> Result<Option<Value>, Failure> {
        let (status, body) = self.post("/models/use", &json!({ "bundle": bundle }))?;
        Ok((status == 202).then_some(body))
    }
}

/// Status and JSON of a success, null where it has no body; the server's own words otherwise.
fn answer(answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<(u16, Value), Failure> {
    let mut answer = answer.map_err(|error| Failure::say(format!("could not reach the server: {error}")))?;
    let status = answer.status();
    let body = answer.body_mut().read_to_vec().map_err(Failure::of)?;
    if status.is_success() && body.is_empty() {
        return Ok((status.as_u16(), Value::Null));
    }
    let body: Value = serde_json::from_slice(&body).map_err(|error| {
        Failure::say(format!("the server answered {status} and no JSON ({error}); is it Engram?"))
    })?;
    if status.is_success() {
        return Ok((status.as_u16(), body));
    }
    Err(Failure::say(words(&body)))
}

/// An error of the API as one sentence after the other.
pub fn words(problem: &Value) -> String {
    let part = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{}. {}", part("message"), part("what_to_do"))
}
