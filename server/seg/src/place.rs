//! Which source slice a SEG's frame belongs to, and how its pixel grid lies on the slice's.

use std::collections::{HashMap, HashSet};

use crate::error::{AmbiguousReferenceSnafu, GridDiffersSnafu};
use crate::{Description, Frame, Plane, ReferencedSlice, Result};

/// How far off a slice's plane a frame may lie to count as on it, in slice spacings; and at least
/// [`PLANE_TOLERANCE_MM`], since positions are written with a few decimals.
const PLANE_TOLERANCE: f64 = 0.1;
const PLANE_TOLERANCE_MM: f64 = 0.01;
/// A reference is not believed when the frame lies further than this from the slice it names, in slice spacings:
/// another slice is then nearer.
const REFERENCE_TOLERANCE: f64 = 0.5;
/// Pixels that a frame's corner may lie off the slice's grid.
const GRID_TOLERANCE: f64 = 0.2;
/// Cosine of the angle that two normals may differ by.
const PARALLEL: f64 = 0.999;

/// Where a frame's pixels go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Index of the slice among those given.
    pub slice: usize,
    /// How the frame's grid lies on the slice's.
    pub grid: GridMap,
}

/// A frame's pixel `(r, c)` is the slice's pixel `origin + r * row_step + c * column_step`, each `[row, column]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridMap {
    /// The slice's pixel where the frame's first lies; it may be outside the slice.
    pub origin: [i64; 2],
    /// From a row of the frame to the next.
    pub row_step: [i64; 2],
    /// From a column of the frame to the next.
    pub column_step: [i64; 2],
}

impl Description {
    /// Where each frame lies, in stored order, found as [`Segmentation::frame_on`](crate::Segmentation::frame_on) does:
    /// `None` where it belongs to none of `slices`, or its grid does not lie on theirs. Empty for whole slides.
    pub fn placements(&self, slices: &[ReferencedSlice]) -> Vec<Option<Placement>> {
        if self.total_pixel_matrix.is_some() {
            return Vec::new();
        }
        let placer = Placer::new(self, slices, Geometry::WithoutReference);
        let frames = self.frames.iter().enumerate();
        frames.map(|(index, frame)| placer.place(index, frame).ok().flatten()).collect()
    }
}

impl GridMap {
    pub(crate) const IDENTITY: Self = Self { origin: [0, 0], row_step: [1, 0], column_step: [0, 1] };

    /// The slice's pixel, `None` outside it.
    pub(crate) fn target(&self, row: usize, column: usize, slice: &ReferencedSlice) -> Option<[usize; 2]> {
        let at = |axis: usize| {
            self.origin[axis] + row as i64 * self.row_step[axis] + column as i64 * self.column_step[axis]
        };
        let (row, column) = (usize::try_from(at(0)).ok()?, usize::try_from(at(1)).ok()?);
        (row < slice.rows && column < slice.columns).then_some([row, column])
    }
}

/// Places frames of one SEG on given slices.
pub(crate) struct Placer<'a> {
    description: &'a Description,
    slices: &'a [ReferencedSlice],
    by_instance: HashMap<&'a str, Vec<usize>>,
    /// Distance between neighbouring slices, or a pixel's size where there is one slice, mm.
    spacing: f64,
    geometry: Geometry,
}

/// Whether a frame's position alone may place it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Geometry {
    /// Only where it names no image: a frame of another series in the same place is not this one's.
    WithoutReference,
    /// Always.
    Always,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(
        description: &'a Description,
        slices: &'a [ReferencedSlice],
        geometry: Geometry,
    ) -> Self {
        let mut by_instance: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, slice) in slices.iter().enumerate() {
            by_instance.entry(&slice.sop_instance_uid).or_default().push(index);
        }
        Self { description, slices, by_instance, spacing: spacing(slices), geometry }
    }

    /// The frame's place; `None` where it belongs to none of the slices.
    ///
    /// # Errors
    /// `AmbiguousReference` and `GridDiffers`.
    pub(crate) fn place(&self, index: usize, frame: &Frame) -> Result<Option<Placement>> {
        match self.slice_of(index, frame)? {
            Some(slice) => self.on_slice(index, frame, slice).map(Some),
            None => Ok(None),
        }
    }

    fn slice_of(&self, index: usize, frame: &Frame) -> Result<Option<usize>> {
        let candidates = self.referenced(frame);
        let near = |tolerance: f64| {
            let limit = (tolerance * self.spacing).max(PLANE_TOLERANCE_MM);
            move |slice: &usize| match self.distance(frame, *slice) {
                Some(distance) => distance <= limit,
                None => true,
            }
        };
        match candidates.as_slice() {
            [] if self.may_go_by_geometry(frame) => {
                Ok(self.nearest(frame, 0..self.slices.len(), PLANE_TOLERANCE))
            }
            [] => Ok(self.only_slice(frame)),
            [one] if near(REFERENCE_TOLERANCE)(one) => Ok(Some(*one)),
            several if several.iter().all(|slice| self.distance(frame, *slice).is_none()) => {
                AmbiguousReferenceSnafu { frame: index as u32 + 1 }.fail()
            }
            several => Ok(self
                .nearest(frame, several.iter().copied(), REFERENCE_TOLERANCE)
                // A reference that the position contradicts: the position says where the pixels are.
                .or_else(|| self.nearest(frame, 0..self.slices.len(), PLANE_TOLERANCE))),
        }
    }

    /// The slices that the frame names as its sources.
    fn referenced(&self, frame: &Frame) -> Vec<usize> {
        let mut found = Vec::new();
        for source in &frame.sources {
            let of_instance = self.by_instance.get(source.sop_instance_uid.as_str());
            for &index in of_instance.into_iter().flatten() {
                let slice = &self.slices[index];
                if source.frames.is_empty() || !slice.multi_frame || source.frames.contains(&slice.frame) {
                    found.push(index);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn may_go_by_geometry(&self, frame: &Frame) -> bool {
        frame.plane.is_some()
            && (self.geometry == Geometry::Always || (frame.sources.is_empty() && self.refers_to_slices()))
    }

    /// A frame that names no image and has no position can only belong to the one slice there is.
    fn only_slice(&self, frame: &Frame) -> Option<usize> {
        let only = self.slices.len() == 1 && frame.sources.is_empty() && frame.plane.is_none();
        (only && self.refers_to_slices()).then_some(0)
    }

    /// Whether the SEG as a whole refers to these slices, or to nothing.
    pub(crate) fn refers_to_slices(&self) -> bool {
        let mut listed =
            self.description.referenced_series.iter().flat_map(|series| &series.instances).peekable();
        if listed.peek().is_none() {
            return true;
        }
        let uids: HashSet<&str> = listed.map(|instance| instance.sop_instance_uid.as_str()).collect();
        self.slices.iter().any(|slice| uids.contains(slice.sop_instance_uid.as_str()))
    }

    fn nearest(&self, frame: &Frame, slices: impl Iterator<Item = usize>, tolerance: f64) -> Option<usize> {
        let limit = (tolerance * self.spacing).max(PLANE_TOLERANCE_MM);
        slices
            .filter_map(|slice| Some((slice, self.distance(frame, slice)?)))
            .filter(|(_, distance)| *distance <= limit)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(slice, _)| slice)
    }

    /// Distance between the planes of a frame and a slice, mm; infinite where they are not parallel. `None` where
    /// either has no place, or they are in different frames of reference.
    fn distance(&self, frame: &Frame, slice: usize) -> Option<f64> {
        let slice = &self.slices[slice];
        let (ours, theirs) = (frame.plane?, slice.plane()?);
        match (&self.description.frame_of_reference_uid, &slice.frame_of_reference_uid) {
            (Some(a), Some(b)) if a != b => return None,
            _ => {}
        }
        let normal = theirs.normal();
        match dot(ours.normal(), normal).abs() >= PARALLEL {
            true => Some(dot(subtract(ours.position, theirs.position), normal).abs()),
            false => Some(f64::INFINITY),
        }
    }

    fn on_slice(&self, index: usize, frame: &Frame, slice: usize) -> Result<Placement> {
        let rows = usize::from(self.description.rows);
        let columns = usize::from(self.description.columns);
        let target = &self.slices[slice];
        let grid = match (frame.plane, target.plane(), self.distance(frame, slice)) {
            (Some(ours), Some(theirs), Some(_)) => grid_map(&ours, [rows, columns], &theirs),
            // Without positions the frame can only be the slice's own grid.
            _ => (rows == target.rows && columns == target.columns).then_some(GridMap::IDENTITY),
        };
        match grid {
            Some(grid) => Ok(Placement { slice, grid }),
            None => GridDiffersSnafu { frame: index as u32 + 1, slice }.fail(),
        }
    }
}

impl Plane {
    /// Unit normal of the grid: direction of a row x direction of a column.
    pub fn normal(&self) -> [f64; 3] {
        let [ax, ay, az, bx, by, bz] = self.orientation;
        unit([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    }

    /// Steps in mm from one row to the next, and from one column to the next.
    fn steps(&self) -> [[f64; 3]; 2] {
        let [ax, ay, az, bx, by, bz] = self.orientation;
        let [between_rows, between_columns] = self.pixel_spacing;
        [[bx, by, bz].map(|part| part * between_rows), [ax, ay, az].map(|part| part * between_columns)]
    }

    /// The pixel `[row, column]`, fractional, at the foot of a point.
    fn pixel(&self, point: [f64; 3]) -> [f64; 2] {
        let offset = subtract(point, self.position);
        self.steps().map(|step| dot(offset, step) / dot(step, step))
    }
}

/// How a grid of `[rows, columns]` lies on another, if each of its pixels is one of the other's.
fn grid_map(ours: &Plane, [rows, columns]: [usize; 2], theirs: &Plane) -> Option<GridMap> {
    let [row_step, column_step] = ours.steps();
    let corner = |row: f64, column: f64| {
        let point: [f64; 3] = std::array::from_fn(|axis| {
            ours.position[axis] + row * row_step[axis] + column * column_step[axis]
        });
        theirs.pixel(point)
    };
    let origin = corner(0.0, 0.0);
    let step = |to: [f64; 2]| whole([to[0] - origin[0], to[1] - origin[1]]);
    let map = GridMap {
        origin: whole(origin)?,
        row_step: step(corner(1.0, 0.0))?,
        column_step: step(corner(0.0, 1.0))?,
    };
    let unit_steps = [map.row_step, map.column_step].iter().all(|[r, c]| r.abs() + c.abs() == 1);
    let perpendicular = map.row_step[0] * map.column_step[0] + map.row_step[1] * map.column_step[1] == 0;
    let (last_row, last_column) = (rows.saturating_sub(1), columns.saturating_sub(1));
    let on_grid = [(0, 0), (last_row, 0), (0, last_column)].into_iter().all(|(row, column)| {
        let exact = corner(row as f64, column as f64);
        (0..2).all(|axis| {
            let expected =
                map.origin[axis] + row as i64 * map.row_step[axis] + column as i64 * map.column_step[axis];
            (exact[axis] - expected as f64).abs() <= GRID_TOLERANCE
        })
    });
    (unit_steps && perpendicular && on_grid).then_some(map)
}

/// Both rounded, where they are numbers small enough to be pixel indices.
fn whole(values: [f64; 2]) -> Option<[i64; 2]> {
    values.iter().all(|value| value.abs() < 1e9).then(|| values.map(|value| value.round() as i64))
}

/// Smallest distance between neighbouring slices along their normal, mm.
fn spacing(slices: &[ReferencedSlice]) -> f64 {
    let planes: Vec<Plane> = slices.iter().filter_map(ReferencedSlice::plane).collect();
    let Some(first) = planes.first() else { return 0.0 };
    let normal = first.normal();
    let mut offsets: Vec<f64> = planes.iter().map(|plane| dot(plane.position, normal)).collect();
    offsets.sort_by(f64::total_cmp);
    let steps = offsets.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > PLANE_TOLERANCE_MM);
    steps.min_by(f64::total_cmp).unwrap_or(first.pixel_spacing[0])
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn subtract(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

fn unit(vector: [f64; 3]) -> [f64; 3] {
    let length = dot(vector, vector).sqrt();
    match length > 0.0 {
        true => vector.map(|part| part / length),
        false => vector,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

    fn plane(position: [f64; 3], orientation: [f64; 6], pixel_spacing: [f64; 2]) -> Plane {
        Plane { position, orientation, pixel_spacing }
    }

    #[test]
    fn grids_that_permute_flip_or_crop_map() {
        // A slice of 4 rows, 6 columns, 2 mm between rows, 1 mm between columns.
        let slice = plane([10.0, 20.0, 5.0], AXIAL, [2.0, 1.0]);
        let cases = [
            ("same", slice, [4, 6], Some(GridMap::IDENTITY)),
            (
                "columns reversed",
                plane([15.0, 20.0, 5.0], [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [2.0, 1.0]),
                [4, 6],
                Some(GridMap { origin: [0, 5], row_step: [1, 0], column_step: [0, -1] }),
            ),
            (
                "transposed",
                plane([10.0, 20.0, 5.0], [0.0, 1.0, 0.0, 1.0, 0.0, 0.0], [1.0, 2.0]),
                [6, 4],
                Some(GridMap { origin: [0, 0], row_step: [0, 1], column_step: [1, 0] }),
            ),
            (
                "cropped",
                plane([12.0, 22.0, 5.0], AXIAL, [2.0, 1.0]),
                [2, 3],
                Some(GridMap { origin: [1, 2], row_step: [1, 0], column_step: [0, 1] }),
            ),
            ("half a pixel off", plane([10.5, 20.0, 5.0], AXIAL, [2.0, 1.0]), [4, 6], None),
            ("coarser", plane([10.0, 20.0, 5.0], AXIAL, [4.0, 2.0]), [2, 3], None),
            ("slightly other spacing", plane([10.0, 20.0, 5.0], AXIAL, [2.0, 1.001]), [4, 600], None),
            ("no orientation at all", plane([10.0, 20.0, 5.0], [0.0; 6], [2.0, 1.0]), [4, 6], None),
            ("far away", plane([1e300, 20.0, 5.0], AXIAL, [2.0, 1.0]), [4, 6], None),
        ];
        for (name, ours, size, expected) in cases {
            assert_eq!(grid_map(&ours, size, &slice), expected, "{name}");
        }
    }
}
