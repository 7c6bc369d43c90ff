//! The steps in their order.

use super::agree::Agreement;
use super::beliefs::{LabelBeliefs, Seen};
use super::conclude::Findings;
use super::conditions::{Conditions, Look, NEAREST_GIVEN};
use super::consolidate::GivenMask;
use super::features::{FeatureStore, WHOLE};
use super::first_pass::{Table, first_pass};
use super::fuse::{Belief, fuse};
use super::given::{self, ClickedSlice, Prompt};
use super::line::Line;
use super::locate::locate;
use super::predict::{Job, Prediction, Predictor};
use super::propagate::{Visits, propagate, visits};
use super::retrieve::{Counts, Wanted, select};
use crate::Result;
use crate::error::{NoClicksSnafu, NoLabelsSnafu, TooManyLabelsSnafu};
use crate::exemplars::Exemplars;
use crate::models::Models;
use crate::observer::{Observer, Stage, Steps};
use crate::options::{Options, Tuning};
use crate::result::Segmentation;
use crate::target::Target;
use engram_imaging::Volume;
use engram_imaging::resample::Letterbox;
use engram_memory::View;
use snafu::ensure;
use std::collections::BTreeSet;

/// Labels of one result: a voxel is one byte, 0 is background.
const MOST_LABELS: usize = 255;

/// What to segment.
#[derive(Debug, Clone)]
pub struct Request<'a, 'm> {
    /// The target.
    pub volume: &'a Volume,
    /// Keys of the labels wanted, in the order of the result's values.
    pub labels: &'a [&'a str],
    /// Slices of the target that are annotated already; none for a fresh target.
    pub prompts: &'a [Prompt<'m>],
    /// Choices.
    pub options: Options,
}

/// Segments a volume.
///
/// # Errors
/// [`NoLabels`](crate::Error::NoLabels), [`TooManyLabels`](crate::Error::TooManyLabels),
/// [`EmptyVolume`](crate::Error::EmptyVolume); for a label that has neither exemplars nor prompts
/// [`UnknownLabel`](crate::Error::UnknownLabel), [`ModalityMismatch`](crate::Error::ModalityMismatch) or
/// [`NoExemplars`](crate::Error::NoExemplars); prompts that do not fit; what bundle or bank cannot do;
/// [`Cancelled`](crate::Error::Cancelled).
pub fn segment(
    models: &dyn Models,
    exemplars: &dyn Exemplars,
    request: &Request,
    observer: &dyn Observer,
) -> Result<Segmentation> {
    let count = request.labels.len();
    ensure!(count > 0, NoLabelsSnafu);
    ensure!(count <= MOST_LABELS, TooManyLabelsSnafu { count, limit: MOST_LABELS });
    let target = Target::new(request.volume, &models.spec().input)?;
    let (mut given, clicked) = given::sort(request.prompts, request.labels, &target)?;
    ensure!(clicked.is_empty() || models.spec().prompts.used, NoClicksSnafu { bundle: &models.spec().id });
    let slices: Vec<usize> = (0..target.slices()).collect();

    let vectors = Steps::run(observer, Stage::Prepare, slices.len(), |steps| {
        target.retrieval_vectors(models, &slices, steps)
    })?;
    let counts = exemplars_a_slice(models, &request.options);
    let selections = Steps::run(observer, Stage::Retrieve, slices.len() * count, |steps| {
        let wanted = Wanted { counts, study_weight: request.options.tuning.study_weight };
        let select_label = |(index, label): (usize, &&str)| {
            let prompted = given.iter().any(|given| given.label == index)
                || clicked.iter().any(|clicked| clicked.label == index);
            select(exemplars, label, &request.volume.modality, &vectors, &wanted, prompted, steps)
        };
        request.labels.iter().enumerate().map(select_label).collect::<Result<Vec<_>>>()
    })?;

    let options = &request.options;
    let features = FeatureStore::new(models, &target, options.cache_bytes);
    let mut predictor = Predictor::new(models, features, options.batch_bytes);
    let mut conditions =
        Conditions::new(exemplars, selections, models.spec(), slices.len(), options.cache_bytes);
    if !clicked.is_empty() {
        let found = Steps::run(observer, Stage::Prompts, clicked.len(), |steps| {
            point_out(&mut predictor, &mut conditions, counts.whole, &given, &clicked, steps)
        })?;
        given.extend(found);
    }
    let mut run = Run {
        predictor,
        conditions,
        line: Line::new(&request.volume.geometry, slices.len(), options.slice_order),
        axis: Line::new(&request.volume.geometry, slices.len(), Default::default()),
        target: &target,
        given: &given,
        counts,
        options,
        observer,
    };
    let labels = run.believe(count)?;
    let Run { conditions, line, axis, .. } = run;
    let findings = Findings {
        labels: &labels,
        given: &given,
        selections: conditions.selections,
        agreement: options.propagate.then(|| Agreement::new(&target, &line, &options.tuning)).flatten(),
        axis: &axis,
    };
    Steps::run(observer, Stage::Consolidate, slices.len() * count, |steps| {
        let result = findings.conclude(models, request);
        steps.advance(slices.len() * count)?;
        Ok(result)
    })
}

/// Exemplars that a slice is conditioned on: as asked for or, by quality, as the bundle recommends, and no more than the
/// device's memory allows beside what is remembered of the target itself.
fn exemplars_a_slice(models: &dyn Models, options: &Options) -> Counts {
    let recommended = models.spec().memory.exemplars_per_slice;
    let Counts { whole, close } = match options.exemplars_per_slice {
        Some(count) => Counts { whole: count, close: count },
        None => options.quality.exemplars(recommended, options.tuning.whole_share),
    };
    let own = NEAREST_GIVEN + models.spec().memory.recent_memories;
    let bounded = |count: usize| count.min(models.most_memories().saturating_sub(own)).max(1);
    Counts { whole: bounded(whole), close: bounded(close.max(whole)) }
}

/// The masks of slices that a person pointed at, each conditioned on its exemplars and on what was drawn.
fn point_out<'g>(
    predictor: &mut Predictor,
    conditions: &mut Conditions,
    exemplars: usize,
    given: &[GivenMask<'g>],
    clicked: &[ClickedSlice],
    steps: &mut Steps,
) -> Result<Vec<GivenMask<'g>>> {
    let letterbox = *predictor.features.letterbox(WHOLE);
    let mut found = vec![];
    for label in BTreeSet::from_iter(clicked.iter().map(|clicked| clicked.label)) {
        let drawn = given::memories(predictor, given, label, WHOLE)?;
        conditions.give(label, WHOLE, drawn);
        let mine: Vec<(usize, &ClickedSlice)> =
            clicked.iter().enumerate().filter(|(_, clicked)| clicked.label == label).collect();
        let look = Look { label, view: WHOLE, kind: View::Whole, exemplars, wanted: vec![] };
        let job = |(_, clicked): &(usize, &ClickedSlice)| {
            Ok(Job {
                view: WHOLE,
                slice: clicked.slice,
                conditioning: conditions.of(&look, clicked.slice)?.unwrap_or_default(),
                pointing: Some(clicked.clicked.pointing(&letterbox)),
            })
        };
        let jobs = mine.iter().map(job).collect::<Result<Vec<_>>>()?;
        let predictions = predictor.predict(&jobs, steps)?;
        for ((place, clicked), prediction) in mine.into_iter().zip(&predictions) {
            found.push((place, given::shown_mask(clicked, prediction, &letterbox)));
        }
        conditions.forget(label, WHOLE);
    }
    // Of two masks that overlap the later one wins, as the caller put them.
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, mask)| mask).collect())
}

struct Run<'a, 'g> {
    predictor: Predictor<'a>,
    conditions: Conditions<'a>,
    /// The order of propagation.
    line: Line,
    /// The order along the normal.
    axis: Line,
    target: &'a Target<'a>,
    given: &'a [GivenMask<'g>],
    counts: Counts,
    options: &'a Options,
    observer: &'a dyn Observer,
}

impl Run<'_, '_> {
    /// Looks at whole slices, then closer at small labels.
    fn believe(&mut self, labels: usize) -> Result<Vec<LabelBeliefs>> {
        let slices = self.target.slices();
        let letterbox = *self.predictor.features.letterbox(WHOLE);
        let mut beliefs = vec![];
        for group in (0..labels).collect::<Vec<_>>().chunks(self.labels_at_once()) {
            let looks: Vec<Look> = group
                .iter()
                .map(|label| Look {
                    label: *label,
                    view: WHOLE,
                    kind: View::Whole,
                    exemplars: self.counts.whole,
                    wanted: vec![true; slices],
                })
                .collect();
            for whole in self.look(&looks)? {
                let whole = Seen::new(&letterbox, whole);
                let mut label = LabelBeliefs { whole, close: vec![], present: vec![] };
                self.settle_presence(&mut label);
                beliefs.push(label);
            }
        }
        if self.options.crop {
            self.look_closer(&mut beliefs)?;
        }
        Ok(beliefs)
    }

    /// Whole slices: the first pass, then propagation.
    fn look(&mut self, looks: &[Look]) -> Result<Vec<Vec<Option<Belief>>>> {
        let (count, tuning) = (looks.len() * self.target.slices(), &self.options.tuning);
        let first = Steps::run(self.observer, Stage::FirstPass, count, |steps| self.first(looks, steps))?;
        let visits = match self.options.propagate {
            true => Steps::run(self.observer, Stage::Propagate, count * visits(tuning), |steps| {
                self.follow(looks, &first, steps)
            })?,
            false => vec![],
        };
        self.forget(looks);
        Ok(fuse_all(first, visits))
    }

    /// Labels that are followed together: as many as the options' bytes hold predictions and memories of. A slice has
    /// one memory: of what a person showed on it, or of what was found.
    fn labels_at_once(&self) -> usize {
        let spec = self.predictor.models.spec();
        let prediction = spec.features.mask_size.pow(2);
        let memory: usize = spec.memory_shape().iter().product();
        let visits = 1 + visits(&self.options.tuning);
        let label = self.target.slices() * (prediction * visits + memory) * size_of::<f32>();
        (self.options.working_bytes / label.max(1)).max(1)
    }

    /// Every look by itself.
    fn first(&mut self, looks: &[Look], steps: &mut Steps) -> Result<Table> {
        for look in looks {
            let memories = given::memories(&mut self.predictor, self.given, look.label, look.view)?;
            self.conditions.give(look.label, look.view, memories);
        }
        first_pass(&mut self.predictor, &mut self.conditions, looks, self.target.slices(), steps)
    }

    /// Lets go of what the looks were conditioned on by themselves.
    fn forget(&mut self, looks: &[Look]) {
        looks.iter().for_each(|look| self.conditions.forget(look.label, look.view));
    }

    /// Through the slices.
    fn follow(&mut self, looks: &[Look], first: &Table, steps: &mut Steps) -> Result<Visits> {
        let tuning = &self.options.tuning;
        propagate(&mut self.predictor, &mut self.conditions, looks, first, &self.line, tuning, steps)
    }

    /// Further looks at labels, on crops around where the looks before found them; at a label that is too large for
    /// that one more, at whole slices, if there are exemplars that no look has seen yet. Every slice by itself, since what
    /// propagation has to say it has said.
    fn look_closer(&mut self, labels: &mut [LabelBeliefs]) -> Result<()> {
        let tuning = &self.options.tuning;
        for number in 1..=tuning.close_looks {
            // Those before the last one are there to find the label, so fewer exemplars do.
            let exemplars = match number == tuning.close_looks {
                true => self.counts.close,
                false => self.counts.whole,
            };
            let looks = self.close_looks(labels, exemplars, number == tuning.close_looks);
            let count = looks.iter().flat_map(|look| &look.wanted).filter(|wanted| **wanted).count();
            let close = Steps::run(self.observer, Stage::CropPass, count, |steps| {
                let mut close = vec![];
                for group in looks.chunks(self.labels_at_once()) {
                    close.extend(fuse_all(self.first(group, steps)?, vec![]));
                    self.forget(group);
                }
                Ok(close)
            })?;
            for (look, beliefs) in looks.into_iter().zip(close) {
                let seen = Seen::new(self.predictor.features.letterbox(look.view), beliefs);
                labels[look.label].close.push(seen);
                self.settle_presence(&mut labels[look.label]);
            }
        }
        Ok(())
    }

    /// On which slices a label is, by all looks so far.
    fn settle_presence(&self, label: &mut LabelBeliefs) {
        let Tuning { close_weight, presence, .. } = self.options.tuning;
        let there = |slice| label.presence(slice, close_weight).is_some_and(|seen| seen >= presence);
        label.present = (0..self.target.slices()).map(there).collect();
    }

    /// A crop around each small label; the last look at a large one is at whole slices.
    fn close_looks(&mut self, labels: &[LabelBeliefs], exemplars: usize, is_last: bool) -> Vec<Look> {
        let spacing = self.target.volume.geometry.pixel_spacing;
        let spec = self.predictor.models.spec();
        let (shape, weight) = (self.target.volume.voxels.dim(), self.options.tuning.close_weight);
        let mut looks = vec![];
        for (label, (beliefs, found)) in labels.iter().zip(locate(labels, shape, weight)).enumerate() {
            let Some(found) = found else { continue };
            let (view, kind) = match found.region(self.target.native(), spacing, &spec.memory) {
                Some(region) => {
                    let size = spec.input.image_size;
                    let letterbox = Letterbox::of_region(self.target.native(), region, spacing, size);
                    (self.predictor.features.add_view(letterbox), View::Crop)
                }
                None if self.options.tuning.large_look
                    && is_last
                    && self.conditions.has_more_than(self.counts.whole, label) =>
                {
                    (WHOLE, View::Whole)
                }
                None => continue,
            };
            looks.push(Look { label, view, kind, exemplars, wanted: beliefs.present.clone() });
        }
        looks
    }
}

/// Beliefs `[look][slice]` of the first pass and of the fronts that came by, if any did.
fn fuse_all(first: Table, visits: Visits) -> Vec<Vec<Option<Belief>>> {
    let mut visits = visits.into_iter();
    let fused = |first: Vec<Option<Prediction>>| {
        let mut visits = visits.next().unwrap_or_default().into_iter();
        let fused = first.into_iter().map(|first| {
            let visits = visits.next().unwrap_or_default();
            fuse(first.iter().chain(&visits))
        });
        fused.collect()
    };
    first.into_iter().map(fused).collect()
}
