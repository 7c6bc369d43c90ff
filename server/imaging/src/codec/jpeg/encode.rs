//! Encoding: the lossless process with predictor 1 (T.81 annex H), which DICOM calls Selection Value 1, and the
//! baseline process.

use super::bits::BitWriter;
use super::huffman::{Code, short_codes};
use crate::codec::{EncodeJpegSnafu, MalformedSnafu, PlainImage, Result, UnsupportedSnafu};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use snafu::{OptionExt, ResultExt, ensure};
use std::thread;

/// The marker of a baseline frame.
const SOF0: u8 = 0xC0;
/// The marker of a lossless frame.
const SOF3: u8 = 0xC3;
/// The marker before a scan.
const SOS: u8 = 0xDA;
/// Sizes of a difference: 0 to 16 bits.
const SIZES: usize = 17;

/// Encodes samples of up to 16 bits, those of signed ones as they are.
pub(crate) fn encode_lossless(image: &PlainImage) -> Vec<u8> {
    let precision = image.coded_precision();
    let differences = differences(image, precision);
    let mut frequencies = [0; SIZES];
    differences.iter().for_each(|difference| frequencies[size(*difference) as usize] += 1);
    let codes = short_codes(&frequencies);
    let mut bits = BitWriter::new(headers(image, precision, &codes));
    let mut by_size = [Code::default(); SIZES];
    codes.iter().for_each(|code| by_size[usize::from(code.symbol)] = *code);
    for difference in differences {
        let size = size(difference);
        let code = by_size[size as usize];
        bits.number(u32::from(code.bits), u32::from(code.length));
        // 16 bits stand for 32768, without further bits (T.81 H.1.2.2).
        if size < 16 {
            let value = if difference < 0 { difference - 1 } else { difference };
            bits.number(u32::from(value as u16) & ((1 << size) - 1), size);
        }
    }
    let mut bytes = bits.finish();
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// Encodes unsigned samples of 8 bits; `quality`: 1 to 100.
pub(crate) fn encode_baseline(image: &PlainImage, quality: u8) -> Result<Vec<u8>> {
    ensure!(
        image.precision <= 8 && !image.signed,
        UnsupportedSnafu { what: "the baseline process for other samples than unsigned ones of 8 bits" }
    );
    let samples: Vec<u8> = image.samples.iter().map(|sample| *sample as u8).collect();
    encode_picture(&samples, [image.columns, image.rows], image.components, quality)
}

/// What stands before a stretch of a profile in an APP2 segment (ICC.1 B.4), and how much of one fits behind it.
const PROFILE: &[u8] = b"ICC_PROFILE\0";
const PROFILE_STRETCH: usize = 65_533 - PROFILE.len() - 2;

/// A JPEG with an ICC profile behind its JFIF header, cut into as many segments as it takes. One that would take more than 255 is left out.
pub(crate) fn with_profile(picture: &[u8], profile: &[u8]) -> Vec<u8> {
    let stretches = profile.chunks(PROFILE_STRETCH);
    let (Ok(count), Some(at)) = (u8::try_from(stretches.len()), behind_jfif(picture)) else {
        return picture.to_vec();
    };
    let (before, after) = picture.split_at(at);
    let mut whole = before.to_vec();
    for (number, stretch) in (1..=count).zip(stretches) {
        let length = (2 + PROFILE.len() + 2 + stretch.len()) as u16;
        whole.extend([0xFF, 0xE2]);
        whole.extend(length.to_be_bytes());
        whole.extend(PROFILE);
        whole.extend([number, count]);
        whole.extend(stretch);
    }
    whole.extend(after);
    whole
}

/// Where the segments behind SOI and APP0 begin.
fn behind_jfif(picture: &[u8]) -> Option<usize> {
    match picture {
        [0xFF, 0xD8, 0xFF, 0xE0, high, low, ..] => {
            let end = 4 + usize::from(u16::from_be_bytes([*high, *low]));
            (end <= picture.len()).then_some(end)
        }
        [0xFF, 0xD8, ..] => Some(2),
        _ => None,
    }
}

/// Encodes samples by pixel. Of three components, red, green and blue are meant; they are coded as luminance and
/// chrominances of one size, and the JFIF segment says so. `quality`: 1 to 100.
///
/// Pictures of some size are coded in two halves at once, with a restart marker between them: 512 by 512 pixels of grey took
/// 1.5 ms instead of 2.6 on two cores.
pub(crate) fn encode_picture(
    samples: &[u8],
    size: [usize; 2],
    components: usize,
    quality: u8,
) -> Result<Vec<u8>> {
    let side = |pixels: usize| u16::try_from(pixels).ok();
    let (columns, rows) = side(size[0])
        .zip(side(size[1]))
        .context(UnsupportedSnafu { what: "JPEG of more than 65535 rows or columns" })?;
    let encode = |samples: &[u8], rows: u16, restart: u16| {
        let colour = if components == 3 { ColorType::Rgb } else { ColorType::Luma };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        encoder.set_restart_interval(restart);
        encoder.encode(samples, columns, rows, colour).context(EncodeJpegSnafu)?;
        Ok(bytes)
    };
    let halves = Halves::of(columns, rows).and_then(|halves| {
        let upper = usize::from(halves.rows) * size[0] * components;
        Some((halves, samples.split_at_checked(upper)?))
    });
    let Some((halves, (upper, lower))) = halves else { return encode(samples, rows, 0) };
    let (upper, lower) = thread::scope(|scope| {
        let lower = scope.spawn(|| encode(lower, rows - halves.rows, halves.blocks));
        (encode(upper, halves.rows, halves.blocks), lower.join())
    });
    let lower =
        lower.unwrap_or_else(|_| MalformedSnafu { what: "half of a picture cannot be encoded" }.fail());
    joined(upper?, &lower?, rows).context(MalformedSnafu { what: "an encoder wrote no baseline JPEG" })
}

/// Pixels from which a picture is coded in halves: fewer are coded in less time than a thread takes to start.
const PIXELS_WORTH_HALVING: usize = 1 << 16;

/// Rows and columns of a block.
const BLOCK: u16 = 8;

/// How a picture is halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Halves {
    /// Of the upper half, whole blocks.
    rows: u16,
    /// Of the upper half, each of all components: the restart interval (T.81 B.2.4.4).
    blocks: u16,
}

impl Halves {
    /// `None` for pictures that are too small or too flat, or whose halves have more blocks than a restart interval can.
    fn of(columns: u16, rows: u16) -> Option<Self> {
        if usize::from(columns) * usize::from(rows) < PIXELS_WORTH_HALVING {
            return None;
        }
        let upper = (rows / 2).next_multiple_of(BLOCK);
        if upper >= rows {
            return None;
        }
        let blocks = u32::from(upper / BLOCK) * u32::from(columns.div_ceil(BLOCK));
        Some(Self { rows: upper, blocks: u16::try_from(blocks).ok()? })
    }
}

/// Two pictures of one width as one, of so many rows: what stands before the scan is that of the upper, which ends with the
/// restart marker where the lower begins (T.81 E.1.4).
fn joined(upper: Vec<u8>, lower: &[u8], rows: u16) -> Option<Vec<u8>> {
    const END: [u8; 2] = [0xFF, 0xD9];
    const RESTART: [u8; 2] = [0xFF, 0xD0];
    let scan = lower.get(Places::in_headers(lower)?.scan..)?;
    let places = Places::in_headers(&upper)?;
    let mut bytes = upper;
    *bytes.get_mut(places.height..)?.first_chunk_mut()? = rows.to_be_bytes();
    bytes.truncate(bytes.strip_suffix(&END)?.len());
    bytes.extend(RESTART);
    bytes.extend(scan);
    Some(bytes)
}

/// Where things stand in a JPEG of one scan.
struct Places {
    /// The number of lines in the frame header (T.81 B.2.2).
    height: usize,
    /// The entropy-coded data.
    scan: usize,
}

impl Places {
    fn in_headers(bytes: &[u8]) -> Option<Self> {
        let mut height = None;
        let mut at = 2;
        loop {
            let [0xFF, marker, high, low] = *bytes.get(at..)?.first_chunk()? else { return None };
            let next = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            match marker {
                SOF0 => height = Some(at + 5),
                SOS => return Some(Self { height: height?, scan: next }),
                _ => {}
            }
            at = next;
        }
    }
}

/// What each sample differs by from its left neighbour, modulo 16 bits: by pixel. The first of a line is predicted
/// by the one above, the very first by half the range.
fn differences(image: &PlainImage, precision: u8) -> Vec<i16> {
    let mask = (1 << precision) - 1;
    let mut differences = Vec::with_capacity(image.samples.len());
    let mut starts = vec![1 << (precision - 1); image.components];
    for row in image.samples.chunks_exact(image.columns * image.components) {
        let mut predictions = starts.clone();
        for pixel in row.chunks_exact(image.components) {
            for (prediction, sample) in predictions.iter_mut().zip(pixel) {
                let sample = sample & mask;
                differences.push((sample - *prediction) as i16);
                *prediction = sample;
            }
        }
        for (start, sample) in starts.iter_mut().zip(row) {
            *start = sample & mask;
        }
    }
    differences
}

/// SSSS of a difference (T.81 table H.2).
fn size(difference: i16) -> u32 {
    16 - difference.unsigned_abs().leading_zeros()
}

/// Everything before the entropy-coded data: SOI, SOF3, DHT, SOS.
fn headers(image: &PlainImage, precision: u8, codes: &[Code]) -> Vec<u8> {
    let components = image.components as u8;
    let mut bytes = image.start(SOF3, precision);
    bytes.extend([0xFF, 0xC4, 0, 19 + codes.len() as u8, 0]);
    bytes.extend((1..=16).map(|length| codes.iter().filter(|code| code.length == length).count() as u8));
    bytes.extend(codes.iter().map(|code| code.symbol));
    bytes.extend([0xFF, 0xDA, 0, 6 + 2 * components, components]);
    (1..=components).for_each(|id| bytes.extend([id, 0]));
    bytes.extend([1, 0, 0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Samples, jpeg::decode};

    /// A picture that differs from place to place.
    fn picture(columns: usize, rows: usize, components: usize) -> Vec<u8> {
        let sample = |index: usize| {
            let (row, column) = (index / components / columns, index / components % columns);
            (row * 3 + column * 2 + index % components * 40 + (row * column) % 17) as u8
        };
        (0..columns * rows * components).map(sample).collect()
    }

    fn decoded(bytes: &[u8], columns: usize, rows: usize) -> Vec<u16> {
        match decode(bytes, (rows, columns)).unwrap().samples {
            Samples::U16(samples) => samples,
            Samples::I32(_) => panic!("more than 16 bits"),
        }
    }

    #[test]
    fn halves_decode_to_what_the_whole_does() {
        for (columns, rows, components) in
            [(512, 512, 1), (300, 301, 3), (257, 263, 1), (65_535, 9, 1), (8, 65_535, 3)]
        {
            let samples = picture(columns, rows, components);
            let bytes = encode_picture(&samples, [columns, rows], components, 90).unwrap();
            let mut whole = Vec::new();
            let mut encoder = Encoder::new(&mut whole, 90);
            encoder.set_sampling_factor(SamplingFactor::F_1_1);
            let colour = if components == 3 { ColorType::Rgb } else { ColorType::Luma };
            encoder.encode(&samples, columns as u16, rows as u16, colour).unwrap();
            assert_ne!(bytes, whole, "{columns} x {rows}: it is coded in halves");
            assert!(decoded(&bytes, columns, rows) == decoded(&whole, columns, rows), "{columns} x {rows}");
            let other = image::load_from_memory(&bytes).unwrap();
            assert_eq!((other.width() as usize, other.height() as usize), (columns, rows));
            assert!(
                other == image::load_from_memory(&whole).unwrap(),
                "{columns} x {rows}, by another decoder"
            );
        }
    }

    #[test]
    fn small_and_huge_pictures_are_coded_whole() {
        assert_eq!(Halves::of(255, 256), None);
        assert_eq!(Halves::of(256, 256), Some(Halves { rows: 128, blocks: 512 }));
        assert_eq!(Halves::of(8, 8193), Some(Halves { rows: 4096, blocks: 512 }));
        assert_eq!(Halves::of(65_535, 8), None);
        assert_eq!(Halves::of(16_384, 16_384), None);
    }

    #[test]
    fn too_few_samples_are_refused() {
        assert!(encode_picture(&picture(512, 511, 1), [512, 512], 1, 90).is_err());
        assert!(encode_picture(&picture(512, 100, 1), [512, 512], 1, 90).is_err());
    }
}
