//! Files that are all known before anything is read.

use erofs_tree::{InodeId, Kind, Tree};

use super::input::Input;
use crate::coder::codecs::{Choice, Rules};
use crate::coder::plain::SEGMENT_SIZE;
use crate::error::BuildError;

use super::feed::{BATCH_BYTES, BATCH_FILES, Feed, File, Hole, Part, Segment, Unit};

/// The regular files with content of a tree, in the order in which they are stored: large ones first, the
/// largest of them first, because hashing one file is serial and the longest work has to begin first; then
/// the others in the order of `walk`. `file` says what else is known of one.
pub(crate) fn files(tree: &Tree, walk: &[InodeId], file: impl Fn(InodeId, File) -> File) -> Vec<File> {
    let mut files: Vec<File> = walk
        .iter()
        .filter_map(|&inode| {
            let Kind::File { size, content } = tree.inodes[inode.index()].kind else { return None };
            let bare = File { content, size, choice: Choice::PLAIN, tail_room: 0, may_have_duplicate: false };
            (size != 0).then(|| file(inode, bare))
        })
        .collect();
    let large = |file: &File| if file.size > SEGMENT_SIZE as u64 { file.size } else { 0 };
    files.sort_by_key(|file| std::cmp::Reverse(large(file)));
    let mut sizes: Vec<u64> = files.iter().map(|file| file.size).collect();
    sizes.sort_unstable();
    for file in &mut files {
        let first = sizes.partition_point(|&size| size < file.size);
        file.may_have_duplicate = sizes.get(first + 1) == Some(&file.size);
    }
    files
}

/// Files that are all known before anything is read, and can be read in any order.
pub(crate) struct Listed<'f> {
    files: &'f [File],
    input: &'f dyn Input,
    /// The next file.
    file: usize,
    /// The next byte of that file, if it is a large one.
    offset: u64,
    /// Files up to this many bytes are read as a whole, longer ones in segments of this size.
    segment: usize,
    /// Whether holes of large files are passed over.
    passes_holes: bool,
    /// What says whether a file is encoded.
    rules: Rules,
}

impl<'f> Listed<'f> {
    /// All files, in segments of `segment` bytes, a multiple of [`SEGMENT_SIZE`]. With `passes_holes`, holes
    /// of `input` become units of their own where a file is stored as it is.
    pub(crate) fn new(
        files: &'f [File],
        input: &'f dyn Input,
        segment: usize,
        passes_holes: bool,
        rules: Rules,
    ) -> Self {
        Self { files, input, file: 0, offset: 0, segment, passes_holes, rules }
    }

    /// The hole with which the next unit begins, if it covers whole segments of a large file.
    fn hole(&mut self, file: &File) -> Result<Option<Hole>, BuildError> {
        let segment = self.segment as u64;
        let data = self.input.data_from(file, self.offset)?;
        let last = data >= file.size;
        let length = data.min(file.size).saturating_sub(self.offset);
        let length = if last { length } else { length - length % segment };
        Ok((length != 0).then_some(Hole { offset: self.offset, length, last }))
    }

    fn part(&mut self, file: &File) -> Result<Part, BuildError> {
        let hole =
            if self.passes_holes && !self.rules.encodes(file.choice) { self.hole(file)? } else { None };
        let rest = file.size - self.offset;
        let segment = usize::try_from(rest).map_or(self.segment, |rest| rest.min(self.segment));
        let length = hole.map_or(segment as u64, |hole| hole.length);
        let (offset, last) = (self.offset, length == rest);
        (self.file, self.offset) = if last { (self.file + 1, 0) } else { (self.file, offset + length) };
        Ok(hole.map_or(Part::Segment(Segment { offset, length: segment, last }), Part::Hole))
    }
}

impl Feed for Listed<'_> {
    fn next(&mut self, _: &mut Vec<u8>) -> Result<Option<Unit>, BuildError> {
        let first = self.file;
        let Some(file) = self.files.get(first).copied() else { return Ok(None) };
        if file.size > self.segment as u64 {
            let part = self.part(&file)?;
            return Ok(Some(Unit { first, files: vec![file], part }));
        }
        let mut bytes = 0;
        while let Some(file) = self.files.get(self.file)
            && file.size <= self.segment as u64
            && self.file - first < BATCH_FILES
            && (bytes == 0 || bytes + file.size <= BATCH_BYTES)
        {
            bytes += file.size;
            self.file += 1;
        }
        Ok(Some(Unit { first, files: self.files[first..self.file].to_vec(), part: Part::Whole }))
    }
}

#[cfg(test)]
mod tests {
    use erofs_tree::ContentRef;

    use super::*;

    /// Contents that are zeros from byte 2 MiB to byte 5 MiB and 1.
    struct Holed;

    impl Input for Holed {
        fn fill(&self, _: &File, _: u64, _: &mut [u8]) -> Result<(), BuildError> {
            Ok(())
        }

        fn data_from(&self, _: &File, offset: u64) -> Result<u64, BuildError> {
            let hole = 2 << 20..(5 << 20) + 1;
            Ok(if hole.contains(&offset) { hole.end } else { offset })
        }

        fn changed(&self, _: &File) -> BuildError {
            BuildError::Internal("changed".into())
        }
    }

    fn file(number: u32, size: u64) -> File {
        let choice = Choice::PLAIN;
        File { content: ContentRef(number), size, choice, tail_room: 0, may_have_duplicate: false }
    }

    /// First file, number of files, offset and length of a part with whether it is the last, and whether it
    /// is a hole.
    type Row = (usize, usize, Option<(u64, u64, bool)>, bool);

    fn units(files: &[File], passes_holes: bool) -> Vec<Row> {
        let mut feed = Listed::new(files, &Holed, SEGMENT_SIZE, passes_holes, Rules::PLAIN);
        let mut rows = Vec::new();
        while let Some(Unit { first, files, part }) = feed.next(&mut Vec::new()).unwrap() {
            rows.push(match part {
                Part::Segment(Segment { offset, length, last }) => {
                    (first, files.len(), Some((offset, length as u64, last)), false)
                }
                Part::Hole(Hole { offset, length, last }) => {
                    (first, files.len(), Some((offset, length, last)), true)
                }
                Part::Whole | Part::Filled | Part::FilledSegment(_) | Part::Stored(_) => {
                    (first, files.len(), None, false)
                }
            });
        }
        rows
    }

    #[test]
    fn units_cover_every_file_once_and_in_order() {
        const MIB: u64 = 1 << 20;
        let sizes = [10, 20, 3 * MIB, MIB, MIB + 1, 5, 600_000, 600_000];
        let files: Vec<File> = (0..).zip(sizes).map(|(number, size)| file(number, size)).collect();
        let segment = |file, offset, length, last| (file, 1, Some((offset, length, last)), false);
        let batch = |first, count| (first, count, None, false);
        assert_eq!(
            units(&files, false),
            [
                batch(0, 2),
                segment(2, 0, MIB, false),
                segment(2, MIB, MIB, false),
                segment(2, 2 * MIB, MIB, true),
                batch(3, 1),
                segment(4, 0, MIB, false),
                segment(4, MIB, 1, true),
                batch(5, 2),
                batch(7, 1),
            ]
        );
        let many: Vec<File> = (0..1100).map(|number| file(number, 1)).collect();
        assert_eq!(units(&many, false), [batch(0, 512), batch(512, 512), batch(1024, 76)]);
        assert_eq!(units(&[], false), []);
        let hole = |offset, length, last| (0, 1, Some((offset, length, last)), true);
        let one = |offset, length, last| segment(0, offset, length, last);
        assert_eq!(
            units(&[file(0, 6 * MIB)], true),
            [
                one(0, MIB, false),
                one(MIB, MIB, false),
                hole(2 * MIB, 3 * MIB, false),
                one(5 * MIB, MIB, true),
            ]
        );
        assert_eq!(
            units(&[file(0, 3 * MIB + 7)], true),
            [one(0, MIB, false), one(MIB, MIB, false), hole(2 * MIB, MIB + 7, true)]
        );
    }
}
