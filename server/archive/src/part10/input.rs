//! Bytes to walk over, with a position and, where it is known, an end.

use crate::StoreError;
use std::{
    fmt::Display,
    io::{self, BufRead, BufReader, Read, Seek},
};

/// Buffered bytes that can be passed over.
pub(crate) trait Bytes: BufRead {
    /// Passes over `count` bytes; fails with `UnexpectedEof` where they are not there and that can be known.
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.take(count), &mut io::sink())?;
        if passed < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// A seekable source passes over bytes without reading them.
pub(crate) struct Seekable<R: Read + Seek>(pub BufReader<R>);

impl<R: Read + Seek> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read + Seek> BufRead for Seekable<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl<R: Read + Seek> Bytes for Seekable<R> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let count = i64::try_from(count).map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.0.seek_relative(count)
    }
}

/// A source that must be read through.
pub(crate) struct Sequential<R: Read>(pub BufReader<R>);

impl<R: Read> Read for Sequential<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> BufRead for Sequential<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl<R: Read> Bytes for Sequential<R> {}

/// A stretch of bytes being walked over. No call reads past its end.
pub(crate) struct Input<'r> {
    bytes: Box<dyn Bytes + 'r>,
    position: u64,
    end: Option<u64>,
    limit: u64,
}

impl<'r> Input<'r> {
    /// Bytes from `position` to `end`, both counted in the file.
    pub(crate) fn bounded(bytes: impl Bytes + 'r, position: u64, end: u64) -> Self {
        Input { bytes: Box::new(bytes), position, end: Some(end), limit: end }
    }

    /// Bytes whose end shows only on reaching it, and of which no more than `limit` are taken.
    pub(crate) fn unbounded(bytes: impl Bytes + 'r, limit: u64) -> Self {
        Input { bytes: Box::new(bytes), position: 0, end: None, limit }
    }

    /// Where the next byte lies.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Whether no byte is left.
    pub(crate) fn at_end(&mut self) -> Result<bool, StoreError> {
        match self.end {
            Some(end) => Ok(self.position >= end),
            None => match self.bytes.fill_buf().map(<[u8]>::is_empty) {
                Ok(is_empty) => Ok(is_empty),
                Err(error) => Err(self.failure(error, "the data set")),
            },
        }
    }

    /// The next `N` bytes; `what` names them in the error.
    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &(impl Display + ?Sized),
    ) -> Result<[u8; N], StoreError> {
        self.claim(N as u64, what)?;
        let mut buffer = [0; N];
        self.bytes.read_exact(&mut buffer).map_err(|error| self.failure(error, what))?;
        self.position += N as u64;
        Ok(buffer)
    }

    /// The next `count` bytes; memory grows only as they are really there.
    pub(crate) fn take(&mut self, count: u64, what: &(impl Display + ?Sized)) -> Result<Vec<u8>, StoreError> {
        self.claim(count, what)?;
        let mut buffer = Vec::new();
        let read = (&mut self.bytes).take(count).read_to_end(&mut buffer);
        let read = read.map_err(|error| self.failure(error, what))?;
        if (read as u64) < count {
            return Err(self.truncated(what));
        }
        self.position += count;
        Ok(buffer)
    }

    /// Passes over `count` bytes.
    pub(crate) fn skip(&mut self, count: u64, what: &(impl Display + ?Sized)) -> Result<(), StoreError> {
        self.claim(count, what)?;
        self.bytes.skip(count).map_err(|error| self.failure(error, what))?;
        self.position += count;
        Ok(())
    }

    /// Passes over what is left, which must be zeros.
    pub(crate) fn pass_zeros(&mut self, what: &str) -> Result<(), StoreError> {
        while !self.at_end()? {
            let left = self.end.map_or(usize::MAX, |end| {
                usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX)
            });
            let buffer = match self.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) => return Err(self.failure(error, what)),
            };
            let count = buffer.len().min(left);
            if count == 0 {
                return Err(self.truncated(what));
            }
            if buffer.iter().take(count).any(|byte| *byte != 0) {
                let problem = format!("something else stands among {what}");
                return Err(StoreError::Malformed { offset: self.position, problem });
            }
            self.bytes.consume(count);
            self.position += count as u64;
            self.claim(0, what)?;
        }
        Ok(())
    }

    /// Refuses what would go past the end.
    pub(crate) fn claim(&self, count: u64, what: &(impl Display + ?Sized)) -> Result<(), StoreError> {
        let after = self.position.saturating_add(count);
        match self.end {
            Some(end) if after > end => Err(self.truncated(what)),
            None if after > self.limit => Err(StoreError::TooLarge { limit: self.limit }),
            _ => Ok(()),
        }
    }

    fn truncated(&self, what: &(impl Display + ?Sized)) -> StoreError {
        StoreError::Truncated { offset: self.position, element: what.to_string() }
    }

    fn failure(&self, error: io::Error, what: &(impl Display + ?Sized)) -> StoreError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(what),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => StoreError::Malformed {
                offset: self.position,
                problem: format!("it does not inflate: {error}"),
            },
            _ => StoreError::Unreadable { offset: self.position, source: error },
        }
    }
}
