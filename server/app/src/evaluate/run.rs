//! The measurement on cases from a folder, in a store of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use engram_segmenter::baselines::Baselines;
use engram_segmenter::evaluate::{Case as Measured, LabelSharing, retrieval_sharing};
use engram_segmenter::{
    LabelMask, Observer, Options, Prompt, Quality, Segmentation, Shown, SliceOrder, Unobserved,
};
use engram_workflow::{FixedUids, RequestOptions, Scope, SegmentationRequest, Workflow};
use indicatif::ProgressBar;
use ndarray::Axis;

use super::cases::{Case, evenly};
use super::outside::OutsideMethod;
use super::pictures::Pictures;
use super::protocol::Plan;
use super::report::{Names, Report, Retrieval, told_apart};
use super::score::Scores;
use super::timing::Stopwatch;
use super::truth::{self, Annotated};
use crate::assembly::{self, House};
use crate::cli::import::{Importer, progress_bar};
use crate::cli::{Failure, write_into};
use crate::config::Config;
use crate::outgoing::Recipients;

/// Exemplar slices that label sharing looks at for each slice of a target.
const TOP: usize = 8;

/// What to measure beside the method itself.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Copying the most similar mask, and kNN on intensity and position.
    pub baselines: bool,
    /// How often retrieved exemplars share the slice's labels.
    pub retrieval: bool,
    /// Speed against accuracy.
    pub quality: Option<Quality>,
    /// Without propagation.
    pub no_propagation: bool,
    /// Without the second pass on crops.
    pub no_close_up: bool,
    /// Propagation in a shuffled order of slices, by this seed.
    pub shuffle: Option<u64>,
    /// Exemplars a slice.
    pub exemplars_per_slice: Option<usize>,
    /// At most so many targets, evenly chosen.
    pub limit: Option<usize>,
    /// Where to write each target's result as DICOM-SEG.
    pub save: Option<PathBuf>,
    /// Other methods on the same cases.
    pub methods: Vec<OutsideMethod>,
    /// Also banks of so many patients.
    pub curve: Vec<usize>,
    /// Where to draw pictures.
    pub pictures: Option<PathBuf>,
    /// Whether the report lists every slice.
    pub slices: bool,
}

/// Runs a plan in a store below `folder`.
pub fn evaluate(config: &Config, folder: &Path, plan: &Plan, wishes: &Wishes) -> Result<Report, Failure> {
    let mut config = config.clone();
    config.storage.data = folder.to_path_buf();
    config.models.bundles.clear();
    let house = assembly::open(&config, Recipients::default())?;
    let workflow = &house.workflow;
    let read =
        |cases: &[Case]| cases.iter().map(|case| truth::read(workflow, case)).collect::<Result<Vec<_>, _>>();
    let exemplars = read(&plan.exemplars)?;
    let other_cases = plan.others(wishes.curve.iter().copied().max().unwrap_or(0));
    let others = read(&other_cases)?;
    teach(&house, &plan.exemplars)?;
    teach(&house, &other_cases)?;
    let targets = evenly(&plan.targets, wishes.limit);
    let names = label_names(workflow, &exemplars, &targets, plan)?;
    let labels: Vec<String> = names.keys().cloned().collect();
    let baselines = match wishes.baselines && !exemplars.is_empty() {
        true => Some(baseline_bank(workflow, &labels, &exemplars)?),
        false => None,
    };
    let mut run = Run {
        workflow,
        plan,
        wishes,
        options: method_options(workflow, wishes),
        pictures: wishes.pictures.as_ref().map(|_| Pictures::default()),
        bank: Bank::new(&exemplars, &others),
        labels,
        baselines,
        scores: Scores::new(names, wishes.slices),
    };
    let bar = progress_bar(targets.len() as u64, "segmenting");
    for case in &targets {
        run.try_measure(case);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let retrieval = match wishes.retrieval && !exemplars.is_empty() {
        true => Some(sharing(workflow, &run.labels, &exemplars, &targets)?),
        false => None,
    };
    let report =
        run.scores.report(&plan.name, workflow.bundle_in_use().id(), plan.exemplars.len(), retrieval);
    if let (Some(pictures), Some(folder)) = (&run.pictures, &wishes.pictures) {
        pictures.save(folder, &report)?;
    }
    Ok(report)
}

/// Who is in the store, in the order in which they come into a bank.
struct Bank {
    /// PatientIDs, each once.
    patients: Vec<String>,
    /// How many of them the plan names as exemplars.
    taught: usize,
}

impl Bank {
    fn new(exemplars: &[Annotated], others: &[Annotated]) -> Self {
        let mut patients: Vec<String> = vec![];
        let mut add = |case: &Annotated| {
            let patient = &case.volume().patient_id;
            if !patients.contains(patient) {
                patients.push(patient.clone());
            }
            patients.len()
        };
        let taught = exemplars.iter().map(&mut add).max().unwrap_or(0);
        others.iter().for_each(|case| {
            add(case);
        });
        Self { patients, taught }
    }

    /// Patients that a target may not draw from, where the bank is to hold `size` others or, without that, the plan's
    /// exemplars. None where there are not so many.
    fn excluded(&self, own: &str, size: Option<usize>) -> Option<Vec<String>> {
        let others: Vec<&String> = self.patients.iter().filter(|patient| *patient != own).collect();
        let taught = self.patients.iter().take(self.taught).filter(|patient| *patient != own).count();
        let size = size.unwrap_or(taught);
        if size > others.len() {
            return None;
        }
        Some(others.into_iter().skip(size).cloned().chain([own.to_owned()]).collect())
    }
}

/// Stores images and SEGs of cases, and makes exemplars of them.
fn teach(house: &House, cases: &[Case]) -> Result<(), Failure> {
    let mut files = Vec::new();
    for case in cases {
        files.extend(case.images()?);
        files.push(case.segmentation());
    }
    let importer =
        Importer { archive: &house.archive, workflow: &house.workflow, partial: false, collection: None };
    let outcome = importer.store(&files, &ProgressBar::hidden())?;
    if let Some(refused) = outcome.failed.first() {
        return Err(Failure::say(format!("{}: {}", refused.file.display(), refused.reason)));
    }
    house.workflow.ingest_pending().map_err(Failure::of)
}

/// Names of the labels by key: SegmentLabel where those differ, else the keys.
fn label_names(
    workflow: &Workflow,
    exemplars: &[Annotated],
    targets: &[Case],
    plan: &Plan,
) -> Result<Names, Failure> {
    let mut names = Names::new();
    let mut add = |case: &Annotated| {
        for (key, (template, _)) in &case.masks {
            names.entry(key.clone()).or_insert_with(|| template.name.clone());
        }
    };
    exemplars.iter().for_each(&mut add);
    if plan.given_slices > 0 {
        for case in targets {
            add(&truth::read(workflow, case)?);
        }
    }
    Ok(told_apart(names))
}

/// A request that leaves everything as configured.
fn unasked() -> SegmentationRequest {
    SegmentationRequest {
        study: String::new(),
        series: String::new(),
        labels: None,
        collection: None,
        options: RequestOptions::default(),
        prompts: vec![],
        prompt_segmentation: None,
        store: false,
    }
}

fn method_options(workflow: &Workflow, wishes: &Wishes) -> Options {
    let options = RequestOptions {
        quality: wishes.quality,
        exemplars_per_slice: wishes.exemplars_per_slice,
        propagation: wishes.no_propagation.then_some(false),
        close_up: wishes.no_close_up.then_some(false),
        ..RequestOptions::default()
    };
    let request = SegmentationRequest { options, ..unasked() };
    let slice_order = wishes.shuffle.map_or(SliceOrder::Natural, SliceOrder::Shuffled);
    Options { slice_order, ..workflow.method_options(&request) }
}

fn baseline_bank(
    workflow: &Workflow,
    labels: &[String],
    exemplars: &[Annotated],
) -> Result<Baselines, Failure> {
    let keys: Vec<&str> = labels.iter().map(String::as_str).collect();
    let mut bank = Baselines::new(&keys, &workflow.bundle_in_use().spec().input);
    for exemplar in exemplars {
        let masks = exemplar.label_masks(labels);
        let slices: Vec<usize> = (0..exemplar.volume().sources.len()).collect();
        bank.insert(exemplar.volume(), &masks.views(), &slices).map_err(Failure::of)?;
    }
    Ok(bank)
}

/// How often the exemplars that retrieval finds show what the slice shows.
fn sharing(
    workflow: &Workflow,
    labels: &[String],
    exemplars: &[Annotated],
    targets: &[Case],
) -> Result<Retrieval, Failure> {
    let targets = targets.iter().map(|c| truth::read(workflow, c)).collect::<Result<Vec<_>, _>>()?;
    let masks = |cases: &[Annotated]| cases.iter().map(|c| c.label_masks(labels)).collect::<Vec<_>>();
    let (exemplar_masks, target_masks) = (masks(exemplars), masks(&targets));
    let exemplars: Vec<_> = exemplars.iter().zip(&exemplar_masks).map(|(c, m)| c.case("", m)).collect();
    let targets: Vec<_> = targets.iter().zip(&target_masks).map(|(c, m)| c.case("", m)).collect();
    let bundle = workflow.bundle_in_use();
    let LabelSharing { retrieval, correlation, random } =
        retrieval_sharing(bundle.models(), &exemplars, &targets, TOP, &Unobserved).map_err(Failure::of)?;
    Ok(Retrieval { top: TOP, retrieval, pixel_correlation: correlation, random })
}

struct Run<'a> {
    workflow: &'a Workflow,
    plan: &'a Plan,
    wishes: &'a Wishes,
    options: Options,
    labels: Vec<String>,
    bank: Bank,
    baselines: Option<Baselines>,
    scores: Scores,
    pictures: Option<Pictures>,
}

impl Run<'_> {
    /// A target that cannot be measured is no reason not to measure the others.
    fn try_measure(&mut self, case: &Case) {
        let measured = truth::read(self.workflow, case).and_then(|annotated| self.measure(case, &annotated));
        if let Err(failure) = measured {
            self.scores.add_error(&case.name, None, failure.to_string());
        }
    }

    fn measure(&mut self, target: &Case, annotated: &Annotated) -> Result<(), Failure> {
        let labels = self.labels.clone();
        let masks = annotated.label_masks(&labels);
        let case = annotated.case(&target.name, &masks);
        let given = self.given(annotated);
        let prompts = prompts(&case.masks, &given);
        let stopwatch = Stopwatch::start();
        let found = self.segment(annotated, &prompts, None, &stopwatch)?;
        let found = found.ok_or_else(|| Failure::say("there is no exemplar of another patient"))?;
        self.scores.add(&case, &found, &given, stopwatch.took());
        if let (Some(pictures), Some(dice)) = (&mut self.pictures, self.scores.latest()) {
            pictures.offer(&case, &found, dice);
        }
        if let Some(folder) = &self.wishes.save {
            self.write(folder, &target.name, annotated, found)?;
        }
        self.measure_curve(annotated, &case, &prompts)?;
        self.measure_baselines(&case, &given)?;
        self.measure_methods(target, annotated, &case, &given);
        Ok(())
    }

    /// Banks of other sizes.
    fn measure_curve(
        &mut self,
        annotated: &Annotated,
        case: &Measured,
        prompts: &[Prompt],
    ) -> Result<(), Failure> {
        for size in &self.wishes.curve {
            if let Some(found) = self.segment(annotated, prompts, Some(*size), &Unobserved)? {
                self.scores.add_to_curve(*size, case, &found);
            }
        }
        Ok(())
    }

    fn measure_baselines(&mut self, case: &Measured, given: &[usize]) -> Result<(), Failure> {
        let Some(baselines) = &self.baselines else { return Ok(()) };
        let started = Instant::now();
        let copied = baselines.copy(case.volume).map_err(Failure::of)?;
        let copying = started.elapsed().as_secs_f64();
        let voted = baselines.knn(case.volume).map_err(Failure::of)?;
        let voting = started.elapsed().as_secs_f64() - copying;
        self.scores.add_other("copy", case, &copied, given, copying);
        self.scores.add_other("knn", case, &voted, given, voting);
        Ok(())
    }

    /// Methods from outside; one that fails is no reason not to ask the others.
    fn measure_methods(&mut self, target: &Case, annotated: &Annotated, case: &Measured, given: &[usize]) {
        for method in &self.wishes.methods {
            match method.run((target, annotated), &self.plan.exemplars, &self.labels) {
                Ok(outcome) => {
                    self.scores.add_other(&method.name, case, &outcome.masks, given, outcome.seconds);
                }
                Err(failure) => self.scores.add_error(&target.name, Some(&method.name), failure.to_string()),
            }
        }
    }

    /// From a bank of `size` patients, or of the plan's. None where there are not so many.
    fn segment(
        &self,
        annotated: &Annotated,
        prompts: &[Prompt],
        size: Option<usize>,
        observer: &dyn Observer,
    ) -> Result<Option<Segmentation>, Failure> {
        let volume = annotated.volume();
        let Some(excluded_patients) = self.bank.excluded(&volume.patient_id, size) else { return Ok(None) };
        let scope = Scope {
            excluded_patients,
            excluded_series: vec![volume.series_instance_uid.clone()],
            ..Scope::default()
        };
        let bundle = self.workflow.bundle_in_use();
        let found = bundle.segment_volume(volume, &self.labels, prompts, &scope, &self.options, observer);
        found.map(Some).map_err(Failure::of)
    }

    /// Writes a result as `NAME.dcm`, with `-` for the slashes of the name.
    fn write(&self, folder: &Path, name: &str, case: &Annotated, found: Segmentation) -> Result<(), Failure> {
        let result = self
            .workflow
            .bundle_in_use()
            .to_dicom(&case.series, &unasked(), &FixedUids::fresh(), vec![found])
            .map_err(Failure::of)?;
        write_into(folder, &format!("{}.dcm", name.replace('/', "-")), &result.part10)
    }

    /// Slices given as a partial annotation: evenly spaced over the extent of what is annotated, ends included.
    fn given(&self, case: &Annotated) -> Vec<usize> {
        if self.plan.given_slices == 0 {
            return Vec::new();
        }
        let shown: Vec<usize> = (0..case.volume().sources.len())
            .filter(|slice| {
                case.masks.values().any(|(_, m)| m.index_axis(Axis(0), *slice).iter().any(|v| *v != 0))
            })
            .collect();
        let (Some(first), Some(last)) = (shown.first(), shown.last()) else { return Vec::new() };
        let steps = self.plan.given_slices.saturating_sub(1).max(1) as f64;
        let at = |i: usize| first + ((last - first) as f64 * i as f64 / steps).round() as usize;
        (0..self.plan.given_slices).map(at).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The given slices' masks.
fn prompts<'a>(masks: &[LabelMask<'a>], given: &[usize]) -> Vec<Prompt<'a>> {
    let each = |mask: LabelMask<'a>| {
        given.iter().map(move |slice| Prompt {
            label: mask.label,
            slice: *slice,
            shown: Shown::Mask(mask.mask.index_axis_move(Axis(0), *slice)),
        })
    };
    masks.iter().copied().flat_map(each).collect()
}
