//! Answers made of stretches of files and of bytes in memory, read while they are sent.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};

use actix_web::rt::task::{JoinHandle, spawn_blocking};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use crate::direct::Outlet;

/// Bytes from which a stretch of a file is sent by the connection.
const LONG: u64 = 64 << 10;

/// One stretch of an answer.
#[derive(Debug, Clone)]
pub enum Segment {
    /// In memory: delimiters, headers.
    Bytes(Bytes),
    /// A stretch of a file.
    File {
        /// The file.
        path: PathBuf,
        /// Byte offsets in it.
        range: Range<u64>,
    },
}

impl Segment {
    /// Its bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.end.saturating_sub(range.start),
        }
    }

    /// A stretch of it; `range` lies within its length.
    pub fn within(self, range: Range<u64>) -> Self {
        match self {
            // What is in memory is no longer than a `usize` counts.
            Self::Bytes(bytes) => Self::Bytes(bytes.slice(range.start as usize..range.end as usize)),
            Self::File { path, range: whole } => {
                Self::File { path, range: whole.start + range.start..whole.start + range.end }
            }
        }
    }
}

/// Makes an answer buffer by buffer, by calls that block.
pub trait Chunks: Send + 'static {
    /// The next buffer, or `None` at the end.
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>>;

    /// Whether it is known that there is no further buffer: that saves a turn of the blocking pool.
    fn is_at_end(&self) -> bool {
        false
    }
}

/// What is in segments. Files are read `buffer_bytes` at a time where blocking is allowed, one buffer ahead of
/// what is being sent, however many files there are. A file that cannot be read breaks the connection off, so
/// that the client notices.
pub fn pieces(segments: Vec<Segment>, buffer_bytes: usize) -> impl Stream<Item = io::Result<Bytes>> {
    read_ahead(SegmentReader::new(segments, buffer_bytes))
}

/// Reads a stretch of a file whole.
pub fn read_range(path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
    let length = range.end.saturating_sub(range.start);
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    match file.take(length).read_to_end(&mut bytes)? as u64 == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A piece of an answer whose files the connection sends.
#[derive(Debug)]
pub enum Piece {
    /// In memory.
    Bytes(Bytes),
    /// A stretch of an open file.
    File(File, Range<u64>),
}

impl Piece {
    /// Opens the file that a segment is in, and has it read from the disk while others are sent. Blocks.
    pub fn open(segment: Segment) -> io::Result<Self> {
        Ok(match segment {
            Segment::Bytes(bytes) => Self::Bytes(bytes),
            Segment::File { path, range } => {
                let file = File::open(path)?;
                will_need(&file, &range);
                Self::File(file, range)
            }
        })
    }
}

/// Says that a stretch is about to be read. That it cannot be said is no failure.
#[cfg(target_os = "linux")]
fn will_need(file: &File, range: &Range<u64>) {
    let length = NonZeroU64::new(range.end.saturating_sub(range.start));
    let _ = rustix::fs::fadvise(file, range.start, length, rustix::fs::Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn will_need(_file: &File, _range: &Range<u64>) {}

/// Whether files are in segments that are long enough to be sent by the connection: short ones are better read into one
/// buffer.
pub fn are_long(segments: &[Segment]) -> bool {
    let files = segments.iter().filter(|segment| matches!(segment, Segment::File { .. }));
    let (count, bytes) = files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.length()));
    count > 0 && bytes >= count * LONG
}

/// Segments that are opened ahead of the one that is sent: two a file. A series of 63 MB that was not in the page cache took 60 ms
/// with it, 87 without; one that was, the same.
const AHEAD: usize = 4;

/// Pieces that are open, then segments, as their connection sends them: the next files are opened meanwhile.
pub fn sent_by(
    outlet: Outlet,
    opened: Vec<Piece>,
    segments: impl IntoIterator<Item = Segment>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let end = outlet.clone();
    let open = async |segment| match segment {
        Segment::Bytes(bytes) => Ok(Piece::Bytes(bytes)),
        file => {
            spawn_blocking(|| Piece::open(file)).await.map_err(io::Error::other)?.inspect_err(could_not_read)
        }
    };
    let rest = stream::iter(segments).map(open).buffered(AHEAD);
    let pieces = stream::iter(opened.into_iter().map(Ok)).chain(rest);
    let marked = pieces.then(move |piece| {
        let outlet = outlet.clone();
        async move {
            match piece? {
                Piece::Bytes(bytes) => Ok(bytes),
                Piece::File(file, range) => {
                    poll_fn(|context| outlet.poll_sent(context)).await;
                    Ok(outlet.leave(file, range))
                }
            }
        }
    });
    // The answer is not done before its files are sent.
    marked.chain(stream::poll_fn(move |context| end.poll_sent(context).map(|()| None)))
}

type Reading<R> = JoinHandle<(R, io::Result<Option<Bytes>>)>;

/// Reads one buffer ahead of what is being sent, where blocking is allowed.
pub fn read_ahead<R: Chunks>(reader: R) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(start(reader), async |reading| match reading?.await.map_err(io::Error::other) {
        Ok((reader, Ok(Some(chunk)))) => Some((Ok(chunk), start(reader))),
        Ok((_, Ok(None))) => None,
        Ok((_, Err(error))) | Err(error) => {
            could_not_read(&error);
            Some((Err(error), None))
        }
    })
}

fn could_not_read(error: &io::Error) {
    tracing::error!(%error, "could not read a stored file while sending it");
}

/// `None` where it is known that there is nothing left to read.
fn start<R: Chunks>(mut reader: R) -> Option<Reading<R>> {
    let is_at_end = reader.is_at_end();
    let read = move || {
        let chunk = reader.next_chunk();
        (reader, chunk)
    };
    (!is_at_end).then(|| spawn_blocking(read))
}

/// Reads segments one after the other. Small ones share a buffer.
pub struct SegmentReader {
    segments: std::vec::IntoIter<Segment>,
    /// The open file and what is left to read of it.
    current: Option<(File, u64)>,
    /// What is left of all segments.
    left: u64,
    buffer_bytes: usize,
}

impl SegmentReader {
    /// Reads `buffer_bytes` at a time or somewhat less, in buffers of one size.
    pub fn new(segments: Vec<Segment>, buffer_bytes: usize) -> Self {
        let left: u64 = segments.iter().map(Segment::length).sum();
        let buffers = left.div_ceil(buffer_bytes.max(1) as u64).max(1);
        let even = usize::try_from(left.div_ceil(buffers)).unwrap_or(buffer_bytes);
        Self { segments: segments.into_iter(), current: None, left, buffer_bytes: even.max(1) }
    }
}

impl Chunks for SegmentReader {
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let mut buffer = Vec::with_capacity(self.buffer_bytes);
        while buffer.len() < self.buffer_bytes {
            if let Some((file, left)) = &mut self.current {
                let wanted = (*left).min((self.buffer_bytes - buffer.len()) as u64);
                let count = file.take(wanted).read_to_end(&mut buffer)? as u64;
                if count < wanted {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= count;
                self.left = self.left.saturating_sub(count);
                if *left == 0 {
                    self.current = None;
                }
                continue;
            }
            match self.segments.next() {
                None => break,
                Some(Segment::Bytes(bytes)) => {
                    self.left = self.left.saturating_sub(bytes.len() as u64);
                    buffer.extend_from_slice(&bytes);
                }
                Some(Segment::File { path, range }) => {
                    let mut file = File::open(path)?;
                    if range.start > 0 {
                        file.seek(SeekFrom::Start(range.start))?;
                    }
                    let length = range.end.saturating_sub(range.start);
                    self.current = (length > 0).then_some((file, length));
                }
            }
        }
        Ok((!buffer.is_empty()).then(|| Bytes::from(buffer)))
    }

    fn is_at_end(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn segments_are_read_whole_in_any_buffer() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let path = file.path().to_owned();
        let segments = vec![
            Segment::Bytes(Bytes::from_static(b"<")),
            Segment::File { path: path.clone(), range: 2..7 },
            Segment::File { path: path.clone(), range: 4..4 },
            Segment::Bytes(Bytes::from_static(b">")),
            Segment::File { path: path.clone(), range: 0..10 },
        ];
        for buffer_bytes in [1, 3, 100] {
            let mut reader = SegmentReader::new(segments.clone(), buffer_bytes);
            let mut read = Vec::new();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                read.extend_from_slice(&chunk);
            }
            assert_eq!(read, b"<23456>0123456789");
        }
        let beyond = vec![Segment::File { path, range: 5..20 }];
        let mut reader = SegmentReader::new(beyond, 100);
        assert_eq!(reader.next_chunk().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
