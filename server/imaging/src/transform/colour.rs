//! Colour (PS3.3 C.7.6.3.1.2).

use crate::pixels::{Frame, FrameData, Photometric, with_samples};

impl Frame {
    /// The frame as red, green and blue, where it is luminance and chrominance; as it is otherwise.
    ///
    /// Full range, as YBR_FULL is defined; samples of 8 and 16 bits.
    pub fn to_rgb(&self) -> Frame {
        if self.photometric != Photometric::YbrFull || self.samples_per_pixel != 3 {
            return self.clone();
        }
        let largest = f64::from(1u32 << u32::from(self.bits_stored.min(16))) - 1.0;
        let data = match &self.data {
            FrameData::U8(samples) => {
                FrameData::U8(rgb(samples, largest).map(|sample| sample as u8).collect())
            }
            other => {
                let samples = with_samples!(other, samples => {
                    samples.iter().map(|sample| *sample as u16).collect::<Vec<u16>>()
                });
                FrameData::U16(rgb(&samples, largest).map(|sample| sample as u16).collect())
            }
        };
        Frame { photometric: Photometric::Rgb, data, ..self.clone() }
    }
}

fn rgb<T: Copy + Into<f64>>(samples: &[T], largest: f64) -> impl Iterator<Item = f64> {
    let middle = ((largest + 1.0) / 2.0).floor();
    samples.as_chunks::<3>().0.iter().flat_map(move |pixel| {
        let [y, blue, red] = pixel.map(Into::into);
        let (blue, red): (f64, f64) = (blue - middle, red - middle);
        let y: f64 = y;
        [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue]
            .map(|sample| sample.round().clamp(0.0, largest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luminance_and_chrominance_become_red_green_blue() {
        // Grey, pure red and pure blue, by the forward equations of the standard.
        let samples = vec![100, 128, 128, 76, 85, 255, 29, 255, 107];
        let frame = Frame {
            rows: 1,
            columns: 3,
            samples_per_pixel: 3,
            bits_stored: 8,
            photometric: Photometric::YbrFull,
            data: FrameData::U8(samples),
        };
        let rgb = frame.to_rgb();
        assert_eq!(rgb.data, FrameData::U8(vec![100, 100, 100, 254, 0, 0, 0, 0, 254]));
        assert_eq!(rgb.photometric, Photometric::Rgb);
    }
}
