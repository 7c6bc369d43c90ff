//! `/api/v1/nodes`: other archives by name: whether they are there, what they have, and having it sent to and fro.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, WARNING};
use actix_web::{HttpResponse, Responder, web};
use dicom_object::InMemDicomObject;
use engram_archive::Archive;
use engram_dimse::{Level, Outgoing};
use engram_jobs::Queue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::job_view::JobView;
use super::problem::{Problem, blocking};
use crate::dimse;
use crate::nodes::{self, DicomwebNode, KnownNode, Named, Objects, RETRIEVE_KIND, SEND_KIND};

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
    known: nodes::Nodes,
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
    /// How it is spoken to: `DIMSE` or `DICOMweb`.
    protocol: &'static str,
    /// Its AE title, where it speaks DIMSE.
    #[serde(skip_serializing_if = "Option::is_none")]
    ae_title: Option<String>,
    /// Host and port, where it speaks DIMSE.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// What its resources are below, where it speaks DICOMweb.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Whether it is spoken to over TLS.
    tls: bool,
}

/// Whether a node is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct Echo {
    /// 0 when all is well, else the status of C-ECHO.
    status: u16,
}

/// What to ask a node for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NodeQuery)]
pub struct Query {
    /// PATIENT (DIMSE alone), STUDY, SERIES or INSTANCE.
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
    pub fn new(known: nodes::Nodes, is_reachable: bool, queue: Queue, archive: Archive) -> Self {
        Self { known, is_reachable, queue, archive, places: Semaphore::new(MAX_WAITING) }
    }

    fn named(&self, name: &str) -> Result<Named<'_>, Problem> {
        self.known.named(name).ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_node",
                format!("there is no node {name:.64}"),
                "GET /api/v1/nodes lists the nodes; [[dimse.nodes]] and [[dicomweb.nodes]] of the configuration name them.",
            )
        })
    }

    /// Speaks to a node off the async threads, when it is its turn.
    async fn speak<T: Send + 'static, E: Into<Problem> + Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.places.acquire().await.map_err(Problem::internal)?;
        blocking(work).await
    }
}

/// `GET /nodes`
pub async fn list(nodes: web::Data<Nodes>) -> impl Responder {
    let of_dimse = |KnownNode { remote, .. }: &KnownNode| NodeView {
        name: remote.name.clone(),
        protocol: "DIMSE",
        ae_title: Some(remote.ae_title.clone()),
        address: Some(remote.address.clone()),
        url: None,
        tls: remote.tls.is_some(),
    };
    let of_dicomweb = |node: &Arc<DicomwebNode>| NodeView {
        name: node.name().to_owned(),
        protocol: "DICOMweb",
        ae_title: None,
        address: None,
        url: Some(node.url().to_owned()),
        tls: node.url().starts_with("https:"),
    };
    let known = &nodes.known;
    let views = known.dimse.iter().map(of_dimse).chain(known.dicomweb.iter().map(of_dicomweb));
    HttpResponse::Ok().json(views.collect::<Vec<_>>())
}

/// `POST /nodes/{node}/echo`
pub async fn echo(nodes: web::Data<Nodes>, name: web::Path<String>) -> Result<impl Responder, Problem> {
    let status = match nodes.named(&name)? {
        Named::Dimse(node) => {
            let node = node.remote.clone();
            nodes.speak(move || dimse::echo(&node)).await?
        }
        Named::Dicomweb(node) => {
            let node = Arc::clone(node);
            nodes.speak(move || node.echo()).await?;
            0
        }
    };
    Ok(HttpResponse::Ok().json(Echo { status }))
}

/// `POST /nodes/{node}/query {level, keys, limit}`: the matches in DICOM JSON.
pub async fn query(
    nodes: web::Data<Nodes>,
    name: web::Path<String>,
    body: web::Json<Query>,
) -> Result<HttpResponse, Problem> {
    let node = nodes.named(&name)?;
    let Query { level, keys, limit } = body.into_inner();
    let limit = limit.unwrap_or(USUAL_MATCHES);
    if !(1..=MAX_MATCHES).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {MAX_MATCHES}")));
    }
    let (matches, is_complete) = match node {
        Named::Dimse(node) => {
            let search = nodes::search(&level, &keys).map_err(Problem::bad_request)?;
            let node = node.remote.clone();
            let found = nodes.speak(move || Outgoing::to_find(&node)?.find(&search, limit)).await?;
            (in_json(&found.matches)?, found.is_complete)
        }
        Named::Dicomweb(node) => {
            let search = nodes::search_of_keys_alone(&level, &keys).map_err(Problem::bad_request)?;
            if search.level == Level::Patient {
                return Err(Problem::bad_request("DICOMweb has no level PATIENT: ask for studies"));
            }
            let node = Arc::clone(node);
            let found = nodes.speak(move || node.find(&search, limit)).await?;
            (found.matches.into_iter().map(Value::Object).collect(), found.is_complete)
        }
    };
    let mut response = HttpResponse::Ok();
    if !is_complete {
        response.insert_header((WARNING, MORE));
    }
    let body = serde_json::to_vec(&matches).map_err(Problem::internal)?;
    Ok(response.content_type("application/dicom+json").body(body))
}

fn in_json(matches: &[InMemDicomObject]) -> Result<Vec<Value>, Problem> {
    let told: Option<Vec<Value>> = matches.iter().map(nodes::told).collect();
    told.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "node_failed",
            "the node answered with what does not go into DICOM JSON",
            "Ask for fewer attributes; the node's conformance statement tells what it supports.",
        )
    })
}

/// `POST /nodes/{node}/retrieve {study, series, instances}`: 202 and the job that has the node send them to us, or fetches them.
pub async fn retrieve(
    nodes: web::Data<Nodes>,
    name: web::Path<String>,
    body: web::Json<Objects>,
) -> Result<HttpResponse, Problem> {
    let node = nodes.named(&name)?;
    let objects = checked(body.into_inner())?;
    if matches!(node, Named::Dimse(_)) && !nodes.is_reachable {
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
        nodes::enqueue(&queue, kind, &node, objects)
            .map_err(|source| engram_workflow::Error::Queue { source })
    });
    let view = JobView::from(job.await?);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, view.links.itself.clone())).json(view))
}
