//! Doing what rules say about a study.

use engram_archive::{InstanceEntry, SeriesEntry};
use engram_jobs::{Claimed, JobFailure, JobId, NewJob};
use engram_routing::{Facts, Origin, Plan, PlannedForward, PlannedSegmentation, Rule, plan};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use snafu::ResultExt;
use utoipa::ToSchema;
use uuid::Uuid;

use super::book::options_of;
use super::{ROUTED_KIND, Route, RoutingJob};
use crate::annotations::is_segmentation;
use crate::arrival::slices;
use crate::error::{ArchiveSnafu, JsonSnafu, Result, failure};
use crate::news::News;
use crate::outbox::{Content, Delivery};
use crate::request::{FixedUids, SegmentationJob, SegmentationRequest};
use crate::{Error, MADE_BY, Workflow};

/// Names what rules have done (UUID version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6a3c_5d0e_91b7_4f28_8c4d_2e7f_0a95_b1c3);
/// Secondary Capture Image Storage, and its multi-frame kin below it (PS3.4 B.5): pictures, no volume.
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
const MANUFACTURER: &str = "00080070";
const ROWS: &str = "00280010";

/// What rules had done about a study: a routing job's `result`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutingSummary {
    /// StudyInstanceUID.
    pub study: String,
    /// What was done, series by series.
    pub series: Vec<RoutedSeries>,
}

/// What rules had done about a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutedSeries {
    /// SeriesInstanceUID.
    pub series: String,
    /// Names of the rules.
    pub rules: Vec<String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of what a rule says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is segmented by this job.
    Segmented {
        /// The job's id.
        #[schema(value_type = String)]
        job: JobId,
    },
    /// It was, or is being, segmented in these words by this job.
    AlreadySegmented {
        /// The job's id.
        #[schema(value_type = String)]
        job: JobId,
    },
    /// It cannot be segmented as the rule says.
    Refused {
        /// Why not.
        error: JobFailure,
    },
    /// It is sent to a node by this delivery.
    Forwarded {
        /// The node's name.
        to: String,
        /// The delivery's id.
        #[schema(value_type = String)]
        delivery: JobId,
    },
    /// It is not sent to the node, since that is where it came from.
    NotReturned {
        /// The node's name.
        to: String,
    },
}

/// A series as rules see it.
pub(super) struct Seen {
    pub entry: SeriesEntry,
    /// The attributes of its first instance, DICOM JSON.
    pub attributes: Map<String, Value>,
    pub slices: u64,
    /// Its instances, in one word that changes with them.
    digest: Uuid,
    is_segmentable: bool,
}

impl Workflow {
    /// Asks the rules about a study that has been quiet, and does what they say.
    pub(crate) fn run_routing(&self, claimed: &Claimed) -> Result<Value> {
        let routing: RoutingJob = serde_json::from_value(claimed.job().payload.clone())
            .context(JsonSnafu { what: "a routing job" })?;
        self.end_watch(&routing);
        self.announce(claimed.job().id, News::study_complete(&routing));
        let rules = self.rules.current();
        let due: Vec<&Rule> =
            rules.iter().filter(|rule| rule.quiet_seconds <= routing.quiet_seconds).collect();
        let mut done = RoutingSummary { study: routing.study.clone(), series: Vec::new() };
        for entry in self.archive.series(&routing.study).context(ArchiveSnafu)? {
            let Some(seen) = self.see(entry)? else { continue };
            let plan = seen.plan(due.iter().copied(), Some(&routing.origin));
            done.series.extend(self.act(&seen, &plan, &routing.origin)?);
        }
        serde_json::to_value(done).context(JsonSnafu { what: "what rules had done" })
    }

    /// A series as rules see it; none where Engram made it, or where it is gone.
    pub(super) fn see(&self, entry: SeriesEntry) -> Result<Option<Seen>> {
        let (study, series) = (entry.study_instance_uid.as_str(), entry.series_instance_uid.as_str());
        let instances = self.archive.instances(study, series).context(ArchiveSnafu)?;
        let Some(first) = instances.first() else { return Ok(None) };
        let sop = first.uids.sop_instance_uid.as_str();
        let json = self.archive.instance_json(study, series, sop).context(ArchiveSnafu)?;
        let Some(attributes) = json.filter(|attributes| !is_ours(attributes)) else { return Ok(None) };
        let is_segmentable = attributes.contains_key(ROWS)
            && !is_segmentation(&first.sop_class_uid)
            && !first.sop_class_uid.starts_with(SECONDARY_CAPTURE);
        let (digest, slices) = (digest(&instances), slices(&instances));
        Ok(Some(Seen { digest, is_segmentable, slices, attributes, entry }))
    }

    fn act(&self, seen: &Seen, plan: &Plan, origin: &Origin) -> Result<Vec<RoutedSeries>> {
        let series = &seen.entry.series_instance_uid;
        let mut done = Vec::new();
        for planned in &plan.segmentations {
            let outcome = match self.segment_for_rules(seen, planned) {
                Err(error) if is_lasting(&error) => Outcome::Refused { error: failure(&error) },
                outcome => outcome?,
            };
            done.push(RoutedSeries { series: series.clone(), rules: planned.rules.clone(), outcome });
        }
        for planned in &plan.forwards {
            let outcome = self.forward(seen, planned, origin)?;
            done.push(RoutedSeries { series: series.clone(), rules: vec![planned.rule.clone()], outcome });
        }
        Ok(done)
    }

    fn segment_for_rules(&self, seen: &Seen, planned: &PlannedSegmentation) -> Result<Outcome> {
        let id = seen.id_of(planned)?;
        let uids = FixedUids::of_job(id);
        let is_done = self.archive.find_instance(&uids.sop_instance_uid).context(ArchiveSnafu)?.is_some();
        if is_done {
            return Ok(Outcome::AlreadySegmented { job: id });
        }
        let request = seen.request(planned)?;
        self.check_request(&request)?;
        let PlannedSegmentation { rules, priority, send, .. } = planned.clone();
        let job =
            SegmentationJob { request, uids, workitem: None, route: Some(Route { rules, priority, send }) };
        let payload = serde_json::to_value(job).context(JsonSnafu { what: "a segmentation job" })?;
        let new = NewJob { id, priority, ..NewJob::new(ROUTED_KIND, payload) };
        match self.queue.enqueue(new) {
            Ok(job) => {
                self.show_job(&job);
                Ok(Outcome::Segmented { job: id })
            }
            Err(engram_jobs::Error::Exists { .. }) => Ok(Outcome::AlreadySegmented { job: id }),
            Err(source) => Err(Error::Queue { source }),
        }
    }

    fn forward(&self, seen: &Seen, planned: &PlannedForward, origin: &Origin) -> Result<Outcome> {
        let to = planned.to.clone();
        if self.node(&to).is_some_and(|node| node.is_where(origin)) {
            return Ok(Outcome::NotReturned { to });
        }
        let series = seen.entry.series_instance_uid.as_str();
        let id = named(&["forward", series, &seen.digest.to_string(), &to]);
        let delivery = Delivery {
            node: to.clone(),
            rules: vec![planned.rule.clone()],
            study: seen.entry.study_instance_uid.clone(),
            content: Content::Series { series: series.to_owned() },
            sent: Default::default(),
            as_binary: false,
        };
        self.post(id, planned.priority, delivery)?;
        Ok(Outcome::Forwarded { to, delivery: id })
    }
}

impl Seen {
    /// What the rules have done about it. What cannot be a volume is not segmented.
    pub fn plan<'r>(&self, rules: impl Iterator<Item = &'r Rule>, origin: Option<&Origin>) -> Plan {
        let facts = Facts { attributes: &self.attributes, slices: self.slices, origin };
        let plan = plan(rules, &facts);
        match self.is_segmentable {
            true => plan,
            false => Plan { segmentations: Vec::new(), ..plan },
        }
    }

    /// What the segmentation would be asked for as.
    pub fn request(&self, planned: &PlannedSegmentation) -> Result<SegmentationRequest> {
        Ok(SegmentationRequest {
            study: self.entry.study_instance_uid.clone(),
            series: self.entry.series_instance_uid.clone(),
            labels: planned.segment.labels.clone(),
            collection: planned.segment.collection.clone(),
            prompts: Vec::new(),
            prompt_segmentation: None,
            options: options_of(&planned.segment.options)?,
            store: true,
        })
    }

    /// The id of the job that segments these instances in these words.
    pub fn id_of(&self, planned: &PlannedSegmentation) -> Result<JobId> {
        let words =
            serde_json::to_string(&planned.segment).context(JsonSnafu { what: "what a rule asks for" })?;
        Ok(named(&["segment", &self.entry.series_instance_uid, &self.digest.to_string(), &words]))
    }
}

/// Whether trying again would end the same: the rule or the bank must change first.
fn is_lasting(error: &Error) -> bool {
    !matches!(error, Error::Archive { .. } | Error::Queue { .. } | Error::Journal { .. } | Error::Bank { .. })
}

fn is_ours(attributes: &Map<String, Value>) -> bool {
    attributes.get(MANUFACTURER).is_some_and(|element| element["Value"][0] == MADE_BY)
}

fn digest(instances: &[InstanceEntry]) -> Uuid {
    let mut uids: Vec<&str> = instances.iter().map(|i| i.uids.sop_instance_uid.as_str()).collect();
    uids.sort_unstable();
    named(&uids)
}

/// A UUID that follows from these words.
pub(crate) fn named(words: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, words.join("\0").as_bytes())
}
