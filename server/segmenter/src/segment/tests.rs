//! The method over a fake bundle.

use crate::fake::{FakeModels, phantom, volume};
use crate::observer::{Observer, Stage, Unobserved};
use crate::{
    Error, LabelMask, MemoryExemplars, Options, Prompt, Request, Segmentation, Shown, SliceOrder, Tuning,
    dice, encode_exemplars, segment,
};
use engram_imaging::Volume;
use ndarray::{Array2, Array3, Axis, s};
use std::sync::Mutex;

const ORGAN: &str = "SCT:1";

fn bank_of(models: &FakeModels, study: &str, volume: &Volume, mask: &Array3<u8>) -> MemoryExemplars {
    bank_of_labels(models, study, volume, &[(ORGAN, mask)])
}

fn bank_of_labels(
    models: &FakeModels,
    study: &str,
    volume: &Volume,
    labels: &[(&str, &Array3<u8>)],
) -> MemoryExemplars {
    let mut bank = MemoryExemplars::new();
    let slices: Vec<usize> = (0..volume.sources.len()).collect();
    let masks: Vec<_> = labels.iter().map(|(label, mask)| LabelMask { label, mask: mask.view() }).collect();
    bank.insert(study, "MR", encode_exemplars(models, volume, &masks, &slices, &Unobserved).unwrap());
    bank
}

fn run(models: &FakeModels, bank: &MemoryExemplars, volume: &Volume, options: Options) -> Segmentation {
    let request = Request { volume, labels: &[ORGAN], prompts: &[], options };
    segment(models, bank, &request, &Unobserved).unwrap()
}

fn whole_only() -> Options {
    let tuning = Tuning { whole_share: 1.0, rounds: 1, ..Tuning::default() };
    Options { crop: false, tuning, ..Options::default() }
}

#[test]
fn an_organ_is_found_where_it_is_with_or_without_crops() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let (target, truth) = phantom(8, 5.0, 3);
    let truth = truth.mapv(|value| value != 0);
    for options in [whole_only(), Options::default(), Options { propagate: false, ..whole_only() }] {
        let result = run(&models, &bank, &target, options.clone());
        let found = result.mask(ORGAN).unwrap();
        assert!(dice(&found, &truth).unwrap() > 0.9, "{options:?}: {:?}", dice(&found, &truth));
        assert_eq!(result.voxels.dim(), target.voxels.dim());
        let first = &result.slices[0][0];
        assert_eq!((first.pixels, first.given), (0, false));
        assert!(result.slices[0][3].pixels > 0 && result.slices[0][3].confidence > 0.5);
        assert_eq!(result.slices[0][3].provenance.len(), 4);
    }
}

#[test]
fn the_last_look_has_all_exemplars_whether_an_organ_is_small_or_large() {
    // Seven of sixteen columns are too many for a crop to show more.
    for (size, crop, expected) in [(3, true, 4), (7, true, 4), (7, false, 0)] {
        let models = FakeModels::new();
        let (exemplar, mask) = phantom(6, 5.0, size);
        let bank = bank_of(&models, "a", &exemplar, &mask);
        models.attended.lock().unwrap().clear();
        let result = run(&models, &bank, &exemplar, Options { crop, ..Options::default() });
        assert!(dice(&result.mask(ORGAN).unwrap(), &mask.mapv(|value| value != 0)).unwrap() > 0.9);
        let attended = models.attended.lock().unwrap();
        let all = attended.iter().filter(|times| **times == [6; 4]).count();
        assert_eq!(all, expected, "size {size}, crop {crop}: {attended:?}");
    }
}

#[test]
fn whole_slices_are_not_looked_at_again_with_the_same_exemplars() {
    let calls = |crop: bool| {
        let models = FakeModels::new();
        let (exemplar, mask) = phantom(6, 5.0, 7);
        let bank = bank_of(&models, "a", &exemplar, &mask);
        models.attended.lock().unwrap().clear();
        run(&models, &bank, &exemplar, Options { crop, exemplars_per_slice: Some(4), ..Options::default() });
        models.attended.lock().unwrap().len()
    };
    assert_eq!(calls(true), calls(false));
}

#[test]
fn the_same_request_gives_the_same_result() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let options = Options { probabilities: true, ..Options::default() };
    let (a, b) = (run(&models, &bank, &exemplar, options.clone()), run(&models, &bank, &exemplar, options));
    assert_eq!((a.voxels, a.probabilities, a.slices), (b.voxels, b.probabilities, b.slices));
}

#[test]
fn probabilities_agree_with_the_voxels() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let options = Options { probabilities: true, ..whole_only() };
    let result = run(&models, &bank, &exemplar, options);
    let probabilities = result.probabilities.unwrap();
    assert_eq!(probabilities.dim(), (1, 6, 16, 16));
    for (voxel, probability) in result.voxels.iter().zip(probabilities.index_axis(Axis(0), 0)) {
        assert_eq!(*voxel == 1, *probability >= 128);
    }
}

/// Without probabilities only the part of the slices where a label may be is looked at: a part a label.
#[test]
fn voxels_are_the_same_with_and_without_probabilities() {
    let models = FakeModels::new();
    let (volume, mask) = phantom(11, 5.0, 3);
    let mut lower = mask.clone();
    lower.slice_mut(s![.., 0..7, ..]).fill(0);
    let bank = bank_of_labels(&models, "a", &volume, &[(ORGAN, &mask), ("SCT:2", &lower)]);
    let shuffled = Options { slice_order: SliceOrder::Shuffled(5), ..Options::default() };
    for options in [whole_only(), Options::default(), shuffled] {
        for labels in [&[ORGAN][..], &["SCT:2", ORGAN], &[ORGAN, "SCT:2"]] {
            let run = |probabilities| {
                let options = Options { probabilities, ..options.clone() };
                let request = Request { volume: &volume, labels, prompts: &[], options };
                segment(&models, &bank, &request, &Unobserved).unwrap().voxels
            };
            let part = run(false);
            assert!(part.iter().any(|voxel| *voxel != 0));
            assert_eq!(part, run(true), "{labels:?} {options:?}");
        }
    }
}

#[test]
fn recent_slices_are_remembered_in_their_order_and_far_ones_are_not() {
    let models = FakeModels::new();
    let (mut target, mask) = phantom(7, 5.0, 3);
    // A gap of two slices after the fourth.
    for (slice, position) in target.geometry.positions.iter_mut().enumerate().skip(4) {
        position[2] = (slice + 2) as f64 * 5.0;
    }
    let bank = bank_of(&models, "a", &target, &mask);
    models.attended.lock().unwrap().clear();
    run(&models, &bank, &target, whole_only());
    let attended = models.attended.lock().unwrap();
    let recent: Vec<Vec<i64>> = attended.iter().map(|times| times[4..].to_vec()).collect();
    assert!(attended.iter().all(|times| times[..4] == [6; 4]));
    // Slice 3 of the front that goes up: slices 1 and 2 hold the organ, slice 0 does not.
    assert!(recent.contains(&vec![1, 0]), "{recent:?}");
    // Across the gap, slice 4 sees slice 3 three steps away and no other.
    assert!(recent.contains(&vec![2]), "{recent:?}");
    // No more than the manifest allows.
    assert!(recent.iter().flatten().all(|index| (0..3).contains(index)));
}

#[test]
fn a_shuffled_order_changes_who_is_remembered() {
    let (target, mask) = phantom(9, 5.0, 3);
    let times = |order| {
        let models = FakeModels::new();
        let bank = bank_of(&models, "a", &target, &mask);
        models.attended.lock().unwrap().clear();
        run(&models, &bank, &target, Options { slice_order: order, ..whole_only() });
        models.attended.into_inner().unwrap()
    };
    assert_ne!(times(SliceOrder::Natural), times(SliceOrder::Shuffled(3)));
    assert_eq!(times(SliceOrder::Shuffled(3)), times(SliceOrder::Shuffled(3)));
}

#[test]
fn of_two_labels_the_surer_takes_a_voxel() {
    let models = FakeModels::new();
    let (volume, mask) = phantom(6, 5.0, 4);
    let mut half = mask.clone();
    half.slice_mut(s![.., 0..7, ..]).fill(0);
    let bank = bank_of_labels(&models, "a", &volume, &[(ORGAN, &mask), ("SCT:2", &half)]);
    let labels = ["SCT:2", ORGAN];
    let request = Request { volume: &volume, labels: &labels, prompts: &[], options: whole_only() };
    let result = segment(&models, &bank, &request, &Unobserved).unwrap();
    let found = result.mask(ORGAN).unwrap();
    assert_eq!(dice(&found, &mask.mapv(|value| value != 0)), Some(1.0));
    assert_eq!(result.slices[0].iter().map(|report| report.pixels).sum::<usize>(), 0);
}

#[test]
fn labels_followed_in_groups_give_what_they_give_together() {
    let models = FakeModels::new();
    let (volume, mask) = phantom(6, 5.0, 4);
    let bank = bank_of_labels(&models, "a", &volume, &[(ORGAN, &mask), ("SCT:2", &mask)]);
    let run = |working_bytes| {
        let options = Options { working_bytes, cache_bytes: working_bytes, ..Options::default() };
        let request = Request { volume: &volume, labels: &["SCT:2", ORGAN], prompts: &[], options };
        let watch = Watch::default();
        let result = segment(&models, &bank, &request, &watch).unwrap();
        let stages = watch.stages.into_inner().unwrap();
        (result.voxels, stages.iter().filter(|stage| **stage == (Stage::FirstPass, true)).count())
    };
    let (together, apart) = (run(1 << 20), run(1));
    assert_eq!((together.1, apart.1), (1, 2));
    assert_eq!(together.0, apart.0);
}

#[test]
fn a_single_slice_without_positions_is_segmented() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let mut single = volume(exemplar.voxels.slice(s![2..3, .., ..]).to_owned(), &[0.0]);
    single.geometry.spatial = false;
    let result = run(&models, &bank, &single, Options::default());
    let truth = mask.slice(s![2..3, .., ..]).mapv(|value| value != 0);
    assert!(dice(&result.mask(ORGAN).unwrap(), &truth).unwrap() > 0.8);
}

#[test]
fn given_slices_condition_the_others_and_stay_as_given() {
    let models = FakeModels::new();
    let (target, mask) = phantom(9, 5.0, 3);
    let given = Array2::from_shape_fn((16, 16), |at| u8::from(mask[[4, at.0, at.1]] != 0 || at == (0, 15)));
    let prompts = [Prompt { label: ORGAN, slice: 4, shown: Shown::Mask(given.view()) }];
    let request = Request { volume: &target, labels: &[ORGAN], prompts: &prompts, options: whole_only() };
    let result = segment(&models, &MemoryExemplars::new(), &request, &Unobserved).unwrap();
    assert_eq!(result.voxels.index_axis(Axis(0), 4), given);
    assert!(result.slices[0][4].given);
    // Propagation goes on from it, although it is no recent memory itself.
    let recent = |times: &Vec<i64>| {
        times.iter().any(|time| *time < crate::Models::spec(&models).memory.conditioning_tpos)
    };
    assert!(models.attended.lock().unwrap().iter().any(recent));
    let truth = mask.mapv(|value| value != 0);
    assert!(dice(&result.mask(ORGAN).unwrap(), &truth).unwrap() > 0.8);
}

#[test]
fn what_cannot_be_segmented_has_a_typed_answer() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let mut ct = exemplar.clone();
    ct.modality = "CT".to_owned();
    let fail = |volume: &Volume, labels: &[&str], prompts: &[Prompt]| {
        let request = Request { volume, labels, prompts, options: Options::default() };
        segment(&models, &bank, &request, &Unobserved).unwrap_err()
    };
    assert!(matches!(fail(&exemplar, &[], &[]), Error::NoLabels));
    assert!(matches!(fail(&exemplar, &[ORGAN; 256], &[]), Error::TooManyLabels { count: 256, .. }));
    assert!(matches!(fail(&exemplar, &["SCT:9"], &[]), Error::UnknownLabel { label } if label == "SCT:9"));
    assert!(matches!(
        fail(&ct, &[ORGAN], &[]),
        Error::ModalityMismatch { modality, available, .. } if modality == "CT" && available == ["MR"]
    ));
    let empty = volume(Array3::zeros((0, 16, 16)), &[]);
    assert!(matches!(fail(&empty, &[ORGAN], &[]), Error::EmptyVolume));
    let small = Array2::zeros((3, 3));
    let prompt = |slice| [Prompt { label: ORGAN, slice, shown: Shown::Mask(small.view()) }];
    assert!(matches!(fail(&exemplar, &[ORGAN], &prompt(1)), Error::MaskShape { .. }));
    assert!(matches!(fail(&exemplar, &[ORGAN], &prompt(6)), Error::SliceOutOfRange { slice: 6, slices: 6 }));
}

#[test]
fn a_label_with_negatives_only_has_no_exemplar() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &Array3::zeros(mask.dim()));
    let request = Request { volume: &exemplar, labels: &[ORGAN], prompts: &[], options: Options::default() };
    let failure = segment(&models, &bank, &request, &Unobserved).unwrap_err();
    assert!(matches!(failure, Error::NoExemplars { label } if label == ORGAN));
}

/// Writes stages down and stops after some progress.
#[derive(Default)]
struct Watch {
    stages: Mutex<Vec<(Stage, bool)>>,
    progress: Mutex<Vec<(Stage, usize, usize)>>,
    stop_after: Option<usize>,
}

impl Observer for Watch {
    fn stage_started(&self, stage: Stage) {
        self.stages.lock().unwrap().push((stage, true));
    }
    fn stage_finished(&self, stage: Stage) {
        self.stages.lock().unwrap().push((stage, false));
    }
    fn progress(&self, stage: Stage, done: usize, total: usize) {
        self.progress.lock().unwrap().push((stage, done, total));
    }
    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|limit| self.progress.lock().unwrap().len() > limit)
    }
}

#[test]
fn stages_follow_one_another_and_progress_reaches_its_end() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(4, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let request = Request { volume: &exemplar, labels: &[ORGAN], prompts: &[], options: Options::default() };
    let watch = Watch::default();
    segment(&models, &bank, &request, &watch).unwrap();
    let stages = watch.stages.into_inner().unwrap();
    for pair in stages.chunks(2) {
        assert_eq!(pair[0].0, pair[1].0);
        assert_eq!((pair[0].1, pair[1].1), (true, false));
    }
    let order: Vec<Stage> = stages.iter().step_by(2).map(|(stage, _)| *stage).collect();
    assert!(order.is_sorted(), "{order:?}");
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Prompts) {
        let progress = watch.progress.lock().unwrap();
        let last = progress.iter().rfind(|(of, _, _)| *of == stage).unwrap();
        assert_eq!(last.1, last.2, "{stage:?}");
    }
}

#[test]
fn cancelling_stops_at_any_point_and_finishes_its_stage() {
    let models = FakeModels::new();
    let (exemplar, mask) = phantom(6, 5.0, 3);
    let bank = bank_of(&models, "a", &exemplar, &mask);
    let request = Request { volume: &exemplar, labels: &[ORGAN], prompts: &[], options: Options::default() };
    for limit in 0..12 {
        let watch = Watch { stop_after: Some(limit), ..Watch::default() };
        let failure = segment(&models, &bank, &request, &watch).unwrap_err();
        assert!(matches!(failure, Error::Cancelled), "{limit}");
        assert_eq!(watch.stages.into_inner().unwrap().last().map(|(_, started)| *started), Some(false));
    }
}
