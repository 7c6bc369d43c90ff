//! Receives the parts of a STOW request and stores them. Plain blocking calls; knows nothing of HTTP.

use std::io::{ErrorKind, Write};
use std::mem;

use bytes::Bytes;
use engram_archive::{Incoming, StoreFailure, StoreOutcome, StoreRequirements, StoreTicket};

use crate::media::MediaType;
use crate::multipart::{Event, MultipartError, MultipartParser, PartHeaders};
use crate::observer::StowOptions;
use crate::state::DicomWeb;

/// PS3.7 Annex C, PS3.18 Table I.2-2: the reasons given here; the archive gives its own.
const CANNOT_UNDERSTAND: u16 = 0xC000;
const PROCESSING_FAILURE: u16 = 0x0110;
const OUT_OF_RESOURCES: u16 = 0xA700;

/// How the body carries its instances.
#[derive(Debug)]
pub enum Form {
    /// `application/dicom`: the body is one Part 10 object.
    Single,
    /// `multipart/related; type="application/dicom"`.
    Multipart(MultipartParser),
}

/// An instance, or a part that was none, that was not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// SOPClassUID, where it could be read.
    pub sop_class_uid: Option<String>,
    /// SOPInstanceUID, where it could be read.
    pub sop_instance_uid: Option<String>,
    /// FailureReason (0008,1197).
    pub reason: u16,
    /// The same for people.
    pub message: String,
    /// The server is at fault, not the instance.
    pub ours: bool,
}

impl Failure {
    fn of_part(reason: u16, message: impl Into<String>) -> Self {
        let ours = matches!(reason, PROCESSING_FAILURE | OUT_OF_RESOURCES);
        Self { sop_class_uid: None, sop_instance_uid: None, reason, message: message.into(), ours }
    }
}

impl From<StoreFailure> for Failure {
    fn from(failure: StoreFailure) -> Self {
        Self {
            reason: failure.error.failure_reason(),
            message: failure.error.to_string(),
            ours: failure.error.is_ours(),
            sop_class_uid: failure.sop_class_uid,
            sop_instance_uid: failure.sop_instance_uid,
        }
    }
}

/// What became of a request's parts.
#[derive(Debug, Default)]
pub struct StoreReport {
    /// Stored, or there already: durable, in the order of the parts.
    pub stored: Vec<StoreOutcome>,
    /// Not stored.
    pub failures: Vec<Failure>,
    /// Why the body could not be read to its end, if it could not.
    pub problem: Option<MultipartError>,
}

/// The part that is being received.
enum Part {
    /// Between parts.
    None,
    /// Bytes go to a temporary file.
    Receiving { incoming: Incoming, announced: Option<u64>, length: u64 },
    /// Failed already; its remaining bytes are skipped.
    Refused(Failure),
}

/// What became of a complete part.
enum Outcome {
    Submitted(StoreTicket),
    Refused(Failure),
}

/// Receives one request. If it is dropped before [`Reception::finish`], because the client went away, the parts
/// that were complete are stored all the same, and the observer hears of them.
pub struct Reception {
    state: DicomWeb,
    form: Form,
    requirements: StoreRequirements,
    options: StowOptions,
    part: Part,
    outcomes: Vec<Outcome>,
    problem: Option<MultipartError>,
}

impl Reception {
    /// For a request in that form; `study` is the study of its path.
    pub fn new(state: DicomWeb, form: Form, study: Option<String>, options: StowOptions) -> Self {
        let requirements = StoreRequirements { study_instance_uid: study };
        let (part, outcomes, problem) = (Part::None, Vec::new(), None);
        Self { state, form, requirements, options, part, outcomes, problem }
    }

    /// Takes the next bytes of the body. What goes wrong is kept for the report.
    pub fn write_all(&mut self, chunks: Vec<Bytes>) {
        let mut events = Vec::new();
        for chunk in chunks {
            match &mut self.form {
                Form::Single => {
                    if matches!(self.part, Part::None) && !chunk.is_empty() {
                        self.part = self.begin(&PartHeaders::default());
                    }
                    self.part.append(&chunk);
                }
                Form::Multipart(_) if self.problem.is_some() => {}
                Form::Multipart(parser) => {
                    let outcome = parser.push(chunk, &mut events);
                    events.drain(..).for_each(|event| self.take(event));
                    self.problem = outcome.err();
                }
            }
        }
    }

    /// Ends the body: waits until everything that was complete is durable, and tells the observer.
    pub fn finish(mut self) -> StoreReport {
        if self.problem.is_none() {
            match &self.form {
                Form::Single => self.end_part(),
                Form::Multipart(parser) => self.problem = parser.finish().err(),
            }
        }
        let problem = self.problem.take();
        if let (Some(problem), false) = (&problem, matches!(self.part, Part::None)) {
            self.part = Part::None;
            let failure = Failure::of_part(CANNOT_UNDERSTAND, problem.to_string());
            self.outcomes.push(Outcome::Refused(failure));
        }
        let outcomes = mem::take(&mut self.outcomes);
        StoreReport { problem, ..settle(&self.state, &self.options, outcomes) }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::PartStart(headers) => self.part = self.begin(&headers),
            Event::Data(data) => self.part.append(&data),
            Event::PartEnd => self.end_part(),
            Event::End => {}
        }
    }

    fn begin(&self, headers: &PartHeaders) -> Part {
        if headers.overlong {
            return Part::Refused(Failure::of_part(CANNOT_UNDERSTAND, "the part's headers do not end"));
        }
        // A part without a type is of the type that the whole body announced.
        let content_type = headers.get("content-type").unwrap_or("application/dicom");
        let essence = MediaType::parse(content_type).map(|media_type| media_type.essence);
        if essence.as_deref() != Some("application/dicom") {
            let message = format!("the part is of type {content_type}, not application/dicom");
            return Part::Refused(Failure::of_part(CANNOT_UNDERSTAND, message));
        }
        let announced = match headers.get("content-length").map(str::parse) {
            Some(Err(_)) => {
                let message = "the part's Content-Length is not a number";
                return Part::Refused(Failure::of_part(CANNOT_UNDERSTAND, message));
            }
            Some(Ok(length)) => Some(length),
            None => None,
        };
        match self.state.archive.incoming() {
            Ok(incoming) => Part::Receiving { incoming, announced, length: 0 },
            Err(error) => Part::Refused(Failure::of_part(PROCESSING_FAILURE, error.to_string())),
        }
    }

    fn end_part(&mut self) {
        let outcome = match mem::replace(&mut self.part, Part::None) {
            Part::None => return,
            Part::Refused(failure) => Outcome::Refused(failure),
            Part::Receiving { announced: Some(announced), length, .. } if announced != length => {
                let message = format!("the part announces {announced} bytes and has {length}");
                Outcome::Refused(Failure::of_part(CANNOT_UNDERSTAND, message))
            }
            Part::Receiving { incoming, .. } => {
                Outcome::Submitted(self.state.archive.submit(incoming, &self.requirements))
            }
        };
        self.outcomes.push(outcome);
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        let outcomes = mem::take(&mut self.outcomes);
        if outcomes.is_empty() {
            return;
        }
        let (state, options) = (self.state.clone(), self.options.clone());
        let settling = move || {
            let report = settle(&state, &options, outcomes);
            tracing::warn!(
                stored = report.stored.len(),
                "a STOW request broke off; what was complete is stored"
            );
        };
        // Dropped by an async thread, which must not wait, or by a blocking one; both belong to a runtime.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(settling)),
            Err(_) => settling(),
        }
    }
}

impl Part {
    fn append(&mut self, data: &[u8]) {
        let Part::Receiving { incoming, length, .. } = self else { return };
        match incoming.write_all(data) {
            Ok(()) => *length += data.len() as u64,
            // The archive names the instance when it refuses what came until now.
            Err(error) if error.kind() == ErrorKind::FileTooLarge => *length += data.len() as u64,
            Err(error) => {
                let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                let reason = if full { OUT_OF_RESOURCES } else { PROCESSING_FAILURE };
                *self = Part::Refused(Failure::of_part(reason, format!("could not keep the part: {error}")));
            }
        }
    }
}

/// Waits for the archive, makes the request's options durable, and only then lets anything count as stored.
fn settle(state: &DicomWeb, options: &StowOptions, outcomes: Vec<Outcome>) -> StoreReport {
    let mut report = StoreReport::default();
    for outcome in outcomes {
        match outcome {
            Outcome::Refused(failure) => report.failures.push(failure),
            Outcome::Submitted(ticket) => match ticket.wait() {
                Ok(stored) => report.stored.push(stored),
                Err(failure) => report.failures.push(failure.into()),
            },
        }
    }
    if report.stored.is_empty() {
        return report;
    }
    if let Err(error) = state.observer.before_acknowledge(&report.stored, options) {
        tracing::error!(%error, "could not keep the options of a STOW request");
        report.failures.extend(report.stored.drain(..).map(|outcome| Failure {
            sop_class_uid: Some(outcome.instance().sop_class_uid.clone()),
            sop_instance_uid: Some(outcome.instance().uids.sop_instance_uid.clone()),
            ..Failure::of_part(PROCESSING_FAILURE, format!("could not keep the request's options: {error}"))
        }));
        return report;
    }
    for outcome in &report.stored {
        if let StoreOutcome::Stored(instance) = outcome {
            state.observer.instance_stored(instance, options);
        }
    }
    report
}
