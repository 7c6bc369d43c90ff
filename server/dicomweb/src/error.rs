//! What the DICOMweb room could not do, and the one table that turns it into an HTTP status.

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::{StatusCode, header};
use serde::Serialize;
use snafu::Snafu;
use utoipa::ToSchema;

use crate::multipart::MultipartError;
use crate::ups::warning;

/// What [`Error`] is used with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not fulfilled.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// A UID in the path is none.
    #[snafu(display("could not read the {name} UID `{text}`: a UID is 1 to 64 digits and dots"))]
    BadUid {
        /// Whose UID: study, series, instance.
        name: &'static str,
        /// What stood there.
        text: String,
    },
    /// The query string or a path segment does not read.
    #[snafu(display("could not read the request: {message}"))]
    BadQuery {
        /// What is wrong.
        message: String,
    },
    /// The resource does not know the method.
    #[snafu(display("could not use that method: the resource takes {allow}"))]
    MethodNotAllowed {
        /// The methods it knows, as a list.
        allow: String,
    },
    /// Nothing the client accepts can be sent.
    #[snafu(display(
        "could not answer in an acceptable media type: `{accept}` was asked for, {offered} can be sent"
    ))]
    NotAcceptable {
        /// What the client accepts.
        accept: String,
        /// What there is, as a list.
        offered: String,
    },
    /// The request body is of a media type this transaction does not take.
    #[snafu(display("could not take a body of type `{found}`"))]
    UnsupportedMediaType {
        /// The `Content-Type` that came.
        found: String,
    },
    /// The request body is larger than allowed.
    #[snafu(display("could not take more than {limit} bytes in one request"))]
    RequestTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The request body is no multipart body, or is cut short.
    #[snafu(display("could not read the multipart body: {source}"))]
    Multipart {
        /// Why.
        source: MultipartError,
    },
    /// A STOW request without any part.
    #[snafu(display("could not find an instance in the request"))]
    NoInstances,
    /// The body stopped arriving.
    #[snafu(display("could not receive the request: nothing came for {seconds} s"))]
    ReadTimeout {
        /// How long was waited.
        seconds: u64,
    },
    /// The connection failed while the body was arriving.
    #[snafu(display("could not receive the request: {source}"))]
    ReadBody {
        /// Why.
        source: actix_web::error::PayloadError,
    },
    /// There is no such study, series, instance or element.
    #[snafu(display("could not find {what}"))]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The configuration forbids deletion.
    #[snafu(display("could not delete: deletion is switched off"))]
    DeleteForbidden,
    /// The object is too large to be decoded in memory.
    #[snafu(display("could not decode an object of {size} bytes: the limit is {limit}"))]
    TooLargeToDecode {
        /// Bytes of the object.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The stored object does not read.
    #[snafu(display("could not read the stored object: {source}"))]
    ReadObject {
        /// Why.
        source: Box<dicom_object::ReadError>,
    },
    /// The object's pixels cannot be had as asked.
    #[snafu(display("could not give the pixels as asked: {source}"))]
    Pixels {
        /// Why.
        source: engram_imaging::Error,
    },
    /// The stored segmentation does not read.
    #[snafu(display("could not show the segmentation: {source}"))]
    Segmentation {
        /// Why.
        source: engram_seg::Error,
    },
    /// More pictures are asked for than one answer may hold.
    #[snafu(display("could not send {count} pictures in one answer: the limit is {limit}"))]
    TooManyPictures {
        /// Pictures there are.
        count: usize,
        /// Pictures allowed.
        limit: usize,
    },
    /// No byte of what is sent lies in the range asked for.
    #[snafu(display("could not send that range: there are {length} bytes"))]
    RangeNotSatisfiable {
        /// Bytes of the whole.
        length: u64,
    },
    /// An instance cannot be had in the transfer syntax asked for.
    #[snafu(display("could not transcode instance {instance}: {source}"))]
    Transcode {
        /// SOPInstanceUID.
        instance: String,
        /// Why.
        source: engram_imaging::Error,
    },
    /// The data set of a request does not read.
    #[snafu(display("could not read the data set: {problem}"))]
    BadDataSet {
        /// Why.
        problem: String,
    },
    /// Something else than a WebSocket was to be opened.
    #[snafu(display("could not open a WebSocket: {problem}"))]
    NotAWebSocket {
        /// What is missing.
        problem: String,
    },
    /// The worklist refused, or failed.
    #[snafu(display("{source}"))]
    Worklist {
        /// Why.
        source: engram_worklist::Error,
    },
    /// The archive failed.
    #[snafu(display("could not use the archive: {source}"))]
    Archive {
        /// Why.
        source: engram_archive::Error,
    },
    /// A file of the archive does not read.
    #[snafu(display("could not read a stored file: {source}"))]
    ReadFile {
        /// Why.
        source: std::io::Error,
    },
    /// An answer could not be written as JSON.
    #[snafu(display("could not write the answer: {source}"))]
    WriteJson {
        /// Why.
        source: serde_json::Error,
    },
    /// An answer could not be written as XML or HTML.
    #[snafu(display("could not write the answer as XML or HTML: {source}"))]
    WriteXml {
        /// Why.
        source: std::io::Error,
    },
    /// The work was given up before it was done: the server is shutting down, or the work panicked.
    #[snafu(display("could not finish the request: its work was given up"))]
    GivenUp,
}

/// Why a request was not fulfilled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody<'a> {
    /// A stable word for programs.
    code: &'a str,
    /// For people: what could not be done, and why.
    message: String,
    /// For people: what helps.
    what_to_do: &'a str,
}

impl Error {
    /// The table: status, code and advice for each kind.
    fn row(&self) -> (StatusCode, &'static str, &'static str) {
        use engram_imaging::Error as Imaging;
        const LATER: &str = "Try again; if it happens again, look into the server's log.";
        const ANOTHER_SYNTAX: &str =
            "Accept another transfer syntax, or `transfer-syntax=*`, which gives what is stored.";
        const DAMAGED: &str = "Run `engram doctor`: the object or its storage may be damaged.";
        match self {
            Self::BadUid { .. } => (StatusCode::BAD_REQUEST, "bad_uid", "Correct the UID in the URL."),
            Self::BadQuery { .. } => (
                StatusCode::BAD_REQUEST,
                "bad_query",
                "Correct the URL; PS3.18 section 8.3 lists the parameters.",
            ),
            Self::MethodNotAllowed { .. } => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Use one of the methods in `Allow`; the OpenAPI document describes them.",
            ),
            Self::NotAcceptable { .. } => {
                (StatusCode::NOT_ACCEPTABLE, "not_acceptable", "Send one of the offered types in `Accept`.")
            }
            Self::UnsupportedMediaType { .. } => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send `application/dicom`, `application/dicom+json` or `application/dicom+xml`, alone or as the `type` \
                 of `multipart/related` with a boundary, without content encoding.",
            ),
            Self::RequestTooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                "Send fewer instances in a request, or raise the limit in the configuration.",
            ),
            Self::Multipart { .. } => (
                StatusCode::BAD_REQUEST,
                "bad_multipart",
                "Check the boundary parameter and that the body was sent whole; then send it again.",
            ),
            Self::NoInstances => {
                (StatusCode::BAD_REQUEST, "no_instances", "Send at least one DICOM instance.")
            }
            Self::ReadTimeout { .. } => {
                (StatusCode::REQUEST_TIMEOUT, "read_timeout", "Send the request again, without pauses.")
            }
            Self::ReadBody { .. } => (StatusCode::BAD_REQUEST, "read_body", "Send the request again, whole."),
            Self::NotFound { .. } => {
                (StatusCode::NOT_FOUND, "not_found", "Search for it: it may be deleted, or have other UIDs.")
            }
            Self::DeleteForbidden => {
                (StatusCode::FORBIDDEN, "delete_forbidden", "Ask the operator to allow deletion.")
            }
            Self::TooLargeToDecode { .. } => (
                StatusCode::NOT_ACCEPTABLE,
                "too_large_to_decode",
                "Retrieve the instance itself, or raise the limit in the configuration.",
            ),
            Self::Pixels { source: Imaging::NoSuchFrame { .. } } => {
                (StatusCode::NOT_FOUND, "no_such_frame", "Ask for a frame from 1 to NumberOfFrames.")
            }
            Self::Pixels { source: Imaging::BadOption { .. } } => {
                (StatusCode::BAD_REQUEST, "bad_option", "Correct the rendering parameters in the URL.")
            }
            Self::TooManyPictures { .. } => (
                StatusCode::BAD_REQUEST,
                "too_many_pictures",
                "Ask for a series, an instance or a list of frames.",
            ),
            Self::RangeNotSatisfiable { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "Ask for bytes that are there.")
            }
            Self::Pixels { source: Imaging::CannotHold { .. } }
            | Self::Transcode { source: Imaging::CannotHold { .. }, .. } => {
                (StatusCode::NOT_ACCEPTABLE, "cannot_transcode", ANOTHER_SYNTAX)
            }
            Self::Transcode { source: Imaging::TooLarge { .. }, .. } => {
                (StatusCode::NOT_ACCEPTABLE, "too_large_to_transcode", ANOTHER_SYNTAX)
            }
            Self::Transcode { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "transcode", ANOTHER_SYNTAX),
            Self::Pixels { .. } | Self::Segmentation { .. } => (
                StatusCode::NOT_ACCEPTABLE,
                "no_picture",
                "Retrieve the instance itself: its pixels cannot be decoded or rendered.",
            ),
            Self::ReadObject { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "read_object", DAMAGED),
            Self::ReadFile { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "read_file", DAMAGED),
            Self::BadDataSet { .. } => (
                StatusCode::BAD_REQUEST,
                "bad_data_set",
                "Send one data set as PS3.18 Annex F or PS3.19 Annex A has it.",
            ),
            Self::NotAWebSocket { .. } => (
                StatusCode::BAD_REQUEST,
                "not_a_websocket",
                "Open it with a WebSocket client (RFC 6455), over HTTP/1.1.",
            ),
            Self::Worklist { source } => of_worklist(source),
            Self::Archive { source: engram_archive::Error::Key { .. } } => (
                StatusCode::BAD_REQUEST,
                "bad_query",
                "Correct the value in the URL; PS3.5 section 6.2 says how values of each VR are written.",
            ),
            Self::Archive { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "archive", DAMAGED),
            Self::WriteJson { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "write_json", LATER),
            Self::WriteXml { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "write_xml", LATER),
            Self::GivenUp => (StatusCode::SERVICE_UNAVAILABLE, "given_up", LATER),
        }
    }
}

/// The rows of the worklist's errors: PS3.18 sections 11.4 to 11.12, "Status Codes".
fn of_worklist(error: &engram_worklist::Error) -> (StatusCode, &'static str, &'static str) {
    use engram_worklist::Error as Worklist;
    const LOOK: &str = "Retrieve the workitem to see what it is now.";
    const CLAIM: &str = "Send the Transaction UID with which the workitem was claimed.";
    match error {
        Worklist::Invalid { .. } => {
            (StatusCode::BAD_REQUEST, "bad_workitem", "Compare the data set with PS3.4 Table CC.2.5-3.")
        }
        Worklist::NotPerformable { .. } => (
            StatusCode::BAD_REQUEST,
            "not_performable",
            "docs/worklist.md says what a workitem for this server looks like.",
        ),
        Worklist::TooLarge { .. } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "workitem_too_large",
            "Send less, or raise [worklist] max_workitem_kb.",
        ),
        Worklist::Exists { .. } => (StatusCode::CONFLICT, "workitem_exists", "Choose another UID, or none."),
        Worklist::NoSuchWorkitem { .. } => {
            (StatusCode::NOT_FOUND, "no_such_workitem", "GET /workitems lists what there is.")
        }
        Worklist::Gone { .. } => (
            StatusCode::GONE,
            "workitem_gone",
            "Subscribe with a deletion lock to what must be kept; [worklist] keep_final says how much is kept without.",
        ),
        Worklist::NeverScheduledAgain { .. } => {
            (StatusCode::BAD_REQUEST, "bad_state", "Create another workitem instead.")
        }
        Worklist::TransactionMissing { .. } => (StatusCode::BAD_REQUEST, "transaction_missing", CLAIM),
        Worklist::TransactionWrong { .. } => (StatusCode::BAD_REQUEST, "transaction_wrong", CLAIM),
        Worklist::Ended { .. } => (StatusCode::BAD_REQUEST, "workitem_ended", LOOK),
        Worklist::AlreadyInProgress { .. } => (
            StatusCode::CONFLICT,
            "already_in_progress",
            "Choose another workitem: this one has a performer.",
        ),
        Worklist::PerformedHere { .. } => {
            (StatusCode::CONFLICT, "performed_here", "Ask for its cancellation if it is not wanted.")
        }
        Worklist::NotInProgress { .. } => {
            (StatusCode::CONFLICT, "not_in_progress", "Claim the workitem first.")
        }
        Worklist::NotClaimed { .. } => (
            StatusCode::CONFLICT,
            "not_claimed",
            "Send the update without a Transaction UID, or claim the workitem.",
        ),
        Worklist::NotFinal { .. } => (
            StatusCode::CONFLICT,
            "not_final",
            "Update the workitem with these attributes, then change its state.",
        ),
        Worklist::AlreadyCompleted { .. } => (StatusCode::CONFLICT, "already_completed", LOOK),
        Worklist::PerformerUnreachable { .. } => {
            (StatusCode::CONFLICT, "performer_unreachable", "Ask its performer by other means.")
        }
        Worklist::BadAeTitle { .. } => {
            (StatusCode::BAD_REQUEST, "bad_ae_title", "Correct the AE title in the URL.")
        }
        Worklist::NotSubscribed { .. } => (StatusCode::NOT_FOUND, "not_subscribed", "Subscribe first."),
        Worklist::Key { .. } => (
            StatusCode::BAD_REQUEST,
            "bad_query",
            "Correct the value in the URL; PS3.5 section 6.2 says how values of each VR are written.",
        ),
        Worklist::Full { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "worklist_full",
            "Try again when some have ended; the limits stand in [worklist].",
        ),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "worklist", "Look into the server's log."),
    }
}

/// The `Warning` that PS3.18 section 11 asks for beside a refusal.
fn warning_of(error: &engram_worklist::Error) -> Option<&'static str> {
    use engram_worklist::Error as Worklist;
    Some(match error {
        Worklist::TransactionMissing { .. } => "The Transaction UID is missing.",
        Worklist::TransactionWrong { .. } => "The Transaction UID is incorrect.",
        Worklist::NotClaimed { .. } => "The target URI did not reference a claimed Workitem.",
        Worklist::AlreadyCompleted { .. } => "The UPS is already COMPLETED.",
        Worklist::PerformerUnreachable { .. } => "The performer cannot be contacted.",
        Worklist::NeverScheduledAgain { .. }
        | Worklist::Ended { .. }
        | Worklist::AlreadyInProgress { .. }
        | Worklist::PerformedHere { .. }
        | Worklist::NotInProgress { .. }
        | Worklist::NotFinal { .. } => {
            "The submitted request is inconsistent with the state of the UPS Instance."
        }
        _ => return None,
    })
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.row().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code, what_to_do) = self.row();
        match status.is_server_error() {
            true => tracing::error!(code, error = %self, "request failed"),
            false => tracing::debug!(code, error = %self, "request refused"),
        }
        let mut response = HttpResponse::build(status);
        match self {
            Self::RangeNotSatisfiable { length } => {
                response.insert_header((header::CONTENT_RANGE, format!("bytes */{length}")));
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, allow.as_str()));
            }
            Self::Worklist { source } => {
                if let Some(text) = warning_of(source) {
                    response.insert_header((header::WARNING, warning(text)));
                }
            }
            _ => {}
        }
        response.json(ErrorBody { code, message: self.to_string(), what_to_do })
    }
}
