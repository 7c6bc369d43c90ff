//! Media types and content negotiation: `Content-Type` and `Accept` as DICOMweb uses them.
//!
//! Follows RFC 9110 (12.5.1 `Accept`, 8.3.1 media types) and PS3.18 8.7 (media types with a `type` and a
//! `transfer-syntax` parameter). Real clients send `type=application/dicom` without the quotes that its slash
//! asks for; that is read as meant.

use std::fmt;

/// Longest header value looked at, in bytes: nothing a client needs is longer, and parsing stays bounded.
const MAX_HEADER_LENGTH: usize = 16 * 1024;

/// A media type with its parameters, e.g. `multipart/related; type="application/dicom"; boundary=x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// `type/subtype` in lower case; either half may be `*` in an `Accept` range.
    pub essence: String,
    /// Parameters in order: name in lower case, value unquoted.
    pub parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads one media type, or `None` where the text has no `type/subtype`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = split_outside_quotes(text, ';').into_iter();
        let essence = fields.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() || essence.contains(char::is_whitespace) {
            return None;
        }
        let parameters = fields
            .filter_map(|field| {
                let (name, value) = field.split_once('=')?;
                Some((name.trim().to_ascii_lowercase(), unquote(value.trim())))
            })
            .collect();
        Some(Self { essence, parameters })
    }

    /// The first parameter of that name (given in lower case).
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a server can answer with: one row of a transaction's table of media types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The media type of the payload, or of each part where `multipart`.
    pub media_type: &'static str,
    /// The transfer syntax of the payload, where that media type has one.
    pub transfer_syntax: Option<String>,
    /// Whether it is answered as `multipart/related` with parts of `media_type`.
    pub multipart: bool,
    /// Whether what is stored must be encoded anew for it.
    pub transcoded: bool,
    /// Whether it is for a client that names its media type and no transfer syntax.
    pub is_default: bool,
}

impl Offer {
    /// A single-part answer.
    pub fn single(media_type: &'static str) -> Self {
        Self { media_type, transfer_syntax: None, multipart: false, transcoded: false, is_default: true }
    }

    /// A `multipart/related` answer.
    pub fn multipart(media_type: &'static str) -> Self {
        Self { multipart: true, ..Self::single(media_type) }
    }

    /// The same offer, encoded in `transfer_syntax`.
    pub fn in_syntax(mut self, transfer_syntax: impl Into<String>) -> Self {
        self.transfer_syntax = Some(transfer_syntax.into());
        self
    }

    /// The same offer, for which what is stored must be encoded anew.
    pub fn transcoded(mut self) -> Self {
        self.transcoded = true;
        self
    }

    /// The same offer, for clients alone that name its transfer syntax, or accept any (`transfer-syntax=*`).
    pub fn if_named(mut self) -> Self {
        self.is_default = false;
        self
    }

    /// Whether the answer is one JSON text.
    pub fn is_json(&self) -> bool {
        !self.multipart && (self.media_type == "application/json" || self.media_type.ends_with("+json"))
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.multipart {
            true => write!(f, "multipart/related; type=\"{}\"", self.media_type)?,
            false => f.write_str(self.media_type)?,
        }
        match &self.transfer_syntax {
            Some(uid) => write!(f, "; transfer-syntax={uid}"),
            None => Ok(()),
        }
    }
}

/// The media ranges a client accepts, as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    ranges: Vec<Range>,
}

/// One media range. `essence` is that of the payload: of the parts, where `multipart`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    essence: String,
    /// `None`: the range takes single and multipart answers alike (`*/*`).
    multipart: Option<bool>,
    transfer_syntax: Option<String>,
    /// Weight in thousandths.
    quality: u16,
}

/// Rank of an offer: weight, whether it is cheap, specificity, and how early its range stands (higher is earlier).
type Rank = (u16, bool, u8, usize);

impl Accept {
    /// Reads an `Accept` value, or the `accept` query parameter of PS3.18 8.3.3.1, which has the same form.
    /// Text in which no media range can be read accepts anything, as an absent header does. A range without `transfer-syntax`
    /// means its media type's default one (PS3.18 8.7.3).
    pub fn parse(text: &str) -> Self {
        let ranges = match text.len() <= MAX_HEADER_LENGTH {
            true => split_outside_quotes(text, ',').iter().filter_map(|range| Range::parse(range)).collect(),
            false => Vec::new(),
        };
        Self { ranges }
    }

    /// Whether no media range could be read.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// What a request without an `Accept` header accepts.
    pub fn anything() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The offer the client prefers: highest weight, then what need not be transcoded, then the most specific range,
    /// then the client's order, then the server's. `None` where nothing offered is acceptable (406).
    pub fn choose<'a>(&self, offers: &'a [Offer]) -> Option<&'a Offer> {
        if self.ranges.is_empty() {
            return offers.iter().find(|offer| offer.is_default).or(offers.first());
        }
        let mut best: Option<(Rank, &Offer)> = None;
        for offer in offers {
            let Some(rank) = self.rank(offer) else { continue };
            if best.is_none_or(|(so_far, _)| rank > so_far) {
                best = Some((rank, offer));
            }
        }
        best.map(|(_, offer)| offer)
    }

    fn rank(&self, offer: &Offer) -> Option<Rank> {
        let (index, range) = self
            .ranges
            .iter()
            .enumerate()
            .filter(|(_, range)| range.matches(offer))
            .max_by_key(|(index, range)| (range.specificity(), range.quality, usize::MAX - index))?;
        let rank = (range.quality, !offer.transcoded, range.specificity(), usize::MAX - index);
        (range.quality > 0).then_some(rank)
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let media_type = MediaType::parse(text)?;
        let quality = media_type.parameter("q").map_or(1000, parse_quality);
        let transfer_syntax = media_type.parameter("transfer-syntax").map(str::to_owned);
        let (essence, multipart) = match media_type.essence.as_str() {
            "*/*" => ("*/*".to_owned(), None),
            "multipart/related" | "multipart/*" => {
                let part = media_type.parameter("type").unwrap_or("*/*");
                (part.to_ascii_lowercase(), Some(true))
            }
            _ => (media_type.essence, Some(false)),
        };
        // Names from before these types were registered, which clients still send.
        let essence = match essence.as_str() {
            "image/x-jls" => "image/jls".to_owned(),
            "image/x-dicom-rle" => "image/dicom-rle".to_owned(),
            _ => essence,
        };
        Some(Self { essence, multipart, transfer_syntax, quality })
    }

    fn matches(&self, offer: &Offer) -> bool {
        let form = self.multipart.is_none_or(|multipart| multipart == offer.multipart);
        let essence = match self.essence.strip_suffix("/*") {
            Some("*") => true,
            Some(kind) => offer.media_type.split_once('/').is_some_and(|(offered, _)| offered == kind),
            None => self.essence.eq_ignore_ascii_case(offer.media_type),
        };
        let syntax = match (self.transfer_syntax.as_deref(), offer.transfer_syntax.as_deref()) {
            (None, _) => offer.is_default,
            (Some("*"), _) | (_, None) => true,
            (Some(wanted), Some(offered)) => wanted == offered,
        };
        form && essence && syntax
    }

    fn specificity(&self) -> u8 {
        let essence = match self.essence.as_str() {
            "*/*" => 0,
            range if range.ends_with("/*") => 2,
            _ => 4,
        };
        let syntax = self.transfer_syntax.as_deref().is_some_and(|uid| uid != "*");
        essence + u8::from(syntax) + u8::from(self.multipart.is_some())
    }
}

/// A weight in thousandths; what is no number counts as 1, as if it were not there.
fn parse_quality(text: &str) -> u16 {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => (value.clamp(0.0, 1.0) * 1000.0).round() as u16,
        _ => 1000,
    }
}

/// Splits at `separator` where it stands outside a quoted string. A quote that never closes runs to the end.
fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut fields = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                fields.push(&text[start..at]);
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    fields.push(&text[start..]);
    fields
}

/// The value of a quoted string (RFC 9110 5.6.4), or the text itself where it is not quoted.
fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else { return text.to_owned() };
    let mut value = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_types_are_read_with_and_without_quotes() {
        for (text, part, boundary) in [
            (
                r#"multipart/related; type="application/dicom"; boundary="a b;c""#,
                "application/dicom",
                "a b;c",
            ),
            ("Multipart/Related;TYPE=application/dicom;Boundary=abc", "application/dicom", "abc"),
            (
                r#"multipart/related; boundary="q\"uote"; type=application/dicom"#,
                "application/dicom",
                "q\"uote",
            ),
            (
                r#"multipart/related; type="application/dicom+json"; boundary=x; y"#,
                "application/dicom+json",
                "x",
            ),
        ] {
            let media_type = MediaType::parse(text).unwrap();
            assert_eq!(media_type.essence, "multipart/related");
            assert_eq!(media_type.parameter("type"), Some(part), "{text}");
            assert_eq!(media_type.parameter("boundary"), Some(boundary), "{text}");
        }
        for text in ["", "nonsense", "/", "a/", "; boundary=x"] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn accept_chooses_as_the_client_prefers() {
        const DICOM: &str = "application/dicom";
        let offers = [
            Offer::multipart(DICOM).in_syntax("1.2.840.10008.1.2.1"),
            Offer::single(DICOM).in_syntax("1.2.840.10008.1.2.1"),
            Offer::single("image/png"),
            Offer::single("image/jpeg"),
        ];
        for (accept, chosen) in [
            ("*/*", Some(0)),
            ("", Some(0)),
            ("application/dicom", Some(1)),
            (r#"multipart/related; type="application/dicom""#, Some(0)),
            ("multipart/related; type=application/dicom; transfer-syntax=*", Some(0)),
            (r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80"#, None),
            (
                r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80, application/dicom; q=0.5"#,
                Some(1),
            ),
            ("image/*", Some(2)),
            ("image/jpeg, image/png", Some(3)),
            ("image/jpeg;q=0.4, image/png;q=0.8", Some(2)),
            ("image/jpeg, */*", Some(3)),
            ("image/png;q=0, image/*", Some(3)),
            ("multipart/related", Some(0)),
            ("text/csv", None),
            ("image/png;q=NaN", Some(2)),
        ] {
            let expected: Option<&Offer> = chosen.map(|index: usize| &offers[index]);
            assert_eq!(Accept::parse(accept).choose(&offers), expected, "{accept}");
        }
    }

    #[test]
    fn what_is_stored_wins_over_what_must_be_transcoded_at_the_same_weight() {
        const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
        let offers = [
            Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.1"),
            Offer::multipart("application/dicom").in_syntax(JPEG_LS).transcoded(),
        ];
        let range =
            |syntax: &str| format!("multipart/related; type=\"application/dicom\"; transfer-syntax={syntax}");
        for (accept, chosen) in [
            (range(JPEG_LS), 1),
            (format!("{}, {}", range(JPEG_LS), range("*")), 0),
            (format!("{}, {}; q=0.9", range(JPEG_LS), range("*")), 1),
        ] {
            assert_eq!(Accept::parse(&accept).choose(&offers), Some(&offers[chosen]), "{accept}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = MediaType::parse(&text);
            let offers = [Offer::single("image/png"), Offer::multipart("application/dicom").in_syntax("1.2")];
            let _ = Accept::parse(&text).choose(&offers);
        }

        #[test]
        fn header_like_text_never_panics(text in r#"[a-z/*;,="\\ .0-9q-]{0,120}"#) {
            let _ = MediaType::parse(&text);
            let _ = Accept::parse(&text).choose(&[Offer::single("image/png")]);
        }

        #[test]
        fn a_quoted_boundary_survives(boundary in r#"[ -~&&[^"\\]]{1,70}"#) {
            let text = format!("multipart/related; boundary=\"{boundary}\"");
            let media_type = MediaType::parse(&text).unwrap();
            prop_assert_eq!(media_type.parameter("boundary"), Some(boundary.as_str()));
        }
    }
}
