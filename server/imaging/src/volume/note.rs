//! What a user should know about a volume, and why a series is none.

use std::fmt;

/// A remark on a volume's geometry. None of them makes the volume unusable.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VolumeNote {
    /// Slices are missing: the step after `slice` is about `missing + 1` times the usual one.
    Gap {
        /// The slice before the gap, counted from 0.
        slice: usize,
        /// Slices that would fit into it.
        missing: usize,
        /// Distance across the gap along the normal, mm.
        distance_mm: f64,
    },
    /// Steps between slices differ by more than one percent, and not by whole slices.
    IrregularSpacing {
        /// Smallest step, mm.
        min_mm: f64,
        /// Largest step, mm.
        max_mm: f64,
    },
    /// Frames at a position that another frame already holds, and nothing that orders them: left out.
    DuplicatePosition {
        /// Frames left out.
        frames: usize,
    },
    /// The series was split: this volume is one time point (or echo, or acquisition) of several.
    TimePoint {
        /// Which one, counted from 0.
        index: usize,
        /// How many there are.
        count: usize,
        /// The attribute that tells them apart.
        by: &'static str,
    },
    /// The series was split: its frames differ in size, spacing or orientation.
    MixedGeometry {
        /// Which group this volume is, counted from 0, the largest first.
        index: usize,
        /// How many groups there are.
        count: usize,
    },
    /// Positions do not run along the normal: the stack is sheared (gantry tilt).
    Sheared {
        /// Angle between the normal and the line through the positions, degrees.
        degrees: f64,
    },
    /// Rows and columns do not run along the patient's axes.
    Oblique {
        /// Angle between the normal and the nearest patient axis, degrees.
        degrees: f64,
    },
    /// The file gives no position or no pixel spacing: those of the geometry are nominal.
    NominalGeometry,
    /// Frames left out since they are no slices of this volume (for example a localiser among them).
    Excluded {
        /// Frames left out.
        frames: usize,
        /// Why.
        reason: NotAVolume,
    },
}

impl fmt::Display for VolumeNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { slice, missing, distance_mm } => {
                write!(f, "{missing} slices missing after slice {slice}: {distance_mm:.2} mm to the next")
            }
            Self::IrregularSpacing { min_mm, max_mm } => {
                write!(f, "irregular spacing: {min_mm:.3} to {max_mm:.3} mm between slices")
            }
            Self::DuplicatePosition { frames } => {
                write!(f, "{frames} frames left out: another frame is at their position")
            }
            Self::TimePoint { index, count, by } => {
                write!(f, "volume {} of {count}, told apart by {by}", index + 1)
            }
            Self::MixedGeometry { index, count } => {
                write!(f, "group {} of {count}: frames differ in size, spacing or orientation", index + 1)
            }
            Self::Sheared { degrees } => write!(f, "sheared by {degrees:.1} degrees"),
            Self::Oblique { degrees } => write!(f, "oblique by {degrees:.1} degrees"),
            Self::NominalGeometry => write!(f, "geometry is nominal: the file gives none"),
            Self::Excluded { frames, reason } => write!(f, "{frames} frames left out: {reason}"),
        }
    }
}

/// What a series is, if it is no volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAVolume {
    /// No instance at all.
    Empty,
    /// ImageType says LOCALIZER (PS3.3 C.8.2.1.1.1, C.7.6.1.1.2).
    Localizer,
    /// Secondary captures: pictures, without a place in the patient.
    SecondaryCapture,
    /// Colour samples.
    Colour,
    /// Objects without a picture, or segmentations and other derived labels.
    NotAnImage,
}

impl fmt::Display for NotAVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it holds no instance",
            Self::Localizer => "it is a localizer",
            Self::SecondaryCapture => "it is a secondary capture",
            Self::Colour => "its samples are colours",
            Self::NotAnImage => "its objects are no images of a patient",
        })
    }
}
