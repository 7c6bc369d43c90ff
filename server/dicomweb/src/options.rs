//! What requests may cost.

use std::thread;
use std::time::Duration;

use engram_imaging::{DecodeLimits, TranscodeLimits};

use crate::multipart::MultipartLimits;

/// Limits of the DICOMweb room. Every buffer a request can make grow is bounded by one of them.
#[derive(Debug, Clone)]
pub struct DicomWebOptions {
    /// Largest STOW request body, in bytes. Larger is refused with 413: at once where the request tells its
    /// length; else when the limit is met, and whole instances that came before stay stored. The largest single
    /// instance is the archive's `max_instance_bytes`.
    pub max_request_bytes: u64,
    /// Most parts in a STOW request.
    pub max_parts: usize,
    /// Most bytes of headers in a part.
    pub max_part_header_bytes: usize,
    /// Most bytes of metadata in a STOW request that carries its instances as metadata and bulk data. Bulk data goes to
    /// a temporary file; metadata stays in memory until the request ends.
    pub max_metadata_bytes: usize,
    /// Largest body of a request of the worklist service, in bytes.
    pub max_workitem_bytes: usize,
    /// How long a request body may stand still before the request is given up.
    pub read_timeout: Duration,
    /// Bytes gathered from the network before they are written, and read from a file before they are sent. A
    /// request holds at most three such buffers.
    pub buffer_bytes: usize,
    /// Most matches of a search without a `limit`, and with a larger one.
    pub max_search_results: usize,
    /// Largest object that is read into memory whole, for decoding, rendering or transcoding, in bytes, and the
    /// largest that one may be without compression. Transcoding takes a few times as much.
    pub max_decode_bytes: u64,
    /// Largest decoded frame, in bytes.
    pub max_frame_bytes: u64,
    /// Most frames, or pictures of frames, in one answer.
    pub max_frames: usize,
    /// How many objects are decoded, rendered or transcoded at a time; what is beyond waits for its turn, while what goes
    /// out as it is stored does not.
    pub max_decoding: usize,
    /// The URL under which clients reach these services, e.g. `https://pacs.example/dicomweb`. Where it is given,
    /// RetrieveURL and BulkDataURI begin with it; else RetrieveURL begins with the request's `Host`, and
    /// BulkDataURI is relative. Clients that cannot resolve relative URIs, or that send a wrong `Host`, need it; but
    /// where a client on this machine leaves out the port, it is put in, and BulkDataURI is absolute.
    pub public_url: Option<String>,
    /// Whether DELETE is offered.
    pub allow_delete: bool,
    /// Where the OpenAPI document of the whole server is, for the conformance resource to point to.
    pub openapi_url: Option<String>,
}

impl Default for DicomWebOptions {
    fn default() -> Self {
        Self {
            max_request_bytes: 16 << 30,
            max_parts: 20_000,
            max_part_header_bytes: 8 << 10,
            max_metadata_bytes: 64 << 20,
            max_workitem_bytes: 512 << 10,
            read_timeout: Duration::from_secs(60),
            // A CT slice of 512 x 512 pixels of two bytes, its header and the part's go out as one.
            buffer_bytes: 640 << 10,
            max_search_results: 10_000,
            max_decode_bytes: 2 << 30,
            max_frame_bytes: 512 << 20,
            max_frames: 4096,
            max_decoding: thread::available_parallelism().map_or(2, usize::from),
            public_url: None,
            allow_delete: true,
            openapi_url: None,
        }
    }
}

impl DicomWebOptions {
    pub(crate) fn decoding(&self) -> DecodeLimits {
        DecodeLimits { max_frame_bytes: self.max_frame_bytes }
    }

    pub(crate) fn transcoding(&self) -> TranscodeLimits {
        TranscodeLimits { decode: self.decoding(), max_object_bytes: self.max_decode_bytes }
    }

    pub(crate) fn multipart(&self) -> MultipartLimits {
        MultipartLimits {
            max_parts: self.max_parts,
            max_header_bytes: self.max_part_header_bytes,
            max_preamble_bytes: self.max_part_header_bytes,
        }
    }
}
