//! Studies, series and instances: object files, a sled catalogue, matching, deletion and rebuild.
//!
//! Knows nothing of models or HTTP. Every call blocks: an asynchronous room calls through a blocking pool.
//!
//! # What lies on disk
//! `objects/xx/STUDY/SERIES/SOP.dcm` holds each Part 10 object as it was received, never overwritten.
//! `metadata/xx/STUDY/SERIES.N.jsonl` keeps each series' DICOM JSON ready to send (derived).
//! `incoming/` holds what is being received, unless it is small and there is memory for it; `removals.journal` what is being deleted. The catalogue is one
//! sled tree (derived).
//!
//! # What is promised
//! [`Archive::store`] answers only when the object file, its folder and the catalogue entry are synced.
//! Concurrent requests share those syncs (group commit). A deletion that was answered stays deleted.
//!
//! # Example
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use engram_archive::{Archive, ArchiveOptions, StoreRequirements};
//! use std::{io::Write, path::Path};
//!
//! let db = sled::open("data/db")?;
//! let archive = Archive::open(Path::new("data"), &db, ArchiveOptions::new("data/db"))?;
//! let mut incoming = archive.incoming()?;
//! incoming.write_all(&std::fs::read("ct.dcm")?)?;
//! let outcome = archive.store(incoming, &StoreRequirements::default())?;
//! println!("{}", outcome.instance().uids.sop_instance_uid);
//! # Ok(()) }
//! ```

mod archive;
mod attributes;
mod budget;
mod bulk;
mod catalogue;
mod draft;
mod durable;
mod entry;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod incoming;
mod journal;
mod layout;
mod metadata;
mod model;
mod options;
mod part10;
mod pieces;
mod prepare;
mod query;
mod read;
mod recover;
mod report;
mod search;
mod shared;
mod store;
mod uid;
mod writer;

pub use archive::Archive;
pub use bulk::{BulkData, BulkValue};
pub use entry::{InstanceEntry, InstanceUids, NativePixels, SeriesEntry, StudyEntry};
pub use error::{Error, Result, StoreError, StoreFailure};
pub use incoming::Incoming;
pub use journal::{Journal, JournalError};
pub use metadata::{BulkDataUri, MetadataChunks, MetadataObjects};
pub use options::ArchiveOptions;
pub use pieces::{change_in_pieces, clear_in_pieces};
pub use query::{Include, Level, Match, MatchKey, OrderKey, Query, SearchResult};
pub use report::{CheckReport, Deleted, Finding, Progress, RebuildReport, Recovery, Statistics};
pub use search::{Keys, Rules as MatchRules};
pub use store::{StoreOutcome, StoreRequirements, StoreTicket, StoredInstance};
