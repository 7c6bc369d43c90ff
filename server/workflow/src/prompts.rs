//! What a person shows on the target itself: clicks, boxes, masks. Parts of a segmentation request.

use engram_imaging::Volume;
use engram_inference::BundleSpec;
use engram_segmenter::{Click, Clicked, Prompt, Shown};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ensure};
use std::collections::BTreeSet;
use utoipa::ToSchema;

use crate::Workflow;
use crate::annotations::is_segmentation;
use crate::error::{BadRequestSnafu, NotOnSeriesSnafu, Result};
use crate::labels::key_of;
use crate::placed::labels_on;
use crate::series::LoadedSeries;

/// Prompts of one request at the most.
const MOST_PROMPTS: usize = 10_000;

/// A label on one slice of the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlicePrompt {
    /// The label's key.
    pub label: String,
    /// SOPInstanceUID of the slice.
    pub sop_instance: String,
    /// Its frame, from 1.
    #[serde(default = "first")]
    pub frame: u32,
    /// Clicks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// A box around the object.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub corners: Option<Corners>,
    /// The mask itself, instead of clicks and a box: lengths of runs along the rows, outside and inside by turns,
    /// outside first. An empty mask, one run, says that the label is not on the slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_runs: Option<Vec<u32>>,
}

fn first() -> u32 {
    1
}

/// A click, in pixels; 0 is the middle of the first row or column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Row.
    pub row: f64,
    /// Column.
    pub column: f64,
    /// Whether it is in the object, or outside of it.
    #[serde(default = "inside")]
    pub inside: bool,
}

fn inside() -> bool {
    true
}

/// A box, in pixels; 0 is the middle of the first row or column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Corners {
    /// First row.
    pub top: f64,
    /// First column.
    pub left: f64,
    /// Last row.
    pub bottom: f64,
    /// Last column.
    pub right: f64,
}

/// A prompt on a loaded series: the volume and slice it is on.
pub(crate) struct PlacedPrompt {
    volume: usize,
    slice: usize,
    label: String,
    shown: PlacedShown,
}

enum PlacedShown {
    Mask(Array2<u8>),
    Clicks(Clicked),
}

/// All prompts of a request, placed.
#[derive(Default)]
pub(crate) struct PlacedPrompts(Vec<PlacedPrompt>);

impl PlacedPrompts {
    /// Those on one volume, as the method takes them.
    pub(crate) fn on(&self, volume: usize) -> Vec<Prompt<'_>> {
        let mine = self.0.iter().filter(|prompt| prompt.volume == volume);
        mine.map(|prompt| Prompt {
            label: &prompt.label,
            slice: prompt.slice,
            shown: match &prompt.shown {
                PlacedShown::Mask(mask) => Shown::Mask(mask.view()),
                PlacedShown::Clicks(clicked) => Shown::Clicks(clicked.clone()),
            },
        })
        .collect()
    }
}

/// What can be told to be wrong with prompts before the series is read. `labels`: those to be segmented.
pub(crate) fn check(prompts: &[SlicePrompt], labels: &[String], bundle: &BundleSpec) -> Result<()> {
    let reason = || format!("it has more than {MOST_PROMPTS} prompts");
    ensure!(prompts.len() <= MOST_PROMPTS, BadRequestSnafu { reason: reason() });
    let mut shown = BTreeSet::new();
    for prompt in prompts {
        let twice = !shown.insert((key_of(&prompt.label), &prompt.sop_instance, prompt.frame));
        let reason = || format!("{} has two prompts of {}", prompt.sop_instance, prompt.label);
        ensure!(!twice, BadRequestSnafu { reason: reason() });
        let reason = problem(prompt, labels, bundle.prompts.used);
        ensure!(reason.is_none(), BadRequestSnafu { reason: reason.unwrap_or_default() });
    }
    Ok(())
}

fn problem(prompt: &SlicePrompt, labels: &[String], takes_clicks: bool) -> Option<String> {
    let clicks = !prompt.points.is_empty() || prompt.corners.is_some();
    if clicks == prompt.mask_runs.is_some() {
        return Some(format!(
            "the prompt on {} needs either points or a box, or mask_runs",
            prompt.sop_instance
        ));
    }
    if !labels.contains(&key_of(&prompt.label)) {
        return Some(format!("a prompt shows {}, which is not among the labels to segment", prompt.label));
    }
    let reason = "the bundle takes no clicks; give mask_runs, or choose a bundle of SAM 2";
    (clicks && !takes_clicks).then(|| reason.to_owned())
}

impl Workflow {
    /// Whether there is such a SEG. What it shows is told when the job reads it.
    pub(crate) fn check_prompt_segmentation(&self, segmentation: &str) -> Result<()> {
        let entry = self.segmentation_entry(segmentation)?;
        let reason = || format!("{segmentation}, of the prompts, is no segmentation");
        ensure!(is_segmentation(&entry.sop_class_uid), BadRequestSnafu { reason: reason() });
        Ok(())
    }

    /// Places a request's prompts on the slices of a series: those of the request itself, and those of the stored SEG
    /// that it names, on each slice that the SEG has a frame for and the request no prompt. `labels`: those to be
    /// segmented.
    pub(crate) fn place_prompts(
        &self,
        loaded: &LoadedSeries,
        prompts: &[SlicePrompt],
        segmentation: Option<&str>,
        labels: &[String],
    ) -> Result<PlacedPrompts> {
        let slice = loaded.volumes.iter().map(|volume| volume.geometry.rows * volume.geometry.columns).max();
        let most = self.options.limits.volume.max_bytes / slice.unwrap_or_default().max(1) as u64;
        let fits = |count: usize| -> Result<()> {
            let reason = || format!("it has {count} prompts; of slices this large {most} are allowed");
            ensure!(count as u64 <= most, BadRequestSnafu { reason: reason() });
            Ok(())
        };
        fits(prompts.len())?;
        let mut placed = prompts.iter().map(|prompt| place(loaded, prompt)).collect::<Result<Vec<_>>>()?;
        if let Some(segmentation) = segmentation {
            let stored = self.prompts_of(loaded, segmentation, labels)?;
            let is_new = |new: &PlacedPrompt| placed.iter().all(|old| old.place() != new.place());
            let stored: Vec<_> = stored.into_iter().filter(is_new).collect();
            placed.extend(stored);
            fits(placed.len())?;
        }
        Ok(PlacedPrompts(placed))
    }

    fn prompts_of(
        &self,
        loaded: &LoadedSeries,
        segmentation: &str,
        labels: &[String],
    ) -> Result<Vec<PlacedPrompt>> {
        let read = self.read_segmentation(segmentation)?;
        let mut found = vec![];
        for (volume, target) in loaded.volumes.iter().enumerate() {
            // One by one: the masks of all of them may be many times the volume.
            for label in labels {
                let mut placed = labels_on(&read, segmentation, target, |key| key == label)?;
                let Some(placed) = placed.remove(label) else { continue };
                let shown = placed.mask.outer_iter().zip(&placed.frames_present).enumerate();
                let shown = shown.filter(|(_, (_, present))| **present);
                found.extend(shown.map(|(slice, (mask, _))| PlacedPrompt {
                    volume,
                    slice,
                    label: label.clone(),
                    shown: PlacedShown::Mask(mask.to_owned()),
                }));
            }
        }
        let series = loaded.series_instance_uid();
        ensure!(!found.is_empty(), NotOnSeriesSnafu { segmentation, series, labels });
        Ok(found)
    }
}

impl PlacedPrompt {
    fn place(&self) -> (&str, usize, usize) {
        (&self.label, self.volume, self.slice)
    }
}

fn place(loaded: &LoadedSeries, prompt: &SlicePrompt) -> Result<PlacedPrompt> {
    let SlicePrompt { sop_instance, frame, .. } = prompt;
    let place = |(volume, target): (usize, &Volume)| {
        let mut sources = target.sources.iter();
        let slice = sources.position(|s| s.sop_instance_uid == *sop_instance && s.frame == *frame)?;
        Some((volume, slice))
    };
    let found = loaded.volumes.iter().enumerate().find_map(place);
    let reason = || format!("the series has no slice {sop_instance}, frame {frame}");
    let (volume, slice) = found.with_context(|| BadRequestSnafu { reason: reason() })?;
    let shown = match &prompt.mask_runs {
        Some(runs) => {
            let geometry =
                &loaded.volumes.get(volume).context(BadRequestSnafu { reason: reason() })?.geometry;
            PlacedShown::Mask(mask(runs, geometry.rows, geometry.columns)?)
        }
        None => PlacedShown::Clicks(clicked(prompt)),
    };
    Ok(PlacedPrompt { volume, slice, label: key_of(&prompt.label), shown })
}

fn clicked(prompt: &SlicePrompt) -> Clicked {
    let click = |point: &Point| Click { at: [point.row, point.column], inside: point.inside };
    Clicked {
        points: prompt.points.iter().map(click).collect(),
        corners: prompt.corners.map(|corners| [[corners.top, corners.left], [corners.bottom, corners.right]]),
    }
}

/// `[rows, columns]` from runs.
fn mask(runs: &[u32], rows: usize, columns: usize) -> Result<Array2<u8>> {
    let pixels = rows * columns;
    let total: u64 = runs.iter().map(|run| u64::from(*run)).sum();
    let reason = || format!("mask_runs has {total} pixels, the slice {rows} x {columns}");
    ensure!(total == pixels as u64, BadRequestSnafu { reason: reason() });
    let turns = [0_u8, 1].into_iter().cycle();
    let values = runs.iter().zip(turns).flat_map(|(run, value)| std::iter::repeat_n(value, *run as usize));
    Array2::from_shape_vec((rows, columns), values.collect())
        .ok()
        .with_context(|| BadRequestSnafu { reason: reason() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn runs_go_along_the_rows() {
        assert_eq!(mask(&[1, 2, 3], 2, 3).unwrap(), array![[0, 1, 1], [0, 0, 0]]);
        assert_eq!(mask(&[0, 4], 2, 2).unwrap(), array![[1, 1], [1, 1]]);
        assert_eq!(mask(&[4], 2, 2).unwrap(), array![[0, 0], [0, 0]]);
        assert!(mask(&[3], 2, 2).is_err());
        assert!(mask(&[u32::MAX, u32::MAX], 2, 2).is_err());
    }

    #[test]
    fn a_prompt_is_a_mask_or_clicks() {
        let parse = |json: &str| serde_json::from_str::<SlicePrompt>(json).unwrap();
        let click =
            parse(r#"{"label": "SCT:1", "sop_instance": "1.2", "points": [{"row": 1.5, "column": 2}]}"#);
        assert_eq!((click.frame, click.points[0].inside), (1, true));
        let labels = ["SCT:1".to_owned()];
        assert_eq!(problem(&click, &labels, true), None);
        let neither = SlicePrompt { points: vec![], ..click.clone() };
        let both = SlicePrompt { mask_runs: Some(vec![4]), ..click.clone() };
        let drawn = SlicePrompt { points: vec![], ..both.clone() };
        assert!(problem(&neither, &labels, true).is_some());
        assert!(problem(&both, &labels, true).is_some());
        assert!(problem(&click, &[], true).is_some_and(|reason| reason.contains("SCT:1")));
        assert!(problem(&click, &labels, false).is_some_and(|reason| reason.contains("no clicks")));
        assert_eq!(problem(&drawn, &labels, false), None);
    }
}
