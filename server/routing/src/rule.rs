//! What a rule says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Condition;

/// Seconds without a new instance after which a study counts as complete, where a rule does not say.
const QUIET_SECONDS: u64 = 60;

/// When a series matches, do this, and send that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names it: in logs, in the API, in what it did.
    pub name: String,
    /// False: as if it were not there.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it asks for comes before what rules of a lower priority ask for.
    #[serde(default)]
    pub priority: i32,
    /// Seconds without a new instance after which a study is complete, and the rule looks at it.
    #[serde(default = "quiet")]
    pub quiet_seconds: u64,
    /// Which series it is about; empty: all.
    #[serde(default)]
    pub when: Condition,
    /// What to do.
    #[serde(default)]
    pub then: Then,
    /// Where its results go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub send: Vec<Send>,
}

impl Rule {
    /// Whether it has anything done unasked.
    pub fn acts(&self) -> bool {
        self.enabled && (self.then.segment.is_some() || !self.then.forward.is_empty())
    }
}

/// What a rule does about a series.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Then {
    /// Segments it, once its study is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    /// Names of nodes that get the series itself, once its study is complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<String>,
    /// The collection that its exemplars belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The bundle that segments it, where a request names none: name, version or id of one that is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Whether AUTOMATIC segmentations of it become exemplars.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub automatic_segmentations_are_exemplars: bool,
}

/// A segmentation that a rule asks for, in the words of a request for one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Segment {
    /// Keys of labels; none: all that have exemplars of the modality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The part of the bank to draw from; none: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The other options of a request: `bundle`, `quality`, `encoding` and so on.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// Where results of a rule go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Name of a node.
    pub to: String,
    /// What it gets.
    #[serde(default = "the_segmentation")]
    pub what: Vec<What>,
}

/// A form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The DICOM-SEG; as BINARY where the node does not take it as LABELMAP.
    Segmentation,
    /// The DICOM-SEG as BINARY, whatever the node takes.
    BinarySegmentation,
    /// Pictures of the slices with the masks drawn on them.
    SecondaryCapture,
    /// A structured report (TID 1500) with a volume for each label.
    Report,
}

fn yes() -> bool {
    true
}

fn quiet() -> u64 {
    QUIET_SECONDS
}

fn the_segmentation() -> Vec<What> {
    vec![What::Segmentation]
}
