//! Which fragments make which frame (PS3.5 A.4, PS3.3 C.7.6.3.1.8).

use crate::error::{FragmentsSnafu, Result};
use snafu::OptionExt;
use std::ops::Range;

/// Bytes of an item's tag and length, which offset tables count.
const ITEM_HEADER: u64 = 8;

/// The ranges of fragments that make each frame. `offsets`: extended or basic offset table, empty where there
/// is none. A table that no fragment boundary agrees with is ignored, as if it were not there.
pub(super) fn by_frame<F: AsRef<[u8]>>(
    fragments: &[F],
    offsets: &[u64],
    frames: usize,
) -> Result<Vec<Range<usize>>> {
    if frames == 1 && !fragments.is_empty() {
        return Ok(std::iter::once(0..fragments.len()).collect());
    }
    by_offsets(fragments, offsets, frames)
        .or_else(|| one_each(fragments, frames))
        .or_else(|| by_start_of_image(fragments, frames))
        .context(FragmentsSnafu {
            fragments: fragments.len(),
            frames,
            reason: if fragments.len() < frames {
                "there are fewer fragments than frames"
            } else {
                "neither an offset table nor the fragments tell where a frame starts"
            },
        })
}

fn by_offsets<F: AsRef<[u8]>>(fragments: &[F], offsets: &[u64], frames: usize) -> Option<Vec<Range<usize>>> {
    if offsets.len() != frames {
        return None;
    }
    let mut position = 0;
    let starts: Vec<u64> = fragments
        .iter()
        .map(|fragment| {
            let start = position;
            position += ITEM_HEADER + fragment.as_ref().len() as u64;
            start
        })
        .collect();
    let first: Vec<usize> =
        offsets.iter().map(|offset| starts.binary_search(offset).ok()).collect::<Option<_>>()?;
    (first.first() == Some(&0)).then_some(())?;
    ranges(&first, fragments.len())
}

fn one_each<F>(fragments: &[F], frames: usize) -> Option<Vec<Range<usize>>> {
    (fragments.len() == frames).then(|| (0..frames).map(|frame| frame..frame + 1).collect())
}

/// Without a table, a frame starts where a fragment opens a codestream: JPEG and JPEG-LS by SOI and another
/// marker, JPEG 2000 by SOC and SIZ.
fn by_start_of_image<F: AsRef<[u8]>>(fragments: &[F], frames: usize) -> Option<Vec<Range<usize>>> {
    let opens =
        |bytes: &[u8]| bytes.starts_with(&[0xFF, 0xD8, 0xFF]) || bytes.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]);
    let first: Vec<usize> = (0..fragments.len())
        .filter(|index| fragments.get(*index).is_some_and(|fragment| opens(fragment.as_ref())))
        .collect();
    (first.len() == frames && first.first() == Some(&0)).then_some(())?;
    ranges(&first, fragments.len())
}

/// From each frame's first fragment to the next frame's. None unless strictly ascending.
fn ranges(first: &[usize], fragments: usize) -> Option<Vec<Range<usize>>> {
    let ends = first.iter().skip(1).copied().chain(std::iter::once(fragments));
    first.iter().zip(ends).map(|(start, end)| (*start < end).then_some(*start..end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = &[0xFF, 0xD8, 0xFF, 0xC0];
    const REST: &[u8] = &[1, 2, 3, 4, 5, 6];

    #[test]
    fn frames_are_found_by_table_count_or_marker() {
        type Case<'a> = (&'a [&'a [u8]], &'a [u64], usize, Option<&'a [(usize, usize)]>);
        let cases: [Case; 9] = [
            (&[START, REST], &[], 1, Some(&[(0, 2)])),
            (&[START, START], &[], 2, Some(&[(0, 1), (1, 2)])),
            (&[START, REST, START, REST], &[0, 26], 2, Some(&[(0, 2), (2, 4)])),
            (&[REST, REST, REST], &[0, 14], 2, Some(&[(0, 1), (1, 3)])),
            (&[START, REST, START], &[], 2, Some(&[(0, 2), (2, 3)])),
            (&[START, REST, START], &[0, 13], 2, Some(&[(0, 2), (2, 3)])),
            (&[REST, START, REST], &[], 2, None),
            (&[START], &[], 2, None),
            (&[], &[], 1, None),
        ];
        for (fragments, offsets, frames, expected) in cases {
            let found = by_frame(fragments, offsets, frames).ok();
            let found: Option<Vec<(usize, usize)>> =
                found.map(|ranges| ranges.into_iter().map(|range| (range.start, range.end)).collect());
            assert_eq!(found.as_deref(), expected, "{fragments:?} {offsets:?}");
        }
    }

    #[test]
    fn a_table_that_runs_backwards_is_ignored() {
        assert!(by_frame(&[REST, REST, REST], &[14, 0], 2).is_err());
        assert!(by_frame(&[REST, REST, REST], &[0, 0], 2).is_err());
    }
}
