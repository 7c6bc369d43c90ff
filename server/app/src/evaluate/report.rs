//! What was measured, as data.

use std::collections::{BTreeMap, BTreeSet};

use engram_segmenter::evaluate::{LabelSpread, SliceScore, Summary, TargetScore};
use engram_segmenter::{Spread, rank_correlation};
use serde::Serialize;

/// Dice below which a result is listed as a failure.
const POOR: f64 = 0.5;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The plan's name.
    pub protocol: String,
    /// The bundle's identity.
    pub bundle: String,
    /// Cases that taught.
    pub exemplar_cases: usize,
    /// Mean over targets of each target's mean over labels.
    pub mean_dice: f64,
    /// By label name.
    pub labels: BTreeMap<String, LabelFigures>,
    /// Wall time of all segmentations over all slices.
    pub seconds_per_slice: f64,
    /// One by one.
    pub targets: Vec<Target>,
    /// Labels that were missed, invented or drawn badly, the worst first.
    pub failures: Vec<PoorResult>,
    /// Targets that could not be measured.
    pub errors: Vec<Unmeasured>,
    /// What the confidence of slices is worth.
    pub confidence: ConfidenceFigures,
    /// Other methods on the same cases.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub baselines: BTreeMap<String, MethodFigures>,
    /// What banks of so many patients reach, on the same targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
    /// How well retrieval retrieves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
}

/// Figures over targets.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Mean over targets of each target's mean over labels.
    pub mean_dice: f64,
    /// By label name.
    pub labels: BTreeMap<String, LabelFigures>,
}

/// Figures of another method.
#[derive(Debug, Clone, Serialize)]
pub struct MethodFigures {
    /// Of its results.
    #[serde(flatten)]
    pub figures: Figures,
    /// Wall time over all slices.
    pub seconds_per_slice: f64,
}

/// Figures of a bank of some size.
#[derive(Debug, Clone, Serialize)]
pub struct CurvePoint {
    /// Patients in the bank; the target's own is never one of them.
    pub patients: usize,
    /// Of the results.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One label over targets.
#[derive(Debug, Clone, Serialize)]
pub struct LabelFigures {
    /// Mean over the targets that count.
    pub dice_mean: f64,
    /// Standard deviation of the sample.
    pub dice_sd: f64,
    /// Targets that count.
    pub targets: usize,
    /// 95th percentile of the distances of the surfaces, mm; none where no target has both.
    pub hd95_mm: Option<Moments>,
    /// Mean of the distances of the surfaces, mm.
    pub average_distance_mm: Option<Moments>,
}

/// Mean and standard deviation of a sample.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Moments {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
}

/// One target.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// The case.
    pub name: String,
    /// Its slices.
    pub slices: usize,
    /// Wall time of its segmentation.
    pub seconds: f64,
    /// The same by stage.
    pub stage_seconds: BTreeMap<String, f64>,
    /// By label name; a label in neither result nor truth is left out.
    pub dice: BTreeMap<String, f64>,
    /// By label name, of labels in both.
    pub hd95_mm: BTreeMap<String, f64>,
    /// The same.
    pub average_distance_mm: BTreeMap<String, f64>,
    /// Every slice and label, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slice_scores: Vec<SliceScore>,
}

/// A label that was missed, invented or drawn badly.
#[derive(Debug, Clone, Serialize)]
pub struct PoorResult {
    /// The case.
    pub target: String,
    /// The label's name.
    pub label: String,
    /// Its Dice.
    pub dice: f64,
    /// `apart` where result and truth have no voxel in common or one is empty, else `poor`.
    pub kind: &'static str,
}

/// A target that could not be measured.
#[derive(Debug, Clone, Serialize)]
pub struct Unmeasured {
    /// The case.
    pub target: String,
    /// By what; `engram` or another method.
    pub method: String,
    /// Why.
    pub message: String,
}

/// What the confidence of slices and labels is worth, over those where truth or result is not empty.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConfidenceFigures {
    /// How many there are.
    pub slices: usize,
    /// Spearman's correlation of confidence and Dice.
    pub rank_correlation: Option<f64>,
    /// Their mean confidence.
    pub mean_confidence: f64,
    /// Their mean Dice.
    pub mean_dice: f64,
    /// How many are flagged for review.
    pub flagged: usize,
    /// Mean Dice of the flagged ones.
    pub flagged_dice: Option<f64>,
    /// Mean Dice of the others.
    pub other_dice: Option<f64>,
    /// Of those with a Dice below a half, the share that is flagged.
    pub poor_flagged: Option<f64>,
}

/// Mean Jaccard index of the label sets of a slice and the exemplar slices found for it.
#[derive(Debug, Clone, Serialize)]
pub struct Retrieval {
    /// Exemplars a slice.
    pub top: usize,
    /// Found by the bundle's retrieval vectors.
    pub retrieval: f64,
    /// Found by the correlation of 16 x 16 thumbnails.
    pub pixel_correlation: f64,
    /// Expected of random ones.
    pub random: f64,
}

/// Names of labels by key.
pub type Names = BTreeMap<String, String>;

impl Figures {
    /// Of targets' scores.
    pub fn of(scores: &[TargetScore], names: &Names) -> Self {
        let summary = Summary::of(scores.to_vec());
        let labels = summary.labels.iter().map(|(key, spread)| (name(names, key), LabelFigures::of(spread)));
        Self { mean_dice: summary.mean_dice, labels: labels.collect() }
    }
}

impl LabelFigures {
    fn of(spread: &LabelSpread) -> Self {
        Self {
            dice_mean: spread.dice.mean,
            dice_sd: spread.dice.sd,
            targets: spread.dice.count,
            hd95_mm: Moments::of(spread.hausdorff_95),
            average_distance_mm: Moments::of(spread.average_distance),
        }
    }
}

impl Moments {
    fn of(spread: Spread) -> Option<Self> {
        (spread.count > 0).then_some(Self { mean: spread.mean, sd: spread.sd })
    }
}

impl Target {
    /// Of a score.
    pub fn new(
        score: &TargetScore,
        names: &Names,
        slices: usize,
        seconds: f64,
        stages: BTreeMap<String, f64>,
    ) -> Self {
        let distances = |of: fn(&engram_segmenter::SurfaceDistance) -> f64| {
            score.distance.iter().map(|(key, distance)| (name(names, key), of(distance))).collect()
        };
        Self {
            name: score.target.clone(),
            slices,
            seconds,
            stage_seconds: stages,
            dice: score.dice.iter().map(|(key, dice)| (name(names, key), *dice)).collect(),
            hd95_mm: distances(|distance| distance.hausdorff_95),
            average_distance_mm: distances(|distance| distance.average),
            slice_scores: vec![],
        }
    }

    /// Mean Dice over the labels.
    pub fn mean_dice(&self) -> Option<f64> {
        let spread = Spread::of(self.dice.values().copied());
        (spread.count > 0).then_some(spread.mean)
    }
}

/// Labels with a Dice below a half, the worst first.
pub fn failures(targets: &[Target]) -> Vec<PoorResult> {
    let of_target = |target: &Target| -> Vec<PoorResult> {
        let poor = target.dice.iter().filter(|(_, dice)| **dice < POOR);
        let result = |(label, dice): (&String, &f64)| PoorResult {
            target: target.name.clone(),
            label: label.clone(),
            dice: *dice,
            kind: if *dice > 0.0 { "poor" } else { "apart" },
        };
        poor.map(result).collect()
    };
    let mut failures: Vec<PoorResult> = targets.iter().flat_map(of_target).collect();
    failures.sort_by(|a, b| a.dice.total_cmp(&b.dice));
    failures
}

impl ConfidenceFigures {
    /// Of all slices and labels.
    pub fn of(scores: &[SliceScore]) -> Self {
        let scored: Vec<(&SliceScore, f64)> =
            scores.iter().filter_map(|score| Some((score, score.dice?))).collect();
        let mean = |wanted: &dyn Fn(&SliceScore, f64) -> bool| {
            let spread = Spread::of(scored.iter().filter(|(s, d)| wanted(s, *d)).map(|(_, dice)| *dice));
            (spread.count > 0).then_some(spread.mean)
        };
        let pairs: Vec<(f64, f64)> =
            scored.iter().map(|(score, dice)| (f64::from(score.confidence), *dice)).collect();
        let poor: Vec<&SliceScore> =
            scored.iter().filter(|(_, dice)| *dice < POOR).map(|(score, _)| *score).collect();
        let flagged_poor = poor.iter().filter(|score| score.review).count();
        Self {
            slices: scored.len(),
            rank_correlation: rank_correlation(&pairs),
            mean_confidence: Spread::of(pairs.iter().map(|(confidence, _)| *confidence)).mean,
            mean_dice: Spread::of(pairs.iter().map(|(_, dice)| *dice)).mean,
            flagged: scored.iter().filter(|(score, _)| score.review).count(),
            flagged_dice: mean(&|score, _| score.review),
            other_dice: mean(&|score, _| !score.review),
            poor_flagged: (!poor.is_empty()).then(|| flagged_poor as f64 / poor.len() as f64),
        }
    }
}

/// The names if they tell the labels apart, else their keys.
pub fn told_apart(names: Names) -> Names {
    let distinct: BTreeSet<&String> = names.values().collect();
    match distinct.len() < names.len() {
        true => names.into_keys().map(|key| (key.clone(), key)).collect(),
        false => names,
    }
}

fn name(names: &Names, key: &str) -> String {
    names.get(key).cloned().unwrap_or_else(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(dice: Option<f64>, confidence: f32, review: bool) -> SliceScore {
        SliceScore {
            label: "a".into(),
            slice: 0,
            truth_pixels: 1,
            pixels: 1,
            dice,
            confidence,
            review,
            signals: Default::default(),
        }
    }

    #[test]
    fn confidence_is_judged_where_there_is_something_to_judge() {
        let scores = [
            slice(Some(0.9), 0.8, false),
            slice(Some(0.2), 0.1, true),
            slice(Some(0.4), 0.7, false),
            slice(None, 1.0, false),
        ];
        let figures = ConfidenceFigures::of(&scores);
        assert_eq!((figures.slices, figures.flagged), (3, 1));
        assert_eq!(figures.rank_correlation, Some(1.0));
        assert_eq!((figures.flagged_dice, figures.poor_flagged), (Some(0.2), Some(0.5)));
        assert!((figures.other_dice.unwrap() - 0.65).abs() < 1e-12);
        assert_eq!(ConfidenceFigures::of(&[]).rank_correlation, None);
    }

    #[test]
    fn the_worst_failure_comes_first() {
        let target = |name: &str, dice: [f64; 2]| Target {
            dice: [("liver".to_owned(), dice[0]), ("spleen".to_owned(), dice[1])].into(),
            ..Target::new(
                &TargetScore { target: name.into(), ..TargetScore::default() },
                &Names::new(),
                1,
                1.0,
                BTreeMap::new(),
            )
        };
        let found = failures(&[target("1", [0.9, 0.4]), target("2", [0.0, 0.8])]);
        let found: Vec<_> = found.iter().map(|f| (f.target.as_str(), f.label.as_str(), f.kind)).collect();
        assert_eq!(found, [("2", "liver", "apart"), ("1", "spleen", "poor")]);
    }
}
