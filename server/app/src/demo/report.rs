//! What came of the demo, for people and for scripts.

use std::path::PathBuf;

use engram_phantom::Organ;
use engram_segmenter::Spread;
use serde_json::{Map, Value, json};

use super::baselines::Baseline;
use super::compare::{OrganDice, Summary};
use crate::cli::{Failure, print_json};

/// One segmented patient.
pub struct Target {
    /// PatientID.
    pub patient_id: String,
    /// Slices of the series.
    pub slices: usize,
    /// For each organ, in the order of [`Organ::ALL`].
    pub dice: OrganDice,
    /// From asking for the segmentation to having the SEG.
    pub seconds: f64,
    /// As the job tells.
    pub stage_seconds: Vec<(String, f64)>,
}

/// The whole outcome.
pub struct Report {
    /// What Engram made.
    pub targets: Vec<Target>,
    /// What simpler methods make of the same data.
    pub baselines: Vec<Baseline>,
    /// What else took time.
    pub seconds: Vec<(&'static str, f64)>,
    /// From start to end.
    pub total_seconds: f64,
    /// The server's root.
    pub server: String,
    /// Where the results lie.
    pub folder: PathBuf,
}

impl Report {
    /// On standard output, as a table or as JSON.
    pub fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            return print_json(&self.json());
        }
        print!("{}", self.table());
        Ok(())
    }

    fn summary(&self) -> Summary {
        Summary::of(&self.targets.iter().map(|target| target.dice).collect::<Vec<_>>())
    }

    fn seconds_per_slice(&self) -> f64 {
        let slices: usize = self.targets.iter().map(|target| target.slices).sum();
        self.targets.iter().map(|target| target.seconds).sum::<f64>() / slices.max(1) as f64
    }

    fn table(&self) -> String {
        let summary = self.summary();
        let mut text = format!("\n{:14}", "Dice");
        let patients = self.targets.iter().map(|target| target.patient_id.as_str());
        let names = self.baselines.iter().map(|baseline| baseline.name);
        patients.chain(["mean"]).chain(names).for_each(|head| text += &format!("  {head:>13}"));
        let mut row = |head: &str, cells: &mut dyn Iterator<Item = Option<f64>>| {
            text += &format!("\n{head:14}");
            cells.for_each(|cell| text += &format!("  {:>13}", shown(cell)));
        };
        for (index, organ) in Organ::ALL.into_iter().enumerate() {
            let own =
                self.targets.iter().map(|target| target.dice[index]).chain([mean(&summary.organs[index])]);
            let others = self.baselines.iter().map(|baseline| mean(&baseline.summary.organs[index]));
            row(organ.name(), &mut own.chain(others));
        }
        let own = self
            .targets
            .iter()
            .map(|target| Some(Summary::of(&[target.dice]).mean))
            .chain([Some(summary.mean)]);
        row("mean", &mut own.chain(self.baselines.iter().map(|baseline| Some(baseline.summary.mean))));
        text += &format!("\n\n{:14}", "seconds");
        self.targets.iter().for_each(|target| text += &format!("  {:>13.1}", target.seconds));
        text += &format!("  ({:.2} a slice)\n", self.seconds_per_slice());
        for (what, seconds) in &self.seconds {
            text += &format!("{what:20} {seconds:6.1} s\n");
        }
        text += &format!("{:20} {:6.1} s\n", "everything", self.total_seconds);
        text += &format!(
            "\nSEG files, overlays (image, result, truth), log and store: {}\n",
            self.folder.display()
        );
        text
    }

    fn json(&self) -> Value {
        let summary = self.summary();
        let labels = Organ::ALL.into_iter().zip(&summary.organs).map(|(organ, spread)| {
            let label =
                json!({ "label": organ.concept().key(), "dice_mean": spread.mean, "dice_sd": spread.sd });
            (organ.name().to_owned(), label)
        });
        json!({
            "mean_dice": summary.mean,
            "labels": labels.collect::<Map<_, _>>(),
            "baselines": self.baselines.iter().map(baseline_json).collect::<Map<_, _>>(),
            "targets": self.targets.iter().map(target_json).collect::<Vec<_>>(),
            "seconds_per_slice": self.seconds_per_slice(),
            "seconds": self.seconds.iter().map(|(what, s)| ((*what).to_owned(), json!(s))).collect::<Map<_, _>>(),
            "total_seconds": self.total_seconds,
            "server": self.server,
            "folder": self.folder,
        })
    }
}

/// Under the name that `engram evaluate --json` gives it.
fn baseline_json(baseline: &Baseline) -> (String, Value) {
    let organs = Organ::ALL.into_iter().zip(&baseline.summary.organs);
    let labels: Map<_, _> =
        organs.map(|(organ, s)| (organ.name().to_owned(), json!({ "dice_mean": s.mean }))).collect();
    (baseline.name.to_lowercase(), json!({ "mean_dice": baseline.summary.mean, "labels": labels }))
}

fn target_json(target: &Target) -> Value {
    let dice =
        Organ::ALL.into_iter().zip(target.dice).map(|(organ, dice)| (organ.name().to_owned(), json!(dice)));
    json!({
        "patient_id": target.patient_id,
        "slices": target.slices,
        "dice": dice.collect::<Map<_, _>>(),
        "seconds": target.seconds,
        "stage_seconds": target.stage_seconds,
    })
}

/// The mean, where anything was counted.
fn mean(spread: &Spread) -> Option<f64> {
    (spread.count > 0).then_some(spread.mean)
}

fn shown(dice: Option<f64>) -> String {
    dice.map_or("-".to_owned(), |dice| format!("{dice:.3}"))
}
