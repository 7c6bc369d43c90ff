//! What is reported of workitems (PS3.4 Table CC.2.4-1 and CC.2.4.3).
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part04.html#sect_CC.2.4>

use crate::{
    Attributes,
    attributes::{element, has_value, items, key, sorted},
    record::CancelRequest,
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::Value;

/// The SOP class of every workitem (PS3.4 CC.3.1).
pub const UPS_PUSH: &str = dicom_dictionary_std::uids::UNIFIED_PROCEDURE_STEP_PUSH;

/// The well-known UID under which a service reports of itself, and AEs subscribe to all of a worklist.
pub(crate) const WORKLIST: &str = dicom_dictionary_std::uids::UPS_GLOBAL_SUBSCRIPTION_INSTANCE;

/// Event Type ID (0000,1002).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// UPS State Report.
    StateReport = 1,
    /// UPS Cancel Requested.
    CancelRequested = 2,
    /// UPS Progress Report.
    ProgressReport = 3,
    /// SCP Status Change.
    StatusChange = 4,
    /// UPS Assigned.
    Assigned = 5,
}

/// An event report.
#[derive(Clone, Debug, PartialEq)]
pub struct EventReport {
    /// Affected SOP Instance UID: the workitem.
    pub uid: String,
    /// What happened.
    pub event_type: EventType,
    /// What the type asks for.
    pub information: Attributes,
}

impl EventReport {
    /// The report as a data set; `message_id` is the receiver's count.
    pub fn data_set(&self, message_id: u16) -> Attributes {
        let command = [
            (tags::AFFECTED_SOP_CLASS_UID, Value::from(UPS_PUSH)),
            (tags::MESSAGE_ID, message_id.into()),
            (tags::AFFECTED_SOP_INSTANCE_UID, self.uid.as_str().into()),
            (tags::EVENT_TYPE_ID, (self.event_type as u16).into()),
        ];
        let command = command.map(|(tag, value)| (key(tag), element(tag, vec![value])));
        sorted(command.into_iter().chain(self.information.clone()).collect())
    }
}

/// What attributes a workitem is assigned by.
const ASSIGNED_BY: [Tag; 2] =
    [tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE, tags::SCHEDULED_HUMAN_PERFORMERS_SEQUENCE];
const STATE: [Tag; 2] = [tags::PROCEDURE_STEP_STATE, tags::INPUT_READINESS_STATE];

/// The reports of a change from `before`, or of a new workitem.
pub(crate) fn of_change(uid: &str, before: Option<&Attributes>, after: &Attributes) -> Vec<EventReport> {
    let changed = |tag: Tag| {
        let name = key(tag);
        before.is_none_or(|before| before.get(&name) != after.get(&name))
    };
    let mut reports = Vec::new();
    let mut report = |event_type, information| {
        reports.push(EventReport { uid: uid.to_owned(), event_type, information });
    };
    let progress = tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE;
    if changed(progress) && items(after, progress).any(is_progress) {
        report(EventType::ProgressReport, picked(after, &[progress]));
    }
    if STATE.into_iter().any(changed) {
        report(EventType::StateReport, state(after));
    }
    if ASSIGNED_BY.into_iter().any(|tag| changed(tag) && (before.is_some() || has_value(after, tag))) {
        report(EventType::Assigned, assignment(after));
    }
    reports
}

/// Whether the item tells how far its performer is, and not just why there is none any more.
fn is_progress(item: &Attributes) -> bool {
    let told = [
        tags::PROCEDURE_STEP_PROGRESS,
        tags::PROCEDURE_STEP_PROGRESS_DESCRIPTION,
        tags::PROCEDURE_STEP_PROGRESS_PARAMETERS_SEQUENCE,
        tags::PROCEDURE_STEP_COMMUNICATIONS_URI_SEQUENCE,
    ];
    told.into_iter().any(|tag| has_value(item, tag))
}

/// The report of how things stand, for who has just subscribed.
pub(crate) fn state_report(uid: &str, attributes: &Attributes) -> EventReport {
    EventReport { uid: uid.to_owned(), event_type: EventType::StateReport, information: state(attributes) }
}

fn state(attributes: &Attributes) -> Attributes {
    let mut information = picked(attributes, &STATE);
    for item in items(attributes, tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE) {
        information.extend(picked(item, &DISCONTINUATION));
    }
    information
}

const DISCONTINUATION: [Tag; 2] =
    [tags::REASON_FOR_CANCELLATION, tags::PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE];

/// The stations, and of the people the codes and organisations.
fn assignment(attributes: &Attributes) -> Attributes {
    let mut information = picked(attributes, &[tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE]);
    for performer in items(attributes, tags::SCHEDULED_HUMAN_PERFORMERS_SEQUENCE) {
        let people = [tags::HUMAN_PERFORMER_CODE_SEQUENCE, tags::HUMAN_PERFORMER_ORGANIZATION];
        information.extend(picked(performer, &people));
    }
    information
}

fn picked(attributes: &Attributes, wanted: &[Tag]) -> Attributes {
    let named = wanted.iter().map(|tag| key(*tag));
    named.filter_map(|name| attributes.get(&name).map(|element| (name.clone(), element.clone()))).collect()
}

/// The report of a request to cancel.
pub(crate) fn cancel_requested(uid: &str, request: &CancelRequest) -> EventReport {
    let text =
        |tag, value: &Option<String>| value.as_ref().map(|text| (tag, vec![Value::from(text.as_str())]));
    let code = tags::PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE;
    let told = [
        Some((tags::REQUESTING_AE, vec![Value::from(request.requesting_ae.as_str())])),
        text(tags::REASON_FOR_CANCELLATION, &request.reason),
        (!request.discontinuation.is_empty()).then(|| (code, request.discontinuation.clone())),
        text(tags::CONTACT_URI, &request.contact_uri),
        text(tags::CONTACT_DISPLAY_NAME, &request.contact_display_name),
    ];
    let information =
        told.into_iter().flatten().map(|(tag, values)| (key(tag), element(tag, values))).collect();
    EventReport { uid: uid.to_owned(), event_type: EventType::CancelRequested, information }
}

/// The report that this service has started, or is about to end. Subscriptions and workitems outlive it.
pub(crate) fn status_change(status: &str) -> EventReport {
    let told = [
        (tags::SCP_STATUS, status),
        (tags::SUBSCRIPTION_LIST_STATUS, "WARM START"),
        (tags::UNIFIED_PROCEDURE_STEP_LIST_STATUS, "WARM START"),
    ];
    let information =
        told.map(|(tag, value)| (key(tag), element(tag, vec![value.into()]))).into_iter().collect();
    EventReport { uid: WORKLIST.to_owned(), event_type: EventType::StatusChange, information }
}
