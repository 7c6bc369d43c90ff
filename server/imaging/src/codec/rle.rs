//! RLE Lossless (PS3.5 annex G): byte planes, each packed by runs.

use super::{CodecError, MalformedSnafu, Result, TruncatedSnafu, UnsupportedSnafu};
use snafu::{OptionExt, ensure};

/// The header: the number of segments and 15 offsets, 32 bits each.
const HEADER: usize = 64;
/// Segments there is room for in the header.
const MOST_SEGMENTS: usize = 15;
/// Most literals, and the longest run.
const MOST_AT_ONCE: usize = 128;

/// Decodes to little-endian samples, by pixel: `pixels * samples_per_pixel * bytes_per_sample` bytes.
pub(crate) fn decode(
    bytes: &[u8],
    pixels: usize,
    samples_per_pixel: usize,
    bytes_per_sample: usize,
) -> Result<Vec<u8>> {
    let segments = segments(bytes)?;
    let stride = samples_per_pixel * bytes_per_sample;
    ensure!(
        stride > 0 && segments.len() == stride,
        MalformedSnafu { what: "its segments are not as many as the bytes of a pixel" }
    );
    let mut out = vec![0; pixels * stride];
    for (index, segment) in segments.into_iter().enumerate() {
        // The most significant byte of a sample comes first.
        let (sample, significance) = (index / bytes_per_sample, index % bytes_per_sample);
        let first = sample * bytes_per_sample + (bytes_per_sample - 1 - significance);
        let plane = out.get_mut(first..).unwrap_or_default();
        unpack(segment, plane.iter_mut().step_by(stride))?;
    }
    Ok(out)
}

/// The segments that the header's offsets cut.
fn segments(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let (words, _) = bytes.get(..HEADER).context(TruncatedSnafu)?.as_chunks::<4>();
    let words: Vec<usize> = words.iter().map(|word| u32::from_le_bytes(*word) as usize).collect();
    let (count, offsets) = words.split_first().context(TruncatedSnafu)?;
    let offsets =
        offsets.get(..*count).context(MalformedSnafu { what: "it claims more than 15 segments" })?;
    let ends = offsets.iter().skip(1).copied().chain(std::iter::once(bytes.len()));
    offsets
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            bytes.get(*start..end).filter(|_| *start >= HEADER).ok_or(CodecError::Malformed {
                what: "a segment's offset points outside the frame or backwards",
            })
        })
        .collect()
}

/// PackBits: fills `plane`, whatever the segment holds beyond it is padding.
fn unpack<'a>(segment: &[u8], plane: impl Iterator<Item = &'a mut u8>) -> Result<()> {
    let mut input = segment.iter().copied();
    let mut plane = plane.peekable();
    while plane.peek().is_some() {
        let control = input.next().context(TruncatedSnafu)? as i8;
        match control {
            0.. => {
                for place in plane.by_ref().take(control as usize + 1) {
                    *place = input.next().context(TruncatedSnafu)?;
                }
            }
            -128 => {}
            _ => {
                let value = input.next().context(TruncatedSnafu)?;
                let run = 1 - isize::from(control);
                plane.by_ref().take(run as usize).for_each(|place| *place = value);
            }
        }
    }
    Ok(())
}

/// Encodes little-endian samples, by pixel, of a frame whose rows have `columns` pixels. The frame is not empty
/// and has 15 bytes a pixel at most.
pub(crate) fn encode(
    samples: &[u8],
    columns: usize,
    samples_per_pixel: usize,
    bytes_per_sample: usize,
) -> Result<Vec<u8>> {
    let stride = samples_per_pixel * bytes_per_sample;
    ensure!((1..=MOST_SEGMENTS).contains(&stride), UnsupportedSnafu { what: "more than 15 bytes a pixel" });
    let mut header = vec![stride as u32];
    let mut data = Vec::new();
    for index in 0..stride {
        header.push((HEADER + data.len()) as u32);
        let (sample, significance) = (index / bytes_per_sample, index % bytes_per_sample);
        let first = sample * bytes_per_sample + (bytes_per_sample - 1 - significance);
        for row in samples.chunks(columns * stride) {
            let plane: Vec<u8> = row.iter().skip(first).step_by(stride).copied().collect();
            pack(&plane, &mut data);
        }
        if data.len() % 2 == 1 {
            data.push(0);
        }
    }
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(HEADER, 0);
    bytes.append(&mut data);
    Ok(bytes)
}

/// PackBits of one row, whose runs do not reach into the next (PS3.5 G.3.1). Two alike are a run only where no
/// literals are open, since they would cost a byte more otherwise.
fn pack(row: &[u8], out: &mut Vec<u8>) {
    let mut literals = 0;
    let mut rest = row;
    while let Some(first) = rest.get(literals) {
        let ahead = &rest[literals..];
        let run = ahead.iter().take(MOST_AT_ONCE).take_while(|byte| *byte == first).count();
        if run < 3 && !(run == 2 && literals == 0) {
            literals += 1;
            if literals == MOST_AT_ONCE {
                rest = put_literals(rest, &mut literals, out);
            }
            continue;
        }
        rest = put_literals(rest, &mut literals, out);
        out.extend([(1 - run as isize) as u8, *first]);
        rest = &rest[run..];
    }
    put_literals(rest, &mut literals, out);
}

/// Writes the open literals and returns what follows them.
fn put_literals<'a>(rest: &'a [u8], literals: &mut usize, out: &mut Vec<u8>) -> &'a [u8] {
    let (open, rest) = rest.split_at(std::mem::take(literals));
    if !open.is_empty() {
        out.push((open.len() - 1) as u8);
        out.extend_from_slice(open);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(offsets: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = (offsets.len() as u32).to_le_bytes().to_vec();
        offsets.iter().for_each(|offset| bytes.extend(offset.to_le_bytes()));
        bytes.resize(HEADER, 0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn runs_and_literals_unpack_and_bytes_are_put_together() {
        // High bytes: a run of three 1s. Low bytes: literals 7 8, a no-op, a literal 9, padding.
        let bytes = frame(&[64, 66], &[0xFE, 1, 1, 7, 8, 0x80, 0, 9, 0]);
        assert_eq!(decode(&bytes, 3, 1, 2).unwrap(), [7, 1, 8, 1, 9, 1]);
    }

    #[test]
    fn malformed_frames_are_refused() {
        let cases: [&[u8]; 5] = [
            &[],
            &frame(&[64], &[0x7F, 1]),
            &frame(&[64, 60], &[0xFE, 1]),
            &frame(&[900], &[0xFE, 1]),
            &frame(&[0], &[0xFE, 1]),
        ];
        for bytes in cases {
            assert!(decode(bytes, 3, 1, 1).is_err());
        }
    }

    #[test]
    fn runs_end_with_their_row_and_segments_are_even() {
        let bytes = encode(&[7, 7, 7, 7, 1, 2], 2, 1, 1).unwrap();
        assert_eq!(bytes[..8], [1, 0, 0, 0, 64, 0, 0, 0]);
        assert_eq!(bytes[64..], [0xFF, 7, 0xFF, 7, 1, 1, 2, 0]);
        assert!(encode(&[0; 16], 1, 4, 4).is_err());
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(
            (columns, samples, bytes, data) in (1usize..300, 1usize..4, 1usize..5, 1usize..4).prop_flat_map(
                |(columns, samples, bytes, rows)| {
                    let length = columns * samples * bytes * rows;
                    let byte = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
                    (Just(columns), Just(samples), Just(bytes), proptest::collection::vec(byte, length))
                })
        ) {
            let packed = encode(&data, columns, samples, bytes).unwrap();
            let pixels = data.len() / samples / bytes;
            prop_assert_eq!(decode(&packed, pixels, samples, bytes).unwrap(), data);
        }

        #[test]
        fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..200), offset in 0u32..300) {
            let _ = decode(&frame(&[64, offset], &data), 20, 2, 1);
        }
    }
}
