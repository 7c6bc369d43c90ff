//! Auto-routing: what rules have done about studies that arrive.
//!
//! An arriving instance has a routing job wait until its study has been quiet for as long as a rule says ([`watch`]); the
//! job asks the rules about each series and makes segmentation jobs and deliveries ([`act`]). Their ids follow from what they
//! are about, so that neither a restart nor the same study once more makes anything twice. What Engram made is never
//! looked at.

mod act;
mod book;
mod dry_run;
mod watch;

use engram_routing::{Origin, Send};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use act::{Outcome, RoutedSeries, RoutingSummary};
pub use book::{RuleOrigin, RuleView};
pub use dry_run::{DryRun, DryRunQuery, Foreseen};

pub(crate) use act::named;
pub(crate) use book::Rules;
pub(crate) use watch::Watch;

/// Kind of the jobs that ask the rules about a study.
pub const ROUTING_KIND: &str = "routing";
/// Kind of the segmentation jobs that rules ask for.
pub const ROUTED_KIND: &str = "routed";

/// The payload of a routing job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoutingJob {
    /// StudyInstanceUID.
    pub study: String,
    /// How long the study was quiet: rules that wait longer have a job of their own.
    pub quiet_seconds: u64,
    /// Where the study came from.
    pub origin: Origin,
}

/// Where a result goes that rules asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Names of the rules.
    pub rules: Vec<String>,
    /// The highest of their priorities.
    pub priority: i32,
    /// What each node gets.
    pub send: Vec<Send>,
}
