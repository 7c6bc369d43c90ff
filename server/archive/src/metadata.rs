//! Each series' DICOM JSON, kept ready to send.
//!
//! A series has one append-only file with a line an instance; the catalogue says where each line lies and
//! its CRC-32. The files are derived and not synced before an instance is acknowledged: a line that a crash
//! tore, or a compaction moved under a reader, fails its CRC, is made anew from the object file, and
//! appended again.

use crate::{InstanceUids, Result, catalogue::Place, durable, error::FileSnafu, layout::Layout};
use snafu::ResultExt;
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
};

/// Gives the text that goes before `bulkdata/TAG...` in an instance's BulkDataURIs.
///
/// Relative references resolve against the request's URL (RFC 3986), so what is right depends on what was
/// asked for; hence a function. The room that knows URLs may return an absolute one.
pub type BulkDataUri<'a> = &'a (dyn Fn(&InstanceUids) -> String + Send + Sync);

/// What stands in the kept JSON where the text of a [`BulkDataUri`] goes. Inside a JSON string its quotes
/// would be escaped, so no value of an object can look like it.
const MARK: &[u8] = b"\"BulkDataURI\":\"@";

/// A JSON array of DICOM JSON objects in pieces: their concatenation is what `/metadata` sends. One piece
/// holds some of the instances of one series, about a megabyte.
pub struct MetadataChunks<'a> {
    pub(crate) pieces: Box<dyn Iterator<Item = Result<Vec<u8>>> + Send + 'a>,
}

impl Iterator for MetadataChunks<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pieces.next()
    }
}

/// The DICOM JSON objects of some instances, one after the other, as bytes. After an error there is no more.
pub struct MetadataObjects<'a> {
    pub(crate) objects: Box<dyn Iterator<Item = Result<Vec<u8>>> + Send + 'a>,
}

impl Iterator for MetadataObjects<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.objects.next()
    }
}

/// Bytes that are written at a time; a longer line by itself.
const WRITE_BYTES: usize = 64 << 10;

/// Copies kept JSON to `out` with the BulkDataURIs begun by `prefix`.
pub(crate) fn resolve(json: &[u8], prefix: &str, out: &mut Vec<u8>) {
    let prefix = serde_json::Value::from(prefix).to_string();
    let prefix = prefix.get(1..prefix.len().saturating_sub(1)).unwrap_or_default();
    let mut rest = json;
    let finder = memchr::memmem::Finder::new(MARK);
    while let Some(found) = finder.find(rest) {
        let (before, after) = rest.split_at(found + MARK.len());
        out.extend_from_slice(before.get(..before.len() - 1).unwrap_or_default());
        out.extend_from_slice(prefix.as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Appends the lines of one series and says where each lies.
pub(crate) fn append(layout: &Layout, study: &str, series: &str, lines: &[&[u8]]) -> Result<Vec<Place>> {
    let path = layout.series_metadata(study, series);
    if let Some(folder) = path.parent() {
        // Derived: what is lost with the folder is made anew, so the folder need not be synced.
        durable::make_folder(folder, &mut BTreeSet::new())?;
    }
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let mut file = file.context(FileSnafu { action: "open", path: &path })?;
    let mut offset = file.seek(SeekFrom::End(0)).context(FileSnafu { action: "read", path: &path })?;
    let mut places = Vec::with_capacity(lines.len());
    for line in lines {
        let length = line.len() as u64;
        places.push(Place { offset, length, crc32: crc32fast::hash(line) });
        offset += length + 1;
    }
    write_lines(file, lines).context(FileSnafu { action: "write", path: &path })?;
    Ok(places)
}

fn write_lines(file: File, lines: &[&[u8]]) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
    for line in lines {
        file.write_all(line)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Writes the series' file anew with these lines alone, and says where each lies.
pub(crate) fn replace(layout: &Layout, study: &str, series: &str, lines: &[&[u8]]) -> Result<Vec<Place>> {
    durable::remove_file(&layout.series_metadata(study, series))?;
    append(layout, study, series, lines)
}

/// Reads the lines of one series. The file is opened once; a reader that outlives a deletion goes on reading it.
pub(crate) struct SeriesMetadata {
    file: Option<File>,
}

impl SeriesMetadata {
    pub(crate) fn open(layout: &Layout, study: &str, series: &str) -> Self {
        SeriesMetadata { file: File::open(layout.series_metadata(study, series)).ok() }
    }

    /// The line at `place`; `None` where it is not there or not what it was.
    pub(crate) fn line(&mut self, place: Place) -> Option<Vec<u8>> {
        let file = self.file.as_mut()?;
        read_line(file, place).ok().filter(|line| crc32fast::hash(line) == place.crc32)
    }
}

fn read_line(file: &mut File, place: Place) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(place.offset))?;
    let mut line = Vec::new();
    file.take(place.length).read_to_end(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(json: &str, prefix: &str) -> String {
        let mut out = Vec::new();
        resolve(json.as_bytes(), prefix, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bulk_data_uris_get_their_beginning() {
        let json = r#"{"7FE00010":{"vr":"OW","BulkDataURI":"@bulkdata/7FE00010"}}"#;
        assert_eq!(resolved(json, "../"), r#"{"7FE00010":{"vr":"OW","BulkDataURI":"../bulkdata/7FE00010"}}"#);
        let twice = r#""BulkDataURI":"@a","BulkDataURI":"@b""#;
        assert_eq!(resolved(twice, "x/"), r#""BulkDataURI":"x/a","BulkDataURI":"x/b""#);
    }

    #[test]
    fn a_value_that_looks_like_the_mark_is_left_alone() {
        let value = serde_json::Value::from(r#"x","BulkDataURI":"@y"#).to_string();
        assert_eq!(resolved(&value, "../"), value);
    }

    #[test]
    fn lines_are_found_again_and_torn_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let mut places = append(&layout, "1", "1.1", &[b"{}", b"{\"a\":1}"]).unwrap();
        places.extend(append(&layout, "1", "1.1", &[b"[]"]).unwrap());
        let mut reader = SeriesMetadata::open(&layout, "1", "1.1");
        let lines: Vec<_> = places.iter().map(|place| reader.line(*place).unwrap()).collect();
        assert_eq!(lines, [b"{}".to_vec(), b"{\"a\":1}".to_vec(), b"[]".to_vec()]);
        let path = layout.series_metadata("1", "1.1");
        OpenOptions::new().write(true).open(path).unwrap().set_len(places[1].offset + 3).unwrap();
        assert_eq!(reader.line(places[1]), None);
        assert_eq!(reader.line(places[0]), Some(b"{}".to_vec()));
    }
}
