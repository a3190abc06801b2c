//! Files of a stream, read where the next unit is asked for, because their contents come only once.

use erofs_tree::{Stream, Streamed};

use super::bounds;
use super::feed::{BATCH_BYTES, BATCH_FILES, Feed, File, Part, Segment, Unit};
use super::input::Input;
use super::work::Phase;
use crate::buffer;
use crate::error::BuildError;

/// The files of a stream in its order.
pub(crate) struct Passing<'s> {
    stream: &'s mut dyn Stream,
    phase: Phase<'s>,
    /// What is known of a file before it is read.
    describe: &'s (dyn Fn(&Streamed) -> File + Sync),
    /// A file that was announced and not read, if there is one, and how many bytes of it were read.
    current: Option<(File, u64)>,
    /// How many files are done.
    done: usize,
}

impl<'s> Passing<'s> {
    pub(crate) fn new(
        stream: &'s mut dyn Stream,
        phase: Phase<'s>,
        describe: &'s (dyn Fn(&Streamed) -> File + Sync),
    ) -> Self {
        Self { stream, phase, describe, current: None, done: 0 }
    }

    /// The file that is to be read next, with the number of its bytes that were read.
    fn current(&mut self) -> Result<Option<(File, u64)>, BuildError> {
        while self.current.is_none() {
            let Some(streamed) = self.stream.next()? else { return Ok(None) };
            if streamed.size == 0 {
                continue;
            }
            let file = (self.describe)(&streamed);
            bounds::check(&self.phase, &file, || streamed.path)?;
            self.current = Some((file, 0));
        }
        Ok(self.current)
    }

    /// The next part of a file that comes in segments.
    fn segment(&mut self, file: File, offset: u64, buffer: &mut Vec<u8>) -> Result<Unit, BuildError> {
        let rest = file.size - offset;
        let length = usize::try_from(rest).map_or(self.phase.segment, |rest| rest.min(self.phase.segment));
        buffer::resize(buffer, length)?;
        self.stream.read(buffer)?;
        let last = length as u64 == rest;
        let first = self.done;
        self.done += usize::from(last);
        self.current = (!last).then_some((file, offset + length as u64));
        let part = Part::FilledSegment(Segment { offset, length, last });
        Ok(Unit { first, files: vec![file], part })
    }
}

impl Feed for Passing<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Unit>, BuildError> {
        let first = self.done;
        let mut files = Vec::new();
        let mut filled = 0_usize;
        while let Some((file, offset)) = self.current()? {
            let whole = usize::try_from(file.size).ok().filter(|&size| size <= self.phase.segment);
            let Some(size) = whole else {
                if files.is_empty() {
                    return self.segment(file, offset, buffer).map(Some);
                }
                break;
            };
            let fits = (filled + size) as u64 <= BATCH_BYTES && files.len() < BATCH_FILES;
            if !files.is_empty() && !fits {
                break;
            }
            buffer::resize(buffer, filled + size)?;
            self.stream.read(&mut buffer[filled..])?;
            filled += size;
            files.push(file);
            self.current = None;
            self.done += 1;
        }
        Ok((!files.is_empty()).then_some(Unit { first, files, part: Part::Filled }))
    }
}

/// The input of a stream: nothing of it is read a second time.
pub(crate) struct Once;

impl Input for Once {
    fn fill(&self, _: &File, _: u64, _: &mut [u8]) -> Result<(), BuildError> {
        Err(BuildError::Internal("a stream is to be read a second time".into()))
    }

    fn changed(&self, _: &File) -> BuildError {
        BuildError::Internal("a stream was read twice".into())
    }
}
