//! Decoding of a scan (T.87 annexes A and B).

use super::bits::BitReader;
use super::context::{Context, Parameters, RunContext};
use super::header::{Frame, Interleave, Parser, ScanHeader};
use super::lines::{CONTEXTS, Lines, RUN_BITS, prediction};
use crate::codec::{MalformedSnafu, Result};
use snafu::ensure;

struct Decoder<'a> {
    bits: BitReader<'a>,
    parameters: Parameters,
    contexts: Vec<Context>,
    /// For samples that end a run: neighbours unlike, alike.
    run_contexts: [RunContext; 2],
}

/// Decodes a scan into `samples`, by pixel, and returns where its data end.
pub(super) fn decode(
    parser: &Parser,
    frame: &Frame,
    header: &ScanHeader,
    samples: &mut [u16],
) -> Result<usize> {
    let parameters = Parameters::new(frame.precision, header.near, parser.preset)?;
    let mut decoder = Decoder {
        bits: BitReader::new(parser.bytes, parser.position),
        parameters,
        contexts: vec![Context::new(parameters.range); CONTEXTS],
        run_contexts: [RunContext::new(parameters.range, false), RunContext::new(parameters.range, true)],
    };
    let columns = frame.columns;
    let mut lines: Vec<Lines> = header.components.iter().map(|_| Lines::new(columns)).collect();
    let mut run_indices = vec![0; lines.len()];
    for out in samples.chunks_exact_mut(columns * frame.components.len()) {
        lines.iter_mut().for_each(|line| line.start(columns));
        if header.interleave == Interleave::Sample {
            decoder.line(&mut lines, columns, &mut run_indices[0])?;
        } else {
            for (line, run_index) in lines.iter_mut().zip(&mut run_indices) {
                decoder.line(std::slice::from_mut(line), columns, run_index)?;
            }
        }
        for (line, component) in lines.iter_mut().zip(&header.components) {
            for (pixel, sample) in out.chunks_exact_mut(frame.components.len()).zip(&line.current[1..]) {
                pixel[*component] = *sample as u16;
            }
            std::mem::swap(&mut line.above, &mut line.current);
        }
    }
    Ok(decoder.bits.position())
}

impl Decoder<'_> {
    /// A line of one component, or of all of them together when they are interleaved by sample.
    fn line(&mut self, lines: &mut [Lines], columns: usize, run_index: &mut usize) -> Result<()> {
        let mut place = 1;
        while place <= columns {
            let mut flat = true;
            let mut gradients = [0; 4];
            for (line, gradient) in lines.iter().zip(&mut gradients) {
                *gradient = self.parameters.context_number(line.neighbours(place));
                flat &= *gradient == 0;
            }
            if flat {
                place += self.run(lines, place, columns, run_index)?;
            } else {
                for (line, gradient) in lines.iter_mut().zip(gradients) {
                    line.current[place] = self.regular(line.neighbours(place), gradient)?;
                }
                place += 1;
            }
        }
        Ok(())
    }

    /// T.87 A.4 to A.6.
    fn regular(&mut self, neighbours: [i32; 4], number: i32) -> Result<i32> {
        let parameters = self.parameters;
        let sign = if number < 0 { -1 } else { 1 };
        let context = &mut self.contexts[number.unsigned_abs() as usize];
        let prediction = (prediction(neighbours) + sign * context.correction).clamp(0, parameters.largest);
        let k = context.golomb();
        let mapped = mapped_error(&mut self.bits, k, parameters.limit, &parameters)?;
        let inverted = parameters.near == 0 && context.is_inverted(k);
        let error = match (mapped % 2 == 0, inverted) {
            (true, false) => mapped / 2,
            (false, false) => -(mapped + 1) / 2,
            (false, true) => mapped / 2,
            (true, true) => -mapped / 2 - 1,
        };
        context.update(error, &parameters);
        Ok(parameters.reconstruct(prediction, sign * error * parameters.step()))
    }

    /// A run of equal samples and the sample that ends it (T.87 A.7); returns how many samples it took.
    fn run(
        &mut self,
        lines: &mut [Lines],
        place: usize,
        columns: usize,
        run_index: &mut usize,
    ) -> Result<usize> {
        let left = columns + 1 - place;
        let mut length = 0;
        while length < left && self.bits.number(1)? == 1 {
            let step = 1 << RUN_BITS[*run_index];
            if length + step <= left {
                *run_index = (*run_index + 1).min(31);
            }
            length = (length + step).min(left);
        }
        let ends = length < left;
        if ends {
            length += self.bits.number(RUN_BITS[*run_index])? as usize;
            ensure!(length < left, MalformedSnafu { what: "a run is longer than its line" });
        }
        for line in lines.iter_mut() {
            let value = line.current[place - 1];
            line.current[place..place + length].fill(value);
        }
        if !ends {
            return Ok(length);
        }
        let together = lines.len() > 1;
        for line in lines.iter_mut() {
            let [a, b, _, _] = line.neighbours(place + length);
            line.current[place + length] = self.run_end(a, b, together, *run_index)?;
        }
        *run_index = run_index.saturating_sub(1);
        Ok(length + 1)
    }

    /// T.87 A.7.2. Components interleaved by sample always count as unlike their neighbours.
    fn run_end(&mut self, a: i32, b: i32, together: bool, run_index: usize) -> Result<i32> {
        let parameters = self.parameters;
        let alike = !together && (a - b).abs() <= parameters.near;
        let context = &mut self.run_contexts[usize::from(alike)];
        let k = context.golomb();
        let limit = parameters.limit - RUN_BITS[run_index] - 1;
        let mapped = mapped_error(&mut self.bits, k, limit, &parameters)?;
        let error = context.error(mapped, k);
        context.update(error, mapped, parameters.reset);
        let error = error * parameters.step();
        Ok(match alike {
            true => parameters.reconstruct(a, error),
            false => parameters.reconstruct(b, if a > b { -error } else { error }),
        })
    }
}

/// A limited-length Golomb code (T.87 A.5.3).
fn mapped_error(bits: &mut BitReader, k: u32, limit: u32, parameters: &Parameters) -> Result<i32> {
    let longest = limit.saturating_sub(parameters.error_bits + 1);
    let zeros = bits.zeros(longest)?;
    let mapped = if zeros < longest {
        (u64::from(zeros) << k) + u64::from(bits.number(k)?)
    } else {
        u64::from(bits.number(parameters.error_bits)?) + 1
    };
    // A mapped error is at most twice the range; anything larger would overflow what it is added to.
    let largest = 2 * parameters.range as u64 + 2;
    ensure!(mapped <= largest, MalformedSnafu { what: "a prediction error exceeds the range" });
    Ok(mapped as i32)
}
