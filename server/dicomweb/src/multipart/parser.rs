//! A push parser for `multipart/related` bodies: bytes in, in chunks of any size, events out.
//!
//! It holds back only what may turn out to be a delimiter, and one part's headers; part content passes through
//! as slices of the chunks that came in, uncopied but at chunk borders. It trusts nothing: headers are bounded,
//! parts are counted, and no input panics.
//!
//! Decisions where RFC 2046 5.1.1 leaves room, or where writers differ:
//! - The first delimiter line settles the line ending: CRLF, or bare LF if that is what the writer used. From
//!   then on only that ending introduces a delimiter, so binary content with a stray LF is never cut.
//! - A delimiter counts only if its line ends after it (padding of spaces and tabs allowed, at most
//!   [`MAX_PADDING`]) or `--` follows. `--BOUNDARYmore` inside a part is content.
//! - What precedes the first delimiter and follows the last is skipped.

use bytes::{Buf, Bytes};
use memchr::{memchr, memmem};
use snafu::Snafu;

/// Longest boundary RFC 2046 allows, in bytes.
pub const MAX_BOUNDARY: usize = 70;
/// Longest run of spaces and tabs accepted between a delimiter and the end of its line.
pub const MAX_PADDING: usize = 32;

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub struct MultipartLimits {
    /// Most parts in a body.
    pub max_parts: usize,
    /// Most bytes of headers in a part.
    pub max_header_bytes: usize,
    /// Most bytes before the first delimiter.
    pub max_preamble_bytes: usize,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    PartStart(PartHeaders),
    /// The next bytes of the part's content; never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The closing delimiter was read.
    End,
}

/// The header fields of one part. A line that is no field is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartHeaders {
    /// Names in lower case, values trimmed.
    fields: Vec<(String, String)>,
    /// The headers did not end within the limit; their bytes count as content.
    pub overlong: bool,
}

impl PartHeaders {
    /// The first field of that name (given in lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parse(block: &[u8]) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in block.split(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            // RFC 5322 2.2.3: a line that begins with white space continues the field before it.
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        Self { fields, overlong: false }
    }
}

/// Why a body could not be read as multipart.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum MultipartError {
    /// The boundary parameter is not one RFC 2046 allows.
    #[snafu(display("could not use the boundary: it must have 1 to {MAX_BOUNDARY} printable characters"))]
    Boundary,
    /// No delimiter came within the allowed preamble, or at all.
    #[snafu(display("could not find the first delimiter --{boundary}"))]
    NoDelimiter {
        /// The boundary that was looked for.
        boundary: String,
    },
    /// More parts than allowed.
    #[snafu(display("could not take more than {limit} parts in one request"))]
    TooManyParts {
        /// The limit.
        limit: usize,
    },
    /// The body ended before its closing delimiter.
    #[snafu(display(
        "could not find the closing delimiter --{boundary}--: the body is cut short in part {part}"
    ))]
    Truncated {
        /// The boundary that was looked for.
        boundary: String,
        /// The part that was being read, from 1.
        part: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Headers,
    Content,
    Epilogue,
}

/// See the module's page. After an error the parser is of no further use.
#[derive(Debug)]
pub struct MultipartParser {
    /// `--boundary`, without the line ending that must precede it.
    dash_boundary: Vec<u8>,
    /// Line ending plus `dash_boundary`, once the first delimiter settled the ending.
    delimiter: Vec<u8>,
    limits: MultipartLimits,
    state: State,
    /// Bytes that came in and are not yet decided on.
    held: Bytes,
    /// Leading bytes of `held` that belong to the headers: their last line ending, which is also the line
    /// ending of the delimiter where a part is empty.
    not_content: usize,
    parts: usize,
    skipped: usize,
}

impl MultipartParser {
    /// A parser for a body with that `boundary` parameter.
    pub fn new(boundary: &str, limits: MultipartLimits) -> Result<Self, MultipartError> {
        let printable = boundary.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY || !printable || boundary.ends_with(' ') {
            return BoundarySnafu.fail();
        }
        Ok(Self {
            dash_boundary: [b"--", boundary.as_bytes()].concat(),
            delimiter: Vec::new(),
            limits,
            state: State::Preamble,
            held: Bytes::new(),
            not_content: 0,
            parts: 0,
            skipped: 0,
        })
    }

    /// Number of parts begun so far.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Takes the next chunk of the body and appends what it tells to `events`.
    pub fn push(&mut self, chunk: Bytes, events: &mut Vec<Event>) -> Result<(), MultipartError> {
        self.held = match self.held.is_empty() {
            true => chunk,
            false => Bytes::from([&self.held[..], &chunk[..]].concat()),
        };
        while self.step(events)? {}
        Ok(())
    }

    /// Says that the body is over; an error where it ended too early.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Epilogue => Ok(()),
            State::Preamble => NoDelimiterSnafu { boundary: self.boundary() }.fail(),
            State::Headers | State::Content => {
                TruncatedSnafu { boundary: self.boundary(), part: self.parts }.fail()
            }
        }
    }

    /// One state's work on what is held; `false` where nothing more can be told before more bytes come.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, MultipartError> {
        match self.state {
            State::Preamble => self.preamble(),
            State::Headers => Ok(self.headers(events)),
            State::Content => self.content(events),
            State::Epilogue => {
                self.held.clear();
                Ok(false)
            }
        }
    }

    fn boundary(&self) -> String {
        String::from_utf8_lossy(self.dash_boundary.get(2..).unwrap_or_default()).into_owned()
    }

    fn preamble(&mut self) -> Result<bool, MultipartError> {
        let mut from = 0;
        while let Some(at) = find_from(&self.held, &self.dash_boundary, from) {
            // A delimiter starts a line: at the very start of the body, or after a line feed.
            let starts_line = match at.checked_sub(1) {
                Some(before) => self.held.get(before) == Some(&b'\n'),
                None => self.skipped == 0,
            };
            let end = at + self.dash_boundary.len();
            match if starts_line { Tail::read(&self.held, end) } else { Tail::Content } {
                Tail::Content => from = at + 1,
                Tail::Undecided => return self.skip_preamble(at.saturating_sub(1)),
                // However the body was cut into chunks, the same preamble is too long.
                _ if self.skipped.saturating_add(at) > self.limits.max_preamble_bytes => {
                    return NoDelimiterSnafu { boundary: self.boundary() }.fail();
                }
                Tail::Close => {
                    self.state = State::Epilogue;
                    return Ok(true);
                }
                Tail::Part { end, ending } => {
                    self.delimiter = [ending, &self.dash_boundary].concat();
                    self.held.advance(end);
                    self.begin_part()?;
                    return Ok(true);
                }
            }
        }
        // Keep what may be the start of a delimiter, and the line feed before it.
        self.skip_preamble(self.held.len().saturating_sub(self.dash_boundary.len()))
    }

    fn skip_preamble(&mut self, count: usize) -> Result<bool, MultipartError> {
        self.held.advance(count);
        self.skipped = self.skipped.saturating_add(count);
        match self.skipped > self.limits.max_preamble_bytes {
            true => NoDelimiterSnafu { boundary: self.boundary() }.fail(),
            false => Ok(false),
        }
    }

    fn begin_part(&mut self) -> Result<(), MultipartError> {
        if self.parts >= self.limits.max_parts {
            return TooManyPartsSnafu { limit: self.limits.max_parts }.fail();
        }
        self.parts += 1;
        self.not_content = 0;
        self.state = State::Headers;
        Ok(())
    }

    fn headers(&mut self, events: &mut Vec<Event>) -> bool {
        let within = self.held.len().min(self.limits.max_header_bytes);
        let (headers, length) =
            match header_block(self.held.get(..within).unwrap_or_default(), &self.dash_boundary) {
                Some(length) => (PartHeaders::parse(self.held.get(..length).unwrap_or_default()), length),
                None if within < self.limits.max_header_bytes => return false,
                None => (PartHeaders { overlong: true, ..Default::default() }, 0),
            };
        self.not_content = match self.held.get(..length) {
            Some(block) if block.ends_with(b"\r\n") => 2,
            Some(block) if block.ends_with(b"\n") => 1,
            _ => 0,
        };
        self.held.advance(length - self.not_content);
        events.push(Event::PartStart(headers));
        self.state = State::Content;
        true
    }

    fn content(&mut self, events: &mut Vec<Event>) -> Result<bool, MultipartError> {
        let mut from = 0;
        while let Some(at) = find_from(&self.held, &self.delimiter, from) {
            match Tail::read(&self.held, at + self.delimiter.len()) {
                Tail::Part { ending, .. } if !self.delimiter.starts_with(ending) => from = at + 1,
                Tail::Content => from = at + 1,
                Tail::Undecided => {
                    self.emit(at, events);
                    return Ok(false);
                }
                Tail::Close => {
                    self.emit(at, events);
                    events.extend([Event::PartEnd, Event::End]);
                    self.state = State::Epilogue;
                    return Ok(true);
                }
                Tail::Part { end, .. } => {
                    self.emit(at, events);
                    events.push(Event::PartEnd);
                    self.held.advance(end - at);
                    self.begin_part()?;
                    return Ok(true);
                }
            }
        }
        let undecided = partial_match(&self.held, &self.delimiter);
        self.emit(self.held.len() - undecided, events);
        Ok(false)
    }

    /// Hands out the first `count` held bytes as content.
    fn emit(&mut self, count: usize, events: &mut Vec<Event>) {
        let mut data = self.held.split_to(count);
        let skip = self.not_content.min(data.len());
        data.advance(skip);
        self.not_content -= skip;
        if !data.is_empty() {
            events.push(Event::Data(data));
        }
    }
}

/// What follows a candidate delimiter.
enum Tail {
    /// A new part begins at `end`; the delimiter's line ended with `ending`.
    Part { end: usize, ending: &'static [u8] },
    /// `--`: the body ends.
    Close,
    /// Cannot be told before more bytes come.
    Undecided,
    /// Neither: the candidate was content.
    Content,
}

impl Tail {
    /// Looks at what stands in `data` from `start` on.
    fn read(data: &[u8], start: usize) -> Self {
        let after = data.get(start..).unwrap_or_default();
        if after.starts_with(b"--") {
            return Self::Close;
        }
        let padding =
            after.iter().take(MAX_PADDING + 1).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match after.get(padding..).unwrap_or_default() {
            _ if padding > MAX_PADDING => Self::Content,
            [] | [b'\r'] => Self::Undecided,
            [b'-'] if padding == 0 => Self::Undecided,
            [b'\r', b'\n', ..] => Self::Part { end: start + padding + 2, ending: b"\r\n" },
            [b'\n', ..] => Self::Part { end: start + padding + 1, ending: b"\n" },
            _ => Self::Content,
        }
    }
}

fn find_from(data: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    memmem::find(data.get(from..)?, needle).map(|at| from + at)
}

/// Length of the longest proper prefix of `delimiter` that `data` ends with.
fn partial_match(data: &[u8], delimiter: &[u8]) -> usize {
    let longest = delimiter.len().saturating_sub(1).min(data.len());
    (1..=longest)
        .rev()
        .find(|&length| delimiter.get(..length).is_some_and(|prefix| data.ends_with(prefix)))
        .unwrap_or(0)
}

/// Length of a part's headers, up to and with the empty line; or without it, where a delimiter follows at once.
/// `None` where neither is in `data`.
fn header_block(data: &[u8], dash_boundary: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(rest) = data.get(start..) {
        if start > 0 && rest.starts_with(dash_boundary) {
            return Some(start);
        }
        let end = start + memchr(b'\n', rest)? + 1;
        if matches!(data.get(start..end), Some(b"\n" | b"\r\n")) {
            return Some(end);
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests;
