//! What every route needs.

use std::sync::Arc;

use actix_web::HttpRequest;
use engram_archive::{Archive, InstanceUids};

use crate::error::{Error, Result};
use crate::media::{Accept, Offer};
use crate::native_model;
use crate::observer::{InstanceObserver, NoObserver};
use crate::options::DicomWebOptions;
use crate::query;

/// The DICOMweb server's state. Cheap to clone.
#[derive(Clone)]
pub struct DicomWeb {
    /// Where instances are kept.
    pub archive: Archive,
    /// Limits.
    pub options: Arc<DicomWebOptions>,
    /// Who is told of instances that come and go.
    pub observer: Arc<dyn InstanceObserver>,
}

impl DicomWeb {
    /// A server over `archive` that tells no one.
    pub fn new(archive: Archive, options: DicomWebOptions) -> Self {
        Self { archive, options: Arc::new(options), observer: Arc::new(NoObserver) }
    }

    /// The same server, telling `observer`.
    pub fn with_observer(mut self, observer: Arc<dyn InstanceObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// The URLs of this request's server.
    pub(crate) fn urls(&self, request: &HttpRequest) -> Urls {
        let mount = mount_of(request);
        match &self.options.public_url {
            Some(public) => {
                let public = public.trim_end_matches('/').to_owned();
                Urls { absolute: public.clone(), reference: public }
            }
            None => {
                let connection = request.connection_info();
                let absolute = format!("{}://{}{mount}", connection.scheme(), connection.host());
                Urls { absolute, reference: mount }
            }
        }
    }
}

/// The path under which [`crate::configure`] was mounted, e.g. `/dicomweb`.
fn mount_of(request: &HttpRequest) -> String {
    let pattern = request.match_pattern().unwrap_or_default();
    let roots = ["/studies", "/series", "/instances"];
    let end = roots.iter().filter_map(|root| pattern.find(root)).min();
    // Without one of them it is the root itself.
    let mount = end.map_or(pattern.trim_end_matches('/'), |end| pattern.get(..end).unwrap_or_default());
    mount.to_owned()
}

/// How the server's resources are named in its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Urls {
    /// Absolute: for RetrieveURL (0008,1190).
    absolute: String,
    /// For BulkDataURI: absolute where `public_url` is configured, else a path on the same server (a relative
    /// reference, RFC 3986 4.2), which needs no trust in the `Host` a client or proxy sends.
    reference: String,
}

impl Urls {
    /// The services themselves.
    pub fn base(&self) -> &str {
        &self.absolute
    }

    /// RetrieveURL of a study, series or instance, whichever is given.
    pub fn retrieve(&self, study: &str, series: Option<&str>, instance: Option<&str>) -> String {
        let mut url = format!("{}/studies/{study}", self.absolute);
        for (level, uid) in [("series", series), ("instances", instance)] {
            if let Some(uid) = uid {
                url.push_str(&format!("/{level}/{uid}"));
            }
        }
        url
    }

    /// The resource that instances of any study, or of `study`, are stored to.
    pub fn store(&self, study: Option<&str>) -> String {
        match study {
            Some(study) => self.retrieve(study, None, None),
            None => format!("{}/studies", self.absolute),
        }
    }

    /// RetrieveURL of an instance.
    pub fn retrieve_instance(&self, uids: &InstanceUids) -> String {
        self.retrieve(&uids.study_instance_uid, Some(&uids.series_instance_uid), Some(&uids.sop_instance_uid))
    }

    /// What goes before `bulkdata/...` in an instance's BulkDataURIs.
    pub fn bulk_data(&self, uids: &InstanceUids) -> String {
        format!(
            "{}/studies/{}/series/{}/instances/{}/",
            self.reference, uids.study_instance_uid, uids.series_instance_uid, uids.sop_instance_uid
        )
    }
}

/// What the client accepts: the `accept` query parameter (PS3.18 8.3.3.1), else the header.
pub(crate) fn accept_of(request: &HttpRequest) -> Result<(Accept, String)> {
    let pairs = query::pairs(request.query_string())?;
    let headers = request.headers().get_all("accept").filter_map(|value| value.to_str().ok());
    let text = match query::value_of(&pairs, "accept") {
        Some(parameter) => parameter.to_owned(),
        None => headers.collect::<Vec<_>>().join(", "),
    };
    let accept = if text.is_empty() { Accept::anything() } else { Accept::parse(&text) };
    Ok((accept, text))
}

/// Chooses among `offers` what the client prefers, or says 406 with the list of them.
pub(crate) fn negotiate(request: &HttpRequest, offers: &[Offer]) -> Result<Offer> {
    let (accept, text) = accept_of(request)?;
    accept.choose(offers).cloned().ok_or_else(|| not_acceptable(text, offers))
}

/// 406, with the list of what is offered.
pub(crate) fn not_acceptable(accept: String, offers: &[Offer]) -> Error {
    let offered = offers.iter().map(Offer::to_string).collect::<Vec<_>>().join(", ");
    Error::NotAcceptable { accept, offered }
}

/// How attributes are sent (PS3.18 Table 8.7.3-4): as DICOM JSON, or plain JSON for clients that know no better; or
/// as XML, a part for each data set.
pub(crate) fn attribute_offers() -> [Offer; 3] {
    let [dicom_json, json] = JSON.map(Offer::single);
    [dicom_json, json, Offer::multipart(native_model::MEDIA_TYPE)]
}

/// How a single data set is sent.
pub(crate) fn data_set_offers() -> [Offer; 3] {
    let [dicom_json, json] = JSON.map(Offer::single);
    [dicom_json, json, Offer::single(native_model::MEDIA_TYPE)]
}

const JSON: [&str; 2] = ["application/dicom+json", "application/json"];

/// Runs a plain call where blocking is allowed.
pub(crate) async fn blocking<T, F>(call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    actix_web::web::block(call).await.unwrap_or(Err(Error::GivenUp))
}
