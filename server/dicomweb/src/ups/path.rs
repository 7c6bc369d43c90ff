//! What the paths of the worklist service name.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use dicom_dictionary_std::uids::{
    UPS_FILTERED_GLOBAL_SUBSCRIPTION_INSTANCE, UPS_GLOBAL_SUBSCRIPTION_INSTANCE,
};
use engram_worklist::AeTitle;
use percent_encoding::percent_decode_str;
use snafu::ResultExt;

use crate::error::{BadQuerySnafu, Error, Result, WorklistSnafu};
use crate::place::check;

/// A workitem's UID, or one of the two that stand for the worklist.
pub struct Workitem(pub String);

impl Workitem {
    /// Whether it stands for the worklist; then, whether for what is filtered of it.
    pub fn filters(&self) -> Option<bool> {
        match self.0.as_str() {
            UPS_GLOBAL_SUBSCRIPTION_INSTANCE => Some(false),
            UPS_FILTERED_GLOBAL_SUBSCRIPTION_INSTANCE => Some(true),
            _ => None,
        }
    }
}

impl FromRequest for Workitem {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let text = request.match_info().get("workitem").unwrap_or_default();
        ready(check("workitem", text).map(Workitem))
    }
}

/// An AE title.
pub struct Subscriber(pub AeTitle);

impl FromRequest for Subscriber {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let text = request.match_info().get("aetitle").unwrap_or_default();
        ready(read(text).map(Subscriber))
    }
}

fn read(text: &str) -> Result<AeTitle> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => AeTitle::parse(&text).context(WorklistSnafu),
        Err(_) => BadQuerySnafu { message: "the AE title is not percent-encoded UTF-8" }.fail(),
    }
}
