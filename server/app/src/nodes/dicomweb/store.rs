//! Instances are sent to a DICOMweb node by STOW-RS (PS3.18 10.5).

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::time::Duration;

use dicom_dictionary_std::uids;
use engram_archive::InstanceEntry;
use engram_jobs::JobFailure;
use engram_workflow::{Node, Origin, Sent, Unreachable};
use serde_json::{Value, json};
use ureq::SendBody;
use ureq::http::StatusCode;

use super::{DICOM_JSON, DicomwebNode, NodeError};
use crate::nodes::transfer::{Course, interrupted, some_failed};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// One request's instances, bytes: more only where a single instance is larger.
const REQUEST_BYTES: u64 = 32 << 20;
/// One request's instances at the most.
const REQUEST_INSTANCES: usize = 100;
/// An answer's size at the most, bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// Between the parts of a request.
const BOUNDARY: &str = "engram-4be1d0a7c25f";

/// Duplicate SOP Instance (PS3.7 C.5.7): the node has it.
const DUPLICATE: u64 = 0x0111;
/// SOP Class not supported (PS3.7 C.5.20), which PS3.18 table I.2-2 has as well.
const CLASS_REFUSED: u64 = 0x0122;

impl DicomwebNode {
    /// Sends them for a job.
    pub fn send_all(&self, course: &Course, entries: &[InstanceEntry]) -> Result<Value, JobFailure> {
        let (mut done, mut refused) = (0u64, Vec::new());
        let sent = self.send(entries, &mut |entry, sent| {
            match sent {
                Sent::Taken => {}
                Sent::ClassRefused => {
                    refused.push(format!("{} (SOP class not supported)", entry.uids.sop_instance_uid))
                }
                Sent::Refused { reason, .. } => {
                    refused.push(format!("{} ({reason})", entry.uids.sop_instance_uid))
                }
            }
            done += 1;
            course.claimed.progress(done);
            course.goes_on()
        });
        if !course.goes_on() {
            return Err(interrupted());
        }
        sent.map_err(|Unreachable { reason }| NodeError::Broken { reason })?;
        match refused.as_slice() {
            [] => Ok(json!({ "instances": done, "committed": false })),
            refused => Err(some_failed("some_not_sent", "sent", entries.len(), refused)),
        }
    }

    /// Sends some instances in one request; what is said of each, in their order. `None`: something is wrong with one
    /// of several, and which one shows only when each has a request of its own.
    fn store(&self, instances: &[InstanceEntry]) -> Result<Option<Vec<Sent>>, Unreachable> {
        let (body, length) = match multipart(instances) {
            Ok(body) => body,
            Err(error) => {
                let reason = format!("it could not be read: {error}");
                return Ok(of_one(instances, |_| Sent::Refused { reason, lasting: true }));
            }
        };
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
        let request = self.agent.post(format!("{}/studies", self.url)).header("Content-Type", content_type);
        let request = request.header("Accept", DICOM_JSON).header("Content-Length", length);
        let request =
            self.impatient(self.authorized(request)).config().timeout_global(Some(PATIENCE)).build();
        let unreachable = |error: ureq::Error| Unreachable { reason: error.to_string() };
        let mut answer = request.send(SendBody::from_owned_reader(body)).map_err(unreachable)?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(unreachable)?;
        let told = serde_json::from_slice::<Value>(&text).ok().filter(|_| is_told(status));
        Ok(match told {
            Some(told) => Some(instances.iter().map(|entry| said_of(entry, &told)).collect()),
            // All of them are stored (PS3.18 table 10.5.3-1).
            None if status == StatusCode::OK => Some(vec![Sent::Taken; instances.len()]),
            None if status.is_success() => {
                let reason = format!("it answered {status} and did not say what it took");
                Some(vec![Sent::Refused { reason, lasting: false }; instances.len()])
            }
            None if is_passing(status) => {
                return Err(Unreachable { reason: format!("it answered {status}") });
            }
            None => of_one(instances, |entry| refused(entry, status)),
        })
    }
}

/// What is said of a request's only instance; `None` where it has several.
fn of_one(instances: &[InstanceEntry], said: impl FnOnce(&InstanceEntry) -> Sent) -> Option<Vec<Sent>> {
    let [only] = instances else { return None };
    Some(vec![said(only)])
}

impl Node for DicomwebNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_where(&self, _: &Origin) -> bool {
        // Who called by HTTP, nothing tells.
        false
    }

    fn send(
        &self,
        instances: &[InstanceEntry],
        told: &mut dyn FnMut(&InstanceEntry, Sent) -> bool,
    ) -> Result<(), Unreachable> {
        // Of the next ones, these have requests of their own.
        let mut apart = 0usize;
        let mut rest = instances;
        while !rest.is_empty() {
            let count = if apart > 0 { 1 } else { fitting(rest) };
            let (now, later) = rest.split_at(count);
            let Some(said) = self.store(now)? else {
                apart = count;
                continue;
            };
            let mut goes_on = true;
            for (entry, sent) in now.iter().zip(said) {
                goes_on &= told(entry, sent);
            }
            if !goes_on {
                return Ok(());
            }
            apart = apart.saturating_sub(1);
            rest = later;
        }
        Ok(())
    }
}

/// How many of the first instances go into one request.
fn fitting(instances: &[InstanceEntry]) -> usize {
    // Where a LABELMAP is refused, what refers to it is sent in another form.
    if instances.first().is_some_and(is_label_map) {
        return 1;
    }
    let mut bytes = 0u64;
    let fits = instances.iter().take(REQUEST_INSTANCES).take_while(|entry| {
        bytes = bytes.saturating_add(entry.size);
        bytes <= REQUEST_BYTES
    });
    fits.count().max(1)
}

type Body = Box<dyn Read + Send + Sync>;

fn is_label_map(entry: &InstanceEntry) -> bool {
    entry.sop_class_uid == uids::LABEL_MAP_SEGMENTATION_STORAGE
}

/// The body of a request and its length.
fn multipart(instances: &[InstanceEntry]) -> io::Result<(Body, u64)> {
    let head = format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n");
    let mut body: Body = Box::new(io::empty());
    let mut length = 0u64;
    for entry in instances {
        let file = File::open(&entry.path)?;
        let size = file.metadata()?.len();
        length = length.saturating_add(head.len() as u64).saturating_add(size).saturating_add(2);
        body =
            Box::new(body.chain(Cursor::new(head.clone())).chain(file.take(size)).chain(Cursor::new("\r\n")));
    }
    let end = format!("--{BOUNDARY}--\r\n");
    length = length.saturating_add(end.len() as u64);
    Ok((Box::new(body.chain(Cursor::new(end))), length))
}

/// Whether an answer of this status lists what became of each instance (PS3.18 table 10.5.3-1).
fn is_told(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::ACCEPTED | StatusCode::CONFLICT)
}

/// Whether the same request may go well later, or once somebody has changed who may send.
fn is_passing(status: StatusCode) -> bool {
    let is_of_who_asks = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
    );
    // What leads elsewhere is not followed: whoever configures the node can name the other place.
    status.is_server_error() || status.is_redirection() || is_of_who_asks
}

/// What a Store Instances Response (PS3.18 table I.1-1) says of an instance.
fn said_of(entry: &InstanceEntry, response: &Value) -> Sent {
    let uid = entry.uids.sop_instance_uid.as_str();
    let item = |sequence: &str| {
        let items = response[sequence]["Value"].as_array();
        items.into_iter().flatten().find(|item| item["00081155"]["Value"][0] == uid)
    };
    if item("00081199").is_some() {
        return Sent::Taken;
    }
    let Some(failed) = item("00081198") else {
        return Sent::Refused { reason: "it said nothing of it".to_owned(), lasting: false };
    };
    match failed["00081197"]["Value"][0].as_u64() {
        Some(DUPLICATE) => Sent::Taken,
        Some(CLASS_REFUSED) => Sent::ClassRefused,
        Some(reason) => Sent::Refused {
            reason: format!("failure reason {reason:04X}H"),
            // Cannot understand, does not match (PS3.18 table I.2-2): the instance's fault. Else the node's.
            lasting: matches!(reason, 0xA900..=0xA9FF | 0xC000..=0xCFFF),
        },
        None => Sent::Refused { reason: "it gave no reason".to_owned(), lasting: false },
    }
}

/// What a status without a list says of the one instance that was sent.
fn refused(entry: &InstanceEntry, status: StatusCode) -> Sent {
    match is_label_map(entry) {
        true => Sent::ClassRefused,
        false => Sent::Refused { reason: format!("it answered {status}"), lasting: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_archive::InstanceUids;
    use serde_json::json;

    fn instance(sop: &str, size: u64, path: &std::path::Path) -> InstanceEntry {
        InstanceEntry {
            uids: InstanceUids::new("1", "2", sop),
            sop_class_uid: uids::CT_IMAGE_STORAGE.into(),
            transfer_syntax_uid: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
            path: path.into(),
            size,
            data_set_offset: 0,
            data_set_digest: String::new(),
            instance_number: None,
            frames: 1,
            native_pixels: None,
        }
    }

    #[test]
    fn a_body_is_as_long_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dcm");
        std::fs::write(&path, b"object").unwrap();
        let (mut body, length) = multipart(&[instance("1.1", 6, &path), instance("1.2", 6, &path)]).unwrap();
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, length);
        let part = format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\nobject\r\n");
        assert_eq!(text, format!("{part}{part}--{BOUNDARY}--\r\n"));
    }

    #[test]
    fn requests_hold_what_fits_and_at_least_one() {
        let of = |size: u64| instance("1", size, std::path::Path::new("a"));
        assert_eq!(fitting(&[of(REQUEST_BYTES * 2), of(1)]), 1);
        assert_eq!(fitting(&[of(REQUEST_BYTES / 2), of(REQUEST_BYTES / 2), of(1)]), 2);
        assert_eq!(fitting(&vec![of(1); 500]), REQUEST_INSTANCES);
    }

    #[test]
    fn each_instance_hears_what_was_said_of_it() {
        let item = |sop: &str| json!({"00081155": {"vr": "UI", "Value": [sop]}});
        let failed = |sop: &str, reason: u64| {
            let mut item = item(sop);
            item["00081197"] = json!({"vr": "US", "Value": [reason]});
            item
        };
        let response = json!({
            "00081199": {"vr": "SQ", "Value": [item("1")]},
            "00081198": {"vr": "SQ", "Value": [
                failed("2", 0x0111), failed("3", 0x0122), failed("4", 0xA700), failed("5", 0xC122), item("6"),
            ]},
        });
        let lasting = |sop: &str| match said_of(&instance(sop, 1, std::path::Path::new("a")), &response) {
            Sent::Refused { lasting, .. } => Some(lasting),
            Sent::Taken | Sent::ClassRefused => None,
        };
        let said = |sop: &str| said_of(&instance(sop, 1, std::path::Path::new("a")), &response);
        assert_eq!([said("1"), said("2"), said("3")], [Sent::Taken, Sent::Taken, Sent::ClassRefused]);
        assert_eq!(["4", "5", "6", "7"].map(lasting), [Some(false), Some(true), Some(false), Some(false)]);
    }
}
