//! What is known of a series.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// By which door an instance came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// STOW-RS.
    Dicomweb,
    /// C-STORE.
    Dimse,
}

/// Where a study came from: whence the first of its instances that arrived did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// By which door.
    pub source: Source,
    /// The calling AE title, where it came by C-STORE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calling_ae_title: Option<String>,
}

/// A series as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The attributes of its first instance, in the DICOM JSON model (PS3.18 Annex F), without bulk data.
    pub attributes: &'a Map<String, Value>,
    /// Its slices: instances, or frames where it is a single instance.
    pub slices: u64,
    /// Where its study came from; none: nobody knows any more.
    pub origin: Option<&'a Origin>,
}
