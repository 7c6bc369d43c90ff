//! `/api/v1/nodes`: other archives by name: whether they are there, what they have, and having it sent to and fro.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, WARNING};
use actix_web::{HttpResponse, Responder, web};
use engram_archive::Archive;
use engram_dimse::{Error as DimseError, Outgoing};
use engram_jobs::Queue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::job_view::JobView;
use super::problem::{Problem, blocking};
use crate::dimse::{self, KnownNode, Objects, RETRIEVE_KIND, SEND_KIND};

/// Matches of a query at the most.
const MAX_MATCHES: usize = 1000;
/// Matches of a query that does not say how many.
const USUAL_MATCHES: usize = 100;
/// Nodes that are waited for at a time; further requests wait for their turn.
const MAX_WAITING: usize = 16;
/// Says, as QIDO-RS does, that there were more (PS3.18 8.3.4.4).
const MORE: &str = "299 engram \"There are additional results that can be requested\"";

/// What the routes share.
pub struct Nodes {
    known: Arc<Vec<KnownNode>>,
    /// Whether nodes can send to us.
    is_reachable: bool,
    queue: Queue,
    archive: Archive,
    places: Semaphore,
}

/// A node as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeView {
    /// What it is called.
    name: String,
    /// How it is spoken to: `DIMSE`.
    protocol: &'static str,
    /// Its AE title.
    ae_title: String,
    /// Host and port.
    address: String,
    /// Whether it is spoken to over TLS.
    tls: bool,
}

/// Whether a node is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct Echo {
    /// The status of C-ECHO; 0 when all is well.
    status: u16,
}

/// What to ask a node for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NodeQuery)]
pub struct Query {
    /// PATIENT, STUDY, SERIES or INSTANCE.
    level: String,
    /// By keyword or tag: a value, a list of them, or an attribute of the DICOM JSON model. An empty one is told, and
    /// matches everything.
    #[serde(default)]
    #[schema(value_type = Object)]
    keys: Map<String, Value>,
    /// The most matches, 1 to 1000; 100 unless it is said.
    limit: Option<usize>,
}

impl Nodes {
    /// Over the nodes that are known.
    pub fn new(known: Arc<Vec<KnownNode>>, is_reachable: bool, queue: Queue, archive: Archive) -> Self {
        Self { known, is_reachable, queue, archive, places: Semaphore::new(MAX_WAITING) }
    }

    fn named(&self, name: &str) -> Result<&KnownNode, Problem> {
        self.known.iter().find(|known| known.remote.name == name).ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_node",
                format!("there is no node {name:.64}"),
                "GET /api/v1/nodes lists the nodes; [[dimse.nodes]] of the configuration names them.",
            )
        })
    }

    /// Speaks to a node off the async threads, when it is its turn.
    async fn speak<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, DimseError> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.places.acquire().await.map_err(Problem::internal)?;
        blocking(work).await
    }
}

/// `GET /nodes`
pub async fn list(nodes: web::Data<Nodes>) -> impl Responder {
    let view = |KnownNode { remote, .. }: &KnownNode| NodeView {
        name: remote.name.clone(),
        protocol: "DIMSE",
        ae_title: remote.ae_title.clone(),
        address: remote.address.clone(),
        tls: remote.tls.is_some(),
    };
    HttpResponse::Ok().json(nodes.known.iter().map(view).collect::<Vec<_>>())
}

/// `POST /nodes/{node}/echo`
pub async fn echo(nodes: web::Data<Nodes>, name: web::Path<String>) -> Result<impl Responder, Problem> {
    let node = nodes.named(&name)?.remote.clone();
    let status = nodes.speak(move || dimse::echo(&node)).await?;
    Ok(HttpResponse::Ok().json(Echo { status }))
}

/// `POST /nodes/{node}/query {level, keys, limit}`: the matches in DICOM JSON.
pub async fn query(
    nodes: web::Data<Nodes>,
    name: web::Path<String>,
    body: web::Json<Query>,
) -> Result<HttpResponse, Problem> {
    let node = nodes.named(&name)?.remote.clone();
    let Query { level, keys, limit } = body.into_inner();
    let search = dimse::search(&level, &keys).map_err(Problem::bad_request)?;
    let limit = limit.unwrap_or(USUAL_MATCHES);
    if !(1..=MAX_MATCHES).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {MAX_MATCHES}")));
    }
    let found = nodes.speak(move || Outgoing::to_find(&node)?.find(&search, limit)).await?;
    let matches: Option<Vec<Value>> = found.matches.iter().map(dimse::told).collect();
    let Some(matches) = matches else {
        return Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "node_failed",
            "the node answered with what does not go into DICOM JSON",
            "Ask for fewer attributes; the node's conformance statement tells what it supports.",
        ));
    };
    let mut response = HttpResponse::Ok();
    if !found.is_complete {
        response.insert_header((WARNING, MORE));
    }
    let body = serde_json::to_vec(&matches).map_err(Problem::internal)?;
    Ok(response.content_type("application/dicom+json").body(body))
}

/// `POST /nodes/{node}/retrieve {study, series, instances}`: 202 and the job that has the node send them to us.
pub async fn retrieve(
    nodes: web::Data<Nodes>,
    name: web::Path<String>,
    body: web::Json<Objects>,
) -> Result<HttpResponse, Problem> {
    nodes.named(&name)?;
    let objects = checked(body.into_inner())?;
    if !nodes.is_reachable {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "no_dimse_port",
            "the node could not send anything to us: no DIMSE port is open",
            "Set [dimse] bind or tls_bind, and tell the node our AE title, address and port.",
        ));
    }
    enqueued(&nodes, RETRIEVE_KIND, name.into_inner(), objects).await
}

/// `POST /nodes/{node}/store {study, series, instances}`: 202 and the job that sends them to the node.
pub async fn store(
    nodes: web::Data<Nodes>,
    name: web::Path<String>,
    body: web::Json<Objects>,
) -> Result<HttpResponse, Problem> {
    nodes.named(&name)?;
    let objects = checked(body.into_inner())?;
    let (archive, wanted) = (nodes.archive.clone(), objects.clone());
    let stored = blocking(move || {
        wanted.stored(&archive).map_err(|error| Problem::internal(engram_workflow::report(&error)))
    });
    if stored.await?.is_empty() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "nothing_to_send",
            "nothing of that is stored here",
            "QIDO-RS lists what is stored.",
        ));
    }
    enqueued(&nodes, SEND_KIND, name.into_inner(), objects).await
}

fn checked(objects: Objects) -> Result<Objects, Problem> {
    match objects.problem() {
        Some(problem) => Err(Problem::bad_request(problem)),
        None => Ok(objects),
    }
}

async fn enqueued(
    nodes: &web::Data<Nodes>,
    kind: &'static str,
    node: String,
    objects: Objects,
) -> Result<HttpResponse, Problem> {
    let queue = nodes.queue.clone();
    let job = blocking(move || {
        dimse::enqueue(&queue, kind, &node, objects)
            .map_err(|source| engram_workflow::Error::Queue { source })
    });
    let view = JobView::from(job.await?);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, view.links.itself.clone())).json(view))
}
