//! Modality LUT.

use super::lut::{Lut, is_signed};
use crate::attributes::{first_item, float, of_frame};
use crate::pixels::{FrameData, with_samples};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};

/// From stored values to the modality's own scale (CT: HU): PS3.3 C.11.1 and the Pixel Value Transformation
/// functional group (C.7.6.16.2.9).
#[derive(Debug, Clone, PartialEq)]
pub enum Modality {
    /// RescaleSlope and RescaleIntercept; 1 and 0 where the file has none.
    Linear {
        /// RescaleSlope.
        slope: f64,
        /// RescaleIntercept.
        intercept: f64,
    },
    /// ModalityLUTSequence.
    Lut(Lut),
}

impl Modality {
    /// The transform of a frame, counted from 1: of its functional groups, the shared ones, or the image.
    pub fn of_frame(object: &DefaultDicomObject, frame: usize) -> Self {
        of_frame(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, linear)
            .or_else(|| table(object, is_signed(object)))
            .unwrap_or(Self::IDENTITY)
    }

    /// The transform that an item holds for stored values that are signed or not; none changes nothing.
    pub(super) fn of_item(item: &InMemDicomObject, signed: bool) -> Self {
        linear(item).or_else(|| table(item, signed)).unwrap_or(Self::IDENTITY)
    }

    const IDENTITY: Self = Self::Linear { slope: 1.0, intercept: 0.0 };

    /// The least and the largest value that it can make of stored values of so many bits.
    pub(super) fn range(&self, bits: u16, signed: bool) -> [f64; 2] {
        match self {
            Self::Linear { slope, intercept } => {
                let count = f64::from(bits.min(32)).exp2();
                let stored = if signed { [-count / 2.0, count / 2.0 - 1.0] } else { [0.0, count - 1.0] };
                let [one, other] = stored.map(|value| value * slope + intercept);
                [one.min(other), one.max(other)]
            }
            Self::Lut(lut) => [0.0, f64::from((1u32 << lut.bits) - 1)],
        }
    }

    /// Modality values of stored ones.
    pub fn apply(&self, data: &FrameData) -> Vec<f32> {
        match self {
            Self::Linear { slope: 1.0, intercept: 0.0 } => data.to_f32(),
            Self::Linear { slope, intercept } => with_samples!(data, samples => {
                samples.iter().map(|sample| (*sample as f64 * slope + intercept) as f32).collect()
            }),
            Self::Lut(lut) => with_samples!(data, samples => {
                samples.iter().map(|sample| f32::from(lut.get(*sample as f64))).collect()
            }),
        }
    }
}

fn linear(item: &InMemDicomObject) -> Option<Modality> {
    let slope = float(item, tags::RESCALE_SLOPE)?;
    Some(Modality::Linear { slope, intercept: float(item, tags::RESCALE_INTERCEPT).unwrap_or(0.0) })
}

fn table(item: &InMemDicomObject, signed: bool) -> Option<Modality> {
    Lut::of_item(first_item(item, tags::MODALITY_LUT_SEQUENCE)?, signed).map(Modality::Lut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_and_tables_apply() {
        let data = FrameData::I16(vec![-1, 0, 100]);
        let rescale = Modality::Linear { slope: 2.0, intercept: -1024.0 };
        assert_eq!(rescale.apply(&data), [-1026.0, -1024.0, -824.0]);
        let lut = Modality::Lut(Lut { first: 0, entries: vec![7, 8, 9], bits: 16 });
        assert_eq!(lut.apply(&data), [7.0, 7.0, 9.0]);
    }
}
