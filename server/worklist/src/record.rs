//! A workitem as it is kept.

use crate::{
    AeTitle, Attributes, State,
    attributes::{element, items, key, text},
};
use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What somebody says who wants a workitem to be canceled (PS3.4 Table CC.2.2-1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Requesting AE (0074,1236).
    pub requesting_ae: String,
    /// Reason For Cancellation (0074,1238).
    pub reason: Option<String>,
    /// Items of the Procedure Step Discontinuation Reason Code Sequence (0074,100E).
    pub discontinuation: Vec<Value>,
    /// Contact URI (0074,100A).
    pub contact_uri: Option<String>,
    /// Contact Display Name (0074,100C).
    pub contact_display_name: Option<String>,
}

impl CancelRequest {
    /// What a data set says.
    pub fn of(requesting_ae: String, attributes: &Attributes) -> Self {
        let told = |tag| text(attributes, tag).map(str::to_owned);
        let codes = items(attributes, tags::PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE);
        CancelRequest {
            requesting_ae,
            reason: told(tags::REASON_FOR_CANCELLATION),
            discontinuation: codes.cloned().map(Value::Object).collect(),
            contact_uri: told(tags::CONTACT_URI),
            contact_display_name: told(tags::CONTACT_DISPLAY_NAME),
        }
    }
}

/// A workitem as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// SOP Instance UID.
    pub uid: String,
    /// The order in which workitems came: later ones have larger numbers.
    pub sequence: u64,
    /// When it ended, by the same count.
    pub ended: Option<u64>,
    pub state: State,
    /// The lock of its performer.
    pub transaction_uid: Option<String>,
    /// Whether this server performs it.
    pub here: bool,
    /// Whether it shows work of this server that nobody filed here.
    pub shown: bool,
    /// Who wants this server to give it up.
    pub cancel: Option<CancelRequest>,
    /// What AEs said of it alone: whether they are subscribed, and with a deletion lock.
    pub subscribers: BTreeMap<AeTitle, Option<bool>>,
    /// The data set, without its Transaction UID.
    pub attributes: Attributes,
}

impl Record {
    pub(crate) fn enter(&mut self, state: State) {
        let tag = tags::PROCEDURE_STEP_STATE;
        self.state = state;
        self.attributes.insert(key(tag), element(tag, vec![state.name().into()]));
    }
}
