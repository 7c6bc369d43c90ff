//! Bodies as they are written, as they are broken, and at random.

use super::*;
use proptest::prelude::*;

const LIMITS: MultipartLimits =
    MultipartLimits { max_parts: 10, max_header_bytes: 200, max_preamble_bytes: 100 };

/// A part as the tests compare it: content type, content, and whether it was complete.
type Part = (Option<String>, Vec<u8>, bool);

fn parse(boundary: &str, chunks: &[&[u8]]) -> (Vec<Part>, Result<(), MultipartError>) {
    let mut parser = MultipartParser::new(boundary, LIMITS).unwrap();
    let (mut events, mut outcome) = (Vec::new(), Ok(()));
    for chunk in chunks {
        outcome = outcome.and_then(|()| parser.push(Bytes::copy_from_slice(chunk), &mut events));
    }
    let outcome = outcome.and_then(|()| parser.finish());
    let mut parts: Vec<Part> = Vec::new();
    for event in events {
        match event {
            Event::PartStart(headers) => {
                parts.push((headers.get("content-type").map(str::to_owned), Vec::new(), false));
            }
            Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
            Event::PartEnd => parts.last_mut().unwrap().2 = true,
            Event::End => {}
        }
    }
    (parts, outcome)
}

fn contents(body: &[u8]) -> Vec<Vec<u8>> {
    let (parts, outcome) = parse("b", &[body]);
    outcome.unwrap();
    assert!(parts.iter().all(|part| part.2), "{parts:?}");
    parts.into_iter().map(|part| part.1).collect()
}

#[test]
fn bodies_as_writers_write_them() {
    for (name, body, expected) in [
        (
            "plain",
            &b"--b\r\nContent-Type: t\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"[..],
            vec!["one", "two"],
        ),
        ("empty preamble, no last line ending", b"\r\n--b\r\nA: t\r\n\r\none\r\n--b--", vec!["one"]),
        (
            "preamble and epilogue",
            b"hello --b\r\nx\r\n--b\r\n\r\none\r\n--b--\r\nbye\r\n--b\r\n",
            vec!["one"],
        ),
        ("padding", b"--b \t\r\n\r\none\r\n--b  \r\n\r\ntwo\r\n--b--", vec!["one", "two"]),
        ("bare line feeds", b"--b\nA: t\n\none\r\n--b\n\ntwo\n--b--\n", vec!["one\r", "two"]),
        ("a line feed is content among CRLF", b"--b\r\n\r\none\n--b\n\r\n--b--", vec!["one\n--b\n"]),
        ("a longer boundary is content", b"--b\r\n\r\none\r\n--bc\r\n--b--", vec!["one\r\n--bc"]),
        ("empty parts", b"--b\r\nA: t\r\n\r\n\r\n--b\r\nA: t\r\n\r\n--b\r\nA: t\r\n--b--", vec!["", "", ""]),
        ("no part", b"--b--", vec![]),
        ("content ends like a delimiter begins", b"--b\r\n\r\none\r\r\n-\r\n--b--", vec!["one\r\r\n-"]),
    ] {
        let expected: Vec<Vec<u8>> = expected.into_iter().map(|text| text.as_bytes().to_vec()).collect();
        assert_eq!(contents(body), expected, "{name}");
    }
}

#[test]
fn headers_are_read_folded_and_in_any_case() {
    let body = b"--b\r\nnonsense\r\nCONTENT-type:  multipart/x;\r\n\ttype=y \r\n\r\n.\r\n--b--";
    assert_eq!(parse("b", &[body]).0[0].0.as_deref(), Some("multipart/x; type=y"));
}

#[test]
fn what_is_no_multipart_says_why() {
    let long = "x".repeat(300);
    for (name, body, wanted) in [
        ("nothing", String::new(), "first delimiter"),
        ("no delimiter", long.clone(), "first delimiter"),
        ("no closing delimiter", "--b\r\n\r\none".into(), "cut short in part 1"),
        ("cut in the closing delimiter", "--b\r\n\r\none\r\n--b-".into(), "cut short in part 1"),
        ("cut in headers", "--b\r\n\r\none\r\n--b\r\nContent".into(), "cut short in part 2"),
        ("parts", "--b\r\n\r\n\r\n".repeat(11), "more than 10 parts"),
    ] {
        let message = parse("b", &[body.as_bytes()]).1.unwrap_err().to_string();
        assert!(message.contains(wanted), "{name}: {message}");
    }
    for boundary in ["", "ends with space ", "tab\t", long.as_str()] {
        assert_eq!(MultipartParser::new(boundary, LIMITS).unwrap_err(), MultipartError::Boundary);
    }
}

#[test]
fn headers_without_end_spoil_only_their_part() {
    let body = format!("--b\r\nA: {}\r\n--b\r\n\r\ntwo\r\n--b--", "x".repeat(300));
    let (parts, outcome) = parse("b", &[body.as_bytes()]);
    outcome.unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[1].1, b"two");
}

#[test]
fn content_is_handed_out_without_waiting_for_its_end() {
    let mut parser = MultipartParser::new("b", LIMITS).unwrap();
    let mut events = Vec::new();
    parser.push(Bytes::from_static(b"--b\r\n\r\nabc\r"), &mut events).unwrap();
    assert_eq!(events.last(), Some(&Event::Data(Bytes::from_static(b"abc"))));
}

/// Bytes dense in what delimiters are made of.
fn tricky_bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'b'), Just(b' '), Just(b':'), any::<u8>()];
    prop::collection::vec(byte, 0..length)
}

fn chunked<'a>(body: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    at.extend([0, body.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_parts(
        parts in prop::collection::vec(tricky_bytes(60), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        // The boundary is one the content cannot contain: its bytes are no ASCII letters but `b`.
        let boundary = "b-Zz b";
        prop_assume!(parts.iter().all(|part| memmem::find(part, b"Zz").is_none()));
        let mut body = b"preamble\r\n".to_vec();
        for part in &parts {
            body.extend_from_slice(b"\r\n--b-Zz b\r\nContent-Type: t\r\n\r\n");
            body.extend_from_slice(part);
        }
        body.extend_from_slice(b"\r\n--b-Zz b--\r\n");
        let (found, outcome) = parse(boundary, &chunked(&body, &cuts));
        prop_assert_eq!(outcome, Ok(()));
        let found: Vec<Vec<u8>> = found.into_iter().map(|part| part.1).collect();
        prop_assert_eq!(found, parts);
    }

    #[test]
    fn random_bytes_never_panic_and_chunking_never_matters(
        body in tricky_bytes(400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = parse("b", &[&body]);
        let (parts, outcome) = parse("b", &chunked(&body, &cuts));
        prop_assert_eq!(&parts, &whole.0);
        prop_assert_eq!(outcome, whole.1);
    }
}
