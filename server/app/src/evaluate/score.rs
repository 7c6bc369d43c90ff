//! Scores of a plan's targets as they come.

use std::collections::BTreeMap;

use engram_segmenter::Segmentation;
use engram_segmenter::evaluate::{Case, SliceScore, TargetScore};
use ndarray::Array3;

use super::report::{
    ConfidenceFigures, CurvePoint, Figures, MethodFigures, Names, Report, Retrieval, Target, Unmeasured,
    failures,
};

/// The method itself, among others.
const OWN: &str = "engram";

/// Results of one method.
#[derive(Default)]
struct Method {
    scores: Vec<TargetScore>,
    seconds: f64,
    slices: usize,
}

/// What was measured so far.
pub struct Scores {
    names: Names,
    /// Whether the report lists every slice.
    with_slices: bool,
    targets: Vec<Target>,
    slices: Vec<SliceScore>,
    methods: BTreeMap<String, Method>,
    curve: BTreeMap<usize, Vec<TargetScore>>,
    errors: Vec<Unmeasured>,
}

/// How long a segmentation took, all in all and by stage.
#[derive(Debug, Clone, Default)]
pub struct Took {
    /// Wall time.
    pub seconds: f64,
    /// The same by stage.
    pub stages: BTreeMap<String, f64>,
}

impl Scores {
    /// Of nothing yet. `names`: of labels, by key.
    pub fn new(names: Names, with_slices: bool) -> Self {
        Self {
            names,
            with_slices,
            targets: vec![],
            slices: vec![],
            methods: BTreeMap::new(),
            curve: BTreeMap::new(),
            errors: vec![],
        }
    }

    /// A segmentation of a case. Slices in `left_out` do not count.
    pub fn add(&mut self, case: &Case, found: &Segmentation, left_out: &[usize], took: Took) {
        let score = TargetScore::of_segmentation(case, found, left_out);
        let slices = SliceScore::of_segmentation(case, found, left_out);
        let mut target = Target::new(&score, &self.names, case.slices().len(), took.seconds, took.stages);
        if self.with_slices {
            target.slice_scores.clone_from(&slices);
        }
        self.targets.push(target);
        self.slices.extend(slices);
        self.note(OWN, score, case, took.seconds);
    }

    /// What another method makes of a case: masks in the order of its labels.
    pub fn add_other(
        &mut self,
        method: &str,
        case: &Case,
        found: &[Array3<bool>],
        left_out: &[usize],
        seconds: f64,
    ) {
        self.note(method, TargetScore::of(case, found, left_out), case, seconds);
    }

    /// A segmentation from a bank of so many patients.
    pub fn add_to_curve(&mut self, patients: usize, case: &Case, found: &Segmentation) {
        let score = TargetScore::of_segmentation(case, found, &[]);
        self.curve.entry(patients).or_default().push(score);
    }

    /// A target that a method could not segment.
    pub fn add_error(&mut self, target: &str, method: Option<&str>, message: String) {
        let method = method.unwrap_or(OWN).to_owned();
        self.errors.push(Unmeasured { target: target.to_owned(), method, message });
    }

    /// The latest target's mean Dice.
    pub fn latest(&self) -> Option<f64> {
        self.targets.last()?.mean_dice()
    }

    fn note(&mut self, method: &str, score: TargetScore, case: &Case, seconds: f64) {
        let entry = self.methods.entry(method.to_owned()).or_default();
        entry.scores.push(score);
        entry.seconds += seconds;
        entry.slices += case.slices().len();
    }

    /// All of it.
    pub fn report(
        mut self,
        protocol: &str,
        bundle: &str,
        exemplar_cases: usize,
        retrieval: Option<Retrieval>,
    ) -> Report {
        let own = self.methods.remove(OWN).unwrap_or_default();
        let Figures { mean_dice, labels } = Figures::of(&own.scores, &self.names);
        let figures = |method: &Method| MethodFigures {
            figures: Figures::of(&method.scores, &self.names),
            seconds_per_slice: method.seconds_per_slice(),
        };
        let point = |(patients, scores): (&usize, &Vec<TargetScore>)| CurvePoint {
            patients: *patients,
            figures: Figures::of(scores, &self.names),
        };
        Report {
            protocol: protocol.to_owned(),
            bundle: bundle.to_owned(),
            exemplar_cases,
            mean_dice,
            labels,
            seconds_per_slice: own.seconds_per_slice(),
            failures: failures(&self.targets),
            confidence: ConfidenceFigures::of(&self.slices),
            baselines: self.methods.iter().map(|(name, method)| (name.clone(), figures(method))).collect(),
            curve: self.curve.iter().map(point).collect(),
            targets: self.targets,
            errors: self.errors,
            retrieval,
        }
    }
}

impl Method {
    fn seconds_per_slice(&self) -> f64 {
        self.seconds / self.slices.max(1) as f64
    }
}
