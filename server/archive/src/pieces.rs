//! Large changes to a sled tree, in pieces.
//!
//! sled 0.34 stands still for ever when its log shrinks while more buffers wait to be written than its pool has
//! threads (seven): every thread waits for a lock whose holder waits for the file to be cut, and the cut waits for a
//! thread (`SegmentAccountant::bump_tip`). A flush after every few buffers keeps it away from there; so what changes
//! more than a few megabytes of a tree, and `sled::Tree::clear`, goes this way.

use sled::{IVec, Result, Tree};

/// Bytes of keys and values changed between two flushes: half of sled's buffer of 512 KiB.
const PIECE: usize = 256 << 10;
/// What a change costs in the log beside its key and value, about.
const CHANGE: usize = 64;

/// Makes each change by itself, `None` being a removal; a crash leaves some made and some not.
///
/// # Errors
/// sled's.
pub fn change_in_pieces(
    tree: &Tree,
    changes: impl IntoIterator<Item = (impl Into<IVec>, Option<impl Into<IVec>>)>,
) -> Result<()> {
    let mut unwritten = 0;
    for (key, value) in changes {
        let (key, value): (IVec, Option<IVec>) = (key.into(), value.map(Into::into));
        unwritten += CHANGE + key.len() + value.as_ref().map_or(0, |value| value.len());
        match value {
            Some(value) => tree.insert(key, value)?,
            None => tree.remove(key)?,
        };
        if unwritten >= PIECE {
            tree.flush()?;
            unwritten = 0;
        }
    }
    tree.flush()?;
    Ok(())
}

/// Removes all there is.
///
/// # Errors
/// sled's.
pub fn clear_in_pieces(tree: &Tree) -> Result<()> {
    let keys: Vec<IVec> = tree.iter().keys().collect::<Result<_>>()?;
    change_in_pieces(tree, keys.into_iter().map(|key| (key, None::<IVec>)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_made_and_all_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let tree = sled::open(folder.path()).unwrap().open_tree("t").unwrap();
        let value = |number: u32| vec![number as u8; 3000];
        let puts = (0_u32..300).map(|number| (number.to_be_bytes().to_vec(), Some(value(number))));
        change_in_pieces(&tree, puts).unwrap();
        assert_eq!(tree.len(), 300);
        assert_eq!(tree.get(7_u32.to_be_bytes()).unwrap().unwrap(), value(7));
        change_in_pieces(&tree, [(7_u32.to_be_bytes().to_vec(), None::<IVec>)]).unwrap();
        assert_eq!((tree.len(), tree.get(7_u32.to_be_bytes()).unwrap()), (299, None));
        clear_in_pieces(&tree).unwrap();
        assert!(tree.is_empty());
    }
}
