//! Where the voxels of a volume lie in the patient.

/// The grid of a volume: LPS, millimetres (PS3.3 C.7.6.2.1.1).
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeGeometry {
    /// Columns of a slice.
    pub columns: usize,
    /// Rows of a slice.
    pub rows: usize,
    /// Row spacing, column spacing, mm, as PixelSpacing: between rows first. 1.0 where the file gives none.
    pub pixel_spacing: [f64; 2],
    /// Direction of a row (with growing column), then of a column (with growing row), unit vectors, as
    /// ImageOrientationPatient.
    pub orientation: [f64; 6],
    /// ImagePositionPatient of each slice, the centre of its first voxel, sorted along [`Self::normal`].
    pub positions: Vec<[f64; 3]>,
    /// Whether the file gives positions. Where it does not, `positions` are nominal: one slice a millimetre.
    pub spatial: bool,
}

impl VolumeGeometry {
    /// Slices of the volume.
    pub fn slices(&self) -> usize {
        self.positions.len()
    }

    /// Unit normal of the slices: row direction x column direction.
    pub fn normal(&self) -> [f64; 3] {
        cross(self.row_direction(), self.column_direction())
    }

    /// Direction in which the column index grows.
    pub fn row_direction(&self) -> [f64; 3] {
        let [x, y, z, ..] = self.orientation;
        [x, y, z]
    }

    /// Direction in which the row index grows.
    pub fn column_direction(&self) -> [f64; 3] {
        let [.., x, y, z] = self.orientation;
        [x, y, z]
    }

    /// Distance of each slice along the normal from the origin of the frame of reference, mm, ascending.
    pub fn offsets(&self) -> Vec<f64> {
        let normal = self.normal();
        self.positions.iter().map(|position| dot(normal, *position)).collect()
    }

    /// Usual distance between neighbouring slices, mm: the median step. None for a single slice.
    pub fn slice_spacing(&self) -> Option<f64> {
        let offsets = self.offsets();
        let mut steps: Vec<f64> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied()
    }

    /// LPS position of a voxel `(slice, row, column)`, whole or fractional in the plane; `slice` is a whole
    /// one. None where the slice is not there.
    pub fn voxel_to_lps(&self, slice: usize, row: f64, column: f64) -> Option<[f64; 3]> {
        let origin = self.positions.get(slice)?;
        let (along_row, along_column) = (self.row_direction(), self.column_direction());
        let [row_spacing, column_spacing] = self.pixel_spacing;
        let mut point = *origin;
        for axis in 0..3 {
            point[axis] += along_row[axis] * column * column_spacing + along_column[axis] * row * row_spacing;
        }
        Some(point)
    }

    /// `[slice, row, column]`, fractional, of an LPS position. The slice is interpolated between the
    /// slices' own offsets along the normal, extrapolated past the ends by the usual spacing (1 mm for a
    /// single slice), and the in-plane origin follows the positions, so that shear and gaps are honoured.
    /// None for a volume without slices.
    pub fn lps_to_voxel(&self, point: [f64; 3]) -> Option<[f64; 3]> {
        let offsets = self.offsets();
        let slice =
            fractional_index(&offsets, dot(self.normal(), point), self.slice_spacing().unwrap_or(1.0))?;
        let origin = self.position_at(slice)?;
        let relative = [point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]];
        let [row_spacing, column_spacing] = self.pixel_spacing;
        Some([
            slice,
            dot(relative, self.column_direction()) / row_spacing,
            dot(relative, self.row_direction()) / column_spacing,
        ])
    }

    /// The slice whose plane holds `position`, if one lies within `tolerance_mm` along the normal.
    pub fn slice_of_position(&self, position: [f64; 3], tolerance_mm: f64) -> Option<usize> {
        let offset = dot(self.normal(), position);
        self.offsets()
            .iter()
            .map(|slice| (slice - offset).abs())
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .filter(|(_, distance)| *distance <= tolerance_mm)
            .map(|(slice, _)| slice)
    }

    /// Affine from `(column, row, slice)` to LPS, row major, 4 x 4, with slices spread evenly from the first
    /// position to the last: exact for a regular stack, the best single matrix for others.
    /// None for a volume without slices.
    pub fn affine(&self) -> Option<[[f64; 4]; 4]> {
        let (first, last) = (self.positions.first()?, self.positions.last()?);
        let steps = (self.positions.len() - 1).max(1) as f64;
        let normal = self.normal();
        let (along_row, along_column) = (self.row_direction(), self.column_direction());
        let [row_spacing, column_spacing] = self.pixel_spacing;
        let mut affine = [[0.0; 4]; 4];
        for axis in 0..3 {
            let step =
                if self.positions.len() > 1 { (last[axis] - first[axis]) / steps } else { normal[axis] };
            affine[axis] =
                [along_row[axis] * column_spacing, along_column[axis] * row_spacing, step, first[axis]];
        }
        affine[3][3] = 1.0;
        Some(affine)
    }

    /// Volume of one voxel, mm3, by the usual slice spacing; None for a single slice.
    pub fn voxel_volume(&self) -> Option<f64> {
        Some(self.slice_spacing()? * self.pixel_spacing[0] * self.pixel_spacing[1])
    }

    /// Position of a fractional slice: on the line through the two neighbours.
    fn position_at(&self, slice: f64) -> Option<[f64; 3]> {
        let last = self.positions.len().checked_sub(1)?;
        if last == 0 {
            return self.positions.first().copied();
        }
        let below = (slice.floor().max(0.0) as usize).min(last - 1);
        let (a, b) = (self.positions.get(below)?, self.positions.get(below + 1)?);
        let t = slice - below as f64;
        Some([a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])])
    }
}

/// Where `value` falls in ascending `offsets`, as a fractional index.
fn fractional_index(offsets: &[f64], value: f64, usual_step: f64) -> Option<f64> {
    let (first, last) = (*offsets.first()?, *offsets.last()?);
    if value <= first || offsets.len() == 1 {
        return Some((value - first) / usual_step);
    }
    if value >= last {
        return Some((offsets.len() - 1) as f64 + (value - last) / usual_step);
    }
    let above = offsets.partition_point(|offset| *offset <= value);
    let (a, b) = (*offsets.get(above - 1)?, *offsets.get(above)?);
    Some((above - 1) as f64 + (value - a) / (b - a))
}

pub(crate) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
