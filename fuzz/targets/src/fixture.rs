//! What targets work with: an archive that is gone afterwards, files in memory.

use engram_archive::{Archive, ArchiveOptions, Incoming};
use engram_worklist::{Worklist, WorklistOptions};
use std::fs::File;
use std::io::{Read, Write};
use tempfile::TempDir;

/// An archive in a temporary folder.
pub struct TemporaryArchive {
    pub archive: Archive,
    pub worklist: Worklist,
    _folder: TempDir,
}

impl TemporaryArchive {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ArchiveOptions { database: folder.path().join("db"), ..options() };
        let db = sled::open(&options.database).unwrap();
        let archive = Archive::open(folder.path(), &db, options).unwrap();
        let tree = db.open_tree("worklist").unwrap();
        let journal = folder.path().join("worklist.journal");
        let worklist = Worklist::open(tree, &journal, WorklistOptions::default()).unwrap();
        Self { archive, worklist, _folder: folder }
    }
}

/// Limits small enough to be met.
pub fn options() -> ArchiveOptions {
    ArchiveOptions {
        max_instance_bytes: 16 << 20,
        max_metadata_bytes: 1 << 20,
        inline_binary_bytes: 64,
        ..ArchiveOptions::new("")
    }
}

/// A file with that content.
pub fn file_of(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

/// The bytes received.
pub fn content_of(incoming: &Incoming) -> Vec<u8> {
    let mut content = Vec::new();
    incoming.stretch(0..incoming.len()).unwrap().read_to_end(&mut content).unwrap();
    content
}
