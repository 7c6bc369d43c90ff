//! A client of Engram: DICOMweb and the API over plain HTTP.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;

use crate::cli::{Failure, ServerToken, http_agent};

/// Between the parts of a request.
const BOUNDARY: &str = "engram-client-2b7c1f4e9a";
/// One answer's size at the most.
const MAX_BODY_BYTES: u64 = 1 << 30;
/// Exemplars or instances asked for at a time.
const PAGE: usize = 1000;
/// Characters of an unexpected answer that are shown.
const SHOWN: usize = 400;

/// A connection to a server.
pub struct Client {
    agent: Agent,
    url: String,
}

/// A label of the bank.
#[derive(Debug, Deserialize)]
pub struct Label {
    /// Its key.
    pub label: String,
    /// The label in words.
    pub meaning: String,
    /// Studies with exemplars of it.
    pub studies: usize,
}

/// An annotated slice of the bank.
#[derive(Debug, Clone, Deserialize)]
pub struct Exemplar {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID of the images.
    pub series: String,
    /// Index of the slice in its volume.
    pub slice_index: usize,
    /// PatientID.
    pub patient_id: String,
    /// SOPInstanceUID of the SEG.
    pub segmentation: String,
    /// Whether the SEG is silent about slices without a frame.
    pub partial: bool,
    /// Keys of the labels on it.
    pub present: Vec<String>,
    /// Keys of the labels known not to be on it.
    pub absent: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ExemplarPage {
    exemplars: Vec<Exemplar>,
    next_offset: Option<usize>,
}

/// What a result says of a slice and label.
#[derive(Debug, Clone, Deserialize)]
pub struct SliceProvenance {
    /// SOPInstanceUID of the slice.
    pub sop_instance: String,
    /// Its frame.
    pub frame: u32,
    /// Key of the label.
    pub label: String,
    /// Pixels of the label.
    pub pixels: usize,
    /// 0 to 1.
    pub confidence: f32,
    /// Whether a person should look at it first.
    pub review: bool,
}

#[derive(Debug, Deserialize)]
struct Health {
    bundle: String,
}

/// A segmentation job.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// Its identity.
    pub id: String,
    state: String,
    /// What it is doing.
    pub stage: Option<String>,
    /// Slices that are done in this stage.
    pub slices_done: u64,
    /// Slices that there are in this stage.
    pub slices_total: u64,
    /// Seconds of each finished stage.
    pub stage_seconds: Vec<(String, f64)>,
    error: Option<JobError>,
    links: Links,
}

#[derive(Debug, Deserialize)]
struct JobError {
    message: String,
    what_to_do: String,
}

#[derive(Debug, Deserialize)]
struct Links {
    instance: Option<String>,
}

impl Job {
    /// Whether it will not change any more.
    pub fn is_finished(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }

    /// The job itself if it came to its end, else why not.
    pub fn succeeded(self) -> Result<Self, Failure> {
        match (self.state.as_str(), &self.error) {
            ("succeeded", _) => Ok(self),
            (_, Some(error)) => Err(Failure::say(format!("{}. {}", error.message, error.what_to_do))),
            (state, None) => Err(Failure::say(format!("the segmentation is {state}"))),
        }
    }

    /// Where WADO-RS gives the result.
    pub fn instance(&self) -> Result<String, Failure> {
        self.links.instance.clone().ok_or_else(|| Failure::say("the job does not say where its result is"))
    }
}

impl Client {
    /// Of the server at `url`.
    pub fn new(url: &str, token: &ServerToken) -> Result<Self, Failure> {
        Ok(Self { agent: http_agent(url, token)?, url: url.to_owned() })
    }

    /// Whether the server is ready to work.
    pub fn is_ready(&self) -> bool {
        let answer = self.agent.get(format!("{}/api/v1/health", self.url)).call();
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// STOW-RS (PS3.18 10.5): stores Part 10 files, all of them or it is an error.
    pub fn store(&self, files: &[&[u8]]) -> Result<(), Failure> {
        let mut body = Vec::new();
        for file in files {
            body.extend_from_slice(
                format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(file);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
        let request = self.agent.post(format!("{}/dicomweb/studies", self.url));
        let request = request.header("Content-Type", content_type).header("Accept", "application/dicom+json");
        // 202 would mean that the server refused some of them.
        expect(200, request.send(&body[..])).map(drop)
    }

    /// The labels that the bank holds.
    pub fn labels(&self) -> Result<Vec<Label>, Failure> {
        self.get_json("/api/v1/labels")
    }

    /// The bundle in use.
    pub fn bundle(&self) -> Result<String, Failure> {
        Ok(self.get_json::<Health>("/api/v1/health")?.bundle)
    }

    /// Every annotated slice that says something of a label.
    pub fn exemplars(&self, label: &str, collection: Option<&str>) -> Result<Vec<Exemplar>, Failure> {
        let mut filter = format!("label={}", escaped(label));
        if let Some(collection) = collection {
            filter += &format!("&collection={}", escaped(collection));
        }
        let (mut found, mut offset) = (vec![], Some(0));
        while let Some(from) = offset {
            let path = format!("/api/v1/exemplars?{filter}&offset={from}&limit={PAGE}");
            let page: ExemplarPage = self.get_json(&path)?;
            found.extend(page.exemplars);
            offset = page.next_offset;
        }
        Ok(found)
    }

    /// Asks for a segmentation.
    pub fn segment(&self, study: &str, series: &str) -> Result<Job, Failure> {
        self.request_segmentation(&json!({ "study": study, "series": series }))
    }

    /// Asks for a segmentation as docs/api.md describes it.
    pub fn request_segmentation(&self, request: &Value) -> Result<Job, Failure> {
        let post = self.agent.post(format!("{}/api/v1/segmentations", self.url));
        let post = post.header("Content-Type", "application/json");
        json(&expect(202, post.send(request.to_string()))?.1)
    }

    /// The SEG of a job that succeeded, Part 10.
    pub fn result(&self, job: &Job) -> Result<Vec<u8>, Failure> {
        let request = self.agent.get(format!("{}/api/v1/jobs/{}/result", self.url, job.id));
        Ok(expect(200, request.header("Accept", "application/dicom").call())?.1)
    }

    /// What its result says of each slice and label.
    pub fn provenance(&self, job: &Job) -> Result<Vec<SliceProvenance>, Failure> {
        self.get_json(&format!("/api/v1/jobs/{}/provenance", job.id))
    }

    /// QIDO-RS (PS3.18 10.6): where WADO-RS gives the instances that a query finds, below `/dicomweb`.
    pub fn find_instances(&self, query: &str) -> Result<Vec<String>, Failure> {
        let separator = if query.contains('?') { '&' } else { '?' };
        let mut paths = vec![];
        loop {
            let page = format!("{query}{separator}offset={}&limit={PAGE}", paths.len());
            let request = self.agent.get(format!("{}/dicomweb/{page}", self.url));
            let (_, body) = expect(200, request.header("Accept", "application/dicom+json").call())?;
            let found: Vec<Value> = json(&body)?;
            if found.is_empty() {
                return Ok(paths);
            }
            for instance in &found {
                let path = instance_path(instance);
                paths
                    .push(path.ok_or_else(|| Failure::say("the server lists an instance without its UIDs"))?);
            }
        }
    }

    /// How a job is doing.
    pub fn job(&self, id: &str) -> Result<Job, Failure> {
        self.get_json(&format!("/api/v1/jobs/{id}"))
    }

    /// WADO-RS (PS3.18 10.4): the Part 10 file of an instance.
    pub fn retrieve_instance(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let request =
            request.header("Accept", "multipart/related; type=\"application/dicom\"; transfer-syntax=*");
        let (content_type, body) = expect(200, request.call())?;
        let part = boundary(&content_type).and_then(|boundary| only_part(&body, boundary));
        part.map(<[u8]>::to_vec)
            .ok_or_else(|| Failure::say(format!("could not read a {content_type} answer")))
    }

    fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.agent.get(format!("{}{path}", self.url));
        json(&expect(200, request.header("Accept", "application/json").call())?.1)
    }
}

/// Where WADO-RS gives an instance, by its DICOM JSON.
fn instance_path(instance: &Value) -> Option<String> {
    let uid = |tag: &str| instance.get(tag)?.get("Value")?.get(0)?.as_str();
    let (study, series, instance) = (uid("0020000D")?, uid("0020000E")?, uid("00080018")?);
    Some(format!("/dicomweb/studies/{study}/series/{series}/instances/{instance}"))
}

/// A value of a query.
fn escaped(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Content type and body of an answer that has the status expected.
fn expect(
    status: u16,
    answer: Result<Response<ureq::Body>, ureq::Error>,
) -> Result<(String, Vec<u8>), Failure> {
    let mut answer = answer.map_err(Failure::of)?;
    let content_type = answer.headers().get("Content-Type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = answer.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec().map_err(Failure::of)?;
    if answer.status() == status {
        return Ok((content_type, body));
    }
    let text: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
    Err(Failure::say(format!("the server answered {}, not {status}: {text}", answer.status())))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let text: String = String::from_utf8_lossy(body).chars().take(SHOWN).collect();
        Failure::say(format!("could not understand the server ({error}): {text}"))
    })
}

/// The boundary parameter of a multipart media type.
fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').map(str::trim);
    let value =
        parameters.filter_map(|parameter| parameter.split_once('=')).find(|(name, _)| *name == "boundary")?.1;
    Some(value.trim_matches('"'))
}

/// The content of the only part of a multipart body.
fn only_part<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let end = format!("\r\n--{boundary}--");
    let start = find(body, b"\r\n\r\n")? + 4;
    let length = find(body.get(start..)?, end.as_bytes())?;
    body.get(start..start + length)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_taken_out_of_its_wrapping() {
        let content_type = "multipart/related; type=\"application/dicom\"; boundary=\"a-b\"";
        assert_eq!(boundary(content_type), Some("a-b"));
        let body = b"--a-b\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n--a\0\r\n--a-b--\r\n";
        assert_eq!(only_part(body, "a-b"), Some(&b"DICM\r\n--a\0"[..]));
        assert_eq!(only_part(b"--a-b\r\n\r\ncut off", "a-b"), None);
        assert_eq!(boundary("application/dicom"), None);
    }
}
