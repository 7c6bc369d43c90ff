//! The multipart parser and writer.
//!
//! The first byte of an input counts the bytes after it that say how the body is cut: each is the length of a chunk, the
//! last one of all that follow. The rest is the body, of boundary `b`.

use bytes::Bytes;
use engram_dicomweb::media::MediaType;
use engram_dicomweb::multipart::{
    Event, MultipartError, MultipartLimits, MultipartParser, MultipartWriter, PartHeaders,
};

const LIMITS: MultipartLimits =
    MultipartLimits { max_parts: 20, max_header_bytes: 256, max_preamble_bytes: 128 };

/// A part: its headers, its content, and whether it was complete.
type Part = (PartHeaders, Vec<u8>, bool);

pub fn check(input: &[u8]) {
    let Some((cuts, body)) = cut(input) else { return };
    let (parts, outcome) = read("b", std::iter::once(body));
    assert_eq!((&parts, &outcome), (&read("b", chunks(body, cuts)).0, &read("b", chunks(body, cuts)).1));
    assert!(parts.len() <= LIMITS.max_parts);
    assert!(parts.iter().map(|part| part.1.len()).sum::<usize>() <= body.len());
    assert!(outcome.is_err() || parts.iter().all(|part| part.2), "a whole body has whole parts");
    // What is written of the parts is read back, however it arrives.
    let contents: Vec<Vec<u8>> = parts.into_iter().map(|part| part.1).collect();
    let writer = MultipartWriter::new();
    let written = writer.body(contents.iter().map(|content| ("a/b", Bytes::copy_from_slice(content))));
    let content_type = MediaType::parse(&writer.content_type("a/b")).unwrap();
    let (parts, outcome) = read(content_type.parameter("boundary").unwrap(), chunks(&written, cuts));
    assert_eq!(outcome, Ok(()));
    assert!(parts.iter().all(|part| part.0.get("content-type") == Some("a/b")));
    assert_eq!(parts.into_iter().map(|part| part.1).collect::<Vec<_>>(), contents);
}

/// The lengths of chunks, and the body.
fn cut(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(*count))
}

/// The body in chunks, none of which is empty.
fn chunks<'a>(body: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let last = lengths.last().copied().unwrap_or(1);
    let mut lengths = lengths.iter().copied().chain(std::iter::repeat(last));
    let mut rest = body;
    std::iter::from_fn(move || {
        let length = usize::from(lengths.next()?).clamp(1, rest.len().max(1));
        let (chunk, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(chunk)
    })
}

fn read<'a>(
    boundary: &str,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Part>, Result<(), MultipartError>) {
    let mut parser = MultipartParser::new(boundary, LIMITS).unwrap();
    let (mut events, mut outcome) = (Vec::new(), Ok(()));
    for chunk in chunks {
        outcome = outcome.and_then(|()| parser.push(Bytes::copy_from_slice(chunk), &mut events));
    }
    let outcome = outcome.and_then(|()| parser.finish());
    let mut parts: Vec<Part> = Vec::new();
    for event in events {
        match event {
            Event::PartStart(headers) => parts.push((headers, Vec::new(), false)),
            Event::Data(data) => {
                let part = parts.last_mut().unwrap();
                assert!(!part.2 && !data.is_empty());
                part.1.extend_from_slice(&data);
            }
            Event::PartEnd => parts.last_mut().unwrap().2 = true,
            Event::End => assert!(outcome.is_ok()),
        }
    }
    (parts, outcome)
}
