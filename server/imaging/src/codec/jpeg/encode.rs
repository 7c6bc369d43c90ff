//! Encoding: the lossless process with predictor 1 (T.81 annex H), which DICOM calls Selection Value 1, and the
//! baseline process.

use super::bits::BitWriter;
use super::huffman::{Code, short_codes};
use crate::codec::{EncodeJpegSnafu, PlainImage, Result, UnsupportedSnafu};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use snafu::{OptionExt, ResultExt, ensure};

/// The marker of a lossless frame.
const SOF3: u8 = 0xC3;
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

/// Encodes samples by pixel. Of three components, red, green and blue are meant; they are coded as luminance and
/// chrominances of one size, and the JFIF segment says so. `quality`: 1 to 100.
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
    let colour = if components == 3 { ColorType::Rgb } else { ColorType::Luma };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(samples, columns, rows, colour).context(EncodeJpegSnafu)?;
    Ok(bytes)
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
