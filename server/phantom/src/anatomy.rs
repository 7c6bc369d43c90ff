//! The upper abdomen of one made-up person: which tissue, and which labelled organ, is where.
//!
//! Coordinates are LPS in mm: x to the person's left, y to the back, z to the head; the origin is the middle
//! of the trunk at the height of the kidneys' upper poles.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Organ;
use super::shape::{Capsule, Ellipsoid, Point, Solid, Waves, vary, vary_point};
use super::tissue::Tissue;

/// How far the warp moves a point in each direction at the most, mm.
const WARP: f64 = 9.0;

/// One person's anatomy.
pub struct Anatomy {
    /// Bends everything: no two people's organs lie alike.
    warp: [Waves; 3],
    trunk: Trunk,
    diaphragm: Diaphragm,
    kidneys: [(Organ, Solid); 2],
    liver: Solid,
    liver_vessels: Vec<Capsule>,
    gallbladder: Solid,
    spleen: Solid,
    stomach: Solid,
    pancreas: Solid,
    bowel: Vec<(Solid, Tissue)>,
    aorta: Capsule,
    vena_cava: Capsule,
    spine: Spine,
}

/// Skin to peritoneum.
struct Trunk {
    half_width: f64,
    half_depth: f64,
    exponent: f64,
    fat: f64,
    muscle: f64,
    rib_phase: f64,
}

/// Above this surface are the lungs.
struct Diaphragm {
    top: f64,
    centre: [f64; 2],
    curvature: f64,
}

/// The vertebral column with what lies along it.
struct Spine {
    column: Capsule,
    canal: Capsule,
    process: Capsule,
    psoas: [Capsule; 2],
    back: [Capsule; 2],
    disc_phase: f64,
}

impl Anatomy {
    /// The anatomy of a seed.
    pub fn new(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let size = vary(rng, 1.0, 0.11);
        let liver = liver(rng, size);
        Self {
            warp: std::array::from_fn(|_| Waves::new(rng, 3, 90.0..200.0, WARP)),
            trunk: Trunk {
                half_width: vary(rng, 162.0, 14.0) * size,
                half_depth: vary(rng, 112.0, 10.0) * size,
                exponent: vary(rng, 2.4, 0.25),
                fat: vary(rng, 15.0, 8.0),
                muscle: vary(rng, 11.0, 2.5),
                rib_phase: vary(rng, 0.0, 3.0),
            },
            diaphragm: Diaphragm {
                top: vary(rng, 84.0, 8.0),
                centre: [vary(rng, 0.0, 15.0), vary(rng, -10.0, 10.0)],
                curvature: vary(rng, 0.0027, 0.0006),
            },
            kidneys: [(Organ::RightKidney, -1.0, -22.0), (Organ::LeftKidney, 1.0, -8.0)]
                .map(|(organ, side, height)| (organ, kidney(rng, size, side, height))),
            liver_vessels: (0..7).map(|_| vessel(rng, size)).collect(),
            liver,
            gallbladder: gallbladder(rng, size),
            spleen: spleen(rng, size),
            stomach: stomach(rng, size),
            pancreas: pancreas(rng, size),
            bowel: (0..rng.random_range(11..17)).map(|_| bowel_loop(rng, size)).collect(),
            aorta: column(rng, [9.0, 32.0], 9.5, 6.0),
            vena_cava: column(rng, [-21.0, 26.0], 11.0, 6.0),
            spine: Spine::new(rng),
        }
    }

    /// What a point is made of, and the labelled organ it belongs to.
    pub fn at(&self, point: Point) -> (Tissue, Option<Organ>) {
        if self.trunk.is_far_from(point) {
            return (Tissue::Air, None);
        }
        let p: Point = std::array::from_fn(|i| point[i] + self.warp[i].at(point));
        let depth = self.trunk.depth(p);
        if depth < 0.0 {
            return (Tissue::Air, None);
        }
        if let Some(tissue) = self.trunk.wall(depth, p) {
            return (tissue, None);
        }
        if let Some(tissue) = self.retroperitoneum(p) {
            return (tissue, None);
        }
        for (organ, kidney) in &self.kidneys {
            match kidney.distance(p) {
                d if d < -8.0 => return (Tissue::RenalMedulla, Some(*organ)),
                d if d < 0.0 => return (Tissue::RenalCortex, Some(*organ)),
                // The fat of the renal sinus, and the capsule of fat around.
                d if d < 3.5 || kidney.is_carved(p) => return (Tissue::Fat, None),
                _ => {}
            }
        }
        if self.diaphragm.is_below(p) {
            return (Tissue::Lung, None);
        }
        self.peritoneum(p)
    }

    fn retroperitoneum(&self, p: Point) -> Option<Tissue> {
        let vessel = self.aorta.distance(p).min(self.vena_cava.distance(p));
        if vessel < 0.0 { Some(Tissue::Blood) } else { self.spine.at(p) }
    }

    fn peritoneum(&self, p: Point) -> (Tissue, Option<Organ>) {
        if self.gallbladder.contains(p) {
            return (Tissue::Fluid, None);
        }
        if self.liver.contains(p) {
            let vessel = self.liver_vessels.iter().any(|vessel| vessel.distance(p) < 0.0);
            return (if vessel { Tissue::Blood } else { Tissue::Liver }, Some(Organ::Liver));
        }
        if self.spleen.contains(p) {
            return (Tissue::Spleen, Some(Organ::Spleen));
        }
        let stomach = self.stomach.distance(p);
        if stomach < 0.0 {
            // Lying on the back, gas gathers in front.
            let content = if p[1] < -62.0 { Tissue::Air } else { Tissue::GutContent };
            return (if stomach > -4.0 { Tissue::GutWall } else { content }, None);
        }
        if self.pancreas.contains(p) {
            return (Tissue::Pancreas, None);
        }
        for (bowel, content) in &self.bowel {
            match bowel.distance(p) {
                d if d < -3.0 => return (*content, None),
                d if d < 0.0 => return (Tissue::GutWall, None),
                _ => {}
            }
        }
        (Tissue::Fat, None)
    }
}

impl Trunk {
    /// Whether the point is outside however the warp moves it: most points of a scan are, and need no more.
    fn is_far_from(&self, p: Point) -> bool {
        p[0].abs() > self.half_width + WARP || p[1].abs() > self.half_depth + WARP
    }

    /// How far below the skin, in mm; negative outside.
    fn depth(&self, p: Point) -> f64 {
        let [x, y] = [(p[0] / self.half_width).abs(), (p[1] / self.half_depth).abs()];
        let radius = (x.powf(self.exponent) + y.powf(self.exponent)).powf(1.0 / self.exponent).max(1e-6);
        (1.0 - radius) / radius * p[0].hypot(p[1])
    }

    /// The layers of the wall; `None` inside the abdomen.
    fn wall(&self, depth: f64, p: Point) -> Option<Tissue> {
        let inner = depth - self.fat;
        if inner < 0.0 {
            return Some(Tissue::Fat);
        }
        // Ribs run round the wall and down to the front; the front of the upper abdomen has none.
        let turn = p[0].atan2(p[1]);
        let rib = (p[2] / 4.2 + 5.0 * turn.abs() + self.rib_phase).sin() > 0.55 && turn.abs() < 2.3;
        match inner < self.muscle {
            true if rib && inner > 2.5 && inner < 9.0 => Some(Tissue::CorticalBone),
            true => Some(Tissue::Muscle),
            false => None,
        }
    }
}

impl Diaphragm {
    /// Whether it lies below the point, so that the point is in a lung.
    fn is_below(&self, p: Point) -> bool {
        let [x, y] = [p[0] - self.centre[0], p[1] - self.centre[1]];
        p[2] > self.top - self.curvature * (x * x + y * y)
    }
}

impl Spine {
    fn new(rng: &mut StdRng) -> Self {
        let y = vary(rng, 62.0, 4.0);
        Self {
            column: column(rng, [0.0, y], 21.0, 2.0),
            canal: column(rng, [0.0, y + 30.0], 8.0, 1.5),
            process: column(rng, [0.0, y + 45.0], 6.0, 1.5),
            psoas: [-1.0, 1.0].map(|side| {
                let [x, reach] = [vary(rng, 30.0, 3.0), vary(rng, 44.0, 4.0)];
                Capsule::new([side * x, y, 30.0], [side * reach, y - 2.0, -140.0], vary(rng, 15.0, 2.0))
            }),
            back: [-1.0, 1.0].map(|side| column(rng, [side * 34.0, y + 34.0], 22.0, 2.0)),
            disc_phase: vary(rng, 0.0, 16.0),
        }
    }

    fn at(&self, p: Point) -> Option<Tissue> {
        if self.canal.distance(p) < 0.0 {
            return Some(Tissue::Fluid);
        }
        let body = self.column.distance(p);
        if body < 0.0 {
            let disc = (p[2] + self.disc_phase).rem_euclid(33.0) < 7.0;
            return Some(match body > -2.0 {
                _ if disc => Tissue::Muscle,
                true => Tissue::CorticalBone,
                false => Tissue::Marrow,
            });
        }
        if self.process.distance(p) < 0.0 {
            return Some(Tissue::CorticalBone);
        }
        let muscle = self.psoas.iter().chain(&self.back).any(|muscle| muscle.distance(p) < 0.0);
        muscle.then_some(Tissue::Muscle)
    }
}

/// A structure that runs through all slices, about upright.
fn column(rng: &mut StdRng, [x, y]: [f64; 2], radius: f64, sway: f64) -> Capsule {
    let [top, bottom] = [240.0, -240.0].map(|z| [vary(rng, x, sway), vary(rng, y, sway), z]);
    Capsule::new(top, bottom, radius * vary(rng, 1.0, 0.12))
}

fn scaled(p: Point, size: f64) -> Point {
    p.map(|coordinate| coordinate * size)
}

/// An ellipsoid whose place, radii and direction vary by mm, share and degrees.
fn lump(rng: &mut StdRng, size: f64, centre: Point, radii: Point, angles: Point) -> Ellipsoid {
    let share = vary(rng, 1.0, 0.10);
    let radii = radii.map(|radius| radius * size * share * vary(rng, 1.0, 0.10));
    Ellipsoid::new(vary_point(rng, scaled(centre, size), 5.0), radii, vary_point(rng, angles, 10.0))
}

fn liver(rng: &mut StdRng, size: f64) -> Solid {
    let shift = vary_point(rng, [0.0; 3], 8.0);
    let at = |centre: Point| std::array::from_fn(|i| centre[i] + shift[i]);
    let reach = vary(rng, 1.0, 0.25);
    Solid {
        parts: vec![
            lump(rng, size, at([-78.0, 4.0, 22.0]), [62.0, 74.0, 68.0], [0.0, 12.0, 10.0]),
            lump(rng, size, at([-8.0, -46.0, 44.0]), [66.0 * reach, 36.0, 34.0], [0.0, 8.0, 12.0]),
        ],
        blend: 26.0,
        // The visceral surface: hollow towards the left, below and behind.
        carved: vec![lump(rng, size, at([6.0, 26.0, -42.0]), [72.0, 74.0, 72.0], [0.0, 0.0, 0.0])],
        surface: Waves::new(rng, 4, 30.0..60.0, 5.0),
    }
}

fn vessel(rng: &mut StdRng, size: f64) -> Capsule {
    let root = vary_point(rng, [-35.0, 0.0, 35.0], 10.0);
    let tip = [rng.random_range(-125.0..0.0), rng.random_range(-70.0..50.0), rng.random_range(-15.0..65.0)];
    Capsule::new(scaled(root, size), scaled(tip, size), vary(rng, 3.4, 1.0))
}

fn gallbladder(rng: &mut StdRng, size: f64) -> Solid {
    Solid {
        parts: vec![lump(rng, size, [-52.0, -34.0, -16.0], [13.0, 26.0, 15.0], [20.0, 0.0, 15.0])],
        blend: 1.0,
        carved: Vec::new(),
        surface: Waves::new(rng, 2, 30.0..60.0, 1.5),
    }
}

/// Two poles that lean together at the top, the hollow of the renal sinus towards the middle.
fn kidney(rng: &mut StdRng, size: f64, side: f64, height: f64) -> Solid {
    let centre = vary_point(rng, [side * 66.0, 44.0, height], 8.0);
    let lean = vary(rng, 7.0, 4.0);
    let length = vary(rng, 1.0, 0.12);
    let pole = |rng: &mut StdRng, up: f64| {
        let at = [centre[0] - side * up * lean, centre[1] - up * 4.0, centre[2] + up * 21.0 * length];
        lump(rng, size, at, [26.0, 25.0, 33.0 * length], [0.0, -side * 10.0, side * 25.0])
    };
    let parts = vec![pole(rng, 1.0), pole(rng, -1.0)];
    let sinus = [centre[0] - side * 20.0, centre[1] - 10.0, centre[2]];
    Solid {
        parts,
        blend: 14.0,
        carved: vec![lump(rng, size, sinus, [17.0, 11.0, 17.0], [0.0, 0.0, side * 30.0])],
        surface: Waves::new(rng, 3, 25.0..45.0, 2.0),
    }
}

/// A crescent along the left back of the trunk.
fn spleen(rng: &mut StdRng, size: f64) -> Solid {
    let centre = vary_point(rng, [94.0, 36.0, 26.0], 9.0);
    let towards_middle = [centre[0] - 50.0, centre[1] - 40.0, centre[2] - 4.0];
    Solid {
        parts: vec![lump(rng, size, centre, [38.0, 54.0, 48.0], [15.0, 10.0, 25.0])],
        blend: 1.0,
        carved: vec![lump(rng, size, towards_middle, [40.0, 46.0, 56.0], [0.0, 0.0, 20.0])],
        surface: Waves::new(rng, 3, 25.0..50.0, 3.5),
    }
}

fn stomach(rng: &mut StdRng, size: f64) -> Solid {
    Solid {
        parts: vec![
            lump(rng, size, [64.0, -18.0, 44.0], [36.0, 38.0, 40.0], [0.0, 0.0, 20.0]),
            lump(rng, size, [34.0, -50.0, 10.0], [40.0, 26.0, 28.0], [0.0, 25.0, 0.0]),
        ],
        blend: 20.0,
        carved: Vec::new(),
        surface: Waves::new(rng, 3, 40.0..80.0, 4.0),
    }
}

fn pancreas(rng: &mut StdRng, size: f64) -> Solid {
    Solid {
        parts: [[-22.0, -2.0, -14.0], [12.0, -8.0, -2.0], [46.0, 8.0, 8.0]]
            .map(|centre| lump(rng, size, centre, [25.0, 11.0, 12.0], [0.0, -20.0, 10.0]))
            .into(),
        blend: 10.0,
        carved: Vec::new(),
        surface: Waves::new(rng, 3, 15.0..30.0, 3.0),
    }
}

/// A piece of bowel somewhere in the lower front, with what it holds.
fn bowel_loop(rng: &mut StdRng, size: f64) -> (Solid, Tissue) {
    let centre =
        [rng.random_range(-105.0..105.0), rng.random_range(-72.0..12.0), rng.random_range(-105.0..-28.0)];
    let angles = [rng.random_range(-40.0..40.0), rng.random_range(-40.0..40.0), rng.random_range(0.0..180.0)];
    let thickness = vary(rng, 15.0, 4.0);
    let length = vary(rng, 34.0, 10.0);
    let solid = Solid {
        parts: vec![lump(rng, size, centre, [length, thickness, thickness], angles)],
        blend: 1.0,
        carved: Vec::new(),
        surface: Waves::new(rng, 2, 20.0..40.0, 2.5),
    };
    let contents = [Tissue::GutContent, Tissue::GutContent, Tissue::Air, Tissue::Spleen, Tissue::Pancreas];
    (solid, contents[rng.random_range(0..contents.len())])
}
