//! Lossless encoding (T.87 annexes A to C).

use super::bits::BitWriter;
use super::context::{Context, Parameters, RunContext};
use super::header::Preset;
use super::lines::{CONTEXTS, Lines, RUN_BITS, prediction};
use crate::codec::{PlainImage, Result};

/// The marker of a JPEG-LS frame.
const SOF55: u8 = 0xF7;
/// From this precision on the preset parameters are written although they are the defaults: old decoders work
/// other ones out.
const PRECISION_WITH_PRESET: u8 = 13;

/// Encodes samples of up to 16 bits, those of signed ones as they are. Components are interleaved by line.
pub(crate) fn encode(image: &PlainImage) -> Result<Vec<u8>> {
    let precision = image.coded_precision();
    let parameters = Parameters::new(precision, 0, Preset::default())?;
    let mut bits = BitWriter::new(headers(image, precision, &parameters));
    let mut scan = Scan {
        parameters,
        contexts: vec![Context::new(parameters.range); CONTEXTS],
        run_contexts: [RunContext::new(parameters.range, false), RunContext::new(parameters.range, true)],
    };
    let (columns, components) = (image.columns, image.components);
    let mut lines: Vec<Lines> = (0..components).map(|_| Lines::new(columns)).collect();
    let mut run_indices = vec![0; components];
    for row in image.samples.chunks_exact(columns * components) {
        for (component, (line, run_index)) in lines.iter_mut().zip(&mut run_indices).enumerate() {
            line.start(columns);
            for (place, pixel) in line.current[1..].iter_mut().zip(row.chunks_exact(components)) {
                *place = pixel[component] & parameters.largest;
            }
            scan.line(&mut bits, line, columns, run_index);
            std::mem::swap(&mut line.above, &mut line.current);
        }
    }
    let mut bytes = bits.finish();
    bytes.extend([0xFF, 0xD9]);
    Ok(bytes)
}

/// Everything before the scan's data: SOI, SOF55, LSE where it is wanted, SOS.
fn headers(image: &PlainImage, precision: u8, parameters: &Parameters) -> Vec<u8> {
    let components = image.components as u8;
    let mut bytes = image.start(SOF55, precision);
    if precision >= PRECISION_WITH_PRESET {
        bytes.extend([0xFF, 0xF8, 0, 13, 1]);
        let [first, second, third] = parameters.thresholds;
        for value in [parameters.largest, first, second, third, parameters.reset] {
            bytes.extend((value as u16).to_be_bytes());
        }
    }
    bytes.extend([0xFF, 0xDA, 0, 6 + 2 * components, components]);
    (1..=components).for_each(|id| bytes.extend([id, 0]));
    let interleave = u8::from(components > 1);
    bytes.extend([0, interleave, 0]);
    bytes
}

struct Scan {
    parameters: Parameters,
    contexts: Vec<Context>,
    /// For samples that end a run: neighbours unlike, alike.
    run_contexts: [RunContext; 2],
}

impl Scan {
    fn line(&mut self, bits: &mut BitWriter, line: &Lines, columns: usize, run_index: &mut usize) {
        let mut place = 1;
        while place <= columns {
            let neighbours = line.neighbours(place);
            let number = self.parameters.context_number(neighbours);
            if number == 0 {
                place += self.run(bits, line, place, columns, run_index);
            } else {
                self.regular(bits, line.current[place], neighbours, number);
                place += 1;
            }
        }
    }

    /// T.87 A.4 to A.6.
    fn regular(&mut self, bits: &mut BitWriter, sample: i32, neighbours: [i32; 4], number: i32) {
        let parameters = self.parameters;
        let sign = if number < 0 { -1 } else { 1 };
        let context = &mut self.contexts[number.unsigned_abs() as usize];
        let prediction = (prediction(neighbours) + sign * context.correction).clamp(0, parameters.largest);
        let error = parameters.reduce(sign * (sample - prediction));
        let k = context.golomb();
        let mapped = match (error >= 0, context.is_inverted(k)) {
            (true, false) => 2 * error,
            (false, false) => -2 * error - 1,
            (true, true) => 2 * error + 1,
            (false, true) => -2 * (error + 1),
        };
        put_mapped_error(bits, mapped, k, parameters.limit, parameters.error_bits);
        context.update(error, &parameters);
    }

    /// A run of equal samples and the sample that ends it (T.87 A.7); returns how many samples it took.
    fn run(
        &mut self,
        bits: &mut BitWriter,
        line: &Lines,
        place: usize,
        columns: usize,
        run_index: &mut usize,
    ) -> usize {
        let value = line.current[place - 1];
        let rest = &line.current[place..=columns];
        let length = rest.iter().take_while(|sample| **sample == value).count();
        let mut left = length;
        while left >= 1 << RUN_BITS[*run_index] {
            bits.number(1, 1);
            left -= 1 << RUN_BITS[*run_index];
            *run_index = (*run_index + 1).min(31);
        }
        if length == rest.len() {
            if left > 0 {
                bits.number(1, 1);
            }
            return length;
        }
        bits.number(0, 1);
        bits.number(left as u32, RUN_BITS[*run_index]);
        let [a, b, _, _] = line.neighbours(place + length);
        self.run_end(bits, line.current[place + length], a, b, *run_index);
        *run_index = run_index.saturating_sub(1);
        length + 1
    }

    /// T.87 A.7.2.
    fn run_end(&mut self, bits: &mut BitWriter, sample: i32, a: i32, b: i32, run_index: usize) {
        let parameters = self.parameters;
        let alike = a == b;
        let context = &mut self.run_contexts[usize::from(alike)];
        let error = match alike {
            true => sample - a,
            false if a > b => b - sample,
            false => sample - b,
        };
        let error = parameters.reduce(error);
        let k = context.golomb();
        let mapped = context.mapped(error, k);
        let limit = parameters.limit - RUN_BITS[run_index] - 1;
        put_mapped_error(bits, mapped, k, limit, parameters.error_bits);
        context.update(error, mapped, parameters.reset);
    }
}

/// A limited-length Golomb code (T.87 A.5.3).
fn put_mapped_error(bits: &mut BitWriter, mapped: i32, k: u32, limit: u32, error_bits: u32) {
    let mapped = mapped as u32;
    let longest = limit.saturating_sub(error_bits + 1);
    let zeros = mapped >> k;
    if zeros < longest {
        bits.zeros(zeros);
        bits.number(mapped & ((1 << k) - 1), k);
    } else {
        bits.zeros(longest);
        bits.number(mapped - 1, error_bits);
    }
}
