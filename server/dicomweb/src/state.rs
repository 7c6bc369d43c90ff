//! What every route needs.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpRequest;
use engram_archive::{Archive, InstanceUids};
use engram_worklist::{AeTitle, Worklist};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use crate::error::{BadQuerySnafu, Error, Result};
use crate::media::{Accept, Offer};
use crate::multipart::MultipartWriter;
use crate::native_model;
use crate::observer::{InstanceObserver, NoObserver};
use crate::options::DicomWebOptions;
use crate::query;

/// The DICOMweb server's state. Cheap to clone.
#[derive(Clone)]
pub struct DicomWeb {
    /// Where instances are kept.
    pub archive: Archive,
    /// Where workitems are kept.
    pub worklist: Worklist,
    /// Limits.
    pub options: Arc<DicomWebOptions>,
    /// Who is told of instances that come and go.
    pub observer: Arc<dyn InstanceObserver>,
    /// The turns of those who decode.
    decoding: Arc<Semaphore>,
    /// How often instances had been added when it was drawn, and the boundary of answers.
    framing: Arc<Mutex<(u64, MultipartWriter)>>,
}

impl DicomWeb {
    /// A server over `archive` and `worklist` that tells no one.
    pub fn new(archive: Archive, worklist: Worklist, options: DicomWebOptions) -> Self {
        let decoding = Arc::new(Semaphore::new(options.max_decoding.max(1)));
        let framing = Arc::new(Mutex::new((archive.additions(), MultipartWriter::new())));
        Self {
            archive,
            worklist,
            options: Arc::new(options),
            observer: Arc::new(NoObserver),
            decoding,
            framing,
        }
    }

    /// The same server, telling `observer`.
    pub fn with_observer(mut self, observer: Arc<dyn InstanceObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Frames an answer made of stored objects; to be asked for after they were looked up. Its boundary is that of the
    /// answers before until an instance is added, so that no object that was found can hold it on purpose: whoever had read it
    /// had yet to store. Python's clients, which make a regular expression of every new boundary, take 0.2 ms less for an answer.
    pub(crate) fn multipart(&self) -> MultipartWriter {
        let additions = self.archive.additions();
        let mut framing = self.framing.lock();
        if framing.0 != additions {
            *framing = (additions, MultipartWriter::new());
        }
        framing.1.clone()
    }

    /// Runs a plain call that decodes, where blocking is allowed, when its turn comes. It keeps its turn until it is done,
    /// even where the client has gone.
    pub(crate) async fn decoding<T, F>(&self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let turn = Arc::clone(&self.decoding).acquire_owned().await;
        blocking(move || {
            let result = call();
            drop(turn);
            result
        })
        .await
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
                let (scheme, host) = (connection.scheme(), connection.host());
                match port_left_out(request, scheme, host) {
                    None => Urls { absolute: format!("{scheme}://{host}{mount}"), reference: mount },
                    Some(port) => {
                        let absolute = format!("{scheme}://{host}:{port}{mount}");
                        Urls { absolute: absolute.clone(), reference: absolute }
                    }
                }
            }
        }
    }
}

/// The port that the client's `Host` should have named (RFC 9110 7.2) and does not, where that is beyond doubt: the client
/// is on this machine, calls it loopback, and no proxy says that it came between. Such a client, `dicomweb-client` for
/// Python, does not resolve relative references either.
fn port_left_out(request: &HttpRequest, scheme: &str, host: &str) -> Option<u16> {
    let is_forwarded = request.headers().keys().any(|name| name.as_str().contains("forwarded"));
    let is_here = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let port = request.app_config().local_addr().port();
    let is_default = port == if scheme == "https" { 443 } else { 80 };
    (is_here && !is_forwarded && !is_default && is_bare_loopback(host)).then_some(port)
}

/// Whether that is a loopback address or its name, and no port.
fn is_bare_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The path under which [`crate::configure`] was mounted, e.g. `/dicomweb`.
fn mount_of(request: &HttpRequest) -> String {
    let path = request.path();
    let roots = ["/studies", "/series", "/instances", "/workitems", "/subscribers"];
    let end = roots.iter().filter_map(|root| path.find(root)).min();
    // Without one of them it is the root itself.
    let mount = end.map_or(path.trim_end_matches('/'), |end| path.get(..end).unwrap_or_default());
    mount.to_owned()
}

/// How the server's resources are named in its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Urls {
    /// Absolute: for RetrieveURL (0008,1190).
    absolute: String,
    /// For BulkDataURI: absolute where `public_url` is configured or the client is one that [`port_left_out`] tells of,
    /// else a path on the same server (a relative reference, RFC 3986 4.2), which needs no trust in the `Host` a client
    /// or proxy sends.
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

    /// A workitem.
    pub fn workitem(&self, uid: &str) -> String {
        format!("{}/workitems/{uid}", self.absolute)
    }

    /// Where a WebSocket brings an AE its event reports.
    pub fn subscriber(&self, ae_title: &AeTitle) -> String {
        let title = ae_title.to_string();
        let path = format!("subscribers/{}", utf8_percent_encode(&title, NON_ALPHANUMERIC));
        match self.absolute.strip_prefix("http") {
            Some(rest) => format!("ws{rest}/{path}"),
            None => format!("{}/{path}", self.absolute),
        }
    }

    /// What goes before `bulkdata/...` in an instance's BulkDataURIs.
    pub fn bulk_data(&self, uids: &InstanceUids) -> String {
        format!("{}/", self.reference_to(uids))
    }

    /// An instance, for those that read the answer.
    pub fn reference_to(&self, uids: &InstanceUids) -> String {
        format!(
            "{}/studies/{}/series/{}/instances/{}",
            self.reference, uids.study_instance_uid, uids.series_instance_uid, uids.sop_instance_uid
        )
    }
}

/// What the client accepts.
pub(crate) struct Accepted {
    accept: Accept,
    /// As sent.
    text: String,
}

impl Accepted {
    /// Of the `accept` query parameter (PS3.18 8.3.3.1), else of the header.
    pub fn of(request: &HttpRequest) -> Result<Self> {
        let pairs = query::pairs(request.query_string())?;
        let headers = request.headers().get_all("accept").filter_map(|value| value.to_str().ok());
        let text = match query::value_of(&pairs, "accept") {
            Some(parameter) => parameter.to_owned(),
            None => headers.collect::<Vec<_>>().join(", "),
        };
        let accept = if text.is_empty() { Accept::anything() } else { Accept::parse(&text) };
        if accept.is_empty()
            && query::value_of(&pairs, "accept").is_some_and(|parameter| !parameter.is_empty())
        {
            return BadQuerySnafu { message: format!("`accept` is no media type: `{text:.80}`") }.fail();
        }
        Ok(Self { accept, text })
    }

    /// A media type alone.
    pub fn only(media_type: &str) -> Self {
        Self { accept: Accept::parse(media_type), text: media_type.to_owned() }
    }

    /// Chooses among `offers` what the client prefers, or says 406 with the list of them.
    pub fn choose(&self, offers: &[Offer]) -> Result<Offer> {
        self.accept.choose(offers).cloned().ok_or_else(|| not_acceptable(self.text.clone(), offers))
    }
}

/// Chooses among `offers` what the client prefers, or says 406 with the list of them.
pub(crate) fn negotiate(request: &HttpRequest, offers: &[Offer]) -> Result<Offer> {
    Accepted::of(request)?.choose(offers)
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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    /// What [`port_left_out`] says of a request of `peer`, to port 8080.
    fn left_out(scheme: &str, host: &str, peer: &str, forwarded: bool) -> Option<u16> {
        let mut request = TestRequest::get().peer_addr(peer.parse().unwrap());
        if forwarded {
            request = request.insert_header(("X-Forwarded-Proto", "https"));
        }
        port_left_out(&request.to_http_request(), scheme, host)
    }

    #[test]
    fn a_port_is_put_in_where_it_is_beyond_doubt() {
        let here = "127.0.0.1:50000";
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            assert_eq!(left_out("http", host, here, false), Some(8080), "{host}");
        }
        assert_eq!(left_out("https", "localhost", "[::ffff:127.0.0.1]:50000", false), Some(8080));
        for host in ["127.0.0.1:8080", "[::1]:8080", "pacs.example", "10.0.0.7", ""] {
            assert_eq!(left_out("http", host, here, false), None, "{host}");
        }
        assert_eq!(left_out("http", "localhost", here, true), None, "behind a proxy");
        assert_eq!(
            left_out("http", "localhost", "172.17.0.1:50000", false),
            None,
            "through a port that is mapped"
        );
    }
}
