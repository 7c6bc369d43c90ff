//! Samples as little-endian bytes, however the data set holds them, and from bytes to typed samples.

use super::FrameData;
use super::layout::Layout;
use dicom_core::PrimitiveValue;
use std::borrow::Cow;
use std::ops::Range;

/// Uncompressed pixel data, readable as one run of little-endian bytes.
#[derive(Clone, Copy)]
pub(super) struct NativeBytes<'a> {
    pub value: &'a PrimitiveValue,
    /// Whether the file was big endian. The words of an OW value are in native order by now, but bytes (OB)
    /// and the order of the halves of a 32-bit sample are as they were.
    pub big_endian: bool,
    /// BitsAllocated.
    pub bits_allocated: u16,
}

impl<'a> NativeBytes<'a> {
    /// Bytes there are.
    pub fn len(&self) -> u64 {
        let (count, size) = match self.value {
            PrimitiveValue::U8(values) => (values.len(), 1),
            PrimitiveValue::U16(values) => (values.len(), 2),
            PrimitiveValue::U32(values) => (values.len(), 4),
            PrimitiveValue::F32(values) => (values.len(), 4),
            PrimitiveValue::F64(values) => (values.len(), 8),
            _ => (0, 1),
        };
        count as u64 * size
    }

    /// A range of bytes, or None where it reaches past the end. Aligned to whole samples by the caller,
    /// unless samples are smaller than a word.
    pub fn get(&self, range: Range<usize>) -> Option<Cow<'a, [u8]>> {
        match self.value {
            PrimitiveValue::U8(bytes) => {
                let bytes = bytes.get(range)?;
                Some(match usize::from(self.bits_allocated / 8) {
                    size @ 2.. if self.big_endian => Cow::Owned(
                        bytes.chunks(size).flat_map(|sample| sample.iter().rev().copied()).collect(),
                    ),
                    _ => Cow::Borrowed(bytes),
                })
            }
            PrimitiveValue::U16(words) => {
                // Words that hold the range, halves of 32-bit samples put right, then cut to the range.
                let whole = range.start / 2..range.end.div_ceil(2);
                let words = words.get(whole)?;
                let mut words: Vec<[u8; 2]> = words.iter().map(|word| word.to_le_bytes()).collect();
                if self.big_endian && self.bits_allocated == 32 {
                    words.chunks_mut(2).for_each(<[_]>::reverse);
                }
                Some(Cow::Owned(within(words.into_flattened(), range.start % 2, range.len())))
            }
            PrimitiveValue::U32(values) => cut(values, range, u32::to_le_bytes),
            PrimitiveValue::F32(values) => cut(values, range, f32::to_le_bytes),
            PrimitiveValue::F64(values) => cut(values, range, f64::to_le_bytes),
            _ => None,
        }
    }
}

fn cut<'a, T: Copy, const N: usize>(
    values: &[T],
    range: Range<usize>,
    to_bytes: impl Fn(T) -> [u8; N],
) -> Option<Cow<'a, [u8]>> {
    let values = values.get(range.start / N..range.end.div_ceil(N))?;
    let bytes: Vec<[u8; N]> = values.iter().map(|value| to_bytes(*value)).collect();
    Some(Cow::Owned(within(bytes.into_flattened(), range.start % N, range.len())))
}

/// `length` bytes after the first `skip`; the bytes are at least as many.
fn within(mut bytes: Vec<u8>, skip: usize, length: usize) -> Vec<u8> {
    bytes.truncate(skip + length);
    bytes.drain(..skip);
    bytes
}

/// `count` single bits from bit `start` on, the least significant bit of a byte first (PS3.5 8.1.1).
pub(super) fn unpack_bits(bytes: &[u8], start: usize, count: usize) -> Option<Vec<u8>> {
    if start == 0 {
        let bytes = bytes.get(..count.div_ceil(8))?;
        let mut samples: Vec<u8> =
            bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)).collect();
        samples.truncate(count);
        return Some(samples);
    }
    (start..start + count).map(|bit| Some(bytes.get(bit / 8)? >> (bit % 8) & 1)).collect()
}

/// The other way.
pub(crate) fn pack_bits(samples: &[u8]) -> Vec<u8> {
    samples
        .chunks(8)
        .map(|eight| eight.iter().enumerate().fold(0, |byte, (bit, sample)| byte | (sample & 1) << bit))
        .collect()
}

/// Typed samples of little-endian `bytes`, by pixel. The bytes are as many as the layout says.
pub(super) fn samples(layout: &Layout, bytes: &[u8], float: bool) -> Option<FrameData> {
    let data = match (layout.bits_allocated, layout.signed, float) {
        (32, _, true) => FrameData::F32(typed(bytes, f32::from_le_bytes)),
        (64, _, true) => FrameData::F64(typed(bytes, f64::from_le_bytes)),
        (8, false, _) => FrameData::U8(bytes.to_vec()),
        (8, true, _) => FrameData::I8(typed(bytes, i8::from_le_bytes)),
        (16, false, _) => FrameData::U16(typed(bytes, u16::from_le_bytes)),
        (16, true, _) => FrameData::I16(typed(bytes, i16::from_le_bytes)),
        (32, false, _) => FrameData::U32(typed(bytes, u32::from_le_bytes)),
        (32, true, _) => FrameData::I32(typed(bytes, i32::from_le_bytes)),
        _ => return None,
    };
    let mut data = if layout.planar { interleave(data, layout.samples_per_pixel) } else { data };
    if layout.bits_stored < layout.bits_allocated {
        keep_stored_bits(&mut data, layout);
    }
    Some(data)
}

fn typed<T, const N: usize>(bytes: &[u8], from_bytes: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|sample| from_bytes(*sample)).collect()
}

/// From planes to pixels.
fn interleave(data: FrameData, planes: usize) -> FrameData {
    fn by_pixel<T: Copy>(samples: &[T], planes: usize) -> Vec<T> {
        let pixels = samples.len() / planes;
        (0..pixels)
            .flat_map(|pixel| (0..planes).map(move |plane| plane * pixels + pixel))
            .filter_map(|index| samples.get(index).copied())
            .collect()
    }
    match data {
        FrameData::U8(samples) => FrameData::U8(by_pixel(&samples, planes)),
        FrameData::I8(samples) => FrameData::I8(by_pixel(&samples, planes)),
        FrameData::U16(samples) => FrameData::U16(by_pixel(&samples, planes)),
        FrameData::I16(samples) => FrameData::I16(by_pixel(&samples, planes)),
        FrameData::U32(samples) => FrameData::U32(by_pixel(&samples, planes)),
        FrameData::I32(samples) => FrameData::I32(by_pixel(&samples, planes)),
        FrameData::F32(samples) => FrameData::F32(by_pixel(&samples, planes)),
        FrameData::F64(samples) => FrameData::F64(by_pixel(&samples, planes)),
    }
}

/// Drops what stands outside the stored bits (overlays, in older files) and extends the sign: PS3.5 8.1.1.
fn keep_stored_bits(data: &mut FrameData, layout: &Layout) {
    let above = u32::from(layout.bits_allocated - 1 - layout.high_bit);
    let unused = u32::from(layout.bits_allocated - layout.bits_stored);
    match data {
        FrameData::U8(samples) => samples.iter_mut().for_each(|s| *s = *s << above >> unused),
        FrameData::I8(samples) => samples.iter_mut().for_each(|s| *s = *s << above >> unused),
        FrameData::U16(samples) => samples.iter_mut().for_each(|s| *s = *s << above >> unused),
        FrameData::I16(samples) => samples.iter_mut().for_each(|s| *s = *s << above >> unused),
        FrameData::U32(samples) => samples.iter_mut().for_each(|s| *s = *s << above >> unused),
        FrameData::I32(samples) => samples.iter_mut().for_each(|s| *s = *s << above >> unused),
        FrameData::F32(_) | FrameData::F64(_) => {}
    }
}

/// From two luminances and a chrominance of each to full pixels: Y Y Cb Cr -> Y Cb Cr, Y Cb Cr
/// (YBR_FULL_422, PS3.3 C.7.6.3.1.2).
pub(super) fn expand_chrominance(bytes: &[u8], bytes_per_sample: usize, pixels: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity((pixels + 1) * 3 * bytes_per_sample);
    for pair in bytes.chunks_exact(4 * bytes_per_sample) {
        let (luminances, chrominances) = pair.split_at(2 * bytes_per_sample);
        for luminance in luminances.chunks_exact(bytes_per_sample) {
            out.extend_from_slice(luminance);
            out.extend_from_slice(chrominances);
        }
    }
    out.truncate(pixels * 3 * bytes_per_sample);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Photometric;

    fn layout(bits_allocated: u16, bits_stored: u16, high_bit: u16, signed: bool, samples: usize) -> Layout {
        Layout {
            rows: 1,
            columns: 2,
            samples_per_pixel: samples,
            frames: 1,
            bits_allocated,
            bits_stored,
            high_bit,
            signed,
            planar: samples == 3,
            halved_chrominance: false,
            photometric: Photometric::Monochrome2,
        }
    }

    #[test]
    fn words_and_bytes_read_the_same_in_either_byte_order() {
        // (value, big endian, bits allocated) -> the same little-endian bytes 1 2 3 4
        let cases = [
            (PrimitiveValue::from(vec![1u8, 2, 3, 4]), false, 8),
            (PrimitiveValue::U16([0x0201u16, 0x0403].as_slice().into()), false, 16),
            (PrimitiveValue::U16([0x0201u16, 0x0403].as_slice().into()), true, 8),
            (PrimitiveValue::U16([0x0201u16, 0x0403].as_slice().into()), true, 16),
            (PrimitiveValue::U16([0x0201u16, 0x0403].as_slice().into()), false, 32),
            (PrimitiveValue::U16([0x0403u16, 0x0201].as_slice().into()), true, 32),
            (PrimitiveValue::from(vec![4u8, 3, 2, 1]), true, 32),
            (PrimitiveValue::U32([0x0403_0201u32].as_slice().into()), false, 32),
        ];
        for (value, big_endian, bits_allocated) in cases {
            let bytes = NativeBytes { value: &value, big_endian, bits_allocated };
            assert_eq!(bytes.len(), 4);
            assert_eq!(bytes.get(0..4).as_deref(), Some(&[1, 2, 3, 4][..]), "{value:?}");
            assert_eq!(bytes.get(0..5), None);
        }
    }

    #[test]
    fn an_odd_range_of_words_is_cut_to_the_byte() {
        let value = PrimitiveValue::U16([0x0201u16, 0x0403].as_slice().into());
        let bytes = NativeBytes { value: &value, big_endian: false, bits_allocated: 8 };
        assert_eq!(bytes.get(1..3).as_deref(), Some(&[2, 3][..]));
    }

    #[test]
    fn unused_bits_are_dropped_and_the_sign_extended() {
        let cases = [
            (layout(16, 12, 11, false, 1), FrameData::U16(vec![0x0ABC, 0x0FFF])),
            (layout(16, 12, 11, true, 1), FrameData::I16(vec![0x0ABC - 0x1000, -1])),
            (layout(16, 12, 15, false, 1), FrameData::U16(vec![0x0FAB, 0x0FFF])),
        ];
        for (layout, expected) in cases {
            assert_eq!(samples(&layout, &[0xBC, 0xFA, 0xFF, 0xFF], false), Some(expected));
        }
    }

    #[test]
    fn planes_become_pixels() {
        let data = samples(&layout(8, 8, 7, false, 3), &[1, 2, 3, 4, 5, 6], false);
        assert_eq!(data, Some(FrameData::U8(vec![1, 3, 5, 2, 4, 6])));
    }

    #[test]
    fn bits_unpack_and_pack() {
        assert_eq!(unpack_bits(&[0b0000_0101, 1], 0, 9).as_deref(), Some(&[1, 0, 1, 0, 0, 0, 0, 0, 1][..]));
        assert_eq!(unpack_bits(&[0b0000_0101], 2, 3).as_deref(), Some(&[1, 0, 0][..]));
        assert_eq!(unpack_bits(&[1], 2, 7), None);
        assert_eq!(pack_bits(&[1, 0, 1, 0, 0, 0, 0, 0, 1]), [0b0000_0101, 1]);
    }

    #[test]
    fn chrominance_is_shared_by_two_pixels() {
        assert_eq!(expand_chrominance(&[1, 2, 8, 9], 1, 2), [1, 8, 9, 2, 8, 9]);
    }
}
