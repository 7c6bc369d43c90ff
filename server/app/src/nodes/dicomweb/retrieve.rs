//! Objects are retrieved from a DICOMweb node by WADO-RS (PS3.18 10.4) and stored as STOW-RS stores them.

use std::collections::BTreeMap;

use engram_dicomweb::{DicomWeb, Reception, StoreReport};
use engram_jobs::JobFailure;
use serde_json::{Map, Value, json};

use super::DicomwebNode;
use super::answer::{Coming, Piece};
use super::error::{NodeError, UnreadableSnafu};
use crate::nodes::Objects;
use crate::nodes::objects::is_uid;
use crate::nodes::transfer::{Course, failed, interrupted, some_failed};

/// As the node has it stored; a server that knows no `*` is asked for what it likes.
const ACCEPTED: [&str; 2] = [
    "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
    "multipart/related; type=\"application/dicom\"",
];
/// Series that are asked for at a time.
const PAGE: usize = 100;
/// Series of a study at the most.
const MAX_SERIES: usize = 10_000;

/// A series or an instance that is fetched.
struct Resource {
    /// Below the node's URL.
    path: String,
    /// How many instances it has, where the node tells it.
    instances: Option<u64>,
}

/// What came until now.
#[derive(Default)]
struct Come {
    /// Instances that are stored.
    stored: usize,
    /// What did not come, or could not be stored, and why.
    missing: Vec<String>,
}

impl DicomwebNode {
    /// Fetches them and stores them, series by series.
    ///
    /// # Errors
    /// Anything of them did not come. What came is stored all the same.
    pub fn retrieve(&self, course: &Course, to: &DicomWeb, objects: &Objects) -> Result<Value, JobFailure> {
        course.claimed.stage("asking", 0);
        let resources = self.resources(objects)?;
        let total: Option<u64> = resources.iter().map(|resource| resource.instances).sum();
        course.claimed.stage("retrieval", total.unwrap_or(0));
        let mut come = Come::default();
        for resource in &resources {
            self.fetch(course, to, &objects.study, resource, &mut come)?;
        }
        if come.missing.is_empty() {
            return Ok(json!({ "instances": come.stored }));
        }
        let all = come.stored.saturating_add(come.missing.len());
        Err(some_failed("some_not_retrieved", "retrieved", all, &come.missing))
    }

    /// What to fetch.
    fn resources(&self, objects: &Objects) -> Result<Vec<Resource>, JobFailure> {
        let study = &objects.study;
        if let ([series], [_, ..]) = (objects.series.as_slice(), objects.instances.as_slice()) {
            let instance = |uid: &String| Resource {
                path: format!("/studies/{study}/series/{series}/instances/{uid}"),
                instances: Some(1),
            };
            return Ok(objects.instances.iter().map(instance).collect());
        }
        let known = self.series(study)?;
        let wanted = match objects.series.as_slice() {
            [] => known.keys().cloned().collect(),
            named => named.to_vec(),
        };
        if let Some(unknown) = wanted.iter().find(|uid| !known.contains_key(*uid)) {
            let message = format!("the node has no series {unknown} of study {study}");
            return Err(failed("node_refused", message, SEARCH));
        }
        if wanted.is_empty() {
            return Err(failed("node_refused", format!("the node has nothing of study {study}"), SEARCH));
        }
        let series = |uid: String| Resource {
            path: format!("/studies/{study}/series/{uid}"),
            instances: known.get(&uid).copied().flatten(),
        };
        Ok(wanted.into_iter().map(series).collect())
    }

    /// The series of a study that the node has, and how many instances each has, where it tells.
    fn series(&self, study: &str) -> Result<BTreeMap<String, Option<u64>>, NodeError> {
        let mut series = BTreeMap::new();
        while series.len() < MAX_SERIES {
            let path =
                format!("/studies/{study}/series?includefield=00201209&limit={PAGE}&offset={}", series.len());
            let before = series.len();
            for found in self.found(&path)?.matches {
                let uid = first(&found, "0020000E").and_then(Value::as_str).unwrap_or_default().to_owned();
                if !is_uid(&uid) {
                    return UnreadableSnafu { reason: "it lists a series without its UID" }.fail();
                }
                series.insert(uid, first(&found, "00201209").and_then(count));
            }
            // Also where the node knows no `offset` and tells the same again.
            if series.len() == before {
                break;
            }
        }
        Ok(series)
    }

    /// Fetches one of them and waits until it is stored.
    fn fetch(
        &self,
        course: &Course,
        to: &DicomWeb,
        study: &str,
        resource: &Resource,
        come: &mut Come,
    ) -> Result<(), JobFailure> {
        let before = come.stored.saturating_add(come.missing.len());
        let report = match self.received(course, to, study, &resource.path, before)? {
            Ok(report) => report,
            Err(refused) => {
                come.missing.push(format!("{} ({refused})", resource.path));
                return Ok(());
            }
        };
        if let Some(problem) = report.problem {
            return Err(NodeError::Unreadable { reason: problem.to_string() }.into());
        }
        let came = report.stored.len().saturating_add(report.failures.len());
        come.stored = come.stored.saturating_add(report.stored.len());
        come.missing.extend(report.failures.into_iter().map(|failure| {
            let uid = failure.sop_instance_uid.unwrap_or_else(|| "one without a UID".to_owned());
            format!("{uid} ({})", failure.message)
        }));
        let expected = resource.instances.and_then(|count| usize::try_from(count).ok());
        if let Some(expected) = expected.filter(|expected| came < *expected) {
            come.missing.push(format!("{} (the node sent {came} of {expected})", resource.path));
        }
        Ok(())
    }

    /// What became of one resource, or why the node refuses it.
    fn received(
        &self,
        course: &Course,
        to: &DicomWeb,
        study: &str,
        path: &str,
        before: usize,
    ) -> Result<Result<StoreReport, String>, JobFailure> {
        let goes_on = || course.goes_on();
        let mut refused = String::new();
        for accept in ACCEPTED {
            let coming = Coming::of(self.get(path, accept), self.silence)?;
            let Some(Piece::Head { status, content_type }) = coming.next(&goes_on)? else {
                return Err(interrupted());
            };
            match status {
                // 206: the node has not all that was asked for; the count will tell.
                200 | 206 => {
                    let reception = Reception::of_answer(to, &content_type, study.to_owned())
                        .map_err(|error| NodeError::Unreadable { reason: error.to_string() })?;
                    return receive(course, &coming, reception, before).map(Ok);
                }
                400 | 406 | 415 => refused = format!("the node answered {status}"),
                status => return Ok(Err(format!("the node answered {status}"))),
            }
        }
        Ok(Err(refused))
    }
}

/// Stores what comes, to its end.
fn receive(
    course: &Course,
    coming: &Coming,
    mut reception: Reception,
    before: usize,
) -> Result<StoreReport, JobFailure> {
    loop {
        match coming.next(&|| course.goes_on())? {
            Some(Piece::Content(bytes)) => {
                reception.write_all(vec![bytes]);
                course.claimed.progress(before.saturating_add(reception.received()) as u64);
            }
            Some(Piece::End) => return Ok(reception.finish()),
            Some(Piece::Head { .. }) => {}
            None => return Err(interrupted()),
        }
    }
}

const SEARCH: &str = "POST /api/v1/nodes/{node}/query tells what the node has.";

/// The first value of an attribute.
fn first<'a>(object: &'a Map<String, Value>, tag: &str) -> Option<&'a Value> {
    object.get(tag)?.get("Value")?.get(0)
}

/// An IS in DICOM JSON: a number, or text.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_as_numbers_or_text() {
        let counts = [json!(3), json!("3 "), json!("many"), json!(null)];
        assert_eq!(counts.map(|value| count(&value)), [Some(3), Some(3), None, None]);
    }
}
