//! `/workitems/{workitem}/subscribers/{aetitle}`: the Subscribe, Unsubscribe and Suspend transactions. In the place of a
//! workitem may stand the worklist, 1.2.840.10008.5.1.4.34.5, or what is filtered of it, 1.2.840.10008.5.1.4.34.5.1.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.10>

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use engram_archive::MatchKey;
use engram_worklist::{Filter, Scope};
use snafu::ResultExt;

use super::path::{Subscriber, Workitem};
use super::warning;
use crate::error::{BadQuerySnafu, Result, WorklistSnafu};
use crate::query::{self, attribute, flag};
use crate::state::{DicomWeb, blocking};

/// Subscribes an AE. `Content-Location` is where its event reports are to be had.
pub async fn subscribe(
    request: HttpRequest,
    state: Data<DicomWeb>,
    workitem: Workitem,
    subscriber: Subscriber,
) -> Result<HttpResponse> {
    let pairs = query::pairs(request.query_string())?;
    let wants_lock =
        query::value_of(&pairs, "deletionlock").map_or(Ok(false), |value| flag("deletionlock", value))?;
    let scope = match workitem.filters() {
        None => Scope::Workitem(workitem.0),
        Some(false) => Scope::Worklist,
        Some(true) => Scope::Filtered(filter_of(&pairs)?),
    };
    let url = state.urls(&request).subscriber(&subscriber.0);
    let locked =
        blocking(move || state.worklist.subscribe(&subscriber.0, scope, wants_lock).context(WorklistSnafu))
            .await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::CONTENT_LOCATION, url));
    if wants_lock && !locked {
        response.insert_header((header::WARNING, warning("Deletion Lock not granted.")));
    }
    Ok(response.finish())
}

/// The keys of `filter=NAME=VALUE,NAME=VALUE`, and those that stand in the query by themselves, as before PS3.18 2019b.
fn filter_of(pairs: &[(String, String)]) -> Result<Filter> {
    let mut keys = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            "accept" | "charset" | "deletionlock" => {}
            "filter" => keys.extend(listed(value)?),
            _ => keys.push(MatchKey { path: attribute(name)?, value: value.clone() }),
        }
    }
    match keys.is_empty() {
        true => BadQuerySnafu { message: "a filtered worklist needs `filter=NAME=VALUE`" }.fail(),
        false => Ok(Filter::new(keys)),
    }
}

/// A comma begins the next key only before something like a name with `=`: UIDs are listed with commas, too.
fn listed(text: &str) -> Result<Vec<MatchKey>> {
    let mut keys: Vec<MatchKey> = Vec::new();
    for piece in text.split(',') {
        match (piece.split_once('='), keys.last_mut()) {
            (Some((name, value)), _) => {
                keys.push(MatchKey { path: attribute(name)?, value: value.to_owned() })
            }
            (None, Some(before)) => {
                before.value.push(',');
                before.value.push_str(piece);
            }
            (None, None) => return BadQuerySnafu { message: format!("`{piece}` is no NAME=VALUE") }.fail(),
        }
    }
    Ok(keys)
}

/// Ends an AE's subscription.
pub async fn unsubscribe(
    state: Data<DicomWeb>,
    workitem: Workitem,
    subscriber: Subscriber,
) -> Result<HttpResponse> {
    let scope = match workitem.filters() {
        None => Scope::Workitem(workitem.0),
        Some(false) => Scope::Worklist,
        Some(true) => Scope::Filtered(Filter::default()),
    };
    blocking(move || state.worklist.unsubscribe(&subscriber.0, scope).context(WorklistSnafu)).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Keeps an AE's subscription to the worklist from taking in what is created from now on.
pub async fn suspend(
    state: Data<DicomWeb>,
    workitem: Workitem,
    subscriber: Subscriber,
) -> Result<HttpResponse> {
    let Some(filtered) = workitem.filters() else {
        let message = "only a subscription to the worklist, or to what is filtered of it, can be suspended";
        return BadQuerySnafu { message }.fail();
    };
    blocking(move || state.worklist.suspend(&subscriber.0, filtered).context(WorklistSnafu)).await?;
    Ok(HttpResponse::Ok().finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_are_read_in_both_forms() {
        let filter = |query: &str| filter_of(&query::pairs(query).unwrap());
        let one = filter("filter=PatientID%3DP1,StudyInstanceUID%3D1.2,1.3").unwrap();
        assert_eq!(one, filter("PatientID=P1&StudyInstanceUID=1.2,1.3&deletionlock=true").unwrap());
        for wrong in ["", "deletionlock=true", "filter=", "filter=PatientID", "filter=NoSuch%3D1", "NoSuch=1"]
        {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_panics(text in "\\PC{0,40}") {
            let _ = listed(&text);
        }
    }
}
