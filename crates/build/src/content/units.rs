//! The units of work: segments of large files, and runs of small ones, in the order in which they are stored.
//!
//! The units depend on the tree alone, never on the number of threads, so that the image does not either.

use erofs_tree::{ContentRef, InodeId, Kind, Tree};

use super::holes::SEGMENT_SIZE;

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
}
