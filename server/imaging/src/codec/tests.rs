//! Whatever is encoded decodes to the same samples.

use super::*;
use proptest::prelude::*;

/// A frame to encode, owned.
#[derive(Debug, Clone)]
struct Picture {
    rows: usize,
    columns: usize,
    components: usize,
    precision: u8,
    signed: bool,
    samples: Vec<i32>,
}

impl Picture {
    fn image(&self) -> PlainImage<'_> {
        PlainImage {
            rows: self.rows,
            columns: self.columns,
            components: self.components,
            precision: self.precision,
            signed: self.signed,
            samples: &self.samples,
        }
    }

    /// The samples that a decoder without signs gives back.
    fn unsigned(&self) -> Vec<i32> {
        let mask = (1 << self.precision.max(2)) - 1;
        self.samples.iter().map(|sample| sample & mask).collect()
    }
}

/// Frames of any size, depth and sign: noise, flat ones, extremes only, a slope, and noise with flat stretches.
fn pictures() -> impl Strategy<Value = Picture> {
    let shape =
        (1usize..=70, 1usize..=70, prop_oneof![3 => Just(1usize), 1 => Just(3)], 1u8..=16, any::<bool>());
    (shape, 0..5, any::<u64>()).prop_map(|((rows, columns, components, precision, signed), kind, seed)| {
        let half = 1i32 << (precision - 1);
        let (low, high) = if signed { (-half, half - 1) } else { (0, 2 * half - 1) };
        let mut state = seed | 1;
        let mut noise = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as i32
        };
        let flat = low + noise() % (2 * half);
        let samples = (0..rows * columns * components).map(|index| match kind {
            0 => low + noise() % (2 * half),
            1 => flat,
            2 => {
                if noise() % 2 == 0 {
                    low
                } else {
                    high
                }
            }
            3 => low + (index as i32 * 3) % (2 * half),
            _ => {
                if index / 40 % 3 == 0 {
                    low + noise() % (2 * half)
                } else {
                    flat
                }
            }
        });
        let samples = samples.collect();
        Picture { rows, columns, components, precision, signed, samples }
    })
}

fn as_i32(samples: Samples) -> Vec<i32> {
    match samples {
        Samples::U16(samples) => samples.into_iter().map(i32::from).collect(),
        Samples::I32(samples) => samples,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn jpeg_ls_gives_back_what_went_in(picture in pictures()) {
        let bytes = jpegls::encode(&picture.image()).unwrap();
        let decoded = jpegls::decode(&bytes, (picture.rows, picture.columns)).unwrap();
        prop_assert_eq!(decoded.precision, u32::from(picture.precision.max(2)));
        prop_assert_eq!(as_i32(decoded.samples), picture.unsigned());
    }

    #[test]
    fn lossless_jpeg_gives_back_what_went_in(picture in pictures()) {
        let bytes = jpeg::encode_lossless(&picture.image());
        let decoded = jpeg::decode(&bytes, (picture.rows, picture.columns)).unwrap();
        prop_assert_eq!(decoded.precision, u32::from(picture.precision.max(2)));
        prop_assert_eq!(as_i32(decoded.samples), picture.unsigned());
    }

    #[test]
    fn jpeg_2000_gives_back_what_went_in(picture in pictures(), transform in any::<bool>()) {
        let bytes = jpeg2000::encode(&picture.image(), transform).unwrap();
        let decoded = jpeg2000::decode(&bytes, (picture.rows, picture.columns)).unwrap();
        prop_assert_eq!((decoded.precision, decoded.signed), (u32::from(picture.precision), picture.signed));
        let colour = if transform && picture.components == 3 { CodedColour::Rgb } else { CodedColour::Unsaid };
        prop_assert_eq!(decoded.colour, colour);
        prop_assert_eq!(as_i32(decoded.samples), picture.samples);
    }

    #[test]
    fn high_throughput_jpeg_2000_gives_back_what_went_in(picture in pictures(), transform in any::<bool>()) {
        let bytes = htj2k::encode(&picture.image(), transform).unwrap();
        let decoded = jpeg2000::decode(&bytes, (picture.rows, picture.columns)).unwrap();
        prop_assert_eq!((decoded.precision, decoded.signed), (u32::from(picture.precision), picture.signed));
        prop_assert_eq!(as_i32(decoded.samples), picture.samples);
    }
}

#[test]
fn images_of_many_code_blocks_come_back() {
    // Rows, columns, precision: blocks of 64 x 64 in several rows and columns, some of them without content.
    for (rows, columns, precision) in
        [(200, 300, 12), (513, 130, 16), (1, 700, 8), (700, 1, 8), (129, 65, 16)]
    {
        for (signed, components) in [(false, 1), (true, 1), (false, 3)] {
            let offset = if signed { 1 << (precision - 1) } else { 0 };
            let sample = |index: usize| {
                let (row, column) = (index / components / columns, index / components % columns);
                let noise = (index as u32).wrapping_mul(2_654_435_761) >> (32 - precision);
                if row / 100 % 2 == column / 100 % 2 { noise as i32 - offset } else { 0 }
            };
            let samples = (0..rows * columns * components).map(sample).collect();
            let picture = Picture { rows, columns, components, precision: precision as u8, signed, samples };
            for encode in [htj2k::encode, jpeg2000::encode] {
                let bytes = encode(&picture.image(), true).unwrap();
                let decoded = jpeg2000::decode(&bytes, (rows, columns)).unwrap();
                assert!(as_i32(decoded.samples) == picture.samples, "{rows} x {columns}, {components}");
            }
        }
    }
}

#[test]
fn baseline_jpeg_is_near_what_went_in() {
    let samples: Vec<i32> = (0..40 * 30).flat_map(|index| [index % 40 * 6, index / 40 * 8, 90]).collect();
    let picture = Picture { rows: 30, columns: 40, components: 3, precision: 8, signed: false, samples };
    let bytes = jpeg::encode_baseline(&picture.image(), 95).unwrap();
    let decoded = jpeg::decode(&bytes, (30, 40)).unwrap();
    assert_eq!(decoded.colour, CodedColour::YbrFull);
    let grey =
        Picture { components: 1, samples: picture.samples.iter().step_by(3).copied().collect(), ..picture };
    let bytes = jpeg::encode_baseline(&grey.image(), 95).unwrap();
    let decoded = as_i32(jpeg::decode(&bytes, (30, 40)).unwrap().samples);
    assert!(decoded.iter().zip(&grey.samples).all(|(found, expected)| (found - expected).abs() <= 4));
    assert!(jpeg::encode_baseline(&Picture { precision: 9, ..grey }.image(), 95).is_err());
}

#[test]
fn openjpeg_has_room_for_noise_of_few_bits() {
    let (side, components) = (100, 3);
    for (precision, transform) in (1..=4).flat_map(|precision| [(precision, false), (precision, true)]) {
        let mut state = 7919u64;
        let samples: Vec<i32> = (0..side * side * components)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as i32 & ((1 << precision) - 1)
            })
            .collect();
        let image =
            PlainImage { rows: side, columns: side, components, precision, signed: false, samples: &samples };
        let bytes = jpeg2000::encode(&image, transform).unwrap();
        assert_eq!(as_i32(jpeg2000::decode(&bytes, (side, side)).unwrap().samples), samples, "{precision}");
    }
}
