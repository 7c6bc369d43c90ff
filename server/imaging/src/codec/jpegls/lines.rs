//! What coding and decoding a scan have in common (T.87 annex A).

/// J: bits of the length of a run (T.87 A.2.1).
pub(super) const RUN_BITS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Regular contexts: 9 * 9 * 9 gradients, halved by sign.
pub(super) const CONTEXTS: usize = 365;

/// Two lines of a component, each with a place before and after its samples for the neighbours of the edge
/// ones (T.87 A.2.1).
pub(super) struct Lines {
    pub above: Vec<i32>,
    pub current: Vec<i32>,
}

impl Lines {
    pub fn new(columns: usize) -> Self {
        Self { above: vec![0; columns + 2], current: vec![0; columns + 2] }
    }

    /// Sets the neighbours of the edge samples.
    pub fn start(&mut self, columns: usize) {
        self.above[columns + 1] = self.above[columns];
        self.current[0] = self.above[1];
    }

    /// Ra, Rb, Rc, Rd of the sample at `place`, counted from 1.
    pub fn neighbours(&self, place: usize) -> [i32; 4] {
        [self.current[place - 1], self.above[place], self.above[place - 1], self.above[place + 1]]
    }
}

/// The prediction of a sample by its neighbours, not yet corrected (T.87 A.4.1).
pub(super) fn prediction([a, b, c, _]: [i32; 4]) -> i32 {
    if c >= a.max(b) {
        a.min(b)
    } else if c <= a.min(b) {
        a.max(b)
    } else {
        a + b - c
    }
}
