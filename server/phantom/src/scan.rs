//! The scanner: samples an anatomy on a grid of slices, with partial volume, coil shading and noise.

use ndarray::Array3;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::anatomy::Anatomy;
use super::shape::{Point, Waves, along, rotation, vary, vary_point};
use super::tissue::Sequence;

/// Columns and rows of a slice.
pub const SIZE: usize = 128;
/// Slices of a scan.
pub const SLICES: usize = 24;
/// Points a voxel is averaged over: along a row, along a column, through the slice.
const SUBSAMPLES: [usize; 3] = [2, 2, 3];

/// Where the grid lies in space: LPS, mm.
pub struct Grid {
    /// Centre of the first voxel of the first slice.
    pub origin: Point,
    /// Direction of a row: towards higher columns.
    pub row: Point,
    /// Direction of a column: towards higher rows.
    pub column: Point,
    /// Their cross product, in which slices follow each other.
    pub normal: Point,
    /// Between columns, and between rows.
    pub spacing: f64,
    /// Between slices, which is also how thick they are.
    pub thickness: f64,
}

impl Grid {
    /// About axial, tilted by a few degrees as a technician would.
    fn new(rng: &mut StdRng) -> Self {
        let [x, y, z] = rotation([vary(rng, 0.0, 0.06), vary(rng, 0.0, 0.04), vary(rng, 0.0, 0.05)]);
        let (row, column, normal) = ([x[0], y[0], z[0]], [x[1], y[1], z[1]], [x[2], y[2], z[2]]);
        let spacing = (vary(rng, 2.85, 0.1) * 100.0).round() / 100.0;
        let thickness = (vary(rng, 7.0, 0.5) * 10.0).round() / 10.0;
        let centre = vary_point(rng, [0.0, 0.0, 2.0], 10.0);
        let half = |n: usize, step: f64| -0.5 * (n as f64 - 1.0) * step;
        let origin = along(along(centre, half(SIZE, spacing), row), half(SIZE, spacing), column);
        let origin = along(origin, half(SLICES, thickness), normal);
        Self { origin, row, column, normal, spacing, thickness }
    }

    /// The point at fractional indices.
    pub fn point(&self, slice: f64, row: f64, column: f64) -> Point {
        let p = along(self.origin, column * self.spacing, self.row);
        along(along(p, row * self.spacing, self.column), slice * self.thickness, self.normal)
    }
}

/// What the scanner made of a person.
pub struct Scan {
    /// Stored pixel values, 12 bits: slice, row, column.
    pub pixels: Array3<u16>,
    /// [`super::Organ`] numbers, 0 for none: the organ that fills most of the voxel, if it fills half of it.
    pub truth: Array3<u8>,
    /// Where the voxels lie.
    pub grid: Grid,
    /// How it was weighted.
    pub sequence: Sequence,
}

/// Scans the person of a seed.
pub fn scan(seed: u64) -> Scan {
    let rng = &mut StdRng::seed_from_u64(seed ^ 0x5ca9);
    let anatomy = Anatomy::new(seed);
    let (grid, sequence) = (Grid::new(rng), Sequence::new(rng));
    // Surface coils: what lies near one is up to twice as bright as what lies far from all.
    let shading = Waves::new(rng, 3, 250.0..500.0, 0.6);
    let texture = Waves::new(rng, 6, 7.0..16.0, 0.05);
    let gain = vary(rng, 3600.0, 500.0);
    let noise = vary(rng, 0.011, 0.003);
    let mut pixels = Array3::zeros((SLICES, SIZE, SIZE));
    let mut truth = Array3::zeros(pixels.raw_dim());
    for ((slice, row, column), pixel) in pixels.indexed_iter_mut() {
        let (signal, organ) = voxel(&anatomy, &sequence, &grid, [slice, row, column]);
        let at = grid.point(slice as f64, row as f64, column as f64);
        let shaded = signal * shading.at(at).exp() * (1.0 + texture.at(at));
        // The magnitude of a complex signal: Rician noise.
        let [real, imaginary] = normal_pair(rng).map(|n| n * noise);
        *pixel = ((shaded + real).hypot(imaginary) * gain).round().clamp(0.0, 4095.0) as u16;
        truth[[slice, row, column]] = organ;
    }
    Scan { pixels, truth, grid, sequence }
}

/// Mean signal over a voxel, and the number of the organ that fills at least half of it.
fn voxel(anatomy: &Anatomy, sequence: &Sequence, grid: &Grid, index: [usize; 3]) -> (f64, u8) {
    let [along_row, along_column, through] = SUBSAMPLES;
    let offset = |i: usize, n: usize| (i as f64 + 0.5) / n as f64 - 0.5;
    let count = along_row * along_column * through;
    let mut filled = [0usize; 256];
    let mut signal = 0.0;
    for i in 0..count {
        let (a, b, c) = (i % along_row, i / along_row % along_column, i / (along_row * along_column));
        let p = grid.point(
            index[0] as f64 + offset(c, through),
            index[1] as f64 + offset(b, along_column),
            index[2] as f64 + offset(a, along_row),
        );
        let (tissue, organ) = anatomy.at(p);
        signal += sequence.signal(tissue);
        filled[organ.map_or(0, |organ| usize::from(organ.number()))] += 1;
    }
    let organ = (1..=u8::MAX).find(|organ| 2 * filled[usize::from(*organ)] >= count);
    (signal / count as f64, organ.unwrap_or(0))
}

/// Two independent standard normal numbers (Box and Muller).
fn normal_pair(rng: &mut StdRng) -> [f64; 2] {
    let radius = (-2.0 * rng.random_range(f64::MIN_POSITIVE..1.0).ln()).sqrt();
    let (sin, cos) = rng.random_range(0.0..std::f64::consts::TAU).sin_cos();
    [radius * cos, radius * sin]
}
