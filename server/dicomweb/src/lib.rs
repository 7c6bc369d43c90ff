//! DICOMweb (PS3.18): STOW-RS, QIDO-RS, WADO-RS and DELETE over the archive, UPS-RS over the worklist.
//!
//! One module a transaction; in each, `routes` is the HTTP face and `service` the plain, blocking calls below
//! it, which know nothing of HTTP. Knows nothing of models or sled.
//!
//! - [`configure`] mounts everything; `app` puts it under `/dicomweb`, and [`configure_wado_uri`] at its root.
//! - [`openapi()`] describes it: a [`Resource`] is mounted with what is said of it, and the capabilities follow from that.
//! - [`InstanceObserver`] is how the rooms above hear of instances that come and go.
//! - [`Reception`] stores what comes in a request, or in an answer of another server.
//! - [`multipart`] and [`media`] read what the network sends: no input makes them panic, and all they keep is
//!   bounded by [`DicomWebOptions`].
//!
//! Errors answer with one JSON shape, `{code, message, what_to_do}`; [`Error`] holds the table of statuses.

mod capabilities;
mod data_set;
mod delete;
pub mod description;
pub mod direct;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod media;
pub mod multipart;
pub mod native_model;
mod observer;
mod openapi;
mod options;
mod place;
mod qido;
mod query;
mod resource;
mod routes;
mod state;
mod stow;
mod ups;
mod wado;

pub use error::{Error, Result};
pub use observer::{InstanceObserver, NoObserver, ObserverError, StowOptions};
pub use openapi::{openapi, openapi_wado_uri, operations_mut};
pub use options::DicomWebOptions;
pub use resource::{Resource, describe, mount};
pub use routes::{configure, configure_wado_uri};
pub use state::DicomWeb;
pub use stow::{Failure as NotStored, Reception, StoreReport, Stored};
