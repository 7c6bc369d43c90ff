//! How far slices lie from one another, as propagation sees it.

use crate::options::SliceOrder;
use engram_imaging::VolumeGeometry;

/// Slices along a line.
pub(crate) struct Line {
    /// Slices in the order they are visited.
    pub order: Vec<usize>,
    /// Where each slice stands in the order.
    ranks: Vec<usize>,
    /// Where each slice lies, in usual steps.
    places: Vec<f64>,
}

impl Line {
    /// Distances are physical where the file gives positions, so that a gap is one; else a slice is a step, as
    /// it is in a shuffled order.
    pub fn new(geometry: &VolumeGeometry, slices: usize, order: SliceOrder) -> Self {
        let natural: Vec<usize> = (0..slices).collect();
        match order {
            SliceOrder::Natural => {
                Self { places: physical(geometry, slices), ranks: natural.clone(), order: natural }
            }
            SliceOrder::Shuffled(seed) => {
                let order = shuffled(natural, seed);
                let mut ranks = vec![0; slices];
                for (rank, slice) in order.iter().enumerate() {
                    ranks[*slice] = rank;
                }
                let places = ranks.iter().map(|rank| *rank as f64).collect();
                Self { order, ranks, places }
            }
        }
    }

    /// Where a slice stands in the order.
    pub fn rank(&self, slice: usize) -> usize {
        self.ranks[slice]
    }

    /// The slices next to one in the order, where they are a step away.
    pub fn beside(&self, slice: usize) -> impl Iterator<Item = usize> {
        let rank = self.rank(slice);
        let ranks = [rank.checked_sub(1), Some(rank + 1)];
        let beside = ranks.into_iter().flatten().filter_map(|rank| self.order.get(rank).copied());
        beside.filter(move |other| self.steps(slice, *other) == 1)
    }

    /// Whole steps between two slices; neighbours are at least one apart.
    pub fn steps(&self, a: usize, b: usize) -> usize {
        let distance = (self.places[a] - self.places[b]).abs().round() as usize;
        if a == b { 0 } else { distance.max(1) }
    }
}

fn physical(geometry: &VolumeGeometry, slices: usize) -> Vec<f64> {
    let offsets = geometry.offsets();
    let step = geometry.slice_spacing().filter(|step| geometry.spatial && *step > 0.0);
    match step {
        Some(step) if offsets.len() == slices => offsets.into_iter().map(|offset| offset / step).collect(),
        _ => (0..slices).map(|slice| slice as f64).collect(),
    }
}

/// Fisher-Yates over splitmix64: the same seed, the same order, everywhere.
fn shuffled(mut items: Vec<usize>, seed: u64) -> Vec<usize> {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        items.swap(last, (mixed % (last as u64 + 1)) as usize);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(z: &[f64], spatial: bool) -> VolumeGeometry {
        VolumeGeometry {
            columns: 4,
            rows: 4,
            pixel_spacing: [1.0, 1.0],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            positions: z.iter().map(|z| [0.0, 0.0, *z]).collect(),
            spatial,
        }
    }

    #[test]
    fn a_gap_counts_by_its_millimetres_where_they_are_known() {
        let positions = [0.0, 5.0, 10.0, 25.0, 30.0];
        let line = Line::new(&geometry(&positions, true), 5, SliceOrder::Natural);
        assert_eq!((line.steps(1, 2), line.steps(2, 3), line.steps(4, 0)), (1, 3, 6));
        let line = Line::new(&geometry(&positions, false), 5, SliceOrder::Natural);
        assert_eq!((line.steps(2, 3), line.steps(4, 0)), (1, 4));
    }

    #[test]
    fn shuffling_keeps_every_slice_and_makes_neighbours_of_strangers() {
        let line = Line::new(&geometry(&[0.0; 20], false), 20, SliceOrder::Shuffled(7));
        let mut sorted = line.order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        assert_ne!(line.order, sorted);
        assert_eq!(line.steps(line.order[3], line.order[4]), 1);
        let again = Line::new(&geometry(&[0.0; 20], false), 20, SliceOrder::Shuffled(7));
        assert_eq!(again.order, line.order);
    }
}
