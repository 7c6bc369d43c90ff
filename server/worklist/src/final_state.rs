//! What a workitem must have before it ends (PS3.4 CC.2.5.1.1, and Table CC.2.5-3, column Final State).
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part04.html#sect_CC.2.5.1.1>

use crate::{
    Attributes, State,
    attributes::{element, has_value, items, key, text},
    moment::format_moment,
};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::Value;
use time::OffsetDateTime;

const PERFORMED: &str = "Unified Procedure Step Performed Procedure Sequence (0074,1216)";
/// Of each item of it.
const PERFORMED_ITEM: [(Tag, &str); 4] = [
    (tags::PERFORMED_STATION_NAME_CODE_SEQUENCE, "Performed Station Name Code Sequence (0040,4028)"),
    (tags::PERFORMED_WORKITEM_CODE_SEQUENCE, "Performed Workitem Code Sequence (0040,4019)"),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE_TIME, "Performed Procedure Step Start DateTime (0040,4050)"),
    (tags::PERFORMED_PROCEDURE_STEP_END_DATE_TIME, "Performed Procedure Step End DateTime (0040,4051)"),
];
const OUTPUT: &str = "Output Information Sequence (0040,4033)";
const DISCONTINUED: &str = "Procedure Step Discontinuation Reason Code Sequence (0074,100E)";

/// The attributes that are missing in that final state, by their names.
pub(crate) fn missing(attributes: &Attributes, wanted: State) -> Vec<&'static str> {
    match wanted {
        State::Completed => of_completed(attributes),
        State::Canceled => of_canceled(attributes),
        State::Scheduled | State::InProgress => vec![],
    }
}

fn of_completed(attributes: &Attributes) -> Vec<&'static str> {
    let performed = || items(attributes, tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE);
    if performed().next().is_none() {
        return vec![PERFORMED];
    }
    let without = |(tag, name)| performed().any(|item| !has_value(item, tag)).then_some(name);
    // It may be empty, where the result is no object.
    let has_output = |item: &Attributes| item.contains_key(&key(tags::OUTPUT_INFORMATION_SEQUENCE));
    let output = (!performed().all(has_output)).then_some(OUTPUT);
    PERFORMED_ITEM.into_iter().filter_map(without).chain(output).collect()
}

fn of_canceled(attributes: &Attributes) -> Vec<&'static str> {
    let code = tags::PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE;
    let mut progress = items(attributes, tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE);
    match progress.any(|item| has_value(item, code)) {
        true => vec![],
        false => vec![DISCONTINUED],
    }
}

/// Adds when it was canceled, where its performer did not say that.
pub(crate) fn date_cancellation(attributes: &mut Attributes, now: OffsetDateTime) {
    let when = tags::PROCEDURE_STEP_CANCELLATION_DATE_TIME;
    change_progress(attributes, |item| {
        if text(item, when).is_none() {
            item.insert(key(when), element(when, vec![format_moment(now).into()]));
        }
    });
}

/// Changes the item of the Procedure Step Progress Information Sequence, which has one.
pub(crate) fn change_progress(attributes: &mut Attributes, change: impl FnOnce(&mut Attributes)) {
    let sequence = tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE;
    let mut item = items(attributes, sequence).next().cloned().unwrap_or_default();
    change(&mut item);
    attributes.insert(key(sequence), element(sequence, vec![Value::Object(item)]));
}
