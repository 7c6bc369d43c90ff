//! A measurement as a table and as JSON.

use std::collections::BTreeMap;

use engram_segmenter::evaluate::{Summary, TargetScore};
use serde::Serialize;

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
    /// Other methods on the same cases.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub baselines: BTreeMap<String, Figures>,
    /// How well retrieval retrieves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
}

/// A method's figures over targets.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Mean over targets of each target's mean over labels.
    pub mean_dice: f64,
    /// By label name.
    pub labels: BTreeMap<String, LabelFigures>,
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

/// Figures of targets' scores, labels by name.
pub fn figures(scores: Vec<TargetScore>, names: &BTreeMap<String, String>) -> Figures {
    let summary = Summary::of(scores);
    let labels = summary.labels.into_iter().map(|(key, spread)| {
        let figures = LabelFigures { dice_mean: spread.mean, dice_sd: spread.sd, targets: spread.count };
        (names.get(&key).cloned().unwrap_or(key), figures)
    });
    Figures { mean_dice: summary.mean_dice, labels: labels.collect() }
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
    pub stage_seconds: BTreeMap<&'static str, f64>,
    /// By label name; a label in neither result nor truth is left out.
    pub dice: BTreeMap<String, f64>,
}

/// Prints the table.
pub fn print(report: &Report) {
    println!(
        "{}: {} exemplar cases, {} targets, bundle {}",
        report.protocol,
        report.exemplar_cases,
        report.targets.len(),
        report.bundle
    );
    let others: Vec<&String> = report.baselines.keys().collect();
    print!("{:<28} {:>15}", "Dice", "engram");
    others.iter().for_each(|method| print!(" {method:>15}"));
    println!();
    for (label, summary) in &report.labels {
        print!("{label:<28} {:>15}", figure(Some(summary)));
        for method in &others {
            print!(" {:>15}", figure(report.baselines[*method].labels.get(label)));
        }
        println!();
    }
    print!("{:<28} {:>15.3}", "mean", report.mean_dice);
    others.iter().for_each(|method| print!(" {:>15.3}", report.baselines[*method].mean_dice));
    println!("\n{:.3} seconds a slice", report.seconds_per_slice);
    if let Some(sharing) = &report.retrieval {
        println!(
            "labels shared with the top {}: retrieval {:.3}, pixel correlation {:.3}, random {:.3}",
            sharing.top, sharing.retrieval, sharing.pixel_correlation, sharing.random
        );
    }
}

fn figure(label: Option<&LabelFigures>) -> String {
    label.map_or_else(|| "-".into(), |l| format!("{:.3} ± {:.3}", l.dice_mean, l.dice_sd))
}
