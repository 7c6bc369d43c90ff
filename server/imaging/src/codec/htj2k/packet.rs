//! Packets: the code blocks of a resolution of a component, and their header (T.800 B.9, B.10).

use super::bits::UpperBits;
use super::block;

/// Sides of a code block.
const BLOCK: usize = 64;
/// Lblock as it starts (T.800 B.10.7.1).
const FIRST_LENGTH_BITS: u32 = 3;

/// A subband's place in the plane.
pub(super) struct Band {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
    /// M_b (T.800 equation E-2).
    pub bit_planes: u32,
}

/// Writes the packet of some subbands of a plane whose rows are `stride` samples long.
pub(super) fn write(plane: &[i32], stride: usize, bands: &[Band], out: &mut Vec<u8>) {
    let mut header = UpperBits::default();
    let mut body = Vec::new();
    header.bit(1);
    for band in bands {
        let (across, down) = (band.width.div_ceil(BLOCK), band.height.div_ceil(BLOCK));
        let blocks = blocks(plane, stride, band);
        let mut left_out = TagTree::new(across, down, blocks.iter().map(|block| u32::from(block.is_none())));
        // All bit planes but the lowest, in which the one coding pass is told to be.
        let mut empty_planes = TagTree::new(across, down, blocks.iter().map(|_| band.bit_planes - 1));
        for (index, block) in blocks.into_iter().enumerate() {
            let (x, y) = (index % across, index / across);
            left_out.put(x, y, 1, &mut header);
            let Some(mut block) = block else { continue };
            empty_planes.put(x, y, band.bit_planes, &mut header);
            // One coding pass.
            header.bit(0);
            let length_bits = (usize::BITS - block.len().leading_zeros()).max(FIRST_LENGTH_BITS);
            (FIRST_LENGTH_BITS..length_bits).for_each(|_| header.bit(1));
            header.bit(0);
            header.number(block.len() as u32, length_bits);
            body.append(&mut block);
        }
    }
    out.append(&mut header.finish());
    out.append(&mut body);
}

/// The code blocks of a subband, row by row; `None` where all samples are 0.
fn blocks(plane: &[i32], stride: usize, band: &Band) -> Vec<Option<Vec<u8>>> {
    let mut blocks = Vec::new();
    for top in (0..band.height).step_by(BLOCK) {
        for left in (0..band.width).step_by(BLOCK) {
            let (width, height) = (BLOCK.min(band.width - left), BLOCK.min(band.height - top));
            let rows = plane.chunks_exact(stride).skip(band.top + top).take(height);
            let rows: Vec<&[i32]> = rows.map(|row| &row[band.left + left..][..width]).collect();
            blocks.push(block::encode(&rows, width));
        }
    }
    blocks
}

/// A tag tree (T.800 B.10.2).
struct TagTree {
    /// From the leaves to the root.
    levels: Vec<Level>,
}

struct Level {
    across: usize,
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    value: u32,
    /// What was said already: that the value is not below this, and, if `known`, that it is this.
    low: u32,
    known: bool,
}

impl TagTree {
    fn new(across: usize, down: usize, values: impl Iterator<Item = u32>) -> Self {
        let node = |value| Node { value, low: 0, known: false };
        let mut levels = vec![Level { across, nodes: values.map(node).collect() }];
        let (mut across, mut down) = (across, down);
        while across * down > 1 {
            let (parents_across, parents_down) = (across.div_ceil(2), down.div_ceil(2));
            let mut parents = vec![node(u32::MAX); parents_across * parents_down];
            if let Some(children) = levels.last() {
                for (index, child) in children.nodes.iter().enumerate() {
                    let parent = &mut parents[index / across / 2 * parents_across + index % across / 2];
                    parent.value = parent.value.min(child.value);
                }
            }
            (across, down) = (parents_across, parents_down);
            levels.push(Level { across, nodes: parents });
        }
        Self { levels }
    }

    /// Says of a leaf whether its value is below `threshold`, and which it is then.
    fn put(&mut self, x: usize, y: usize, threshold: u32, bits: &mut UpperBits) {
        let mut low = 0;
        for (depth, level) in self.levels.iter_mut().enumerate().rev() {
            let node = &mut level.nodes[(y >> depth) * level.across + (x >> depth)];
            low = low.max(node.low);
            while low < threshold && low < node.value {
                bits.bit(0);
                low += 1;
            }
            if low < threshold && !node.known {
                bits.bit(1);
                node.known = true;
            }
            node.low = low;
        }
    }
}
