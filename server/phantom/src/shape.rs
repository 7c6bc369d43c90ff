//! Solids in space as implicit functions: negative inside, near the surface about the distance in mm.

use rand::Rng;
use rand::rngs::StdRng;

/// A point or a vector in the patient's coordinate system (LPS), in mm.
pub type Point = [f64; 3];

/// `a - b`.
pub fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `a + s b`.
pub fn along(a: Point, s: f64, b: Point) -> Point {
    [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]]
}

/// The scalar product.
pub fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn length(a: Point) -> f64 {
    dot(a, a).sqrt()
}

/// Uniform in `mean` ± `spread`.
pub fn vary(rng: &mut StdRng, mean: f64, spread: f64) -> f64 {
    mean + spread * rng.random_range(-1.0..=1.0)
}

/// Each coordinate uniform in `mean` ± `spread`.
pub fn vary_point(rng: &mut StdRng, mean: Point, spread: f64) -> Point {
    mean.map(|coordinate| vary(rng, coordinate, spread))
}

/// The rows of the matrix that turns by `angles` (radians) about x, then y, then z.
pub fn rotation(angles: Point) -> [Point; 3] {
    let [(sx, cx), (sy, cy), (sz, cz)] = angles.map(f64::sin_cos);
    [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
}

/// An ellipsoid in any orientation.
pub struct Ellipsoid {
    centre: Point,
    radii: Point,
    /// Directions of its axes.
    axes: [Point; 3],
}

impl Ellipsoid {
    /// Turned by `angles` in degrees (see [`rotation`]).
    pub fn new(centre: Point, radii: Point, angles: Point) -> Self {
        let [x, y, z] = rotation(angles.map(f64::to_radians));
        // The columns of the matrix are where the coordinate axes go.
        let axes = [[x[0], y[0], z[0]], [x[1], y[1], z[1]], [x[2], y[2], z[2]]];
        Self { centre, radii, axes }
    }

    /// First-order distance to the surface, negative inside.
    pub fn distance(&self, p: Point) -> f64 {
        let offset = minus(p, self.centre);
        let scaled: Point = std::array::from_fn(|i| dot(offset, self.axes[i]) / self.radii[i]);
        let gradient = length(std::array::from_fn(|i| scaled[i] / self.radii[i]));
        let norm = length(scaled);
        if gradient > 0.0 {
            norm * (norm - 1.0) / gradient
        } else {
            -self.radii.into_iter().fold(f64::MAX, f64::min)
        }
    }
}

/// A capsule: what lies within `radius` of a line segment.
pub struct Capsule {
    from: Point,
    span: Point,
    radius: f64,
}

impl Capsule {
    /// Between two points.
    pub fn new(from: Point, to: Point, radius: f64) -> Self {
        Self { from, span: minus(to, from), radius }
    }

    /// Distance to the surface, negative inside.
    pub fn distance(&self, p: Point) -> f64 {
        let offset = minus(p, self.from);
        let t = (dot(offset, self.span) / dot(self.span, self.span).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        length(along(offset, -t, self.span)) - self.radius
    }
}

/// A sum of a few plane waves: a smooth random function of space.
pub struct Waves(Vec<(Point, f64, f64)>);

impl Waves {
    /// `count` waves of wavelengths in `wavelengths` (mm) whose amplitudes add up to `amplitude`.
    pub fn new(rng: &mut StdRng, count: usize, wavelengths: std::ops::Range<f64>, amplitude: f64) -> Self {
        let wave = |rng: &mut StdRng| {
            let direction: Point = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
            let turns =
                std::f64::consts::TAU / rng.random_range(wavelengths.clone()) / length(direction).max(0.1);
            let phase = rng.random_range(0.0..std::f64::consts::TAU);
            (direction.map(|d| d * turns), phase, amplitude / count as f64)
        };
        Self((0..count).map(|_| wave(rng)).collect())
    }

    /// The value at a point, between -amplitude and amplitude.
    pub fn at(&self, p: Point) -> f64 {
        self.0.iter().map(|(wave, phase, amplitude)| amplitude * (dot(*wave, p) + phase).sin()).sum()
    }
}

/// An organ: ellipsoids that flow into one another, some of it carved away, its surface uneven.
pub struct Solid {
    /// United.
    pub parts: Vec<Ellipsoid>,
    /// Over how many mm two parts flow into one another.
    pub blend: f64,
    /// Taken away.
    pub carved: Vec<Ellipsoid>,
    /// Unevenness of the surface, mm.
    pub surface: Waves,
}

impl Solid {
    /// About the distance to the surface, negative inside.
    pub fn distance(&self, p: Point) -> f64 {
        let united = self.parts.iter().map(|part| part.distance(p));
        let united = united.reduce(|a, b| smooth_minimum(a, b, self.blend)).unwrap_or(f64::MAX);
        if united > self.blend + 10.0 {
            return united;
        }
        self.carved.iter().map(|carved| -carved.distance(p)).fold(united + self.surface.at(p), f64::max)
    }

    /// Whether the point lies in what is taken away.
    pub fn is_carved(&self, p: Point) -> bool {
        self.carved.iter().any(|carved| carved.distance(p) < 0.0)
    }

    /// Whether the point lies inside.
    pub fn contains(&self, p: Point) -> bool {
        self.distance(p) < 0.0
    }
}

/// The smaller of two numbers, rounded off where they differ by less than `width`.
fn smooth_minimum(a: f64, b: f64, width: f64) -> f64 {
    let overlap = (width - (a - b).abs()).max(0.0);
    a.min(b) - overlap * overlap / (4.0 * width.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_sphere_knows_its_distances() {
        let sphere = Ellipsoid::new([1.0, 2.0, 3.0], [10.0; 3], [20.0, 30.0, 40.0]);
        assert!((sphere.distance([16.0, 2.0, 3.0]) - 5.0).abs() < 1e-9);
        assert!((sphere.distance([1.0, 2.0, 9.0]) + 4.0).abs() < 1e-9);
        assert_eq!(sphere.distance([1.0, 2.0, 3.0]), -10.0);
    }

    #[test]
    fn an_ellipsoid_turns() {
        let turned = Ellipsoid::new([0.0; 3], [30.0, 10.0, 10.0], [0.0, 0.0, 90.0]);
        assert!(turned.distance([0.0, 29.0, 0.0]) < 0.0);
        assert!(turned.distance([29.0, 0.0, 0.0]) > 0.0);
    }

    #[test]
    fn what_is_carved_is_outside() {
        let surface = Waves::new(&mut StdRng::seed_from_u64(1), 2, 20.0..30.0, 0.0);
        let solid = Solid {
            parts: vec![Ellipsoid::new([0.0; 3], [20.0; 3], [0.0; 3])],
            blend: 5.0,
            carved: vec![Ellipsoid::new([15.0, 0.0, 0.0], [8.0; 3], [0.0; 3])],
            surface,
        };
        assert!(solid.contains([0.0; 3]));
        assert!(!solid.contains([15.0, 0.0, 0.0]));
    }
}
