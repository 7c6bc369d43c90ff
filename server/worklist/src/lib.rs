//! A worklist of Unified Procedure Steps (PS3.4 Annex CC): workitems, their states, who watches them, and what is reported
//! of each change. Knows no HTTP, no DIMSE and no jobs.
//!
//! A workitem is a data set in the DICOM JSON model under a SOP Instance UID. It is SCHEDULED until somebody claims it with
//! a Transaction UID, IN PROGRESS until the same one says that it is COMPLETED or CANCELED. The Transaction UID is a lock:
//! it never leaves this room.
//!
//! The journal is the truth (primary state); the sled tree is derived from it on opening and serves what is read, so that
//! memory holds an index alone. Progress is written to the tree only, where a crash may lose it.
//!
//! # Example
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use engram_worklist::{State, Worklist, WorklistOptions};
//! use std::path::Path;
//!
//! let db = sled::open("data/db")?;
//! let journal = Path::new("data/worklist.journal");
//! let worklist = Worklist::open(db.open_tree("worklist")?, journal, WorklistOptions::default())?;
//! let workitem = serde_json::from_str(&std::fs::read_to_string("workitem.json")?)?;
//! let created = worklist.create(None, workitem)?;
//! worklist.change_state(&created.uid, State::InProgress, Some("2.25.7"))?;
//! # Ok(()) }
//! ```

mod attributes;
mod channels;
mod create;
mod error;
mod event;
mod final_state;
mod moment;
mod options;
mod record;
mod search;
mod state;
mod subscription;
mod table;
mod update;
mod worklist;

#[cfg(test)]
mod tests;

pub use attributes::{Attributes, MAX_DEPTH, code, element, empty, items, key, text};
pub use channels::{Channel, Sink};
pub use error::{Error, Result};
pub use event::{EventReport, EventType, UPS_PUSH};
pub use moment::{format_moment, parse_moment};
pub use options::WorklistOptions;
pub use record::CancelRequest;
pub use search::{Found, WorkitemQuery};
pub use state::State;
pub use subscription::{AeTitle, Filter, Scope};
pub use worklist::{Asked, Change, Created, Discontinuation, Mine, Performed, Performer, ToCancel, Worklist};
