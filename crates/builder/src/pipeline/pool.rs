//! The workers: each takes what is most urgent — a part to hash, something to write, the next unit to read
//! and encode — until nothing is left. What was encoded waits until everything before it is committed.

use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use erofs_tree::Progress;

use super::commit::{Commit, Committed};
use super::feed::{Feed, Unit};
use super::job::{Copy, HashJob, NewRecord, Run, TailBytes, ToHash, WriteJob};
use super::work::{Buffers, DedupeKey, Done, Phase, Worker};
use crate::buffer;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::store::Spool;
use crate::zeros::{self, ZEROS};

/// How many pieces go into one system call (Linux's `UIO_MAXIOV` is 1024).
const VECTOR_MAX: usize = 512;
/// What is copied from another device is read in pieces of so many bytes, a multiple of every block size.
const COPY_BYTES: usize = 1 << 20;

struct State<'a> {
    /// Encoded and not committed, by number of the unit.
    encoded: BTreeMap<usize, Done>,
    /// The number of the next unit to commit.
    next: usize,
    commit: Commit<'a>,
    /// The first file with each dedupe key, as far as files were read.
    claims: HashMap<DedupeKey, usize>,
    spare: Vec<Buffers>,
    /// Buffers in use.
    in_use: usize,
    /// How many units were taken.
    taken: usize,
    /// Whether a thread asks for the next unit.
    feeding: bool,
    exhausted: bool,
    /// Whether a thread writes. Linux lets one thread at a time write to a file; others would only spin on
    /// its lock.
    writing: bool,
    failure: Option<BuildError>,
}

struct Pool<'a> {
    phase: Phase<'a>,
    records: &'a Spool,
    /// The content of the packed inode, if fragments go there.
    packed: Option<&'a Spool>,
    image: &'a ImageFile,
    progress: &'a dyn Progress,
    window: usize,
    feed: Mutex<&'a mut dyn Feed>,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

enum Task {
    Hash(HashJob),
    Write(WriteJob),
    Record(NewRecord),
    /// Ask for a unit and work on it.
    Unit(Buffers),
}

/// How many threads work, and how many units may be under way at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parallelism {
    pub(crate) threads: usize,
    pub(crate) window: usize,
}

/// Where what is made goes.
#[derive(Clone, Copy)]
pub(crate) struct Outputs<'a> {
    pub(crate) image: &'a ImageFile,
    pub(crate) records: &'a Spool,
    pub(crate) packed: Option<&'a Spool>,
}

/// Works on all units of the feed and commits them in order.
pub(crate) fn run<'a>(
    phase: Phase<'a>,
    feed: &'a mut dyn Feed,
    commit: Commit<'a>,
    outputs: Outputs<'a>,
    parallelism: Parallelism,
    progress: &'a dyn Progress,
) -> Result<Committed, BuildError> {
    let state = State {
        encoded: BTreeMap::new(),
        next: 0,
        commit,
        claims: HashMap::new(),
        spare: Vec::new(),
        in_use: 0,
        taken: 0,
        feeding: false,
        exhausted: false,
        writing: false,
        failure: None,
    };
    let Outputs { image, records, packed } = outputs;
    let window = parallelism.window.max(1);
    let (state, changed, feed) = (Mutex::new(state), Condvar::new(), Mutex::new(feed));
    let pool = Pool { phase, records, packed, image, progress, window, feed, state, changed };
    erofs_threads::workers("content", parallelism.threads, || pool.work());
    let state = pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some(failure) => Err(failure),
        None if state.commit.is_complete() => Ok(state.commit.finish()),
        None => Err(BuildError::Internal("not every file was stored".into())),
    }
}

/// Lets the other workers end when one of them panics: they would wait for its unit for ever. The panic
/// itself goes on when the threads are joined.
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
        let mut worker = Worker::new(self.phase);
        while let Some(task) = self.take() {
            let outcome = match task {
                Task::Hash(job) => self.hash(job),
                Task::Write(job) => self.write(job),
                Task::Record(record) => self.write_records(&Buffers::default(), &[record]),
                Task::Unit(buffers) => self.unit(&mut worker, buffers),
            };
            if let Err(failure) = outcome {
                self.lock().failure.get_or_insert(failure);
                self.changed.notify_all();
            }
        }
    }

    /// The most urgent task; waits for one if others may still make some, `None` if all is done or something
    /// failed.
    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(job) = state.commit.hashes.pop_front() {
                return Some(Task::Hash(job));
            }
            if let Some(record) = state.commit.new_records.pop_front() {
                return Some(Task::Record(record));
            }
            if !state.writing
                && let Some(job) = state.commit.writes.pop_front()
            {
                state.writing = true;
                return Some(Task::Write(job));
            }
            if !state.exhausted && !state.feeding {
                if state.in_use >= self.window
                    && let Some(buffers) = state.commit.spill()
                {
                    state.spare.push(buffers);
                    state.in_use -= 1;
                }
                if state.in_use < self.window {
                    state.in_use += 1;
                    state.feeding = true;
                    return Some(Task::Unit(state.spare.pop().unwrap_or_default()));
                }
            }
            let is_fed = state.exhausted && state.next == state.taken;
            if is_fed && state.in_use == 0 {
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the next unit of the feed, if there is one, with its number.
    fn next(&self, buffers: &mut Buffers) -> Result<Option<(usize, Unit)>, BuildError> {
        let unit = self.feed.lock().unwrap_or_else(PoisonError::into_inner).next(&mut buffers.content);
        let mut state = self.lock();
        state.feeding = false;
        let number = state.taken;
        let unit = unit?;
        match unit {
            Some(_) => state.taken += 1,
            None => state.exhausted = true,
        }
        self.changed.notify_all();
        Ok(unit.map(|unit| (number, unit)))
    }

    fn unit(&self, worker: &mut Worker<'a>, mut buffers: Buffers) -> Result<(), BuildError> {
        let Some((number, unit)) = self.next(&mut buffers)? else {
            let mut state = self.lock();
            state.in_use -= 1;
            self.changed.notify_all();
            return Ok(());
        };
        let claim = |first: usize, sought: &[Option<DedupeKey>]| self.claim(first, sought);
        let done = worker.unit(unit, buffers, &claim)?;
        let (files, bytes) = match done.segment {
            None => (
                done.parts.len() as u64,
                done.parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.file.size)),
            ),
            Some((_, last)) => (u64::from(last), done.buffers.len()),
        };
        self.progress.advance(files, bytes);
        let mut state = self.lock();
        state.encoded.insert(number, done);
        self.commit_ready(&mut state)
    }

    /// For each file from number `first` on: does an earlier file have the same dedupe key? If none does, it
    /// is the first one now: files that are read later and come earlier still take its place.
    fn claim(&self, first: usize, sought: &[Option<DedupeKey>]) -> Vec<bool> {
        if sought.iter().all(Option::is_none) {
            return vec![false; sought.len()];
        }
        let mut state = self.lock();
        let is_duplicate = |(file, key): (usize, &Option<DedupeKey>)| {
            let Some(key) = key else { return false };
            let earliest = state.claims.entry(*key).or_insert(file);
            let is_duplicate = *earliest < file;
            *earliest = file.min(*earliest);
            is_duplicate
        };
        (first..).zip(sought).map(is_duplicate).collect()
    }

    /// Commits everything whose turn it is.
    fn commit_ready(&self, state: &mut State<'_>) -> Result<(), BuildError> {
        while state.commit.is_open() {
            let next = state.next;
            let Some(done) = state.encoded.remove(&next) else { break };
            state.next += 1;
            state.commit.unit(done)?;
        }
        self.changed.notify_all();
        Ok(())
    }

    fn hash(&self, job: HashJob) -> Result<(), BuildError> {
        let HashJob { file, mut hasher, bytes } = job;
        let buffers = match bytes {
            ToHash::Memory(buffers) => {
                hasher.update(&buffers.content);
                zeros::hash(hasher.as_mut(), buffers.zeros);
                Some(buffers)
            }
            ToHash::Image(at, length) => {
                let mut bytes = buffer::zeros(length)?;
                self.image.read_at(at, &mut bytes)?;
                hasher.update(&bytes);
                None
            }
            ToHash::Zeros(length) => {
                zeros::hash(hasher.as_mut(), length);
                None
            }
        };
        self.after(buffers, |commit| commit.hashed(file, hasher))
    }

    fn write(&self, job: WriteJob) -> Result<(), BuildError> {
        let WriteJob { buffers, runs, copies, blocks, fragments, records, large } = job;
        let bytes = |run: &Run| {
            let buffer = if run.encoded { &buffers.encoded } else { &buffers.content };
            &buffer[run.range.clone()]
        };
        let pieces: Vec<(u64, &[u8])> = runs.iter().map(|run| (run.at, bytes(run))).collect();
        write_pieces(self.image, self.phase.block, &pieces)?;
        for (at, bytes) in &blocks {
            self.image.write_at(*at, bytes)?;
        }
        copies.iter().try_for_each(|copy| self.copy(copy))?;
        self.lock().writing = false;
        self.changed.notify_all();
        if let Some(packed) = self.packed {
            fragments
                .iter()
                .try_for_each(|run| packed.write_at(run.at, bytes(run)))
                .map_err(BuildError::spool)?;
        }
        self.write_records(&buffers, &records)?;
        self.after(Some(buffers), |commit| large.map_or(Ok(()), |(file, at)| commit.written(file, at)))
    }

    /// Copies bytes of a file, the last block filled up with zeros.
    fn copy(&self, copy: &Copy) -> Result<(), BuildError> {
        let length = copy.range.end - copy.range.start;
        let mut bytes = Vec::new();
        let mut done = 0;
        while done < length {
            let now = usize::try_from(length - done).map_or(COPY_BYTES, |rest| rest.min(COPY_BYTES));
            buffer::resize(&mut bytes, now)?;
            self.phase.input.fill(&copy.file, copy.range.start + done, &mut bytes)?;
            buffer::resize(&mut bytes, now.next_multiple_of(self.phase.block))?;
            self.image.write_at(copy.at + done, &bytes)?;
            done += now as u64;
        }
        Ok(())
    }

    /// Writes records to where they have their places in the spool; those that follow each other go out
    /// together.
    fn write_records(&self, buffers: &Buffers, records: &[NewRecord]) -> Result<(), BuildError> {
        let mut out = Vec::new();
        let mut start = 0;
        for NewRecord { record, content, fingerprint } in records {
            if start + out.len() as u64 != record.range().start {
                self.records.write_at(start, &out).map_err(BuildError::spool)?;
                out.clear();
                start = record.range().start;
            }
            let tail = match content.tail_bytes() {
                None => &[][..],
                Some(TailBytes::Content(range)) => &buffers.content[range.clone()],
                Some(TailBytes::Bytes(bytes)) => bytes,
            };
            content.encode(fingerprint, tail, &mut out);
        }
        self.records.write_at(start, &out).map_err(BuildError::spool)
    }

    /// Reports that a job is done, and gives back its buffers if nothing else needs them.
    fn after(
        &self,
        buffers: Option<Arc<Buffers>>,
        report: impl FnOnce(&mut Commit<'_>) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let mut state = self.lock();
        if let Some(buffers) = buffers.and_then(Arc::into_inner) {
            state.spare.push(buffers);
            state.in_use -= 1;
        }
        report(&mut state.commit)?;
        self.commit_ready(&mut state)
    }
}

/// Writes pieces in ascending order of their places; those that follow each other go out together. A piece
/// that ends within a block is followed by zeros where the next one starts at a block.
fn write_pieces(image: &ImageFile, block: usize, pieces: &[(u64, &[u8])]) -> Result<(), BuildError> {
    let mut vector: Vec<IoSlice<'_>> = Vec::new();
    let (mut start, mut end): (u64, u64) = (0, 0);
    // The rest of a last block becomes zeros: what else comes there is written later, because places ascend.
    let flush = |start: u64, end: u64, vector: &mut Vec<IoSlice<'_>>| {
        let padding = usize::try_from(end.next_multiple_of(block as u64) - end).unwrap_or(0);
        if padding != 0 {
            vector.push(IoSlice::new(&ZEROS[..padding]));
        }
        if !vector.is_empty() {
            image.write_vectored_at(start, vector)?;
            vector.clear();
        }
        Ok::<_, BuildError>(())
    };
    for (at, bytes) in pieces {
        if bytes.is_empty() {
            continue;
        }
        let padding = usize::try_from(at.wrapping_sub(end)).unwrap_or(usize::MAX);
        if padding >= block || vector.len() + 3 > VECTOR_MAX {
            flush(start, end, &mut vector)?;
            start = *at;
        } else if padding != 0 {
            vector.push(IoSlice::new(&ZEROS[..padding]));
        }
        vector.push(IoSlice::new(bytes));
        end = at + bytes.len() as u64;
    }
    flush(start, end, &mut vector)
}
