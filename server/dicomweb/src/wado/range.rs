//! Range requests on single-part answers (RFC 9110 14).

use std::ops::Range;

use actix_web::HttpRequest;
use actix_web::http::{Method, header};

use super::body::Segment;

/// What a request asks for of a single-part answer. Several stretches at once are answered with the whole, as
/// RFC 9110 14.2 allows.
pub struct AskedRange(Option<String>);

impl AskedRange {
    /// What the headers of a GET request say.
    pub fn of(request: &HttpRequest) -> Self {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self(header(header::RANGE).filter(|_| request.method() == Method::GET).map(str::to_owned))
    }

    /// Which bytes of so many are asked for.
    pub fn of_length(&self, length: u64) -> Stretch {
        self.0.as_deref().map_or(Stretch::Whole, |range| parse(range, length))
    }
}

/// What is asked for of so many bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Stretch {
    /// All of them.
    Whole,
    /// Not empty, and within the bytes there are.
    Part(Range<u64>),
    /// A range in which there is no byte.
    Nothing,
}

/// Reads a `Range` header; what does not read, or is not in bytes, is as if it were not there (RFC 9110 14.2).
fn parse(text: &str, length: u64) -> Stretch {
    let Some((unit, range)) = text.split_once('=') else { return Stretch::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return Stretch::Whole;
    }
    let Some((first, last)) = range.split_once('-') else { return Stretch::Whole };
    let range = match (number(first), number(last)) {
        (Field::Number(first), Field::Number(last)) if last >= first => first..last.saturating_add(1),
        (Field::Number(first), Field::Empty) => first..length,
        (Field::Empty, Field::Number(count)) => length.saturating_sub(count)..length,
        _ => return Stretch::Whole,
    };
    let range = range.start..range.end.min(length);
    match range.is_empty() {
        true => Stretch::Nothing,
        false => Stretch::Part(range),
    }
}

enum Field {
    Empty,
    Number(u64),
    Other,
}

/// Digits; more of them than fit are a number beyond any file.
fn number(text: &str) -> Field {
    match text.trim() {
        "" => Field::Empty,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Field::Number(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Field::Other,
    }
}

/// The segments that make up a stretch of the whole.
pub fn stretch(segments: Vec<Segment>, range: &Range<u64>) -> Vec<Segment> {
    let mut offset = 0;
    let mut kept = Vec::new();
    for segment in segments {
        let length = segment.length();
        let start = range.start.saturating_sub(offset).min(length);
        let end = range.end.saturating_sub(offset).min(length);
        if start < end {
            kept.push(segment.within(start..end));
        }
        offset += length;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (text, expected) in [
            ("bytes=0-0", Stretch::Part(0..1)),
            ("bytes=2-5", Stretch::Part(2..6)),
            ("Bytes = 2 - 5", Stretch::Part(2..6)),
            ("bytes=2-500", Stretch::Part(2..10)),
            ("bytes=7-", Stretch::Part(7..10)),
            ("bytes=-3", Stretch::Part(7..10)),
            ("bytes=-30", Stretch::Part(0..10)),
            ("bytes=3-99999999999999999999999", Stretch::Part(3..10)),
            ("bytes=10-", Stretch::Nothing),
            ("bytes=10-20", Stretch::Nothing),
            ("bytes=-0", Stretch::Nothing),
            ("bytes=5-2", Stretch::Whole),
            ("bytes=0-1,4-5", Stretch::Whole),
            ("bytes=-", Stretch::Whole),
            ("bytes=a-b", Stretch::Whole),
            ("lines=0-1", Stretch::Whole),
            ("", Stretch::Whole),
        ] {
            assert_eq!(parse(text, 10), expected, "{text}");
        }
        assert_eq!(parse("bytes=0-", 0), Stretch::Nothing);
    }

    proptest! {
        #[test]
        fn a_stretch_is_what_slicing_gives(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..5),
            (start, end) in (0u64..30, 0u64..30),
        ) {
            let whole: Vec<u8> = parts.concat();
            let end = end.min(whole.len() as u64);
            let range = start.min(end)..end;
            let segments = parts.into_iter().map(|part| Segment::Bytes(part.into())).collect();
            let kept = stretch(segments, &range).into_iter().map(|segment| match segment {
                Segment::Bytes(bytes) => bytes,
                Segment::File { .. } => Bytes::new(),
            });
            prop_assert_eq!(kept.collect::<Vec<_>>().concat(), &whole[range.start as usize..range.end as usize]);
        }

        #[test]
        fn no_range_panics(text in "(bytes=)?[-0-9, a-z]{0,30}", length in any::<u64>()) {
            if let Stretch::Part(range) = parse(&text, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
