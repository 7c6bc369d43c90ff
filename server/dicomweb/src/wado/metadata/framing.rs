//! What metadata looks like on its way, and what tells one state of it from another.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;

use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::wado::entity::EntityTag;

/// What goes around the pieces.
pub enum Framing {
    /// Nothing: they are one JSON array.
    Json,
    /// Each document is a part.
    Xml(MultipartWriter),
}

impl Framing {
    pub fn of(offer: &Offer) -> Self {
        match offer.multipart {
            true => Self::Xml(MultipartWriter::new()),
            false => Self::Json,
        }
    }

    pub fn content_type(&self, offer: &Offer) -> String {
        match self {
            Self::Json => offer.media_type.to_owned(),
            Self::Xml(writer) => writer.content_type(offer.media_type),
        }
    }

    /// Writes a piece behind what is there: a stretch of the array, or a document.
    pub fn frame(&self, piece: &[u8], out: &mut Vec<u8>) {
        if let Self::Xml(writer) = self {
            out.extend_from_slice(&writer.part_start(crate::native_model::MEDIA_TYPE, None));
        }
        out.extend_from_slice(piece);
    }

    /// What follows the last piece.
    pub fn end(&self) -> Bytes {
        match self {
            Self::Json => Bytes::new(),
            Self::Xml(writer) => writer.end(),
        }
    }
}

/// Makes a weak validator of what is sent, whatever boundary is between its parts.
pub struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// Of an answer of which nothing is known but its form.
    pub fn of(framing: &Framing) -> Self {
        let mut hasher = DefaultHasher::new();
        // JSON has its type's name in its header alone, and its bytes are the same under both names.
        hasher.write_u8(u8::from(matches!(framing, Framing::Xml(_))));
        Self(hasher)
    }

    /// Takes the next piece into account.
    pub fn take(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    /// The validator.
    pub fn finish(self) -> EntityTag {
        EntityTag::weak(self.0.finish())
    }
}
