//! What an operator may set.

use std::path::PathBuf;

/// Limits and places of an archive. [`ArchiveOptions::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// The folder that sled was opened on. sled 0.34's `flush` hands its log to the disk with
    /// `sync_file_range`, which flushes neither a disk's cache nor the file's size and blocks; the archive
    /// therefore syncs sled's files itself before it acknowledges.
    pub database: PathBuf,
    /// The largest Part 10 object taken, in bytes. Default 4 GiB.
    pub max_instance_bytes: u64,
    /// Bytes that must stay free on the disk: with less, nothing more is received. Default 0.
    pub min_free_bytes: u64,
    /// The most DICOM JSON, in bytes, that one instance may make without its bulk data, and that all instances that wait to be
    /// committed may make together. Default 64 MiB.
    pub max_metadata_bytes: usize,
    /// Binary values longer than this many bytes become a BulkDataURI; pixel data always does. Default 1024.
    pub inline_binary_bytes: usize,
    /// Memory, in bytes, for objects of up to 1 MiB while they are received and verified; what finds none free is received into a file.
    /// Default 8 MiB.
    pub buffers_bytes: u64,
    /// How many instances may wait to be committed; a further [`Archive::submit`](crate::Archive::submit)
    /// waits. Default 512.
    pub max_pending: usize,
}

impl ArchiveOptions {
    /// The defaults, for a sled database opened on the folder `database`.
    pub fn new(database: impl Into<PathBuf>) -> Self {
        ArchiveOptions {
            database: database.into(),
            max_instance_bytes: 4 << 30,
            min_free_bytes: 0,
            max_metadata_bytes: 64 << 20,
            inline_binary_bytes: 1024,
            buffers_bytes: 8 << 20,
            max_pending: 512,
        }
    }
}
