//! The bulk data of a request: kept in one temporary file, and found by its location.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::ops::Range;

use engram_archive::{Archive, Incoming};
use url::Url;

use crate::media::MediaType;

/// One part's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkPart {
    /// Its `Content-Type`.
    pub media_type: MediaType,
    /// Where in the temporary file it lies.
    range: Range<u64>,
}

impl BulkPart {
    /// Bytes of it.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// What bulk data came until now.
pub struct BulkData {
    archive: Archive,
    /// Most bytes in all.
    limit: u64,
    /// The URL of the request, which relative locations are relative to.
    base: Option<Url>,
    file: Option<Incoming>,
    /// By absolute location.
    kept: BTreeMap<String, Kept>,
}

/// The parts under one location.
#[derive(Debug, Default)]
struct Kept {
    parts: Vec<BulkPart>,
    referenced: bool,
}

impl BulkData {
    /// None yet, for a request to `base` whose body has at most `limit` bytes.
    pub fn new(archive: Archive, limit: u64, base: &str) -> Self {
        Self { archive, limit, base: Url::parse(base).ok(), file: None, kept: BTreeMap::new() }
    }

    /// Begins a part. The one before, if it was not kept, is forgotten.
    pub fn begin(&mut self, media_type: MediaType) -> io::Result<BulkPart> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.archive.spool(self.limit).map_err(io::Error::other)?,
        };
        let end = file.len();
        self.file = Some(file);
        Ok(BulkPart { media_type, range: end..end })
    }

    /// Appends to the part begun last.
    pub fn append(&mut self, part: &mut BulkPart, data: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all(data)?;
        part.range.end = file.len();
        Ok(())
    }

    /// Keeps a complete part under its `Content-Location`.
    pub fn keep(&mut self, location: &str, part: BulkPart) {
        let location = self.absolute(location);
        self.kept.entry(location).or_default().parts.push(part);
    }

    /// The parts that a BulkDataURI refers to: those at that location; else one for each frame, at
    /// `{uri}/frames/{number}` (PS3.18 8.6.1.2). Empty where there are none.
    pub fn find(&self, uri: &str) -> Vec<&BulkPart> {
        self.locations(uri)
            .iter()
            .filter_map(|location| self.kept.get(location))
            .flat_map(|kept| &kept.parts)
            .collect()
    }

    /// Takes note that an instance refers to this bulk data.
    pub fn refer(&mut self, uri: &str) {
        for location in self.locations(uri) {
            if let Some(kept) = self.kept.get_mut(&location) {
                kept.referenced = true;
            }
        }
    }

    /// The locations that no instance referred to.
    pub fn unreferenced(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().filter(|(_, kept)| !kept.referenced).map(|(location, _)| location.as_str())
    }

    /// Where the parts of a BulkDataURI lie.
    fn locations(&self, uri: &str) -> Vec<String> {
        let location = self.absolute(uri);
        if self.kept.contains_key(&location) {
            return vec![location];
        }
        let frames = (1u32..).map(|number| format!("{location}/frames/{number}"));
        frames.take_while(|frame| self.kept.contains_key(frame)).collect()
    }

    /// Reads a part back.
    pub fn read(&self, part: &BulkPart) -> io::Result<impl Read> {
        match &self.file {
            Some(file) => file.stretch(part.range.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// RFC 3986 section 5: a reference resolved against the request's URL; as it stands where that cannot be.
    fn absolute(&self, reference: &str) -> String {
        let reference = reference.trim();
        match self.base.as_ref().and_then(|base| base.join(reference).ok()) {
            Some(mut url) => {
                url.set_fragment(None);
                url.into()
            }
            None => reference.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_archive::ArchiveOptions;

    #[test]
    fn parts_are_found_by_relative_and_absolute_locations() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        let db = sled::open(&database).unwrap();
        let archive = Archive::open(folder.path(), &db, ArchiveOptions::new(database)).unwrap();
        let mut bulk_data = BulkData::new(archive, 100, "http://host/dicomweb/studies");
        for (location, content) in [
            ("bulk/1", "one"),
            ("http://host/dicomweb/b?x=2#f", "two"),
            ("p/frames/1", "f1"),
            ("p/frames/2", "f2"),
        ] {
            let mut part = bulk_data.begin(MediaType::parse("application/octet-stream").unwrap()).unwrap();
            bulk_data.append(&mut part, content.as_bytes()).unwrap();
            bulk_data.keep(location, part);
        }
        bulk_data.begin(MediaType::parse("a/b").unwrap()).unwrap();
        for (uri, expected) in [
            ("bulk/1", vec!["one"]),
            ("/dicomweb/bulk/1", vec!["one"]),
            ("http://host/dicomweb/bulk/1", vec!["one"]),
            ("http://other/dicomweb/bulk/1", vec![]),
            ("b?x=2", vec!["two"]),
            ("p", vec!["f1", "f2"]),
            ("p/frames/2", vec!["f2"]),
            ("nothing", vec![]),
        ] {
            let found: Vec<String> = bulk_data
                .find(uri)
                .into_iter()
                .map(|part| io::read_to_string(bulk_data.read(part).unwrap()).unwrap())
                .collect();
            assert_eq!(found, expected, "{uri}");
        }
        bulk_data.refer("p");
        bulk_data.refer("bulk/1");
        assert_eq!(bulk_data.unreferenced().collect::<Vec<_>>(), ["http://host/dicomweb/b?x=2"]);
        let mut part = bulk_data.begin(MediaType::parse("a/b").unwrap()).unwrap();
        assert!(bulk_data.append(&mut part, &[0; 101]).is_err());
    }
}
