//! A zip of files as they are: stored, not compressed (APPNOTE.TXT of PKWARE, 4.3 and 4.5.3).
//!
//! Each file is read twice, the first time for its CRC-32, which stands before the file in the archive. So every
//! length is known before the first byte is sent, and readers that go through the archive from its beginning need no
//! data descriptors, which many of them refuse for stored files.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use actix_web::body::SizedStream;
use bytes::Bytes;
use engram_archive::InstanceEntry;
use futures_util::Stream;

use super::body::{Chunks, read_ahead};

/// A zip of instances, named `SERIES/SOP.dcm`, as a body of known length. One buffer of one file is in memory at a
/// time, and what the archive's directory takes, about 200 bytes an instance.
pub fn zip(
    instances: Vec<InstanceEntry>,
    buffer_bytes: usize,
) -> SizedStream<impl Stream<Item = io::Result<Bytes>>> {
    let entries: Vec<ZipEntry> = instances
        .into_iter()
        .map(|InstanceEntry { uids, path, size, .. }| ZipEntry {
            name: format!("{}/{}.dcm", uids.series_instance_uid, uids.sop_instance_uid),
            path,
            size,
        })
        .collect();
    SizedStream::new(length(&entries), read_ahead(ZipReader::new(entries, buffer_bytes)))
}

/// A file of the archive.
#[derive(Debug, Clone)]
struct ZipEntry {
    /// Its name in the archive: ASCII, folders parted by `/`.
    name: String,
    /// Where it is.
    path: PathBuf,
    /// Its bytes.
    size: u64,
}

/// What 16 and 32 bits say where the number itself is in a ZIP64 field.
const MANY: u16 = u16::MAX;
const LARGE: u32 = u32::MAX;
/// Lengths of what is always as long: headers without name and extra field, and the ends of the directory.
const LOCAL_HEADER: u64 = 30;
const DIRECTORY_HEADER: u64 = 46;
const DIRECTORY_END: u64 = 22;
const ZIP64_END: u64 = 56;
const ZIP64_LOCATOR: u64 = 20;
/// 1 January 1980, in the form of MS-DOS: when a file was last changed is of no use to anyone here.
const DATE: u16 = 0x21;

fn length(entries: &[ZipEntry]) -> u64 {
    let (mut offset, mut directory) = (0u64, 0u64);
    for entry in entries {
        let name = entry.name.len() as u64;
        directory += DIRECTORY_HEADER + name + zip64_sizes_and_offset(entry.size, offset).len() as u64;
        offset += LOCAL_HEADER + name + zip64_sizes(entry.size).len() as u64 + entry.size;
    }
    let zip64 = match is_zip64(entries.len() as u64, offset, directory) {
        true => ZIP64_END + ZIP64_LOCATOR,
        false => 0,
    };
    offset + directory + zip64 + DIRECTORY_END
}

/// Makes the archive piece by piece.
struct ZipReader {
    entries: std::vec::IntoIter<ZipEntry>,
    /// The file being read, and what is left of it.
    current: Option<(File, u64)>,
    /// The directory of what was read so far.
    directory: Vec<u8>,
    count: u64,
    /// Where the next file's header stands.
    offset: u64,
    is_ended: bool,
    buffer_bytes: usize,
}

impl ZipReader {
    fn new(entries: Vec<ZipEntry>, buffer_bytes: usize) -> Self {
        Self {
            entries: entries.into_iter(),
            current: None,
            directory: Vec::new(),
            count: 0,
            offset: 0,
            is_ended: false,
            buffer_bytes,
        }
    }

    /// Begins with the next file: writes its header, and notes it in the directory.
    fn begin(&mut self, entry: &ZipEntry, out: &mut Vec<u8>) -> io::Result<()> {
        let crc = crc(entry, self.buffer_bytes)?;
        let header = local_header(entry, crc);
        self.directory.extend(directory_header(entry, crc, self.offset));
        self.count += 1;
        self.offset += header.len() as u64 + entry.size;
        out.extend(header);
        self.current = Some((File::open(&entry.path)?, entry.size));
        Ok(())
    }

    /// The directory, and what says where it is.
    fn end(&mut self) -> Vec<u8> {
        let mut end = std::mem::take(&mut self.directory);
        let size = end.len() as u64;
        end.extend(directory_end(self.count, self.offset, size));
        self.is_ended = true;
        end
    }
}

impl Chunks for ZipReader {
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let mut buffer = Vec::with_capacity(self.buffer_bytes);
        while buffer.len() < self.buffer_bytes && !self.is_ended {
            if let Some((file, left)) = &mut self.current {
                let wanted = (*left).min((self.buffer_bytes - buffer.len()) as u64);
                if (file.take(wanted).read_to_end(&mut buffer)? as u64) < wanted {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= wanted;
                if *left == 0 {
                    self.current = None;
                }
                continue;
            }
            match self.entries.next() {
                Some(entry) => self.begin(&entry, &mut buffer)?,
                None => buffer.extend(self.end()),
            }
        }
        Ok((!buffer.is_empty()).then(|| Bytes::from(buffer)))
    }
}

/// The CRC-32 of a file as it stands in the archive.
fn crc(entry: &ZipEntry, buffer_bytes: usize) -> io::Result<u32> {
    let mut file = File::open(&entry.path)?.take(entry.size);
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; usize::try_from(entry.size).unwrap_or(usize::MAX).min(buffer_bytes)];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// The 32 bits of a number whose true value may be in a ZIP64 field.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(LARGE)
}

/// Whether a number needs a ZIP64 field. The number that stands for that needs one as well.
fn is_large(number: u64) -> bool {
    number >= u64::from(LARGE)
}

fn is_zip64(count: u64, offset: u64, directory: u64) -> bool {
    count >= u64::from(MANY) || is_large(offset) || is_large(directory)
}

/// The version that a reader must know: 1.0, or 4.5 with its ZIP64 (4.4.3).
fn version_needed(extra: &[u8]) -> u16 {
    if extra.is_empty() { 10 } else { 45 }
}

/// The ZIP64 field of a local header: both sizes, where they are large (4.5.3).
fn zip64_sizes(size: u64) -> Vec<u8> {
    match is_large(size) {
        true => zip64_field(&[size, size]),
        false => Vec::new(),
    }
}

/// The ZIP64 field of a directory header: those of sizes and offset that are large.
fn zip64_sizes_and_offset(size: u64, offset: u64) -> Vec<u8> {
    let mut numbers = Vec::new();
    if is_large(size) {
        numbers.extend([size, size]);
    }
    if is_large(offset) {
        numbers.push(offset);
    }
    if numbers.is_empty() { Vec::new() } else { zip64_field(&numbers) }
}

fn zip64_field(numbers: &[u64]) -> Vec<u8> {
    let mut field = Vec::new();
    field.extend(1u16.to_le_bytes());
    field.extend((numbers.len() as u16 * 8).to_le_bytes());
    numbers.iter().for_each(|number| field.extend(number.to_le_bytes()));
    field
}

/// What a local header and a directory header have in common: version to length of the extra field (4.3.7, 4.3.12).
fn common_header(entry: &ZipEntry, crc: u32, extra: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    // Version, flags, method (stored), time, date.
    for number in [version_needed(extra), 0, 0, 0, DATE] {
        header.extend(number.to_le_bytes());
    }
    for number in [crc, short(entry.size), short(entry.size)] {
        header.extend(number.to_le_bytes());
    }
    header.extend((entry.name.len() as u16).to_le_bytes());
    header.extend((extra.len() as u16).to_le_bytes());
    header
}

fn local_header(entry: &ZipEntry, crc: u32) -> Vec<u8> {
    let extra = zip64_sizes(entry.size);
    let mut header = b"PK\x03\x04".to_vec();
    header.extend(common_header(entry, crc, &extra));
    header.extend(entry.name.as_bytes());
    header.extend(extra);
    header
}

fn directory_header(entry: &ZipEntry, crc: u32, offset: u64) -> Vec<u8> {
    let extra = zip64_sizes_and_offset(entry.size, offset);
    let mut header = b"PK\x01\x02".to_vec();
    header.extend(version_needed(&extra).to_le_bytes());
    header.extend(common_header(entry, crc, &extra));
    // Length of the comment, disk, internal and external attributes.
    header.extend([0; 10]);
    header.extend(short(offset).to_le_bytes());
    header.extend(entry.name.as_bytes());
    header.extend(extra);
    header
}

/// What follows `size` bytes of directory at `offset` (4.3.14 to 4.3.16).
fn directory_end(count: u64, offset: u64, size: u64) -> Vec<u8> {
    let mut end = Vec::new();
    if is_zip64(count, offset, size) {
        end.extend(b"PK\x06\x06");
        end.extend((ZIP64_END - 12).to_le_bytes());
        // Version made by and needed; two disk numbers.
        end.extend([45, 0, 45, 0]);
        end.extend([0; 8]);
        for number in [count, count, size, offset] {
            end.extend(number.to_le_bytes());
        }
        end.extend(b"PK\x06\x07");
        end.extend([0; 4]);
        end.extend((offset + size).to_le_bytes());
        end.extend(1u32.to_le_bytes());
    }
    let count = u16::try_from(count).unwrap_or(MANY);
    end.extend(b"PK\x05\x06");
    end.extend([0; 4]);
    for number in [count, count] {
        end.extend(number.to_le_bytes());
    }
    for number in [short(size), short(offset)] {
        end.extend(number.to_le_bytes());
    }
    // Length of the comment.
    end.extend([0; 2]);
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: Vec<ZipEntry>, buffer_bytes: usize) -> Vec<u8> {
        let expected = length(&entries);
        let mut reader = ZipReader::new(entries, buffer_bytes);
        let mut archive = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            archive.extend_from_slice(&chunk);
        }
        assert_eq!(archive.len() as u64, expected);
        archive
    }

    fn file(folder: &std::path::Path, name: &str, content: &[u8]) -> ZipEntry {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        ZipEntry { name: format!("1.2/{name}"), path, size: content.len() as u64 }
    }

    #[test]
    fn files_come_back_from_any_buffer() {
        let folder = tempfile::tempdir().unwrap();
        let contents: [&[u8]; 3] = [b"first", b"", b"a third file that is longer than a buffer"];
        let names = ["a.dcm", "b.dcm", "c.dcm"];
        for buffer_bytes in [1, 16, 1000] {
            let entries =
                std::iter::zip(names, contents).map(|(name, content)| file(folder.path(), name, content));
            let bytes = archive(entries.collect(), buffer_bytes);
            let mut read = ::zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
            for (name, content) in std::iter::zip(names, contents) {
                let mut found = Vec::new();
                read.by_name(&format!("1.2/{name}")).unwrap().read_to_end(&mut found).unwrap();
                assert_eq!(found, content);
            }
        }
    }

    #[test]
    fn more_files_than_sixteen_bits_count() {
        let folder = tempfile::tempdir().unwrap();
        let one = file(folder.path(), "a.dcm", b"x");
        let count = usize::from(MANY) + 3;
        let entries = (0..count).map(|number| ZipEntry { name: number.to_string(), ..one.clone() });
        let bytes = archive(entries.collect(), 1 << 20);
        let mut read = ::zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        assert_eq!(read.len(), count);
        let mut found = Vec::new();
        read.by_name(&(count - 1).to_string()).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, b"x");
    }

    #[test]
    fn a_file_that_is_cut_short_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let entry = ZipEntry { size: 100, ..file(folder.path(), "a.dcm", b"short") };
        let mut reader = ZipReader::new(vec![entry], 1000);
        assert_eq!(reader.next_chunk().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn large_numbers_stand_in_zip64_fields() {
        let size = 5u64 << 30;
        let large = ZipEntry { name: "n".to_owned(), path: PathBuf::new(), size };
        let mut field = vec![1, 0, 16, 0];
        field.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
        let header = local_header(&large, 7);
        assert_eq!(header[4], 45);
        assert_eq!(header[18..26], [0xFF; 8]);
        assert_eq!(header[30..], [b"n".as_slice(), &field].concat());

        let small = ZipEntry { size: 10, ..large.clone() };
        let offset = 6u64 << 30;
        let header = directory_header(&small, 7, offset);
        assert_eq!(header[20..28], [10, 0, 0, 0, 10, 0, 0, 0]);
        assert_eq!(header[42..46], [0xFF; 4]);
        assert_eq!(header[46..], [b"n\x01\0\x08\0".as_slice(), &offset.to_le_bytes()].concat());

        // The end of the directory: as long as `length` takes it to be.
        assert_eq!(directory_end(1, offset, 100).len() as u64, ZIP64_END + ZIP64_LOCATOR + DIRECTORY_END);
        assert_eq!(directory_end(1, 10, 100).len() as u64, DIRECTORY_END);
    }
}
