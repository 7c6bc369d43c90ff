//! Slices of the target that a person annotated or pointed at: prompts.

use super::conditions::GivenMemory;
use super::consolidate::GivenMask;
use super::features::{Features, ViewIndex};
use super::predict::{Pointing, Prediction, Predictor};
use crate::Result;
use crate::error::{MaskShapeSnafu, PromptSnafu, SliceOutOfRangeSnafu};
use crate::memorise;
use crate::target::{SLICES_A_CALL, Target};
use engram_imaging::resample::Letterbox;
use ndarray::{Array4, ArrayView2, CowArray};
use snafu::ensure;
use std::sync::Arc;

/// Points and corners of one prompt at the most: each is a token of the decoder.
const MOST_CLICKS: usize = 100;

/// A label on one slice of the target, as a person showed it. Such slices condition those near them, and keep what
/// was shown.
#[derive(Debug, Clone)]
pub struct Prompt<'a> {
    /// Key of the label.
    pub label: &'a str,
    /// The slice, counted from 0.
    pub slice: usize,
    /// How it was shown.
    pub shown: Shown<'a>,
}

/// How a person shows where a label is.
#[derive(Debug, Clone)]
pub enum Shown<'a> {
    /// Drawn: `[row, column]`, not 0 in the object; all 0 says that the label is not there.
    Mask(ArrayView2<'a, u8>),
    /// Pointed at; for bundles that take prompts.
    Clicks(Clicked),
}

/// Clicks and a box on one slice, in pixels of its native grid: 0 is the middle of the first row or column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clicked {
    /// Clicks.
    pub points: Vec<Click>,
    /// A box around the object: `[row, column]` of its first and last corner.
    pub corners: Option<[[f64; 2]; 2]>,
}

/// A click.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Click {
    /// Row and column.
    pub at: [f64; 2],
    /// Whether it is in the object, or outside of it.
    pub inside: bool,
}

/// A slice that a person pointed at.
pub(crate) struct ClickedSlice<'a> {
    pub label: usize,
    pub slice: usize,
    pub clicked: &'a Clicked,
}

/// The prompts of the labels asked for, with the labels' indices: those drawn, and those pointed at.
pub(crate) fn sort<'p>(
    prompts: &'p [Prompt<'_>],
    labels: &[&str],
    target: &Target,
) -> Result<(Vec<GivenMask<'p>>, Vec<ClickedSlice<'p>>)> {
    let (rows, columns) = target.native();
    let expected = [rows, columns];
    let (mut given, mut clicked) = (vec![], vec![]);
    for Prompt { label: key, slice, shown } in prompts {
        let (slice, slices) = (*slice, target.slices());
        ensure!(slice < slices, SliceOutOfRangeSnafu { slice, slices });
        let Some(label) = labels.iter().position(|label| label == key) else { continue };
        match shown {
            Shown::Mask(mask) => {
                let found = mask.shape();
                ensure!(found == expected, MaskShapeSnafu { label: *key, expected, found });
                given.push(GivenMask { label, slice, mask: CowArray::from(mask.view()) });
            }
            Shown::Clicks(clicks) => {
                check(clicks, slice, target.native())?;
                clicked.push(ClickedSlice { label, slice, clicked: clicks });
            }
        }
    }
    Ok((given, clicked))
}

fn check(clicked: &Clicked, slice: usize, native: (usize, usize)) -> Result<()> {
    let count = clicked.points.len() + 2 * usize::from(clicked.corners.is_some());
    ensure!(count > 0, PromptSnafu { slice, reason: "it has neither a point nor a box" });
    ensure!(count <= MOST_CLICKS, PromptSnafu { slice, reason: "it has more than 100 points" });
    let mut places = clicked.points.iter().map(|click| click.at).chain(clicked.corners.into_iter().flatten());
    let within = |at: f64, length: usize| (-0.5..=length as f64 - 0.5).contains(&at);
    let on_slice = places.all(|[row, column]| within(row, native.0) && within(column, native.1));
    ensure!(on_slice, PromptSnafu { slice, reason: "a point or a corner is not on the slice" });
    let is_box = clicked.corners.is_none_or(|[first, last]| first[0] < last[0] && first[1] < last[1]);
    ensure!(is_box, PromptSnafu { slice, reason: "its box has no extent" });
    let inside = clicked.corners.is_some() || clicked.points.iter().any(|click| click.inside);
    ensure!(inside, PromptSnafu { slice, reason: "nothing says where the object is, only where it is not" });
    Ok(())
}

impl Clicked {
    /// As the prompt encoder takes it: a box is two points, the first two.
    pub(crate) fn pointing(&self, letterbox: &Letterbox) -> Pointing {
        let place = |at: [f64; 2]| {
            let [row, column] = letterbox.forward(at);
            [column as f32, row as f32]
        };
        let corners = self.corners.into_iter().flat_map(|[first, last]| [(first, 2), (last, 3)]);
        let clicks = self.points.iter().map(|click| (click.at, i64::from(click.inside)));
        let (points, labels) = corners.chain(clicks).map(|(at, label)| (place(at), label)).unzip();
        Pointing { points, labels, before: None }
    }
}

/// The mask that a prediction of a whole slice shows on the native grid.
pub(crate) fn shown_mask<'g>(
    clicked: &ClickedSlice,
    prediction: &Prediction,
    letterbox: &Letterbox,
) -> GivenMask<'g> {
    let outside = -1.0;
    let native = letterbox.restore(prediction.logits.view(), outside);
    let there = prediction.present();
    let mask = native.mapv(|logit| u8::from(there && logit > 0.0));
    GivenMask { label: clicked.label, slice: clicked.slice, mask: CowArray::from(mask) }
}

/// Memories of a label's given masks in a view.
pub(crate) fn memories(
    predictor: &mut Predictor,
    given: &[GivenMask],
    label: usize,
    view: ViewIndex,
) -> Result<Vec<GivenMemory>> {
    let mine: Vec<&GivenMask> = given.iter().filter(|given| given.label == label).collect();
    let letterbox = *predictor.features.letterbox(view);
    let side = letterbox.size;
    let mut memories = vec![];
    for chunk in mine.chunks(SLICES_A_CALL) {
        let keys: Vec<_> = chunk.iter().map(|given| (view, given.slice)).collect();
        let images = Features::batch(&predictor.features.fetch(&keys)?);
        let mut coverage = Array4::zeros((chunk.len(), 1, side, side));
        for (row, given) in chunk.iter().enumerate() {
            memorise::put_coverage(&mut coverage, row, given.mask.view(), &letterbox);
        }
        let found = memorise::given(predictor.models, &images, coverage)?;
        for (given, memory) in chunk.iter().zip(found) {
            let present = given.mask.iter().any(|value| *value != 0);
            memories.push(GivenMemory { slice: given.slice, present, memory: Arc::new(memory) });
        }
    }
    Ok(memories)
}
