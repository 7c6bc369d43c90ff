//! The measurement itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use engram_segmenter::baselines::Baselines;
use engram_segmenter::evaluate::{LabelSharing, TargetScore, retrieval_sharing};
use engram_segmenter::{
    LabelMask, Observer, Options, Prompt, Segmentation, Shown, SliceOrder, Stage, Unobserved,
};
use engram_workflow::{FixedUids, RequestOptions, Scope, SegmentationRequest, Workflow};
use indicatif::ProgressBar;
use ndarray::Axis;

use super::cases::Case;
use super::protocol::Plan;
use super::report::{Report, Retrieval, Target, figures};
use super::truth::{self, Annotated};
use crate::assembly::{self, House};
use crate::cli::Failure;
use crate::cli::import::{Importer, progress_bar};
use crate::config::Config;

/// Exemplar slices that label sharing looks at for each slice of a target.
const TOP: usize = 8;

/// What to measure beside the method itself.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Copying the most similar mask, and kNN on intensity and position.
    pub baselines: bool,
    /// How often retrieved exemplars share the slice's labels.
    pub retrieval: bool,
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
}

/// Runs a plan in a store below `folder`.
pub fn evaluate(config: &Config, folder: &Path, plan: &Plan, wishes: &Wishes) -> Result<Report, Failure> {
    let mut config = config.clone();
    config.storage.data = folder.to_path_buf();
    config.models.bundles.clear();
    let house = assembly::open(&config)?;
    teach(&house, plan)?;
    let exemplars = plan
        .exemplars
        .iter()
        .map(|case| truth::read(&house.workflow, case))
        .collect::<Result<Vec<_>, _>>()?;
    let targets = chosen_targets(plan, wishes.limit);
    let names = label_names(&house.workflow, &exemplars, &targets, plan)?;
    let labels: Vec<String> = names.keys().cloned().collect();
    let baselines = if wishes.baselines && !exemplars.is_empty() {
        Some(baseline_bank(&house.workflow, &labels, &exemplars)?)
    } else {
        None
    };
    let mut run = Run {
        workflow: &house.workflow,
        options: method_options(&house.workflow, wishes),
        names,
        labels,
        given_slices: plan.given_slices,
        save: wishes.save.as_deref(),
        baselines,
        measured: BTreeMap::new(),
        targets: Vec::new(),
    };
    let bar = progress_bar(targets.len() as u64, "segmenting");
    for case in &targets {
        run.measure(&case.name, &truth::read(&house.workflow, case)?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let retrieval = if wishes.retrieval && !exemplars.is_empty() {
        Some(sharing(&house.workflow, &run.labels, &exemplars, &targets)?)
    } else {
        None
    };
    Ok(run.report(plan, house.workflow.bundle_in_use().id().to_owned(), retrieval))
}

fn chosen_targets(plan: &Plan, limit: Option<usize>) -> Vec<Case> {
    let all = plan.targets.len();
    let count = limit.unwrap_or(all).clamp(1, all);
    (0..count).map(|i| plan.targets[i * all / count].clone()).collect()
}

/// Stores the exemplars' images and SEGs, and makes exemplars of them.
fn teach(house: &House, plan: &Plan) -> Result<(), Failure> {
    let mut files = Vec::new();
    for case in &plan.exemplars {
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
) -> Result<BTreeMap<String, String>, Failure> {
    let mut names = BTreeMap::new();
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
    let distinct: BTreeSet<&String> = names.values().collect();
    if distinct.len() < names.len() {
        return Ok(names.into_keys().map(|key| (key.clone(), key)).collect());
    }
    Ok(names)
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
    options: Options,
    names: BTreeMap<String, String>,
    labels: Vec<String>,
    given_slices: usize,
    save: Option<&'a Path>,
    baselines: Option<Baselines>,
    /// Scores of every target by method.
    measured: BTreeMap<&'static str, Vec<TargetScore>>,
    targets: Vec<Target>,
}

impl Run<'_> {
    fn measure(&mut self, name: &str, annotated: &Annotated) -> Result<(), Failure> {
        let masks = annotated.label_masks(&self.labels);
        let case = annotated.case(name, &masks);
        let given = self.given(annotated);
        let prompts = prompts(&case.masks, &given);
        let scope = Scope {
            excluded_patients: vec![annotated.volume().patient_id.clone()],
            excluded_series: vec![annotated.volume().series_instance_uid.clone()],
            ..Scope::default()
        };
        let stopwatch = Stopwatch::default();
        let started = Instant::now();
        let found = self
            .workflow
            .bundle_in_use()
            .segment_volume(annotated.volume(), &self.labels, &prompts, &scope, &self.options, &stopwatch)
            .map_err(Failure::of)?;
        let seconds = started.elapsed().as_secs_f64();
        let score = TargetScore::of_segmentation(&case, &found, &given);
        if let Some(folder) = self.save {
            self.write(folder, name, annotated, found)?;
        }
        self.targets.push(Target {
            name: name.to_owned(),
            slices: annotated.volume().sources.len(),
            seconds,
            stage_seconds: stopwatch.seconds(),
            dice: self.named(&score),
        });
        self.measured.entry("engram").or_default().push(score);
        let Some(baselines) = &self.baselines else { return Ok(()) };
        let answers = [
            ("copy", baselines.copy(annotated.volume()).map_err(Failure::of)?),
            ("knn", baselines.knn(annotated.volume()).map_err(Failure::of)?),
        ];
        for (method, found) in answers {
            self.measured.entry(method).or_default().push(TargetScore::of(&case, &found, &given));
        }
        Ok(())
    }

    /// Writes a result as `NAME.dcm`, with `-` for the slashes of the name.
    fn write(&self, folder: &Path, name: &str, case: &Annotated, found: Segmentation) -> Result<(), Failure> {
        let result = self
            .workflow
            .bundle_in_use()
            .to_dicom(&case.series, &unasked(), &FixedUids::fresh(), vec![found])
            .map_err(Failure::of)?;
        let path = folder.join(format!("{}.dcm", name.replace('/', "-")));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, &result.part10))
            .map_err(|error| Failure::say(format!("could not write {}: {error}", path.display())))
    }

    /// Dice by label name.
    fn named(&self, score: &TargetScore) -> BTreeMap<String, f64> {
        let name = |key: &String| self.names.get(key).unwrap_or(key).clone();
        score.dice.iter().map(|(key, dice)| (name(key), *dice)).collect()
    }

    /// Slices given as a partial annotation: evenly spaced over the extent of what is annotated, ends included.
    fn given(&self, case: &Annotated) -> Vec<usize> {
        if self.given_slices == 0 {
            return Vec::new();
        }
        let shown: Vec<usize> = (0..case.volume().sources.len())
            .filter(|slice| {
                case.masks.values().any(|(_, m)| m.index_axis(Axis(0), *slice).iter().any(|v| *v != 0))
            })
            .collect();
        let (Some(first), Some(last)) = (shown.first(), shown.last()) else { return Vec::new() };
        let steps = self.given_slices.saturating_sub(1).max(1) as f64;
        let at = |i: usize| first + ((last - first) as f64 * i as f64 / steps).round() as usize;
        (0..self.given_slices).map(at).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn report(mut self, plan: &Plan, bundle: String, retrieval: Option<Retrieval>) -> Report {
        let slices: usize = self.targets.iter().map(|t| t.slices).sum();
        let seconds: f64 = self.targets.iter().map(|t| t.seconds).sum();
        let own = figures(self.measured.remove("engram").unwrap_or_default(), &self.names);
        let baselines = self
            .measured
            .into_iter()
            .map(|(method, scores)| (method.to_owned(), figures(scores, &self.names)))
            .collect();
        Report {
            protocol: plan.name.clone(),
            bundle,
            exemplar_cases: plan.exemplars.len(),
            mean_dice: own.mean_dice,
            labels: own.labels,
            seconds_per_slice: seconds / slices.max(1) as f64,
            targets: self.targets,
            baselines,
            retrieval,
        }
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

/// Times the stages, which follow one another.
#[derive(Default)]
struct Stopwatch(Mutex<Times>);

#[derive(Default)]
struct Times {
    started: Option<Instant>,
    seconds: BTreeMap<&'static str, f64>,
}

impl Stopwatch {
    fn seconds(&self) -> BTreeMap<&'static str, f64> {
        self.0.lock().map(|times| times.seconds.clone()).unwrap_or_default()
    }
}

impl Observer for Stopwatch {
    fn stage_started(&self, _stage: Stage) {
        if let Ok(mut times) = self.0.lock() {
            times.started = Some(Instant::now());
        }
    }

    fn stage_finished(&self, stage: Stage) {
        if let Ok(mut times) = self.0.lock()
            && let Some(started) = times.started.take()
        {
            *times.seconds.entry(stage.name()).or_default() += started.elapsed().as_secs_f64();
        }
    }
}
