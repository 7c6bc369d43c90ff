//! Documents, as people read them: structured reports as HTML, plain text or XML, and what is encapsulated as what it is.
//! The category "Text" of PS3.18 Table 8.7.4-1.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.7.4>

mod dataset;
pub mod encapsulated;
mod html;
mod plain;
mod report;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use dicom_dictionary_std::uids;
use engram_archive::{Archive, InstanceEntry, InstanceUids};
use snafu::ResultExt;

use super::answer::{Answer, Part, Wishes};
use super::body::Segment;
use super::object;
use crate::error::{ArchiveSnafu, NotFoundSnafu, Result, WriteXmlSnafu};
use crate::media::Offer;
use crate::native_model;
use crate::state::{DicomWeb, Urls};
use report::{Reference, Report};

/// What a structured report can be, what the client gets by default first.
const REPORT: [&str; 3] = [HTML, PLAIN, XML];

const HTML: &str = "text/html";
const PLAIN: &str = "text/plain";
const XML: &str = "text/xml";

/// A page runs nothing and loads nothing: what it says is what someone sent.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'";

/// Everything that documents can be.
pub fn every_media_type() -> Vec<&'static str> {
    let mut types = REPORT.to_vec();
    types.extend(encapsulated::MEDIA_TYPES.into_iter().filter(|kind| !REPORT.contains(kind)));
    types
}

/// How what a report refers to is reached.
#[derive(Debug, Clone)]
pub enum Links {
    /// By WADO-RS, at these URLs.
    Resources(Urls),
    /// By WADO-URI, where the request came to.
    Queries,
}

impl Links {
    /// An instance, or one of its frames.
    fn to(&self, uids: &InstanceUids, frame: Option<u32>) -> String {
        match self {
            Self::Resources(urls) => {
                let frame = frame.map(|frame| format!("/frames/{frame}")).unwrap_or_default();
                format!("{}{frame}/rendered", urls.reference_to(uids))
            }
            Self::Queries => {
                let InstanceUids { study_instance_uid, series_instance_uid, sop_instance_uid } = uids;
                let frame = frame.map(|frame| format!("&frameNumber={frame}")).unwrap_or_default();
                format!(
                    "?requestType=WADO&studyUID={study_instance_uid}&seriesUID={series_instance_uid}\
                     &objectUID={sop_instance_uid}{frame}"
                )
            }
        }
    }
}

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// A tree of content items (PS3.3 A.35).
    Report,
    /// A file in an object (PS3.3 A.45), of that media type.
    Encapsulated(&'static str),
}

impl Document {
    /// What an instance is, by its SOP class; `None` where it is no document, or one of a media type that documents do not
    /// have.
    pub fn of(archive: &Archive, entry: &InstanceEntry) -> Result<Option<Self>> {
        match Kind::of_class(&entry.sop_class_uid) {
            Some(Kind::Report) => Ok(Some(Self::Report)),
            Some(Kind::Encapsulated) => Ok(encapsulated::media_type(archive, entry)?.map(Self::Encapsulated)),
            None => Ok(None),
        }
    }

    /// The media types it can be sent as, what the client gets by default first. Bulk data, which XML may refer to, is no
    /// affair of WADO-URI.
    pub fn media_types(self, links: &Links) -> Vec<&'static str> {
        match (self, links) {
            (Self::Report, Links::Resources(_)) => REPORT.to_vec(),
            (Self::Report, Links::Queries) => vec![HTML, PLAIN],
            (Self::Encapsulated(media_type), _) => vec![media_type],
        }
    }

    /// The document in the form that the client prefers. Plain blocking calls.
    fn rendered(
        self,
        state: &DicomWeb,
        entry: &InstanceEntry,
        links: &Links,
        wishes: &Wishes,
    ) -> Result<Answer> {
        let forms: [fn(&'static str) -> Offer; 2] = [Offer::single, Offer::multipart];
        let offers: Vec<Offer> =
            forms.into_iter().flat_map(|form| self.media_types(links).into_iter().map(form)).collect();
        let offer = wishes.choose(&offers)?;
        let (content_type, segment) = match self {
            Self::Encapsulated(media_type) => {
                (media_type.to_owned(), encapsulated::content(state, entry, media_type)?)
            }
            Self::Report => {
                let bytes = written(&state.archive, entry, links, offer.media_type)?;
                (format!("{}; charset=utf-8", offer.media_type), Segment::Bytes(bytes.into()))
            }
        };
        let part = Part { content_type, location: None, content: vec![segment] };
        // What a report refers to may come and go.
        Answer::new(state, wishes, &offer, vec![part], None)?.begun()
    }
}

/// What a SOP class says of its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Report,
    Encapsulated,
}

impl Kind {
    fn of_class(sop_class_uid: &str) -> Option<Self> {
        // Reports whose UIDs are not among those of the others.
        const REPORTS: [&str; 2] = [
            uids::SPECTACLE_PRESCRIPTION_REPORT_STORAGE,
            uids::MACULAR_GRID_THICKNESS_AND_VOLUME_REPORT_STORAGE,
        ];
        if REPORTS.contains(&sop_class_uid) {
            return Some(Self::Report);
        }
        match sop_class_uid.strip_prefix("1.2.840.10008.5.1.4.1.1.")?.split('.').next()? {
            "88" => Some(Self::Report),
            "104" => Some(Self::Encapsulated),
            _ => None,
        }
    }
}

/// Sends a document in the form that the client prefers, made when its turn comes.
///
/// # Errors
/// 406 where the client accepts none of its forms; 404 where there is no document in the object.
pub async fn send(
    state: &DicomWeb,
    document: Document,
    entry: InstanceEntry,
    links: Links,
    wishes: Wishes,
) -> Result<HttpResponse> {
    let data = state.clone();
    let answer = state.decoding(move || document.rendered(&data, &entry, &links, &wishes)).await?;
    Ok(guarded(answer.into_response()))
}

/// An answer with what keeps a browser from running any of it: from taking it for something else, and pages from more than
/// being shown. Viewers of other documents, which a policy may stop, have their own bounds.
pub fn guarded(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    response
}

/// A report in one of the forms of [`REPORT`].
fn written(archive: &Archive, entry: &InstanceEntry, links: &Links, media_type: &str) -> Result<Vec<u8>> {
    // Offered by WADO-RS alone.
    if let (XML, Links::Resources(urls)) = (media_type, links) {
        return native_model::write(&json(archive, entry, urls)?).context(WriteXmlSnafu);
    }
    let report = Report::read(&object::attributes(archive, entry)?.unwrap_or_default());
    if media_type == PLAIN {
        return Ok(plain::write(&report).into_bytes());
    }
    html::write(&report, &|reference| link(archive, links, reference)).context(WriteXmlSnafu)
}

/// An instance as one DICOM JSON object.
fn json(archive: &Archive, entry: &InstanceEntry, urls: &Urls) -> Result<Vec<u8>> {
    let InstanceUids { study_instance_uid, series_instance_uid, sop_instance_uid } = &entry.uids;
    let bulk_data = |uids: &InstanceUids| urls.bulk_data(uids);
    let found = archive
        .metadata_objects(study_instance_uid, Some(series_instance_uid), Some(sop_instance_uid), &bulk_data)
        .context(ArchiveSnafu)?;
    match found.and_then(|mut objects| objects.next()) {
        Some(json) => json.context(ArchiveSnafu),
        None => NotFoundSnafu { what: format!("instance {sop_instance_uid}") }.fail(),
    }
}

/// Where what a report refers to can be seen, if it is here and can be shown: of several frames the first.
fn link(archive: &Archive, links: &Links, reference: &Reference) -> Option<String> {
    let shown = || -> Result<Option<InstanceEntry>> {
        let entry = archive.find_instance(&reference.sop_instance_uid).context(ArchiveSnafu)?;
        let Some(entry) = entry else { return Ok(None) };
        let is_shown = object::has_pixels(archive, &entry)? || Document::of(archive, &entry)?.is_some();
        Ok(is_shown.then_some(entry))
    };
    let sop_instance_uid = &reference.sop_instance_uid;
    let found = shown().inspect_err(
        |error| tracing::warn!(%error, sop_instance_uid, "could not look up what a report refers to"),
    );
    Some(links.to(&found.ok()??.uids, reference.frames.first().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_by_their_sop_class() {
        for (sop_class, expected) in [
            (uids::BASIC_TEXT_SR_STORAGE, Some(Kind::Report)),
            (uids::COMPREHENSIVE3_DSR_STORAGE, Some(Kind::Report)),
            (uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE, Some(Kind::Report)),
            (uids::SPECTACLE_PRESCRIPTION_REPORT_STORAGE, Some(Kind::Report)),
            (uids::MACULAR_GRID_THICKNESS_AND_VOLUME_REPORT_STORAGE, Some(Kind::Report)),
            (uids::ENCAPSULATED_PDF_STORAGE, Some(Kind::Encapsulated)),
            (uids::ENCAPSULATED_CDA_STORAGE, Some(Kind::Encapsulated)),
            (uids::CT_IMAGE_STORAGE, None),
            ("1.2.840.10008.5.1.4.1.1.881", None),
            ("88", None),
        ] {
            assert_eq!(Kind::of_class(sop_class), expected, "{sop_class}");
        }
    }
}
