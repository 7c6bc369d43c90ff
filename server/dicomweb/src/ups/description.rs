//! What the OpenAPI document says of the worklist service.

use actix_web::http::StatusCode;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{Content, Required};

use super::body::TAKEN;
use crate::data_set::DataSet;
use crate::description::{
    Describe, bodiless, flag, header, operation, path_parameter, query_parameter, schema_ref, sent, text,
    whole,
};
use crate::place::UID;
use crate::state::{attribute_offers, data_set_offers};

const TAG: &str = "UPS-RS";

/// Matching keys of workitems that are named one by one; `attributes` stands for the others.
const KEYS: [&str; 5] = [
    "ProcedureStepState",
    "InputReadinessState",
    "ScheduledProcedureStepStartDateTime",
    "ScheduledWorkitemCodeSequence.CodeValue",
    "WorklistLabel",
];
/// Those that studies have, too, and how keys are matched.
const SHARED: [&str; 12] = [
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "SOPInstanceUID",
    "attributes",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "includefield",
    "limit",
    "offset",
    "accept",
];

/// The parameters of the worklist service.
pub fn parameters() -> Vec<Parameter> {
    let key =
        |name: &str| query_parameter(name, &format!("Matches {name}, as PS3.18 8.3.4.1.1 says."), text());
    let mut parameters: Vec<Parameter> = KEYS.into_iter().map(key).collect();
    let uid = || text().pattern(Some(UID));
    parameters.extend([
        path_parameter("workitem", "SOP Instance UID of a workitem.", uid()),
        path_parameter("aetitle", "AE title of a subscriber.", text().pattern(Some(r"^[ -\[\]-~]{1,16}$"))),
        query_parameter(
            "AffectedSOPInstanceUID",
            "The workitem's UID to be. The query may also be just that, without a name.",
            uid(),
        ),
        query_parameter(
            "transaction-uid",
            "Transaction UID of a workitem that is IN PROGRESS. The query may also be just that, without a name.",
            uid(),
        ),
        query_parameter("requester", "AE title of who asks.", text()),
        query_parameter("deletionlock", "Whether what ends is to be kept until the subscription ends.", flag()),
        query_parameter("filter", "Keys of the filtered worklist: `NAME=VALUE`, separated by commas.", text()),
    ]);
    parameters
}

fn of_workitem(id: &str, summary: &str) -> OperationBuilder {
    operation(TAG, id, summary).failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::GONE])
}

/// What every transaction with a data set in its request may fail with.
const OF_A_BODY: [StatusCode; 3] =
    [StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE];

fn data_set(required: bool) -> RequestBody {
    let required = if required { Required::True } else { Required::False };
    TAKEN
        .into_iter()
        .fold(RequestBodyBuilder::new().required(Some(required)), |body, media_type| {
            let schema = media_type.ends_with("json").then(schema_ref::<DataSet>);
            body.content(media_type, Content::new(schema))
        })
        .build()
}

fn url(description: &str) -> utoipa::openapi::Header {
    header(description, text())
}

fn warned() -> utoipa::openapi::Header {
    header("299, and one of the texts of PS3.18 section 11.", text())
}

/// Create (PS3.18 11.4).
pub fn create(id: &str) -> Operation {
    let created = bodiless("It was created.")
        .header("Location", url("The workitem."))
        .header("Content-Location", url("The workitem."))
        .header("Warning", warned());
    operation(TAG, id, "Creates a workitem.")
        .query(&["AffectedSOPInstanceUID"])
        .request_body(Some(data_set(true)))
        .response("201", created)
        .failures(&OF_A_BODY)
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::CONFLICT])
        .build()
}

/// Retrieve (PS3.18 11.5).
pub fn retrieve(id: &str) -> Operation {
    let workitem = sent("The workitem.", &data_set_offers(), Some(schema_ref::<DataSet>()));
    of_workitem(id, "A workitem.")
        .query(&["accept"])
        .response("200", workitem)
        .failures(&[StatusCode::NOT_ACCEPTABLE])
        .build()
}

/// Update (PS3.18 11.6).
pub fn update(id: &str) -> Operation {
    of_workitem(id, "Changes attributes of a workitem.")
        .query(&["transaction-uid"])
        .request_body(Some(data_set(true)))
        .response("200", bodiless("It was updated.").header("Content-Location", url("The workitem.")))
        .failures(&OF_A_BODY)
        .failures(&[StatusCode::CONFLICT])
        .build()
}

/// Change State (PS3.18 11.7).
pub fn state(id: &str) -> Operation {
    let changed = bodiless("Its state was changed.")
        .header("Content-Location", url("The workitem."))
        .header("Warning", warned());
    of_workitem(id, "Claims, completes or cancels a workitem.")
        .request_body(Some(data_set(true)))
        .response("200", changed)
        .failures(&OF_A_BODY)
        .failures(&[StatusCode::CONFLICT])
        .build()
}

/// Request Cancellation (PS3.18 11.8).
pub fn cancel(id: &str) -> Operation {
    of_workitem(id, "Asks for a workitem to be canceled.")
        .query(&["requester"])
        .request_body(Some(data_set(false)))
        .response("202", bodiless("Its performer was asked.").header("Warning", warned()))
        .failures(&OF_A_BODY)
        .failures(&[StatusCode::CONFLICT])
        .build()
}

/// Search (PS3.18 11.9).
pub fn search(id: &str) -> Operation {
    let data_sets = ArrayBuilder::new().items(schema_ref::<DataSet>());
    let found = sent("The matches.", &attribute_offers(), Some(data_sets.into()))
        .header("X-Total-Count", header("How many match in all.", whole(0, u32::MAX)))
        .header("Warning", header("299: there are more than were answered.", text()));
    operation(TAG, id, "Workitems.")
        .query(&KEYS)
        .query(&SHARED)
        .response("200", found)
        .response("204", bodiless("Nothing matches, and the answer would be XML."))
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_ACCEPTABLE])
        .build()
}

/// Subscribe (PS3.18 11.10).
pub fn subscribe(id: &str) -> Operation {
    let created = bodiless("The AE is subscribed.")
        .header("Content-Location", url("Where a WebSocket brings its event reports."))
        .header("Warning", warned());
    of_workitem(id, "Subscribes an AE to a workitem, to the worklist, or to what is filtered of it.")
        .query(&["deletionlock", "filter"])
        .response("201", created)
        .build()
}

/// Unsubscribe (PS3.18 11.11).
pub fn unsubscribe(id: &str) -> Operation {
    of_workitem(id, "Ends a subscription.").response("200", bodiless("It is ended.")).build()
}

/// Suspend (PS3.18 11.12).
pub fn suspend(id: &str) -> Operation {
    of_workitem(id, "Keeps a subscription to the worklist from taking in new workitems.")
        .response("200", bodiless("It is suspended."))
        .build()
}

/// Open Notification Connection (PS3.18 8.10.4).
pub fn events(id: &str) -> Operation {
    operation(
        TAG,
        id,
        "Opens a WebSocket over which an AE gets its event reports, each a DICOM JSON data set.",
    )
    .response("101", bodiless("The WebSocket is open."))
    .failures(&[StatusCode::BAD_REQUEST])
    .build()
}
