//! What a scan is coded with, and the statistics that adapt as it goes (T.87 annex A).

use super::header::Preset;
use crate::codec::{MalformedSnafu, Result};
use snafu::ensure;

/// Constants of a scan (T.87 A.2.1, C.2.4.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters {
    /// MAXVAL.
    pub largest: i32,
    /// NEAR.
    pub near: i32,
    /// T1, T2, T3.
    pub thresholds: [i32; 3],
    /// RESET.
    pub reset: i32,
    /// RANGE.
    pub range: i32,
    /// qbpp.
    pub error_bits: u32,
    /// LIMIT.
    pub limit: u32,
}

impl Parameters {
    pub fn new(precision: u8, near: i32, preset: Preset) -> Result<Self> {
        let highest = (1 << precision) - 1;
        let largest = if preset.largest == 0 { highest } else { i32::from(preset.largest) };
        ensure!((1..=highest).contains(&largest), MalformedSnafu { what: "MAXVAL exceeds the precision" });
        ensure!(near <= (largest / 2).min(255), MalformedSnafu { what: "NEAR is too large" });
        let [first, second, third] = default_thresholds(largest, near);
        let given = preset.thresholds.map(i32::from);
        let or = |given: i32, default: i32| if given == 0 { default } else { given };
        let thresholds = [or(given[0], first), or(given[1], second), or(given[2], third)];
        let ordered = near < thresholds[0]
            && thresholds[0] <= thresholds[1]
            && thresholds[1] <= thresholds[2]
            && thresholds[2] <= largest;
        ensure!(ordered, MalformedSnafu { what: "its thresholds are out of order" });
        let reset = or(i32::from(preset.reset), 64);
        ensure!(
            (3..=largest.max(255)).contains(&reset),
            MalformedSnafu { what: "RESET is out of its bounds" }
        );
        let range = (largest + 2 * near) / (2 * near + 1) + 1;
        let sample_bits = bits_for(largest + 1).max(2);
        Ok(Self {
            largest,
            near,
            thresholds,
            reset,
            range,
            error_bits: bits_for(range),
            limit: 2 * (sample_bits + sample_bits.max(8)),
        })
    }

    /// Distance between reconstruction levels.
    pub fn step(&self) -> i32 {
        2 * self.near + 1
    }

    /// Q of a local gradient, -4 to 4 (T.87 A.3.3).
    fn quantise(&self, gradient: i32) -> i32 {
        let [first, second, third] = self.thresholds;
        let size = match gradient.abs() {
            size if size <= self.near => 0,
            size if size < first => 1,
            size if size < second => 2,
            size if size < third => 3,
            _ => 4,
        };
        if gradient < 0 { -size } else { size }
    }

    /// The three gradients around a sample as one number; its sign is the sign of the context (T.87 A.3.4).
    pub fn context_number(&self, [a, b, c, d]: [i32; 4]) -> i32 {
        81 * self.quantise(d - b) + 9 * self.quantise(b - c) + self.quantise(c - a)
    }

    /// An error of lossless coding modulo RANGE, the smallest in size of those it can stand for (T.87 A.4.5).
    pub fn reduce(&self, error: i32) -> i32 {
        let error = if error < 0 { error + self.range } else { error };
        if error >= (self.range + 1) / 2 { error - self.range } else { error }
    }

    /// A sample from its prediction and the error, both in sample units (T.87 A.4.5).
    pub fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let period = self.range * self.step();
        let mut sample = prediction + error;
        if sample < -self.near {
            sample += period;
        } else if sample > self.largest + self.near {
            sample -= period;
        }
        sample.clamp(0, self.largest)
    }
}

/// ceil(log2(values)).
fn bits_for(values: i32) -> u32 {
    32 - (values - 1).leading_zeros()
}

/// T.87 C.2.4.1.1.1.
fn default_thresholds(largest: i32, near: i32) -> [i32; 3] {
    let clamp = |value: i32, low: i32| if value > largest || value < low { low } else { value };
    let (a, b, c) = if largest >= 128 {
        let factor = (largest.min(4095) + 128) / 256;
        (factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near)
    } else {
        let factor = 256 / (largest + 1);
        ((3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4))
    };
    let first = clamp(a, near + 1);
    let second = clamp(b, first);
    [first, second, clamp(c, second)]
}

/// A, B, C, N of a regular context (T.87 A.6).
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub magnitude: i64,
    pub bias: i64,
    pub correction: i32,
    pub count: i32,
}

impl Context {
    pub fn new(range: i32) -> Self {
        Self { magnitude: first_magnitude(range), bias: 0, correction: 0, count: 1 }
    }

    /// The Golomb parameter k (T.87 A.5.1).
    pub fn golomb(&self) -> u32 {
        golomb(self.count, self.magnitude)
    }

    /// Whether even numbers stand for negative errors in lossless coding: those are likelier then (T.87 A.5.2).
    pub fn is_inverted(&self, k: u32) -> bool {
        k == 0 && 2 * self.bias <= -i64::from(self.count)
    }

    /// T.87 A.6.1 and A.6.2. `error` is in steps.
    pub fn update(&mut self, error: i32, parameters: &Parameters) {
        self.bias += i64::from(error) * i64::from(parameters.step());
        self.magnitude += i64::from(error.abs());
        if self.count == parameters.reset {
            self.magnitude >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        let count = i64::from(self.count);
        if self.bias <= -count {
            self.bias = (self.bias + count).max(1 - count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// A, N, Nn of a context for the sample that ends a run (T.87 A.7.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext {
    pub magnitude: i64,
    pub count: i32,
    pub negative: i32,
    /// RItype: 1 where the neighbours are alike.
    pub alike: i32,
}

impl RunContext {
    pub fn new(range: i32, alike: bool) -> Self {
        Self { magnitude: first_magnitude(range), count: 1, negative: 0, alike: i32::from(alike) }
    }

    pub fn golomb(&self) -> u32 {
        golomb(self.count, self.magnitude + i64::from((self.count >> 1) * self.alike))
    }

    /// The error that a mapped one stands for (T.87 A.7.2.2).
    pub fn error(&self, mapped: i32, k: u32) -> i32 {
        let doubled = mapped + self.alike;
        let odd = doubled & 1;
        let size = (doubled + odd) / 2;
        if self.is_odd_negative(k) == (odd == 1) { -size } else { size }
    }

    /// The other way.
    pub fn mapped(&self, error: i32, k: u32) -> i32 {
        let odd = error != 0 && self.is_odd_negative(k) == (error < 0);
        2 * error.abs() - self.alike - i32::from(odd)
    }

    /// Whether odd numbers stand for negative errors: those are rarer then.
    fn is_odd_negative(&self, k: u32) -> bool {
        k != 0 || 2 * self.negative >= self.count
    }

    /// T.87 A.7.2.
    pub fn update(&mut self, error: i32, mapped: i32, reset: i32) {
        if error < 0 {
            self.negative += 1;
        }
        self.magnitude += i64::from((mapped + 1 - self.alike) >> 1);
        if self.count == reset {
            self.magnitude >>= 1;
            self.count >>= 1;
            self.negative >>= 1;
        }
        self.count += 1;
    }
}

fn first_magnitude(range: i32) -> i64 {
    i64::from((range + 32) / 64).max(2)
}

fn golomb(count: i32, magnitude: i64) -> u32 {
    (0..32).find(|k| i64::from(count) << k >= magnitude).unwrap_or(32)
}
