//! The Store transaction's answer.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.5.3>

use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use super::service::{Failure, StoreReport, Stored};
use crate::error::{Error, Result};
use crate::state::Urls;

/// Longest value of an LO attribute, in characters.
const LO_LENGTH: usize = 64;

/// The status of PS3.18 Table 10.5.3-1 and the Store Instances Response Module (Table 10.5.3-2) as DICOM JSON.
///
/// 200: everything is stored. 202: some is, or some with a warning. 409: nothing is, by the instances' fault; 503 or
/// 500: by ours. A body that carried no readable part at all is an error of the request: 400.
pub fn answer(report: StoreReport, urls: &Urls) -> Result<(StatusCode, Value)> {
    let StoreReport { stored, failures, problem } = report;
    if stored.is_empty() {
        if let Some(source) = problem {
            return Err(Error::Multipart { source });
        }
        if failures.is_empty() {
            return Err(Error::NoInstances);
        }
    }
    let as_sent = failures.is_empty() && stored.iter().all(|stored| stored.warning.is_none());
    let status = match (stored.is_empty(), as_sent) {
        (false, true) if problem.is_none() => StatusCode::OK,
        (false, _) => StatusCode::ACCEPTED,
        (true, _) if failures.iter().any(|failure| failure.ours && failure.reason == 0xA700) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (true, _) if failures.iter().any(|failure| failure.ours) => StatusCode::INTERNAL_SERVER_ERROR,
        (true, _) => StatusCode::CONFLICT,
    };
    Ok((status, dataset(&stored, &failures, urls)))
}

fn dataset(stored: &[Stored], failures: &[Failure], urls: &Urls) -> Value {
    let mut dataset = Map::new();
    if let Some(study) = common_study(stored) {
        dataset.insert("00081190".into(), element("UR", json!(urls.retrieve(study, None, None))));
    }
    let (named, other): (Vec<_>, Vec<_>) =
        failures.iter().partition(|failure| failure.sop_instance_uid.is_some());
    for (tag, items) in [
        ("00081199", stored.iter().map(|stored| referenced(stored, urls)).collect::<Vec<_>>()),
        ("00081198", named.into_iter().map(failed).collect()),
        ("0008119A", other.into_iter().map(failed).collect()),
    ] {
        if !items.is_empty() {
            dataset.insert(tag.into(), json!({ "vr": "SQ", "Value": items }));
        }
    }
    Value::Object(dataset)
}

/// The study of all stored instances, if they have one in common.
fn common_study(stored: &[Stored]) -> Option<&str> {
    let mut studies = stored.iter().map(|stored| stored.outcome.instance().uids.study_instance_uid.as_str());
    let first = studies.next()?;
    studies.all(|study| study == first).then_some(first)
}

/// An item of ReferencedSOPSequence (0008,1199).
fn referenced(stored: &Stored, urls: &Urls) -> Value {
    let instance = stored.outcome.instance();
    let mut item = Map::from_iter([
        ("00081150".to_owned(), element("UI", json!(instance.sop_class_uid))),
        ("00081155".to_owned(), element("UI", json!(instance.uids.sop_instance_uid))),
        ("00081190".to_owned(), element("UR", json!(urls.retrieve_instance(&instance.uids)))),
    ]);
    if let Some(warning) = stored.warning {
        item.insert("00081196".to_owned(), element("US", json!(warning)));
    }
    Value::Object(item)
}

/// An item of FailedSOPSequence (0008,1198), or of OtherFailuresSequence (0008,119A) where the part had no UID.
/// ErrorComment (0000,0902) says in words what FailureReason says as a number, as dcm4chee's answers do.
fn failed(failure: &Failure) -> Value {
    let mut item = Map::new();
    for (tag, uid) in [("00081150", &failure.sop_class_uid), ("00081155", &failure.sop_instance_uid)] {
        if let Some(uid) = uid {
            item.insert(tag.into(), element("UI", json!(uid)));
        }
    }
    item.insert("00081197".into(), element("US", json!(failure.reason)));
    let comment: String = failure.message.chars().filter(|c| *c != '\\').take(LO_LENGTH).collect();
    item.insert("00000902".into(), element("LO", json!(comment)));
    Value::Object(item)
}

fn element(vr: &str, value: Value) -> Value {
    json!({ "vr": vr, "Value": [value] })
}
