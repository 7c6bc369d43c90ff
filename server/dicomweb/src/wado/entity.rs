//! Validators of answers that are made of stored objects (RFC 9110 8.8.3). Objects never change, so what they are and the form of
//! an answer tell all of it.

use std::hash::{DefaultHasher, Hash, Hasher};

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use engram_archive::InstanceEntry;

use crate::media::Offer;

/// An entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// Of an answer made of `entries` in the form of `offer`; `part` says which part of them. It is strong where bytes are sent as they
    /// are stored, and alone: between parts is another boundary each time, and what is made anew may be made otherwise by the next
    /// version.
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e InstanceEntry>, offer: &Offer, part: &str) -> Self {
        let form = (offer.media_type, &offer.transfer_syntax, offer.multipart, part);
        let number = number(entries, form);
        match offer.multipart || offer.transcoded {
            true => Self::weak(number),
            false => Self(format!("\"{number:016x}\"")),
        }
    }

    /// Of what this version makes of `entries` alone.
    pub fn of_made<'e>(entries: impl IntoIterator<Item = &'e InstanceEntry>, form: impl Hash) -> Self {
        Self::weak(number(entries, (env!("CARGO_PKG_VERSION"), form)))
    }

    /// Of an answer that is known by this number, and not byte by byte.
    pub fn weak(number: u64) -> Self {
        Self(format!("W/\"{number:016x}\""))
    }

    /// The header's value.
    fn as_str(&self) -> &str {
        &self.0
    }

    fn is_weak(&self) -> bool {
        self.0.starts_with("W/")
    }

    fn opaque(text: &str) -> &str {
        text.strip_prefix("W/").unwrap_or(text)
    }
}

/// Says which entity an answer is. Clients may keep it, and ask again before they use it: whether they may still have it may change.
pub fn tagged<'r>(response: &'r mut HttpResponseBuilder, tag: &EntityTag) -> &'r mut HttpResponseBuilder {
    response
        .insert_header((header::ETAG, tag.as_str()))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
}

fn number<'e>(entries: impl IntoIterator<Item = &'e InstanceEntry>, form: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in entries {
        entry.data_set_digest.hash(&mut hasher);
        entry.transfer_syntax_uid.hash(&mut hasher);
    }
    form.hash(&mut hasher);
    hasher.finish()
}

/// What a client has already.
#[derive(Debug, Clone, Default)]
pub struct Known {
    none_match: Vec<String>,
    range_if: Option<String>,
}

impl Known {
    /// As the headers of a request say.
    pub fn of(request: &HttpRequest) -> Self {
        let values =
            |name: HeaderName| request.headers().get_all(name).filter_map(|value| value.to_str().ok());
        let none_match = values(header::IF_NONE_MATCH).flat_map(|value| value.split(','));
        Self {
            none_match: none_match.map(|tag| tag.trim().to_owned()).collect(),
            range_if: values(header::IF_RANGE).next().map(|tag| tag.trim().to_owned()),
        }
    }

    /// The answer to a client that has the entity already.
    pub fn unchanged(&self, tag: &EntityTag) -> Option<HttpResponse> {
        self.has(tag).then(|| tagged(&mut HttpResponse::NotModified(), tag).finish())
    }

    /// Whether `If-None-Match` names it (RFC 9110 13.1.2): by weak comparison.
    pub fn has(&self, tag: &EntityTag) -> bool {
        self.none_match
            .iter()
            .any(|known| known == "*" || EntityTag::opaque(known) == EntityTag::opaque(&tag.0))
    }

    /// Whether a range may be sent: there is no `If-Range`, or it names the entity (RFC 9110 13.1.5), by strong comparison.
    pub fn allows_range_of(&self, tag: Option<&EntityTag>) -> bool {
        self.range_if.as_ref().is_none_or(|known| tag.is_some_and(|tag| !tag.is_weak() && *known == tag.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn known(name: HeaderName, value: &str) -> Known {
        Known::of(&TestRequest::get().insert_header((name, value)).to_http_request())
    }

    #[test]
    fn tags_are_compared_as_rfc_9110_says() {
        let (strong, weak) = (EntityTag("\"a\"".to_owned()), EntityTag("W/\"a\"".to_owned()));
        for (header, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("", false),
        ] {
            let known = known(header::IF_NONE_MATCH, header);
            assert_eq!((known.has(&strong), known.has(&weak)), (expected, expected), "{header}");
        }
        for (header, expected) in [("\"a\"", true), ("W/\"a\"", false), ("\"b\"", false)] {
            let known = known(header::IF_RANGE, header);
            assert_eq!(known.allows_range_of(Some(&strong)), expected, "{header}");
            assert!(!known.allows_range_of(Some(&weak)) && !known.allows_range_of(None));
        }
        assert!(Known::default().allows_range_of(None));
    }
}
