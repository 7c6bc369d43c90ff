//! Objects are retrieved from a DICOMweb node by WADO-RS (PS3.18 10.4) and stored as STOW-RS stores them.

use std::collections::{BTreeMap, BTreeSet};

use engram_archive::InstanceUids;
use engram_dicomweb::{DicomWeb, Reception, StoreReport};
use engram_jobs::JobFailure;
use serde_json::{Map, Value, json};

use super::DicomwebNode;
use super::answer::{Coming, Piece};
use super::error::{NodeError, UnreadableSnafu};
use crate::nodes::Objects;
use crate::nodes::objects::is_uid;
use crate::nodes::transfer::{Course, failed, some_failed};

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
    series: String,
    instance: Option<String>,
    /// How many instances it has, where the node tells it.
    count: Option<usize>,
}

impl Resource {
    /// Below the node's URL.
    fn path(&self, study: &str) -> String {
        let series = format!("/studies/{study}/series/{}", self.series);
        self.instance.as_ref().map(|uid| format!("{series}/instances/{uid}")).unwrap_or(series)
    }

    fn holds(&self, uids: &InstanceUids) -> bool {
        uids.series_instance_uid == self.series
            && self.instance.as_ref().is_none_or(|uid| *uid == uids.sop_instance_uid)
    }
}

/// What came until now.
#[derive(Default)]
struct Come {
    /// SOP instances of what was asked for that are stored.
    stored: BTreeSet<String>,
    /// What did not come, or could not be stored, and why.
    missing: Vec<String>,
}

impl Come {
    fn count(&self) -> usize {
        self.stored.len().saturating_add(self.missing.len())
    }
}

/// Where objects are fetched to: a job, and the server that stores them.
struct Fetching<'a> {
    node: &'a DicomwebNode,
    course: &'a Course<'a>,
    to: &'a DicomWeb,
    study: &'a str,
}

impl DicomwebNode {
    /// Fetches them and stores them, series by series.
    ///
    /// # Errors
    /// Anything of them did not come. What came is stored all the same.
    pub fn retrieve(&self, course: &Course, to: &DicomWeb, objects: &Objects) -> Result<Value, JobFailure> {
        course.claimed.stage("asking", 0);
        let fetching = Fetching { node: self, course, to, study: &objects.study };
        let resources = fetching.resources(objects)?;
        let total: Option<usize> = resources.iter().map(|resource| resource.count).sum();
        course.claimed.stage("retrieval", total.unwrap_or(0) as u64);
        let mut come = Come::default();
        for resource in &resources {
            fetching.fetch(resource, &mut come)?;
        }
        match come.missing.as_slice() {
            [] => Ok(json!({ "instances": come.stored.len() })),
            missing => Err(some_failed("some_not_retrieved", "retrieved", come.count(), missing)),
        }
    }
}

impl Fetching<'_> {
    /// What to fetch.
    fn resources(&self, objects: &Objects) -> Result<Vec<Resource>, JobFailure> {
        if let ([series], [_, ..]) = (objects.series.as_slice(), objects.instances.as_slice()) {
            let instance = |uid: &String| Resource {
                series: series.clone(),
                instance: Some(uid.clone()),
                count: Some(1),
            };
            return Ok(objects.instances.iter().collect::<BTreeSet<_>>().into_iter().map(instance).collect());
        }
        let known = self.series()?;
        // Each once: of what comes again, nothing is new.
        let wanted: BTreeSet<_> = match objects.series.as_slice() {
            [] => known.keys().cloned().collect(),
            named => named.iter().cloned().collect(),
        };
        if let Some(unknown) = wanted.iter().find(|uid| !known.contains_key(*uid)) {
            let message = format!("the node has no series {unknown} of study {}", self.study);
            return Err(failed("node_refused", message, SEARCH));
        }
        if wanted.is_empty() {
            let message = format!("the node has nothing of study {}", self.study);
            return Err(failed("node_refused", message, SEARCH));
        }
        let series = |uid: String| {
            let count = known.get(&uid).copied().flatten();
            Resource { series: uid, instance: None, count }
        };
        Ok(wanted.into_iter().map(series).collect())
    }

    /// The series of the study that the node has, and how many instances each has, where it tells.
    fn series(&self) -> Result<BTreeMap<String, Option<usize>>, NodeError> {
        let mut series = BTreeMap::new();
        loop {
            let before = series.len();
            let path =
                format!("/studies/{}/series?includefield=00201209&limit={PAGE}&offset={before}", self.study);
            let page = self.node.found(&path, MAX_SERIES, &|| self.course.goes_on())?;
            let (came, is_last) = (page.matches.len(), page.is_complete);
            for found in page.matches {
                let uid = first(&found, "0020000E").and_then(Value::as_str).unwrap_or_default().to_owned();
                if !is_uid(&uid) {
                    return UnreadableSnafu { reason: "it lists a series without its UID" }.fail();
                }
                series.insert(uid, first(&found, "00201209").and_then(count));
            }
            let is_new = series.len() > before;
            // A node that knows no `offset` tells the same again, and has told all unless it stops where it was asked to.
            let is_cut = !is_new && (came == PAGE || (came > 0 && !is_last));
            if is_cut || series.len() > MAX_SERIES {
                return UnreadableSnafu { reason: "it does not list every series of the study" }.fail();
            }
            if !is_new {
                return Ok(series);
            }
        }
    }

    /// Fetches one of them and waits until it is stored.
    fn fetch(&self, resource: &Resource, come: &mut Come) -> Result<(), JobFailure> {
        let path = resource.path(self.study);
        let (report, status) = match self.received(&path, come.count())? {
            Ok(received) => received,
            Err(refused) => {
                come.missing.push(format!("{path} ({refused})"));
                return Ok(());
            }
        };
        if let Some(problem) = report.problem {
            return Err(NodeError::Unreadable { reason: problem.to_string() }.into());
        }
        let before = come.count();
        for stored in &report.stored {
            let uids = &stored.outcome.instance().uids;
            match resource.holds(uids) {
                true => drop(come.stored.insert(uids.sop_instance_uid.clone())),
                false => come.missing.push(format!("{} (it was not asked for)", uids.sop_instance_uid)),
            }
        }
        come.missing.extend(report.failures.into_iter().map(|failure| {
            let uid = failure.sop_instance_uid.unwrap_or_else(|| "one without a UID".to_owned());
            format!("{uid} ({})", failure.message)
        }));
        let came = come.count() - before;
        match resource.count {
            Some(count) if came < count => {
                come.missing.push(format!("{path} (the node sent {came} of {count})"))
            }
            None if came == 0 => come.missing.push(format!("{path} (the node sent nothing)")),
            None if status == 206 => come.missing.push(format!("{path} (the node sent a part of it)")),
            _ => {}
        }
        Ok(())
    }

    /// What became of one resource, with the answer's status, or why the node refuses it.
    fn received(&self, path: &str, before: usize) -> Result<Result<(StoreReport, u16), String>, JobFailure> {
        let mut refused = String::new();
        for accept in ACCEPTED {
            let coming = Coming::of(self.node.get(path, accept), self.node.silence)?;
            let Piece::Head { status, content_type, .. } = coming.next(&|| self.course.goes_on())? else {
                return Err(NodeError::Unreadable { reason: "it has no head".to_owned() }.into());
            };
            match status {
                // 206: the node has not all that was asked for.
                200 | 206 => {
                    let reception = Reception::of_answer(self.to, &content_type, self.study.to_owned())
                        .map_err(|error| NodeError::Unreadable { reason: error.to_string() })?;
                    return Ok(Ok((self.receive(&coming, reception, before)?, status)));
                }
                400 | 406 | 415 => refused = format!("the node answered {status}"),
                status => return Ok(Err(format!("the node answered {status}"))),
            }
        }
        Ok(Err(refused))
    }

    /// Stores what comes, to its end.
    fn receive(
        &self,
        coming: &Coming,
        mut reception: Reception,
        before: usize,
    ) -> Result<StoreReport, NodeError> {
        let mut told = 0;
        while !reception.is_over() {
            match coming.next(&|| self.course.goes_on())? {
                Piece::Content(bytes) => reception.write_all(vec![bytes]),
                Piece::End => break,
                Piece::Head { .. } => {}
            }
            if reception.received() > told {
                told = reception.received();
                self.course.claimed.progress(before.saturating_add(told) as u64);
            }
        }
        Ok(reception.finish())
    }
}

const SEARCH: &str = "POST /api/v1/nodes/{node}/query tells what the node has.";

/// The first value of an attribute.
fn first<'a>(object: &'a Map<String, Value>, tag: &str) -> Option<&'a Value> {
    object.get(tag)?.get("Value")?.get(0)
}

/// An IS in DICOM JSON: a number, or text.
fn count(value: &Value) -> Option<usize> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    usize::try_from(number).ok()
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
