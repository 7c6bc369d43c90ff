//! The middleware before every route: promises a line of the audit log, finds a place, asks who it is and whether they
//! may, has the request answered, and writes the line when the answer is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};
use bytes::Bytes;
use engram_dicomweb::direct::Outlet;
use tokio::sync::OwnedSemaphorePermit;

use super::Guard;
use super::access::{self, Access};
use super::audit::{self, Line, Record};
use super::credentials::Credentials;
use super::role::{self, Role, Roles};
use super::tokens::Recognised;
use crate::http::Problem;

/// Who asks. A handler finds it among the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Anyone: no token is asked for.
    Local,
    /// The bearer of a token.
    Bearer {
        /// The token's name.
        name: String,
        /// What it lets them do.
        roles: Roles,
    },
    /// No token came, and this route asks for none.
    Nobody,
}

/// Seconds after which a client that found no place may try again.
const RETRY_SECONDS: u16 = 1;

/// Stands before the routes.
pub async fn watch(
    guard: web::Data<Guard>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Watched>, Error> {
    let is_head = request.method() == Method::HEAD;
    let record = record_of(&request, guard.audit.keeps_queries());
    let Ok(mut line) = guard.audit.promise(record).await else {
        return Ok(refused(request, &ending(), None));
    };
    let Admitted { caller, place } = match admit(&guard, &request) {
        Ok(admitted) => admitted,
        Err(Refusal { who, problem }) => {
            line.record.who = who;
            return Ok(refused(request, &problem, Some(line)));
        }
    };
    line.record.who = name(&caller);
    // Without a place nothing is touched: a look at the server's health, which some take every second.
    let line = match place {
        Some(_) => Some(line),
        None => {
            line.take_back();
            None
        }
    };
    request.extensions_mut().insert(caller);
    let response = next.call(request).await?;
    Ok(watched(response, line, place, is_head))
}

/// Who was let in.
struct Admitted {
    caller: Caller,
    /// None: the route is open, and answers also when the server is full.
    place: Option<OwnedSemaphorePermit>,
}

fn admit(guard: &Guard, request: &ServiceRequest) -> Result<Admitted, Refusal> {
    let need = access::needed(request.method(), path(request));
    let caller = caller(guard, need, request)?;
    if need == Access::Open {
        return Ok(Admitted { caller, place: None });
    }
    match guard.places.clone().try_acquire_owned() {
        Ok(place) => Ok(Admitted { caller, place: Some(place) }),
        Err(_) => Err(Refusal { who: name(&caller), problem: full(guard.max_requests) }),
    }
}

/// The path that routes are matched against: percent-decoded once, as the router does it.
fn path(request: &ServiceRequest) -> &str {
    request.match_info().as_str()
}

fn record_of(request: &ServiceRequest, keeps_queries: bool) -> Record {
    let uid = |level| access::uid_after(level, path(request)).map(audit::shortened);
    let query = request.query_string();
    Record {
        peer: request.peer_addr().map(|peer| peer.to_string()),
        action: request.method().to_string(),
        path: Some(audit::shortened(path(request))),
        query: (keeps_queries && !query.is_empty()).then(|| audit::shortened(query)),
        study: uid("studies"),
        series: uid("series"),
        instance: uid("instances"),
        ..Record::default()
    }
}

/// Why someone was not let in, and their name where it is known.
struct Refusal {
    who: Option<String>,
    problem: Problem,
}

fn caller(guard: &Guard, need: Access, request: &ServiceRequest) -> Result<Caller, Refusal> {
    if !guard.demand.is_on(guard.tokens.ever_any()) {
        return Ok(Caller::Local);
    }
    let text = match Credentials::of(request.headers()) {
        Credentials::None if need == Access::Open => return Ok(Caller::Nobody),
        Credentials::None => return Err(unauthorised("no token came with it")),
        Credentials::Unreadable => return Err(unauthorised("its Authorization header holds no token")),
        Credentials::Token(text) => text,
    };
    let token = match guard.tokens.recognise(&text) {
        Recognised::InForce(token) => token,
        Recognised::Expired(token) => {
            let who = Some(token.name.clone());
            return Err(Refusal { who, ..unauthorised(&format!("the token {} has expired", token.name)) });
        }
        Recognised::Unknown => return Err(unauthorised("its token is not known here, or was revoked")),
    };
    match need {
        Access::AnyOf(roles) if !token.roles.allow(roles) => {
            let problem = forbidden(&token.name, &token.roles, roles);
            Err(Refusal { who: Some(token.name), problem })
        }
        _ => Ok(Caller::Bearer { name: token.name, roles: token.roles }),
    }
}

fn name(caller: &Caller) -> Option<String> {
    match caller {
        Caller::Local => Some("local".to_owned()),
        Caller::Bearer { name, .. } => Some(name.clone()),
        Caller::Nobody => None,
    }
}

fn unauthorised(reason: &str) -> Refusal {
    let problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorised",
        format!("could not accept the request: {reason}"),
        "Send a token: `Authorization: Bearer TOKEN`, or Basic with the token as the password. \
         `engram tokens add` makes one.",
    );
    Refusal { who: None, problem }
}

fn forbidden(name: &str, has: &Roles, needs: &[Role]) -> Problem {
    let needs = if needs.is_empty() { &[Role::Admin] } else { needs };
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!(
            "could not accept the request: the token {name} has the roles {has}, and this needs {}",
            role::words(needs, " or ")
        ),
        "Use a token with that role; `engram tokens list` shows which have it.",
    )
}

fn full(max_requests: usize) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_requests",
        format!("could not accept the request: {max_requests} are being answered"),
        "Try again in a moment; [limits] max_requests sets how many are answered at a time.",
    )
}

fn ending() -> Problem {
    let message = "could not accept the request: the server is ending";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ending", message, "Try again when it has started anew.")
}

/// The answer to a request that reaches no route.
fn refused(request: ServiceRequest, problem: &Problem, line: Option<Line>) -> ServiceResponse<Watched> {
    let is_head = request.method() == Method::HEAD;
    let mut response: HttpResponse = problem.error_response();
    let headers = response.headers_mut();
    match problem.status_code() {
        StatusCode::UNAUTHORIZED => {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"Engram\""));
            let basic = HeaderValue::from_static("Basic realm=\"Engram\", charset=\"UTF-8\"");
            headers.append(WWW_AUTHENTICATE, basic);
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        _ => {}
    }
    watched(request.into_response(response), line, None, is_head)
}

fn watched<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    mut line: Option<Line>,
    place: Option<OwnedSemaphorePermit>,
    is_head: bool,
) -> ServiceResponse<Watched> {
    if let Some(line) = &mut line {
        line.record.status = Some(response.status().as_u16());
    }
    let outlet = Outlet::of(response.request()).cloned();
    response.map_body(|_, body| {
        let body = body.boxed();
        let left = match body.size() {
            _ if is_head => Some(0),
            BodySize::None => Some(0),
            BodySize::Sized(length) => Some(length),
            BodySize::Stream => None,
        };
        let direct = outlet.map(|outlet| (outlet.beyond_marks(), outlet));
        let mut watched = Watched { body, left, is_head, direct, line, _place: place };
        watched.sent(0);
        watched
    })
}

/// A body on its way: counts what is sent, and holds the request's place and its line until it is gone.
pub struct Watched {
    body: BoxBody,
    /// Bytes that are still to come; none: that is not known before the end.
    left: Option<u64>,
    /// Whether it is read and never sent.
    is_head: bool,
    /// Where the connection counts what it sends of files beside what the body yields, and what it had counted before.
    direct: Option<(i64, Outlet)>,
    line: Option<Line>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Watched {
    fn sent(&mut self, bytes: u64) {
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        if let Some(line) = &mut self.line {
            line.record.bytes += bytes;
            line.record.complete = self.left == Some(0);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(line), Some((before, outlet))) = (&mut self.line, &self.direct) {
            line.record.bytes = line.record.bytes.saturating_add_signed(outlet.beyond_marks() - before);
        }
    }
}

impl MessageBody for Watched {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) if !self.is_head => self.sent(bytes.len() as u64),
            Poll::Ready(None) if self.left.is_none() => {
                self.left = Some(0);
                self.sent(0);
            }
            _ => {}
        }
        polled
    }
}
