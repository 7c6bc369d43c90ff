//! Connected components of a label volume.

use ndarray::Array3;
use std::collections::HashMap;

/// Voxels of one value next to each other in a row.
struct Run {
    start: usize,
    end: usize,
    value: u8,
    component: usize,
}

/// Sets to 0 every component that has less than `share` of the voxels of its label's largest one. Voxels are
/// connected through their faces, slices included; 0 is background.
pub(crate) fn drop_small_components(labels: &mut Array3<u8>, share: f64) {
    let mut forest = Forest::default();
    let rows = runs(labels, &mut forest);
    let mut largest: HashMap<u8, usize> = HashMap::new();
    for run in rows.values().flatten() {
        let size = forest.size(run.component);
        let slot = largest.entry(run.value).or_default();
        *slot = size.max(*slot);
    }
    for ((slice, row), runs) in &rows {
        for run in runs {
            let limit = share * largest.get(&run.value).copied().unwrap_or_default() as f64;
            if (forest.size(run.component) as f64) < limit {
                for column in run.start..run.end {
                    labels[[*slice, *row, column]] = 0;
                }
            }
        }
    }
}

/// Runs of every row that has any, joined to components.
fn runs(labels: &Array3<u8>, forest: &mut Forest) -> HashMap<(usize, usize), Vec<Run>> {
    let (slices, rows, columns) = labels.dim();
    let mut found: HashMap<(usize, usize), Vec<Run>> = HashMap::new();
    for slice in 0..slices {
        for row in 0..rows {
            let mut here: Vec<Run> = vec![];
            let mut column = 0;
            while column < columns {
                let value = labels[[slice, row, column]];
                let start = column;
                while column < columns && labels[[slice, row, column]] == value {
                    column += 1;
                }
                if value != 0 {
                    here.push(Run { start, end: column, value, component: forest.add(column - start) });
                }
            }
            if here.is_empty() {
                continue;
            }
            let above = row.checked_sub(1).map(|row| (slice, row));
            let below = slice.checked_sub(1).map(|slice| (slice, row));
            for neighbour in [above, below].into_iter().flatten().filter_map(|key| found.get(&key)) {
                join_touching(neighbour, &here, forest);
            }
            found.insert((slice, row), here);
        }
    }
    found
}

fn join_touching(before: &[Run], here: &[Run], forest: &mut Forest) {
    let mut first = 0;
    for run in here {
        while before.get(first).is_some_and(|other| other.end <= run.start) {
            first += 1;
        }
        for other in before[first..].iter().take_while(|other| other.start < run.end) {
            if other.value == run.value {
                forest.join(other.component, run.component);
            }
        }
    }
}

/// Disjoint sets with their sizes.
#[derive(Default)]
struct Forest {
    parent: Vec<usize>,
    size: Vec<usize>,
}

impl Forest {
    fn add(&mut self, size: usize) -> usize {
        self.parent.push(self.parent.len());
        self.size.push(size);
        self.parent.len() - 1
    }

    fn root(&self, mut of: usize) -> usize {
        while self.parent[of] != of {
            of = self.parent[of];
        }
        of
    }

    fn size(&self, of: usize) -> usize {
        self.size[self.root(of)]
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (small, large) = if self.size[a] < self.size[b] { (a, b) } else { (b, a) };
        self.parent[small] = large;
        self.size[large] += self.size[small];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn small_components_go_and_touching_labels_stay_apart() {
        let mut labels = array![
            [[1, 1, 0, 0, 1], [1, 2, 2, 0, 0], [0, 0, 2, 0, 3]],
            [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [2, 0, 2, 0, 0]],
        ];
        drop_small_components(&mut labels, 0.3);
        assert_eq!(
            labels,
            array![
                [[1, 1, 0, 0, 0], [1, 2, 2, 0, 0], [0, 0, 2, 0, 3]],
                [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 2, 0, 0]],
            ]
        );
    }

    #[test]
    fn a_bend_that_meets_again_is_one_component() {
        let mut labels = array![[[1, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]]];
        let before = labels.clone();
        drop_small_components(&mut labels, 0.4);
        assert_eq!(labels, before);
        drop_small_components(&mut labels, 0.5);
        assert_eq!(labels, array![[[1, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]]);
    }
}
