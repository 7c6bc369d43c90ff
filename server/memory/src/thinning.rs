//! Which negatives are worth keeping.

/// Thinning of negatives. A complete annotation says of every slice whether a label is there, and most slices of a
/// long series are far from it and alike: the negatives next to the label's ends are all kept, since they tell
/// where it ends; of those farther away, one in a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// Slices from the nearest slice with the label within which every negative is kept.
    pub near: usize,
    /// Farther away, one negative in this many is kept. 0: none.
    pub every: usize,
}

impl Default for Thinning {
    fn default() -> Self {
        Self { near: 3, every: 4 }
    }
}

impl Thinning {
    /// Which slices of a series to keep for a label, in the order of the volume: `present` says where it has
    /// pixels. Every slice with the label is kept. A label that is nowhere keeps one slice in `every`.
    pub fn keep(&self, present: &[bool]) -> Vec<bool> {
        let distances = distances(present);
        let wanted = |(index, distance): (usize, Option<usize>)| match distance {
            Some(distance) if distance <= self.near => true,
            _ if self.every == 0 => false,
            Some(distance) => (distance - self.near).is_multiple_of(self.every),
            None => index.is_multiple_of(self.every),
        };
        distances.into_iter().enumerate().map(wanted).collect()
    }
}

/// Slices between each slice and the nearest one with the label; `None` where it is nowhere.
fn distances(present: &[bool]) -> Vec<Option<usize>> {
    let mut distances = vec![None; present.len()];
    let mut sweep = |order: &mut dyn Iterator<Item = usize>| {
        let mut since: Option<usize> = None;
        for index in order {
            since = if present[index] { Some(0) } else { since.map(|distance| distance + 1) };
            let nearer = match (distances[index], since) {
                (Some(a), Some(b)) => Some(b.min(a)),
                (a, b) => a.or(b),
            };
            distances[index] = nearer;
        }
    };
    sweep(&mut (0..present.len()));
    sweep(&mut (0..present.len()).rev());
    distances
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(near: usize, every: usize, series: &str) -> String {
        let present: Vec<bool> = series.bytes().map(|b| b == b'#').collect();
        Thinning { near, every }.keep(&present).into_iter().map(|kept| if kept { '+' } else { '.' }).collect()
    }

    #[test]
    fn near_negatives_stay_and_far_ones_are_thinned() {
        for (near, every, series, kept) in [
            (1, 0, "....##....", "...++++..."),
            (1, 2, "......##......", ".+.+.++++.+.+."),
            (0, 3, ".........", "+..+..+.."),
            (0, 0, "#.#", "+.+"),
            (2, 1, ".....#", "++++++"),
            (1, 1, "", ""),
        ] {
            assert_eq!(keep(near, every, series), kept, "near {near}, every {every}, {series}");
        }
    }
}
