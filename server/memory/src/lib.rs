//! The bank: exemplars, their retrieval vectors, the HNSW index over them and their memory features.
//!
//! [`Bank::open`] opens it over one sled tree (records and vectors) and a folder (memory features, index).
//! [`Bank::ingest`] takes what one DICOM-SEG teaches, all of it or nothing; [`Bank::search`] answers the exemplars
//! most similar to a slice; [`Bank::memory`] answers an exemplar's memory features.
//!
//! Invariants: this room knows nothing of HTTP or of how DICOM is encoded, and computes no features: vectors and
//! memories come from the caller. Everything here is derived state: `engram rebuild` empties it with
//! [`Bank::clear`] and fills it anew. The index is derived from the vectors: without it the answers are the same,
//! only slower.

mod audit;
mod bank;
mod cache;
mod change;
mod columns;
mod error;
mod exemplar;
mod graph;
mod ingest;
mod metrics;
mod pack;
mod query;
mod rebuild;
mod records;
mod search;
mod symbols;
mod thinning;
mod top;
mod versions;

pub use bank::{Bank, BankOptions, MemoryPrecision, bundle_of};
pub use error::Error;
pub use exemplar::{
    Exemplar, ExemplarId, ExemplarSlice, ImageIdentity, LabelDefinition, Memory, NewAbsence, NewCrop,
    NewLabel, NewSlice, Rectangle, SliceId, SliceLabel, View,
};
pub use ingest::{Ingest, Superseded};
pub use metrics::BankMetrics;
pub use query::{Filter, Hit, LabelCounts, ListFilter, Query};
pub use thinning::Thinning;

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
