//! VOI LUT.

use super::lut::{Lut, is_signed};
use crate::attributes::{first_item, float, of_frame, text};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};

/// A window: centre and width in modality values (PS3.3 C.11.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// WindowCenter.
    pub center: f64,
    /// WindowWidth: at least 1 for LINEAR, above 0 for the others.
    pub width: f64,
    /// VOILUTFunction.
    pub function: VoiFunction,
}

/// How a window maps values (PS3.3 C.11.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VoiFunction {
    /// LINEAR, the default: the half-pixel correction of PS3.3 C.11.2.1.2.1.
    #[default]
    Linear,
    /// LINEAR_EXACT.
    LinearExact,
    /// SIGMOID.
    Sigmoid,
}

impl VoiFunction {
    /// The defined term's meaning; LINEAR for an unknown one.
    pub fn from_term(term: &str) -> Self {
        match term.trim().to_ascii_uppercase().as_str() {
            "LINEAR_EXACT" | "LINEAR-EXACT" => Self::LinearExact,
            "SIGMOID" => Self::Sigmoid,
            _ => Self::Linear,
        }
    }
}

impl Window {
    /// Shows 0 as black and 1 as white.
    pub(super) const UNIT: Window = Window { center: 0.5, width: 1.0, function: VoiFunction::LinearExact };

    /// A window, or None where the width is not one that the function allows.
    pub fn new(center: f64, width: f64, function: VoiFunction) -> Option<Self> {
        let smallest = if function == VoiFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
        (center.is_finite() && width.is_finite() && width >= smallest).then_some(Self {
            center,
            width,
            function,
        })
    }

    /// The window that maps `lower` to black and `upper` to white.
    pub fn between(lower: f64, upper: f64) -> Option<Self> {
        Self::new((lower + upper) / 2.0, upper - lower, VoiFunction::LinearExact)
    }

    /// The display value of a modality value, 0 (black) to 1 (white): PS3.3 C.11.2.1.2.1 and C.11.2.1.3.
    pub fn map(&self, value: f64) -> f64 {
        let Self { center, width, function } = *self;
        let mapped = match function {
            VoiFunction::Linear if width > 1.0 => (value - (center - 0.5)) / (width - 1.0) + 0.5,
            VoiFunction::Linear => f64::from(u8::from(value > center - 0.5)),
            VoiFunction::LinearExact => (value - center) / width + 0.5,
            VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        };
        mapped.clamp(0.0, 1.0)
    }
}

/// From modality values to display values.
#[derive(Debug, Clone, PartialEq)]
pub enum Voi {
    /// A window.
    Window(Window),
    /// VOILUTSequence.
    Lut(Lut),
}

impl Voi {
    /// What the file suggests for a frame, counted from 1: its first window, else its first table. None
    /// where it has neither, or only windows without a meaning.
    pub fn of_frame(object: &DefaultDicomObject, frame: usize) -> Option<Self> {
        of_frame(object, frame, tags::FRAME_VOILUT_SEQUENCE, window).map(Self::Window).or_else(|| {
            let item = first_item(object, tags::VOILUT_SEQUENCE)?;
            Lut::of_item(item, is_signed(object)).map(Self::Lut)
        })
    }

    /// The display value of a modality value, 0 (black) to 1 (white).
    pub fn map(&self, value: f64) -> f64 {
        match self {
            Self::Window(window) => window.map(value),
            Self::Lut(lut) => lut.share_of(lut.get(value)),
        }
    }
}

/// The first window of an item.
pub(super) fn window(item: &InMemDicomObject) -> Option<Window> {
    let center = float(item, tags::WINDOW_CENTER)?;
    let width = float(item, tags::WINDOW_WIDTH)?;
    let function = text(item, tags::VOILUT_FUNCTION).unwrap_or_default();
    Window::new(center, width, VoiFunction::from_term(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_map_as_the_standard_says() {
        // (function, center, width, value, display value): the examples of PS3.3 C.11.2.1.2.1 among them.
        let cases = [
            (VoiFunction::Linear, 2048.0, 4096.0, 0.0, 0.0),
            (VoiFunction::Linear, 2048.0, 4096.0, 4095.0, 1.0),
            (VoiFunction::Linear, 2048.0, 1.0, 2047.0, 0.0),
            (VoiFunction::Linear, 2048.0, 1.0, 2048.0, 1.0),
            (VoiFunction::LinearExact, 40.0, 400.0, -160.0, 0.0),
            (VoiFunction::LinearExact, 40.0, 400.0, 140.0, 0.75),
            (VoiFunction::LinearExact, 40.0, 400.0, 300.0, 1.0),
            (VoiFunction::Sigmoid, 40.0, 400.0, 40.0, 0.5),
        ];
        for (function, center, width, value, expected) in cases {
            let mapped = Window::new(center, width, function).unwrap().map(value);
            assert!((mapped - expected).abs() < 1e-12, "{function:?} {value}: {mapped}");
        }
    }

    #[test]
    fn a_width_that_a_function_forbids_makes_no_window() {
        assert_eq!(Window::new(0.0, 0.5, VoiFunction::Linear), None);
        assert_eq!(Window::new(0.0, 0.0, VoiFunction::Sigmoid), None);
        assert!(Window::new(0.0, 0.5, VoiFunction::LinearExact).is_some());
        assert_eq!(Window::new(f64::NAN, 5.0, VoiFunction::Linear), None);
    }
}
