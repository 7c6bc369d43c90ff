//! Modality LUT.

use super::lut::{Lut, is_signed};
use crate::attributes::{first_item, float, of_frame};
use crate::pixels::{FrameData, with_samples};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;

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
        let linear = of_frame(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, |item| {
            let slope = float(item, tags::RESCALE_SLOPE)?;
            Some(Self::Linear { slope, intercept: float(item, tags::RESCALE_INTERCEPT).unwrap_or(0.0) })
        });
        linear
            .or_else(|| {
                let item = first_item(object, tags::MODALITY_LUT_SEQUENCE)?;
                Lut::of_item(item, is_signed(object)).map(Self::Lut)
            })
            .unwrap_or(Self::Linear { slope: 1.0, intercept: 0.0 })
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
