//! Files of memory features.
//!
//! A pack holds the memories of one ingestion, tensor after tensor, and is synced once before the records that
//! point into it are. It is written once and removed when its last slice has gone. All numbers are little-endian:
//!
//! | part | bytes |
//! |---|---|
//! | pack header | magic `EGRMEM`, version u16 |
//! | tensor header | element u32 (1: f32, 2: f16), three dimensions u32 each, CRC-32 of element, dimensions and numbers |
//! | numbers | row by row |
//!
//! A memory with an object pointer is two tensors, one after the other: the features, and the pointer with the
//! dimensions `[length, 1, 1]`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use ndarray::{Array1, Array3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, ensure};

use crate::error::{CorruptSnafu, FilesSnafu};
use crate::{Memory, MemoryPrecision, Result};

const MAGIC: &[u8; 6] = b"EGRMEM";
const VERSION: u16 = 1;
const PACK_HEADER: u64 = 8;
const TENSOR_HEADER: usize = 20;
const F32: u32 = 1;
const F16: u32 = 2;

/// Where a tensor lies in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Location {
    offset: u64,
    length: u64,
}

impl Location {
    /// Its first byte, which tells it from the others of its pack.
    pub(crate) fn offset(self) -> u64 {
        self.offset
    }
}

/// The path of a pack in the folder of packs.
pub(crate) fn path(folder: &Path, pack: u64) -> PathBuf {
    folder.join(format!("{pack:016x}.mem"))
}

/// The number of the pack at a path, if it is one.
pub(crate) fn number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".mem")?;
    u64::from_str_radix(stem, 16).ok().filter(|_| stem.len() == 16)
}

/// A pack being written. Removed when dropped without [`PackWriter::keep`].
#[derive(Debug)]
pub(crate) struct PackWriter {
    path: PathBuf,
    file: BufWriter<File>,
    offset: u64,
    kept: bool,
}

impl PackWriter {
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        let files = FilesSnafu { action: "create", path: &path };
        let file = OpenOptions::new().write(true).create_new(true).open(&path).context(files)?;
        let mut writer = Self { path, file: BufWriter::new(file), offset: PACK_HEADER, kept: false };
        writer.write(MAGIC)?;
        writer.write(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    /// Appends a memory. With [`MemoryPrecision::F16`], a tensor with numbers beyond the range of f16 is kept as f32.
    pub(crate) fn append(&mut self, memory: &Memory, precision: MemoryPrecision) -> Result<Location> {
        let offset = self.offset;
        self.append_tensor(memory.features.view(), precision)?;
        if let Some(pointer) = &memory.pointer {
            self.append_tensor(pointer.view().insert_axis(Axis(1)).insert_axis(Axis(2)), precision)?;
        }
        Ok(Location { offset, length: self.offset - offset })
    }

    fn append_tensor(&mut self, tensor: ArrayView3<'_, f32>, precision: MemoryPrecision) -> Result<()> {
        let (element, numbers) = encode(tensor, precision);
        let (rows, columns, planes) = tensor.dim();
        let mut header = Vec::with_capacity(TENSOR_HEADER);
        header.extend(element.to_le_bytes());
        for size in [rows, columns, planes] {
            // The bank has compared the shape with its own, which is within u32.
            header.extend(u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        }
        header.extend(checksum(&header, &numbers).to_le_bytes());
        self.write(&header)?;
        self.write(&numbers)?;
        self.offset += (header.len() + numbers.len()) as u64;
        Ok(())
    }

    /// Syncs the pack and its folder: from here on it survives a crash.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let files = || FilesSnafu { action: "sync", path: &self.path };
        self.file.flush().context(files())?;
        self.file.get_ref().sync_all().context(files())?;
        if let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        Ok(())
    }

    /// Leaves the pack to the records that point into it.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).context(FilesSnafu { action: "write", path: &self.path })
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        if !self.kept {
            // Should this fail, the next start removes packs that no record points to.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Syncs a folder, so that files made or renamed in it stay.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    let sync = || File::open(folder)?.sync_all();
    sync().context(FilesSnafu { action: "sync", path: folder })
}

/// What a bank's memories look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Of the features: channels, rows, columns.
    pub(crate) features: [usize; 3],
    /// Length of the object pointer; 0: there is none.
    pub(crate) pointer: usize,
}

impl Shape {
    /// Bytes of a memory at the most.
    fn longest(self) -> u64 {
        let numbers = self.features.iter().product::<usize>() + self.pointer;
        (2 * TENSOR_HEADER + numbers * size_of::<f32>()) as u64
    }
}

/// Reads a memory of the given shape.
pub(crate) fn read(path: &Path, location: Location, shape: Shape) -> Result<Memory> {
    let corrupt = |reason: &'static str| CorruptSnafu { path, reason };
    ensure!(location.length <= shape.longest(), corrupt("a tensor is longer than the bank's memories"));
    let mut bytes = Vec::new();
    let mut header = [0; PACK_HEADER as usize];
    let mut load = || -> std::io::Result<()> {
        let mut file = File::open(path)?;
        file.read_exact(&mut header)?;
        file.seek(SeekFrom::Start(location.offset))?;
        file.take(location.length).read_to_end(&mut bytes).map(drop)
    };
    load().context(FilesSnafu { action: "read", path })?;
    ensure!(header.starts_with(MAGIC), corrupt("it is no file of memory features"));
    ensure!(header.ends_with(&VERSION.to_le_bytes()), corrupt("it is of another version"));
    ensure!(bytes.len() as u64 == location.length, corrupt("it ends early"));
    decode(&bytes, shape).map_or_else(|| corrupt("a tensor is damaged").fail(), Ok)
}

fn checksum(header: &[u8], numbers: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(numbers);
    hasher.finalize()
}

fn encode(tensor: ArrayView3<'_, f32>, precision: MemoryPrecision) -> (u32, Vec<u8>) {
    let limit = f16::MAX.to_f32();
    let fits = tensor.iter().all(|number| number.abs() <= limit || !number.is_finite());
    if precision == MemoryPrecision::F16 && fits {
        return (F16, tensor.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect());
    }
    (F32, tensor.iter().flat_map(|number| number.to_le_bytes()).collect())
}

/// The memory in `bytes`; `None` where they are not what was written.
fn decode(bytes: &[u8], shape: Shape) -> Option<Memory> {
    let (features, rest) = decode_tensor(bytes, shape.features)?;
    let features = Array3::from_shape_vec(shape.features, features).ok()?;
    let (pointer, rest) = match shape.pointer {
        0 => (None, rest),
        length => {
            let (numbers, rest) = decode_tensor(rest, [length, 1, 1])?;
            (Some(Array1::from(numbers)), rest)
        }
    };
    rest.is_empty().then_some(Memory { features, pointer })
}

/// The numbers of the first tensor in `bytes`, and what follows it.
fn decode_tensor(bytes: &[u8], shape: [usize; 3]) -> Option<(Vec<f32>, &[u8])> {
    let (header, rest) = bytes.split_at_checked(TENSOR_HEADER)?;
    let (element, _) = header.split_first_chunk::<4>()?;
    let size = match u32::from_le_bytes(*element) {
        F32 => size_of::<f32>(),
        F16 => size_of::<f16>(),
        _ => return None,
    };
    let (numbers, rest) = rest.split_at_checked(shape.iter().product::<usize>() * size)?;
    Some((decode_numbers(header, numbers, shape)?, rest))
}

fn decode_numbers(header: &[u8], numbers: &[u8], shape: [usize; 3]) -> Option<Vec<f32>> {
    let (described, stored) = header.split_last_chunk::<4>()?;
    if checksum(described, numbers) != u32::from_le_bytes(*stored) {
        return None;
    }
    let mut fields = described.as_chunks::<4>().0.iter().map(|field| u32::from_le_bytes(*field));
    let element = fields.next()?;
    if !fields.map(|size| size as usize).eq(shape) {
        return None;
    }
    let numbers: Vec<f32> = match element {
        F32 => numbers.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect(),
        F16 => numbers.as_chunks::<2>().0.iter().map(|number| f16::from_le_bytes(*number).to_f32()).collect(),
        _ => return None,
    };
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Error;

    const SHAPE: Shape = Shape { features: [2, 3, 4], pointer: 0 };
    const POINTED: Shape = Shape { pointer: 5, ..SHAPE };

    fn memory(scale: f32, shape: Shape) -> Memory {
        let features =
            Array3::from_shape_fn(shape.features, |(a, b, c)| scale * ((a * 12 + b * 4 + c) as f32 - 11.5));
        let pointer = (shape.pointer > 0).then(|| Array1::from_elem(shape.pointer, scale));
        Memory { features, pointer }
    }

    fn written(folder: &Path, memories: &[Memory], precision: MemoryPrecision) -> (PathBuf, Vec<Location>) {
        let path = path(folder, 7);
        let mut writer = PackWriter::create(path.clone()).unwrap();
        let locations = memories.iter().map(|m| writer.append(m, precision).unwrap()).collect();
        writer.sync().unwrap();
        writer.keep();
        (path, locations)
    }

    #[test]
    fn tensors_come_back() {
        for (precision, scale, shape, error) in [
            (MemoryPrecision::F32, 0.37, SHAPE, 0.0),
            (MemoryPrecision::F16, 0.37, SHAPE, 2e-3),
            (MemoryPrecision::F16, 1e5, SHAPE, 0.0),
            (MemoryPrecision::F16, 0.37, POINTED, 2e-3),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let memories = [memory(scale, shape), memory(-scale, shape)];
            let (path, locations) = written(folder.path(), &memories, precision);
            for (memory, location) in memories.iter().zip(locations) {
                let back = read(&path, location, shape).unwrap();
                let near = |a: f32, b: f32| (a - b).abs() <= error;
                let features = back.features.iter().zip(&memory.features).all(|(a, b)| near(*a, *b));
                assert!(features, "{precision:?} {scale}");
                assert_eq!(back.pointer.iter().flatten().count(), shape.pointer);
                let mut pointers = back.pointer.iter().flatten().zip(memory.pointer.iter().flatten());
                assert!(pointers.all(|(a, b)| near(*a, *b)), "{precision:?} {scale}");
            }
        }
    }

    #[test]
    fn a_pack_that_is_not_kept_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), 1);
        let mut writer = PackWriter::create(path.clone()).unwrap();
        writer.append(&memory(1.0, SHAPE), MemoryPrecision::F32).unwrap();
        drop(writer);
        assert!(!path.exists());
    }

    #[test]
    fn names_are_numbers() {
        let path = path(Path::new("/somewhere"), 0x2a);
        assert_eq!(number(&path), Some(0x2a));
        assert_eq!(number(Path::new("/somewhere/2a.mem")), None);
        assert_eq!(number(Path::new("/somewhere/000000000000002a.tmp")), None);
    }

    proptest! {
        #[test]
        fn a_damaged_pack_is_an_error(position in 0usize..2048, bits in 1u8.., cut in any::<bool>()) {
            let folder = tempfile::tempdir().unwrap();
            let (path, locations) = written(folder.path(), &[memory(1.0, POINTED)], MemoryPrecision::F32);
            let mut bytes = std::fs::read(&path).unwrap();
            let position = position % bytes.len();
            if cut { bytes.truncate(position) } else { bytes[position] ^= bits }
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path, locations[0], POINTED).unwrap_err();
            let expected = matches!(error, Error::Corrupt { .. } | Error::Files { .. });
            prop_assert!(expected, "{error}");
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(decode(&bytes, SHAPE).is_none());
        }
    }
}
