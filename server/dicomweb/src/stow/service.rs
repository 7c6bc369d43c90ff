//! Receives the parts of a STOW request and stores them. Plain blocking calls; knows nothing of HTTP.

use std::io::{self, ErrorKind, Write};
use std::mem;

use bytes::Bytes;
use engram_archive::{Incoming, StoreFailure, StoreOutcome, StoreRequirements, StoreTicket};
use snafu::{OptionExt, ResultExt};

use super::metadata::{self, Attributes, BulkPart, Encoding, Gathering};
use crate::error::{MultipartSnafu, Result, UnsupportedMediaTypeSnafu};
use crate::media::MediaType;
use crate::multipart::{Event, MultipartError, MultipartParser, PartHeaders};
use crate::observer::StowOptions;
use crate::options::DicomWebOptions;
use crate::state::DicomWeb;

/// PS3.7 Annex C, PS3.18 Table I.2-2: the reasons given here; the archive gives its own.
const CANNOT_UNDERSTAND: u16 = 0xC000;
const PROCESSING_FAILURE: u16 = 0x0110;
const OUT_OF_RESOURCES: u16 = 0xA700;

/// PS3.18 Table I.2-1: WarningReason (0008,1196) where data elements were coerced.
const COERCION_OF_DATA_ELEMENTS: u16 = 0xB000;

/// How the body is cut into parts.
#[derive(Debug)]
pub enum Form {
    /// Not at all: it is one part, of this type.
    Single(MediaType),
    /// `multipart/related`.
    Multipart(MultipartParser),
}

impl Form {
    /// What a `Content-Type` says: how the body is to be read, and how its metadata is written where it carries no Part 10
    /// objects (PS3.18 Table 10.5.2-1).
    ///
    /// # Errors
    /// It is no type that instances come in, or its boundary is none.
    pub fn of(content_type: &str, options: &DicomWebOptions) -> Result<(Self, Option<Encoding>)> {
        let unsupported = || UnsupportedMediaTypeSnafu { found: shortened(content_type) };
        let media_type = MediaType::parse(content_type).with_context(unsupported)?;
        let is_multipart = media_type.essence == "multipart/related";
        let part = match is_multipart {
            true => media_type.parameter("type").unwrap_or("application/dicom").to_ascii_lowercase(),
            false => media_type.essence.clone(),
        };
        let encoding = match part.as_str() {
            "application/dicom" => None,
            part => Some(Encoding::of(part).with_context(unsupported)?),
        };
        if !is_multipart {
            return Ok((Self::Single(media_type), encoding));
        }
        let boundary = media_type.parameter("boundary").unwrap_or_default();
        let parser = MultipartParser::new(boundary, options.multipart()).context(MultipartSnafu)?;
        Ok((Self::Multipart(parser), encoding))
    }
}

/// As much of a header as a message shows.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// What instances come as.
pub enum Representation {
    /// Part 10 objects.
    Objects,
    /// Metadata, and bulk data.
    Metadata(Box<Gathering>),
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

    fn of_disk(error: io::Error) -> Self {
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        let reason = if full { OUT_OF_RESOURCES } else { PROCESSING_FAILURE };
        Self::of_part(reason, format!("could not keep the part: {error}"))
    }
}

impl From<metadata::AssembleError> for Failure {
    fn from(error: metadata::AssembleError) -> Self {
        let ours = error.is_ours();
        Self { ours, ..Self::of_part(error.failure_reason(), error.to_string()) }
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
    pub stored: Vec<Stored>,
    /// Not stored.
    pub failures: Vec<Failure>,
    /// Why the body could not be read to its end, if it could not.
    pub problem: Option<MultipartError>,
}

/// An instance that is stored.
#[derive(Debug)]
pub struct Stored {
    /// What was stored.
    pub outcome: StoreOutcome,
    /// WarningReason (0008,1196).
    pub warning: Option<u16>,
}

/// The part that is being received.
enum Part {
    /// Between parts.
    None,
    /// Its bytes are being kept.
    Receiving { content: Content, announced: Option<u64>, length: u64 },
    /// Failed already; its remaining bytes are skipped.
    Refused(Failure),
}

/// What a part is, and where its bytes go.
enum Content {
    /// A Part 10 object: to a temporary file of its own.
    Object(Incoming),
    /// Metadata: to memory.
    Attributes(Attributes),
    /// Bulk data of that location: to the request's temporary file.
    BulkData { location: String, part: BulkPart },
}

/// What became of an instance, or of a part that was none.
enum Outcome {
    Submitted { ticket: StoreTicket, warning: Option<u16> },
    Refused(Failure),
}

/// Receives one request. If it is dropped before [`Reception::finish`], because the client went away, the objects
/// that were complete are stored all the same, and the observer hears of them.
pub struct Reception {
    state: DicomWeb,
    form: Form,
    representation: Representation,
    requirements: StoreRequirements,
    options: StowOptions,
    part: Part,
    outcomes: Vec<Outcome>,
    problem: Option<MultipartError>,
}

impl Reception {
    /// For Part 10 objects of one study that another server sends in an answer of this `Content-Type` (PS3.18 10.4).
    ///
    /// # Errors
    /// It is neither `application/dicom` nor `multipart/related` of it with a boundary.
    pub fn of_answer(state: &DicomWeb, content_type: &str, study: String) -> Result<Self> {
        let (form, encoding) = Form::of(content_type, &state.options)?;
        match encoding {
            None => {
                let objects = Representation::Objects;
                Ok(Self::new(state.clone(), form, objects, Some(study), StowOptions::default()))
            }
            Some(_) => UnsupportedMediaTypeSnafu { found: shortened(content_type) }.fail(),
        }
    }

    /// How many instances are complete, or refused already.
    pub fn received(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether nothing that comes now is of an instance: the closing delimiter was read, or the body does not read any more.
    pub fn is_over(&self) -> bool {
        let is_at_end = matches!(&self.form, Form::Multipart(parser) if parser.finish().is_ok());
        is_at_end || self.problem.is_some()
    }

    /// For a request in that form; `study` is the study of its path.
    pub fn new(
        state: DicomWeb,
        form: Form,
        representation: Representation,
        study: Option<String>,
        options: StowOptions,
    ) -> Self {
        let requirements = StoreRequirements { study_instance_uid: study };
        let (part, outcomes, problem) = (Part::None, Vec::new(), None);
        Self { state, form, representation, requirements, options, part, outcomes, problem }
    }

    /// Takes the next bytes of the body. What goes wrong is kept for the report.
    pub fn write_all(&mut self, chunks: Vec<Bytes>) {
        let mut events = Vec::new();
        for chunk in chunks {
            match &mut self.form {
                Form::Single(media_type) => {
                    if matches!(self.part, Part::None) && !chunk.is_empty() {
                        let media_type = media_type.clone();
                        self.part = self.receive(media_type, None, None).unwrap_or_else(Part::Refused);
                    }
                    self.append(&chunk);
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

    /// Ends the body: puts together what came in pieces, waits until everything that was complete is durable, and
    /// tells the observer.
    pub fn finish(mut self) -> StoreReport {
        if self.problem.is_none() {
            match &self.form {
                Form::Single(_) => self.end_part(),
                Form::Multipart(parser) => self.problem = parser.finish().err(),
            }
        }
        let problem = self.problem.take();
        if let (Some(problem), false) = (&problem, matches!(self.part, Part::None)) {
            self.part = Part::None;
            let failure = Failure::of_part(CANNOT_UNDERSTAND, problem.to_string());
            self.outcomes.push(Outcome::Refused(failure));
        }
        if let Representation::Metadata(gathering) =
            mem::replace(&mut self.representation, Representation::Objects)
        {
            self.assemble(*gathering);
        }
        let outcomes = mem::take(&mut self.outcomes);
        StoreReport { problem, ..settle(&self.state, &self.options, outcomes) }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::PartStart(headers) => self.part = self.begin(&headers).unwrap_or_else(Part::Refused),
            Event::Data(data) => self.append(&data),
            Event::PartEnd => self.end_part(),
            Event::End => {}
        }
    }

    fn begin(&mut self, headers: &PartHeaders) -> Result<Part, Failure> {
        if headers.overlong {
            return Err(Failure::of_part(CANNOT_UNDERSTAND, "the part's headers do not end"));
        }
        // A part without a type is of the type that the whole body announced.
        let content_type = headers.get("content-type").unwrap_or(self.representation.part_type());
        let Some(media_type) = MediaType::parse(content_type) else {
            let message = format!("the part's type {content_type} does not read");
            return Err(Failure::of_part(CANNOT_UNDERSTAND, message));
        };
        let announced = match headers.get("content-length").map(str::parse) {
            Some(Err(_)) => {
                let message = "the part's Content-Length is not a number";
                return Err(Failure::of_part(CANNOT_UNDERSTAND, message));
            }
            Some(Ok(length)) => Some(length),
            None => None,
        };
        self.receive(media_type, headers.get("content-location"), announced)
    }

    fn receive(
        &mut self,
        media_type: MediaType,
        location: Option<&str>,
        announced: Option<u64>,
    ) -> Result<Part, Failure> {
        let essence = media_type.essence.as_str();
        let refused = |message: String| Failure::of_part(CANNOT_UNDERSTAND, message);
        let content = match &mut self.representation {
            Representation::Objects if essence == "application/dicom" => {
                match self.state.archive.incoming() {
                    Ok(incoming) => Content::Object(incoming),
                    Err(error) => {
                        let reason = if error.is_full() { OUT_OF_RESOURCES } else { PROCESSING_FAILURE };
                        return Err(Failure::of_part(reason, error.to_string()));
                    }
                }
            }
            Representation::Objects => {
                return Err(refused(format!("the part is of type {essence}, not application/dicom")));
            }
            Representation::Metadata(gathering) => match (Encoding::of(essence), location) {
                (Some(encoding), _) => Content::Attributes(Gathering::begin(encoding, &media_type)),
                (None, Some(location)) => {
                    let part = gathering.bulk_data.begin(media_type).map_err(Failure::of_disk)?;
                    Content::BulkData { location: location.to_owned(), part }
                }
                (None, None) => {
                    return Err(refused(format!("the part of type {essence} has no Content-Location")));
                }
            },
        };
        Ok(Part::Receiving { content, announced, length: 0 })
    }

    fn append(&mut self, data: &[u8]) {
        let Part::Receiving { content, length, .. } = &mut self.part else { return };
        *length += data.len() as u64;
        let appended = match (content, &mut self.representation) {
            (Content::Object(incoming), _) => match incoming.write_all(data) {
                // The archive names the instance when it refuses what came until now.
                Err(error) if error.kind() == ErrorKind::FileTooLarge => Ok(()),
                written => written.map_err(Failure::of_disk),
            },
            (Content::Attributes(part), Representation::Metadata(gathering)) => {
                match gathering.has_room(part.bytes.len(), data.len()) {
                    true => {
                        part.bytes.extend_from_slice(data);
                        Ok(())
                    }
                    false => Err(Failure {
                        ours: false,
                        ..Failure::of_part(OUT_OF_RESOURCES, "the request has too much metadata")
                    }),
                }
            }
            (Content::BulkData { part, .. }, Representation::Metadata(gathering)) => {
                gathering.bulk_data.append(part, data).map_err(Failure::of_disk)
            }
            (_, Representation::Objects) => Ok(()),
        };
        if let Err(failure) = appended {
            self.part = Part::Refused(failure);
        }
    }

    fn end_part(&mut self) {
        let content = match mem::replace(&mut self.part, Part::None) {
            Part::None => return,
            Part::Refused(failure) => return self.outcomes.push(Outcome::Refused(failure)),
            Part::Receiving { announced: Some(announced), length, .. } if announced != length => {
                let message = format!("the part announces {announced} bytes and has {length}");
                let failure = Failure::of_part(CANNOT_UNDERSTAND, message);
                return self.outcomes.push(Outcome::Refused(failure));
            }
            Part::Receiving { content, .. } => content,
        };
        match (content, &mut self.representation) {
            (Content::Object(incoming), _) => self.submit(incoming, None),
            (Content::Attributes(part), Representation::Metadata(gathering)) => gathering.keep(part),
            (Content::BulkData { location, part }, Representation::Metadata(gathering)) => {
                gathering.bulk_data.keep(&location, part);
            }
            (_, Representation::Objects) => {}
        }
    }

    fn submit(&mut self, incoming: Incoming, warning: Option<u16>) {
        let ticket = self.state.archive.submit(incoming, &self.requirements);
        self.outcomes.push(Outcome::Submitted { ticket, warning });
    }

    fn assemble(&mut self, gathering: Gathering) {
        let unreferenced = gathering.assemble(|instance| {
            let metadata::Outcome { sop_class_uid, sop_instance_uid, object } = instance;
            match object {
                Ok((incoming, assembled)) => {
                    self.submit(incoming, assembled.rounded.then_some(COERCION_OF_DATA_ELEMENTS));
                }
                Err(error) => {
                    let failure = Failure { sop_class_uid, sop_instance_uid, ..error.into() };
                    self.outcomes.push(Outcome::Refused(failure));
                }
            }
        });
        self.outcomes.extend(unreferenced.into_iter().map(|location| {
            let message = format!("no instance refers to {location}");
            Outcome::Refused(Failure::of_part(CANNOT_UNDERSTAND, message))
        }));
    }
}

impl Representation {
    /// The type of a part that does not say its own.
    fn part_type(&self) -> &'static str {
        match self {
            Self::Objects => "application/dicom",
            Self::Metadata(gathering) => gathering.encoding.media_type(),
        }
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        let outcomes = mem::take(&mut self.outcomes);
        let part = mem::replace(&mut self.part, Part::None);
        let representation = mem::replace(&mut self.representation, Representation::Objects);
        let is_settled = outcomes.is_empty()
            && matches!((&part, &representation), (Part::None | Part::Refused(_), Representation::Objects));
        if is_settled {
            return;
        }
        let (state, options) = (self.state.clone(), self.options.clone());
        let settling = move || {
            // What was not complete lies in files, which go now.
            drop((part, representation));
            if outcomes.is_empty() {
                return;
            }
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

/// Waits for the archive, makes the request's options durable, and only then lets anything count as stored.
fn settle(state: &DicomWeb, options: &StowOptions, outcomes: Vec<Outcome>) -> StoreReport {
    let mut report = StoreReport::default();
    let (mut stored, mut warnings) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Refused(failure) => report.failures.push(failure),
            Outcome::Submitted { ticket, warning } => match ticket.wait() {
                Ok(outcome) => {
                    stored.push(outcome);
                    warnings.push(warning);
                }
                Err(failure) => report.failures.push(failure.into()),
            },
        }
    }
    if stored.is_empty() {
        return report;
    }
    if let Err(error) = state.observer.before_acknowledge(&stored, options) {
        tracing::error!(%error, "could not keep the options of a STOW request");
        report.failures.extend(stored.into_iter().map(|outcome| Failure {
            sop_class_uid: Some(outcome.instance().sop_class_uid.clone()),
            sop_instance_uid: Some(outcome.instance().uids.sop_instance_uid.clone()),
            ..Failure::of_part(PROCESSING_FAILURE, format!("could not keep the request's options: {error}"))
        }));
        return report;
    }
    stored.iter().for_each(|outcome| state.observer.instance_stored(outcome.instance(), options));
    let stored = stored.into_iter().zip(warnings).map(|(outcome, warning)| Stored { outcome, warning });
    StoreReport { stored: stored.collect(), ..report }
}
