//! The workers: each takes what is most urgent — a segment to hash, something to write, the next unit to read — until
//! nothing is left. What was read waits until everything before it is committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use erofs_tree::Progress;

use super::Stored;
use super::commit::{Commit, Job};
use super::holes::SEGMENT_SIZE;
use super::read::{Buffer, ReadUnit, Reader, new_buffer};
use super::units::{Unit, Units};
use super::write;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::metabox::InodeArea;

/// Buffers in use at the same time: some for each worker, and some for segments that wait for their turn.
const BUFFERS_PER_THREAD: usize = 3;
const BUFFERS_SHARED: usize = 6;
/// More threads than this only wait for the one that writes.
const THREADS_MAX: usize = 64;
/// The buffers together take at most this part of the memory that is free.
const SHARE_OF_MEMORY: u64 = 4;

struct State<'a> {
    units: std::iter::Enumerate<Units<'a>>,
    /// Read and not committed, by number of the unit.
    read: BTreeMap<usize, ReadUnit>,
    /// The number of the next unit to commit.
    next: usize,
    commit: Commit<'a>,
    /// Buffers that nobody uses.
    spare: Vec<Buffer>,
    /// Buffers in use.
    in_use: usize,
    /// Whether units are left to be taken.
    exhausted: bool,
    /// Whether somebody writes. Linux lets one thread at a time write to a file; others would only spin on its lock,
    /// so they read and hash meanwhile.
    writing: bool,
    failure: Option<BuildError>,
}

struct Pool<'a> {
    reader: Reader<'a>,
    image: &'a ImageFile,
    area: InodeArea<'a>,
    progress: &'a dyn Progress,
    window: usize,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

enum Task {
    Job(Job),
    Read(usize, Unit, Option<Buffer>),
}

/// Runs the whole stage on `threads` threads.
pub(super) fn run(
    reader: Reader<'_>,
    image: &ImageFile,
    area: InodeArea<'_>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Stored, BuildError> {
    let state = State {
        units: Units::new(reader.files).enumerate(),
        read: BTreeMap::new(),
        next: 0,
        commit: Commit::new(reader),
        spare: Vec::new(),
        in_use: 0,
        exhausted: false,
        writing: false,
        failure: None,
    };
    let threads = force(threads, erofs_threads::memory::free());
    let window = threads * BUFFERS_PER_THREAD + BUFFERS_SHARED;
    let (state, changed) = (Mutex::new(state), Condvar::new());
    let pool = Pool { reader, image, area, progress, window, state, changed };
    erofs_threads::workers("content", threads, || pool.work());
    let state = pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some(failure) => Err(failure),
        None if state.commit.is_complete() => Ok(state.commit.finish()),
        None => Err(BuildError::Internal("not every file was stored".into())),
    }
}

/// How many of `threads` threads work, where `free` bytes of memory are free: with fewer, fewer buffers are
/// needed.
fn force(threads: usize, free: u64) -> usize {
    let buffers = usize::try_from(free / SHARE_OF_MEMORY).unwrap_or(usize::MAX) / SEGMENT_SIZE;
    threads.min(buffers.saturating_sub(BUFFERS_SHARED) / BUFFERS_PER_THREAD).clamp(1, THREADS_MAX)
}

/// Lets the other workers end when one of them panics: they would wait for its buffer for ever. The panic itself goes
/// on when the threads are joined.
struct PanicGuard<'p, 'a>(&'p Pool<'a>);

impl Drop for PanicGuard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = BuildError::Internal("a worker panicked".into());
            self.0.lock().failure.get_or_insert(failure);
            self.0.changed.notify_all();
        }
    }
}

impl<'a> Pool<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let _guard = PanicGuard(self);
        let mut scratch = None;
        while let Some(task) = self.take() {
            let outcome = match task {
                Task::Job(job) => self.run(job, &mut scratch),
                Task::Read(number, unit, buffer) => self.read(number, &unit, buffer),
            };
            if let Err(failure) = outcome {
                self.lock().failure.get_or_insert(failure);
                self.changed.notify_all();
            }
        }
    }

    /// The most urgent task; waits for one if others may still make some, `None` if all is done or something failed.
    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(job) = state.commit.hashes.pop_front() {
                return Some(Task::Job(job));
            }
            if !state.writing
                && let Some(job) = state.commit.writes.pop_front()
            {
                state.writing = true;
                return Some(Task::Job(job));
            }
            if !state.exhausted
                && state.in_use >= self.window
                && let Some(buffer) = state.commit.spill()
            {
                state.spare.push(buffer);
                state.in_use -= 1;
            }
            if !state.exhausted && state.in_use < self.window {
                if let Some((number, unit)) = state.units.next() {
                    state.in_use += 1;
                    let buffer = state.spare.pop();
                    drop(state);
                    return Some(Task::Read(number, unit, buffer));
                }
                state.exhausted = true;
            }
            if state.exhausted && state.in_use == 0 && state.commit.is_complete() {
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn read(&self, number: usize, unit: &Unit, buffer: Option<Buffer>) -> Result<(), BuildError> {
        let buffer = buffer.map_or_else(new_buffer, Ok)?;
        let read = self.reader.read(unit, buffer)?;
        let mut state = self.lock();
        state.read.insert(number, read);
        self.commit_ready(&mut state)
    }

    /// Commits everything whose turn it is.
    fn commit_ready(&self, state: &mut State<'_>) -> Result<(), BuildError> {
        while state.commit.is_open() {
            let next = state.next;
            let Some(unit) = state.read.remove(&next) else { break };
            state.next += 1;
            state.commit.unit(unit)?;
        }
        self.changed.notify_all();
        Ok(())
    }

    fn run(&self, job: Job, scratch: &mut Option<Buffer>) -> Result<(), BuildError> {
        match job {
            Job::HashStored { file, mut hasher, at, length } => {
                let buffer = match scratch {
                    Some(buffer) => buffer,
                    None => scratch.insert(new_buffer()?),
                };
                let bytes = &mut buffer[..length];
                self.image.read_at(at, bytes)?;
                hasher.update(bytes);
                self.after(None, false, |commit| commit.hashed(file, hasher))
            }
            Job::Hash { file, mut hasher, buffer, length } => {
                hasher.update(&buffer[..length]);
                self.after(Some(buffer), false, |commit| commit.hashed(file, hasher))
            }
            Job::Write { buffer, runs, inodes, large, files, bytes } => {
                write::batch(&self.reader, self.image, self.area, &buffer, &runs, &inodes)?;
                self.progress.advance(files, bytes);
                self.after(Some(buffer), true, |commit| {
                    large.map_or(Ok(()), |(file, offset)| commit.written(file, offset))
                })
            }
            Job::Inode { ready, tail } => {
                let mut out = write::Inodes::among_others();
                out.add(&self.reader, self.area, &ready, &tail)?;
                out.flush(self.area)?;
                self.after(None, true, |_| Ok(()))
            }
        }
    }

    /// Tells the commit stage that a job is done, and gives back its buffer if nobody else needs it.
    fn after(
        &self,
        buffer: Option<Arc<Buffer>>,
        wrote: bool,
        report: impl FnOnce(&mut Commit<'_>) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let mut state = self.lock();
        state.writing &= !wrote;
        if let Some(buffer) = buffer.and_then(Arc::into_inner) {
            state.spare.push(buffer);
            state.in_use -= 1;
        }
        report(&mut state.commit)?;
        self.commit_ready(&mut state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_memory_is_short_fewer_threads_work() {
        for (threads, mebibytes, work) in
            [(8, 1 << 20, 8), (8, 100, 6), (8, 0, 1), (1, 0, 1), (300, 1 << 20, 64)]
        {
            assert_eq!(force(threads, mebibytes << 20), work, "{threads} {mebibytes}");
        }
    }
}
