//! Which exemplars a slice and label is conditioned on.
//!
//! The bank answers the slices that look most alike, each by itself; here studies vote. A study that resembles the
//! whole target counts for more than one slice's likeness, and no study fills the list, so that neither one
//! slice's accident nor one patient decides.

use crate::Result;
use crate::error::{BankSnafu, ModalityMismatchSnafu, NoExemplarsSnafu, UnknownLabelSnafu};
use crate::exemplars::{Exemplars, Neighbour};
use crate::observer::Steps;
use ndarray::Array2;
use snafu::{ResultExt, ensure};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Candidates looked at for each exemplar that is taken.
const CANDIDATES: usize = 4;
/// A study may take this many times its equal share of a list.
const STUDY_SHARE: f32 = 1.5;

/// The exemplars of one slice and label: first those for whole slices, then those that closer looks get besides; in
/// either part the most similar first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Selection {
    pub exemplars: Vec<Neighbour>,
}

impl Selection {
    /// Whether any exemplar shows the label.
    pub fn any_present(&self) -> bool {
        self.exemplars.iter().any(|neighbour| neighbour.present)
    }
}

/// How many exemplars a slice gets, and how they are ranked.
pub(crate) struct Wanted {
    pub counts: Counts,
    pub study_weight: f32,
}

/// Exemplars of a slice; closer looks get those of whole slices and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub whole: usize,
    pub close: usize,
}

/// Selections of one label for every slice.
/// Empty where the label has no exemplar to offer and `optional` says that this is no error.
pub(crate) fn select(
    exemplars: &dyn Exemplars,
    label: &str,
    modality: &str,
    vectors: &Array2<f32>,
    wanted: &Wanted,
    optional: bool,
    steps: &mut Steps,
) -> Result<Vec<Selection>> {
    let action = "search exemplars";
    let mut candidates = vec![];
    for vector in vectors.outer_iter() {
        let limit = wanted.counts.close.saturating_mul(CANDIDATES);
        candidates.push(exemplars.nearest(label, modality, vector, limit).context(BankSnafu { action })?);
        steps.advance(1)?;
    }
    let anything = candidates.iter().flatten().any(|neighbour| neighbour.present);
    if !anything && !optional {
        explain(exemplars, label, modality)?;
    }
    if !anything {
        return Ok(vec![Selection::default(); candidates.len()]);
    }
    let leads = study_leads(&candidates);
    Ok(candidates.into_iter().map(|found| choose(found, &leads, wanted)).collect())
}

/// Why a label has no exemplar here; always an error.
fn explain(exemplars: &dyn Exemplars, label: &str, modality: &str) -> Result<()> {
    let known = exemplars.modalities(label).context(BankSnafu { action: "look up a label" })?;
    ensure!(!known.is_empty(), UnknownLabelSnafu { label });
    ensure!(
        known.contains(modality),
        ModalityMismatchSnafu { label, modality, available: Vec::from_iter(known) }
    );
    NoExemplarsSnafu { label }.fail()
}

/// How much more each study resembles the whole target than the studies do on average: its best similarity,
/// averaged over the slices in which it is a candidate.
fn study_leads(candidates: &[Vec<Neighbour>]) -> HashMap<Arc<str>, f32> {
    let mut sums: HashMap<Arc<str>, (f32, usize)> = HashMap::new();
    for found in candidates {
        let mut best: HashMap<&Arc<str>, f32> = HashMap::new();
        for neighbour in found {
            let slot = best.entry(&neighbour.study).or_insert(neighbour.similarity);
            *slot = slot.max(neighbour.similarity);
        }
        for (study, similarity) in best {
            let sum = sums.entry(Arc::clone(study)).or_default();
            *sum = (sum.0 + similarity, sum.1 + 1);
        }
    }
    let means: HashMap<_, _> =
        sums.into_iter().map(|(study, (sum, count))| (study, sum / count.max(1) as f32)).collect();
    let average = means.values().sum::<f32>() / means.len().max(1) as f32;
    means.into_iter().map(|(study, mean)| (study, mean - average)).collect()
}

/// The best of the candidates, no study with more than its share as long as others have something to offer.
fn choose(mut found: Vec<Neighbour>, leads: &HashMap<Arc<str>, f32>, wanted: &Wanted) -> Selection {
    let rank = |neighbour: &Neighbour| {
        neighbour.similarity + wanted.study_weight * leads.get(&neighbour.study).copied().unwrap_or_default()
    };
    found.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    let studies = found.iter().map(|neighbour| &neighbour.study).collect::<BTreeSet<_>>().len();
    let mut chosen: Vec<Neighbour> = vec![];
    for count in [wanted.counts.whole, wanted.counts.close] {
        let share = (STUDY_SHARE * count as f32 / studies.max(1) as f32).ceil() as usize;
        found = fill(&mut chosen, found, count, share);
    }
    Selection { exemplars: chosen }
}

/// Takes the best of the candidates until there are `count`, no more than `share` of a study as long as others have
/// something to offer. Answers those that were not taken, in their order.
fn fill(chosen: &mut Vec<Neighbour>, found: Vec<Neighbour>, count: usize, share: usize) -> Vec<Neighbour> {
    let mut taken: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for neighbour in chosen.iter() {
        *taken.entry(Arc::clone(&neighbour.study)).or_default() += 1;
    }
    let mut spare = vec![];
    for neighbour in found {
        let of_study = taken.entry(Arc::clone(&neighbour.study)).or_default();
        if *of_study < share && chosen.len() < count {
            *of_study += 1;
            chosen.push(neighbour);
        } else {
            spare.push(neighbour);
        }
    }
    let missing = count.saturating_sub(chosen.len()).min(spare.len());
    chosen.extend(spare.drain(..missing));
    spare
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_memory::{ExemplarId, SliceId};

    fn neighbour(id: u64, study: &str, similarity: f32) -> Neighbour {
        let exemplar = ExemplarId { slice: SliceId(id), entry: 0 };
        Neighbour { exemplar, study: study.into(), present: true, similarity }
    }

    fn chosen(
        found: &[Neighbour],
        leads: &HashMap<Arc<str>, f32>,
        count: usize,
        study_weight: f32,
    ) -> Vec<u64> {
        let counts = Counts { whole: count, close: count };
        let selection = choose(found.to_vec(), leads, &Wanted { counts, study_weight });
        selection.exemplars.iter().map(|neighbour| neighbour.exemplar.slice.0).collect()
    }

    #[test]
    fn no_study_fills_the_list_while_others_have_something_to_offer() {
        let found: Vec<Neighbour> = (0_u16..6)
            .map(|id| neighbour(u64::from(id), "a", 0.9 - f32::from(id) / 100.0))
            .chain((6_u16..8).map(|id| neighbour(u64::from(id), "b", 0.5)))
            .collect();
        let none = HashMap::new();
        assert_eq!(chosen(&found, &none, 4, 0.0), [0, 1, 2, 6]);
        assert_eq!(chosen(&found[..6], &none, 4, 0.0), [0, 1, 2, 3]);
        assert_eq!(chosen(&found, &none, 20, 0.0).len(), 8);
    }

    #[test]
    fn closer_looks_get_the_exemplars_of_whole_slices_and_more() {
        let found: Vec<Neighbour> = (0_u16..8)
            .map(|id| neighbour(u64::from(id), if id < 5 { "a" } else { "b" }, 0.9 - f32::from(id) / 100.0))
            .collect();
        let wanted = |whole, close| Wanted { counts: Counts { whole, close }, study_weight: 0.0 };
        let ids = |whole, close| -> Vec<u64> {
            let selection = choose(found.clone(), &HashMap::new(), &wanted(whole, close));
            selection.exemplars.iter().map(|neighbour| neighbour.exemplar.slice.0).collect()
        };
        assert_eq!(ids(2, 2), [0, 1]);
        assert_eq!(ids(2, 5), [0, 1, 2, 3, 5]);
        assert_eq!(ids(2, 20).len(), 8);
    }

    #[test]
    fn a_study_like_the_whole_target_outdoes_one_slices_accident() {
        let slices = [
            vec![neighbour(0, "alike", 0.9), neighbour(1, "other", 0.3)],
            vec![neighbour(2, "alike", 0.8), neighbour(3, "other", 0.85)],
        ];
        let leads = study_leads(&slices);
        assert!(leads["alike"] > 0.0 && leads["other"] < 0.0);
        assert_eq!(chosen(&slices[1], &leads, 1, 0.5), [2]);
        assert_eq!(chosen(&slices[1], &leads, 1, 0.0), [3]);
    }
}
