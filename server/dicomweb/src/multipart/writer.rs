//! Framing of a `multipart/related` answer.

use bytes::Bytes;
use uuid::Uuid;

/// Writes the delimiters and part headers of `multipart/related` bodies. Every length is known beforehand,
/// so that an answer can carry its `Content-Length`, and a client notices when it was cut short.
#[derive(Debug, Clone)]
pub struct MultipartWriter {
    boundary: String,
}

impl MultipartWriter {
    /// A writer with a random boundary, which no stored object can contain but by a 2^-122 chance.
    pub fn new() -> Self {
        Self { boundary: Uuid::new_v4().simple().to_string() }
    }

    /// The `Content-Type` of the body, for parts of `part_type`.
    pub fn content_type(&self, part_type: &str) -> String {
        format!("multipart/related; type=\"{part_type}\"; boundary={}", self.boundary)
    }

    /// The delimiter and headers before a part; `content_type` is the part's own, parameters included.
    pub fn part_start(&self, content_type: &str, location: Option<&str>) -> Bytes {
        let location = location.map(|uri| format!("Content-Location: {uri}\r\n")).unwrap_or_default();
        // The line break before the delimiter ends the previous part; before the first it is an empty preamble.
        Bytes::from(format!("\r\n--{}\r\nContent-Type: {content_type}\r\n{location}\r\n", self.boundary))
    }

    /// The closing delimiter.
    pub fn end(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary))
    }

    /// A whole body of parts that are already in memory.
    pub fn body<'a>(&self, parts: impl IntoIterator<Item = (&'a str, Bytes)>) -> Bytes {
        let mut body = Vec::new();
        for (content_type, content) in parts {
            body.extend_from_slice(&self.part_start(content_type, None));
            body.extend_from_slice(&content);
        }
        body.extend_from_slice(&self.end());
        Bytes::from(body)
    }
}

impl Default for MultipartWriter {
    fn default() -> Self {
        Self::new()
    }
}
