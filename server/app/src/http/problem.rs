//! The one JSON shape of errors, and the one table from the rooms' errors to statuses.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use engram_dimse::Error as DimseError;
use engram_workflow::Error as WorkflowError;
use serde::Serialize;

use crate::nodes::NodeError;

/// An error as the API answers it.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// A stable word for programs.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What the reader can do about it.
    pub what_to_do: String,
}

impl Problem {
    /// A problem of this status.
    pub fn new(
        status: StatusCode,
        code: &str,
        message: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), what_to_do: what_to_do.into() }
    }

    /// 404: nothing is at this path.
    pub fn no_such_resource() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_resource",
            "there is nothing at this path",
            "GET /api/v1/openapi.json tells what there is.",
        )
    }

    /// 404: no job of this id.
    pub fn no_such_job(id: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_job",
            format!("there is no job {id}"),
            "List the jobs with GET /api/v1/jobs; finished ones are forgotten after a while.",
        )
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            message,
            "Compare the request with the API page of the documentation.",
        )
    }

    /// 408: the body did not arrive in time.
    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "read_timeout",
            "could not receive the request: its body took too long",
            "Send the request again, without pauses.",
        )
    }

    /// 500: ours.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        tracing::error!(%message, "a request failed inside");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            message.to_string(),
            "The server's log says more; `engram doctor` checks store, bundle and disk.",
        )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(self)
    }
}

impl From<WorkflowError> for Problem {
    fn from(error: WorkflowError) -> Self {
        let status = match &error {
            WorkflowError::NoSuchSeries { .. }
            | WorkflowError::NoSuchSegmentation { .. }
            | WorkflowError::NoSuchBundle { .. }
            | WorkflowError::NoSuchRule { .. }
            | WorkflowError::NoSuchResult { .. } => StatusCode::NOT_FOUND,
            WorkflowError::BundleNotReady { .. }
            | WorkflowError::BundleNeeded { .. }
            | WorkflowError::RuleOfConfiguration { .. }
            | WorkflowError::SwitchUnderWay { .. } => StatusCode::CONFLICT,
            WorkflowError::NotAVolume { .. }
            | WorkflowError::UnknownLabel { .. }
            | WorkflowError::NoExemplars { .. }
            | WorkflowError::OtherModality { .. }
            | WorkflowError::OpenBundle { .. }
            | WorkflowError::NotOnSeries { .. }
            | WorkflowError::ReadSegmentation { .. }
            | WorkflowError::BadRule { .. }
            | WorkflowError::SourceNotStored { .. }
            | WorkflowError::BadRequest { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            WorkflowError::TooLarge { .. }
            | WorkflowError::Rendition { source: engram_report::Error::TooLarge { .. }, .. }
            | WorkflowError::MakeBinary { source: engram_seg::Error::TooLarge { .. }, .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            WorkflowError::Rendition { .. } | WorkflowError::MakeBinary { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            WorkflowError::Queue { source: engram_jobs::Error::Full { .. } } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(error = %engram_workflow::report(&error), "a request failed inside");
        }
        let failure = engram_workflow::failure(&error);
        Self { status, code: failure.code, message: failure.message, what_to_do: failure.what_to_do }
    }
}

impl From<DimseError> for Problem {
    fn from(error: DimseError) -> Self {
        let message = engram_workflow::report(&error);
        match error {
            DimseError::Refused { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "node_refused",
                message,
                "See what the node's conformance statement says of the status, and whether it lets us ask.",
            ),
            DimseError::NothingAccepted | DimseError::NoContext { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "node_does_not_support",
                message,
                "The node does not offer that service to us; see its configuration.",
            ),
            DimseError::Silent => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "node_silent",
                message,
                "See that the node is up; [[dimse.nodes]] timeout_seconds says how long it is waited for.",
            ),
            DimseError::Association { .. }
            | DimseError::Aborted
            | DimseError::Address { .. }
            | DimseError::Unexpected { .. }
            | DimseError::BadCommand { .. }
            | DimseError::ReadDataSet { .. }
            | DimseError::Send { .. }
            | DimseError::Peer { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "node_failed",
                message,
                "See that the node is up, that its address, AE title and TLS are right, and that it knows our AE title.",
            ),
            _ => Self::internal(message),
        }
    }
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        let status = match error {
            NodeError::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let (code, advice) = error.code_and_advice();
        Self::new(status, code, error.to_string(), advice)
    }
}

/// Runs blocking work off the async threads.
pub async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match actix_web::web::block(work).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(error) => Err(Problem::internal(error)),
    }
}
