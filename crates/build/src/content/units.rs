//! The units of work: segments of large files, and runs of small ones, in the order in which they are stored.
//!
//! The units depend on the tree alone, never on the number of threads, so that the image does not either.

use erofs_tree::{ContentRef, InodeId, Kind, Tree};

use super::holes::SEGMENT_SIZE;
use crate::error::BuildError;

/// A run of small files ends after this many bytes or files.
const BATCH_BYTES: u64 = SEGMENT_SIZE as u64;
const BATCH_FILES: usize = 512;

/// A regular file with content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    pub(crate) inode: InodeId,
    pub(crate) size: u64,
    pub(crate) content: ContentRef,
    /// Whether another file has the same size, so that both may be equal.
    pub(crate) has_twin: bool,
}

/// A unit of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Whole files: a range of the list of files.
    Batch(std::ops::Range<usize>),
    /// A piece of the file at that place of the list.
    Segment {
        /// Index of the file.
        file: usize,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        length: usize,
        /// Whether it is the file's last.
        last: bool,
    },
}

/// A part of a large file that need not be read: whole segments, or all up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Index of the file.
    pub(crate) file: usize,
    /// First byte.
    pub(crate) offset: u64,
    /// Length in bytes.
    pub(crate) length: u64,
    /// Whether the file ends with it.
    pub(crate) last: bool,
}

/// The regular files with content, in the order in which they are stored: large ones first, the largest of them first,
/// because hashing one file is serial and the longest work has to begin first; then the others in layout order.
pub(crate) fn files(tree: &Tree, order: &[InodeId]) -> Vec<File> {
    let mut files: Vec<File> = order
        .iter()
        .filter_map(|&inode| {
            let Kind::File { size, content } = tree.inodes[inode.index()].kind else { return None };
            (size != 0).then_some(File { inode, size, content, has_twin: false })
        })
        .collect();
    let large = |file: &File| if file.size > SEGMENT_SIZE as u64 { file.size } else { 0 };
    files.sort_by_key(|file| std::cmp::Reverse(large(file)));
    let mut sizes: Vec<u64> = files.iter().map(|file| file.size).collect();
    sizes.sort_unstable();
    for file in &mut files {
        let first = sizes.partition_point(|&size| size < file.size);
        file.has_twin = sizes.get(first + 1) == Some(&file.size);
    }
    files
}

/// Goes through all files, one unit after the other.
#[derive(Debug)]
pub(crate) struct Units<'f> {
    files: &'f [File],
    /// The next file.
    file: usize,
    /// The next byte of that file, if it is a large one.
    offset: u64,
    /// Files up to this many bytes are read as a whole.
    segment: usize,
}

impl<'f> Units<'f> {
    /// The units that cover all files.
    pub(crate) fn new(files: &'f [File]) -> Self {
        Self::with_segments(files, SEGMENT_SIZE)
    }

    /// The same with segments of `segment` bytes, no less than [`SEGMENT_SIZE`].
    pub(crate) fn with_segments(files: &'f [File], segment: usize) -> Self {
        Self { files, file: 0, offset: 0, segment }
    }

    /// Passes over the hole with which the next unit begins, if it covers whole segments of a large file.
    /// `data_from` says where the first byte from one of a file on is that is in no hole.
    pub(crate) fn take_hole(
        &mut self,
        data_from: impl FnOnce(&File, u64) -> Result<u64, BuildError>,
    ) -> Result<Option<Hole>, BuildError> {
        let segment = self.segment as u64;
        let Some(file) = self.files.get(self.file).filter(|file| file.size > segment) else {
            return Ok(None);
        };
        let data = data_from(file, self.offset)?;
        let last = data >= file.size;
        let length = data.min(file.size).saturating_sub(self.offset);
        let length = if last { length } else { length - length % segment };
        if length == 0 {
            return Ok(None);
        }
        let hole = Hole { file: self.file, offset: self.offset, length, last };
        (self.file, self.offset) = if last { (self.file + 1, 0) } else { (self.file, self.offset + length) };
        Ok(Some(hole))
    }

    fn segment(&mut self, size: u64) -> Unit {
        let (file, offset) = (self.file, self.offset);
        let rest = size - offset;
        let length = usize::try_from(rest).map_or(self.segment, |rest| rest.min(self.segment));
        let last = length as u64 == rest;
        (self.file, self.offset) = if last { (file + 1, 0) } else { (file, offset + length as u64) };
        Unit::Segment { file, offset, length, last }
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let first = self.files.get(self.file)?;
        if first.size > self.segment as u64 {
            return Some(self.segment(first.size));
        }
        let start = self.file;
        let mut bytes = 0;
        while let Some(file) = self.files.get(self.file)
            && file.size <= self.segment as u64
            && self.file - start < BATCH_FILES
            && (bytes == 0 || bytes + file.size <= BATCH_BYTES)
        {
            bytes += file.size;
            self.file += 1;
        }
        Some(Unit::Batch(start..self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_cover_every_file_once_and_in_order() {
        let sizes = [10, 20, 3 << 20, 1 << 20, (1 << 20) + 1, 5, 600_000, 600_000];
        let files: Vec<File> = (0..)
            .zip(sizes)
            .map(|(n, size)| File { inode: InodeId(n), size, content: ContentRef(n), has_twin: false })
            .collect();
        let segment = |file, offset, length, last| Unit::Segment { file, offset, length, last };
        let mib = SEGMENT_SIZE;
        assert_eq!(
            Units::new(&files).collect::<Vec<_>>(),
            [
                Unit::Batch(0..2),
                segment(2, 0, mib, false),
                segment(2, 1 << 20, mib, false),
                segment(2, 2 << 20, mib, true),
                Unit::Batch(3..4),
                segment(4, 0, mib, false),
                segment(4, 1 << 20, 1, true),
                Unit::Batch(5..7),
                Unit::Batch(7..8),
            ]
        );
        let many: Vec<File> = (0..1100)
            .map(|n| File { inode: InodeId(n), size: 1, content: ContentRef(n), has_twin: true })
            .collect();
        assert_eq!(
            Units::new(&many).collect::<Vec<_>>(),
            [Unit::Batch(0..512), Unit::Batch(512..1024), Unit::Batch(1024..1100)]
        );
        assert!(Units::new(&[]).next().is_none());
    }

    #[test]
    fn holes_are_whole_segments() {
        let mib = SEGMENT_SIZE as u64;
        let sizes = [10 * mib + 5, 3 * mib, 2 * mib + 1, mib];
        let files: Vec<File> = (0..)
            .zip(sizes)
            .map(|(n, size)| File { inode: InodeId(n), size, content: ContentRef(n), has_twin: false })
            .collect();
        // The first file has data from 3.5 to 5 MiB, the second at its end, the third nowhere.
        let data_from = |file: &File, at: u64| {
            Ok(match file.content.0 {
                0 if at < 7 * mib / 2 => 7 * mib / 2,
                0 if at < 5 * mib => at,
                1 if at < 3 * mib - 1 => 3 * mib - 1,
                1 => at,
                _ => file.size,
            })
        };
        let mut units = Units::new(&files);
        let mut found = Vec::new();
        loop {
            if let Some(Hole { file, offset, length, last }) = units.take_hole(data_from).unwrap() {
                found.push(("hole", file, offset, length, last));
                continue;
            }
            match units.next() {
                Some(Unit::Segment { file, offset, length, last }) => {
                    found.push(("data", file, offset, length as u64, last));
                }
                Some(Unit::Batch(files)) => found.push(("batch", files.start, 0, files.len() as u64, true)),
                None => break,
            }
        }
        assert_eq!(
            found,
            [
                ("hole", 0, 0, 3 * mib, false),
                ("data", 0, 3 * mib, mib, false),
                ("data", 0, 4 * mib, mib, false),
                ("hole", 0, 5 * mib, 5 * mib + 5, true),
                ("hole", 1, 0, 2 * mib, false),
                ("data", 1, 2 * mib, mib, true),
                ("hole", 2, 0, 2 * mib + 1, true),
                ("batch", 3, 0, 1, true),
            ]
        );
    }
}
