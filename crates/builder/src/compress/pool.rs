//! The workers: each takes what is most urgent — a segment to hash, something to write, the next unit to read and
//! encode — until nothing is left. What was encoded waits until everything before it is committed.

use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::iter::Enumerate;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use erofs_tree::Progress;

use super::commit::{Commit, HashJob, Run, WriteJob};
use super::work::{Buffers, Done, Likeness, Phase, Worker};
use crate::content::{Unit, Units};
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::zeros;

/// How many pieces go into one system call (Linux's `UIO_MAXIOV` is 1024).
const VECTOR_MAX: usize = 512;

struct State<'a> {
    units: Enumerate<Units<'a>>,
    /// Encoded and not committed, by number of the unit.
    encoded: BTreeMap<usize, Done>,
    /// The number of the next unit to commit.
    next: usize,
    commit: Commit<'a>,
    /// The first file of each likeness, as far as they were read.
    claims: HashMap<Likeness, usize>,
    spare: Vec<Buffers>,
    /// Units that were taken and whose buffer is not free yet.
    in_use: usize,
    exhausted: bool,
    /// Whether somebody writes. Linux lets one thread at a time write to a file; others would only spin on its lock.
    writing: bool,
    failure: Option<BuildError>,
}

struct Pool<'a> {
    phase: Phase<'a>,
    image: &'a ImageFile,
    progress: &'a dyn Progress,
    window: usize,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

enum Task {
    Hash(HashJob),
    Write(WriteJob),
    Unit(usize, Unit, Buffers),
}

/// How many threads work, and how many units may be under way at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Force {
    pub(crate) threads: usize,
    pub(crate) window: usize,
}

/// Encodes all files of the phase and commits them in order.
pub(crate) fn run<'a>(
    phase: Phase<'a>,
    units: Units<'a>,
    commit: Commit<'a>,
    image: &'a ImageFile,
    force: Force,
    progress: &'a dyn Progress,
) -> Result<Commit<'a>, BuildError> {
    let state = State {
        units: units.enumerate(),
        encoded: BTreeMap::new(),
        next: 0,
        commit,
        claims: HashMap::with_capacity(phase.twins_max()),
        spare: Vec::new(),
        in_use: 0,
        exhausted: false,
        writing: false,
        failure: None,
    };
    let window = force.window.max(1);
    let pool = Pool { phase, image, progress, window, state: Mutex::new(state), changed: Condvar::new() };
    erofs_threads::workers("encode", force.threads, || pool.work());
    let state = pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some(failure) => Err(failure),
        None if state.commit.is_complete() => Ok(state.commit),
        None => Err(BuildError::Internal("not every file was stored".into())),
    }
}

/// Lets the other workers end when one of them panics: they would wait for its unit for ever. The panic itself goes on
/// when the threads are joined.
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
                Task::Unit(number, unit, buffers) => self.encode(&mut worker, number, &unit, buffers),
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
                return Some(Task::Hash(job));
            }
            if !state.writing
                && let Some(job) = state.commit.writes.pop_front()
            {
                state.writing = true;
                return Some(Task::Write(job));
            }
            if !state.exhausted && state.in_use < self.window {
                if let Some((number, unit)) = state.units.next() {
                    state.in_use += 1;
                    let buffers = state.spare.pop().unwrap_or_default();
                    return Some(Task::Unit(number, unit, buffers));
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

    fn encode(
        &self,
        worker: &mut Worker<'a>,
        number: usize,
        unit: &Unit,
        buffers: Buffers,
    ) -> Result<(), BuildError> {
        let claim = |first: usize, sought: &[Option<Likeness>]| self.claim(first, sought);
        let done = worker.unit(unit, buffers, &claim)?;
        let files = match done.segment {
            None => done.parts.len() as u64,
            Some((_, last)) => u64::from(last),
        };
        self.progress.advance(files, done.buffers.len() as u64);
        let mut state = self.lock();
        state.encoded.insert(number, done);
        self.commit_ready(&mut state)
    }

    /// Of each of these files, the first of which has index `first`, whether one like it comes before. If none does,
    /// it is the first one now: files that are read later and come earlier still take its place.
    fn claim(&self, first: usize, sought: &[Option<Likeness>]) -> Vec<bool> {
        if sought.iter().all(Option::is_none) {
            return vec![false; sought.len()];
        }
        let mut state = self.lock();
        let is_twin = |(number, likeness): (usize, &Option<Likeness>)| {
            let Some(likeness) = likeness else { return false };
            let file = first + number;
            let earliest = state.claims.entry(*likeness).or_insert(file);
            let is_twin = *earliest < file;
            *earliest = file.min(*earliest);
            is_twin
        };
        sought.iter().enumerate().map(is_twin).collect()
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
        let HashJob { file, mut hasher, buffers } = job;
        hasher.update(&buffers.content);
        zeros::hash(hasher.as_mut(), buffers.zeros as u64);
        self.after(buffers, |commit| commit.hashed(file, hasher))
    }

    fn write(&self, job: WriteJob) -> Result<(), BuildError> {
        let WriteJob { buffers, runs, large } = job;
        let bytes = |run: &Run| {
            let buffer = if run.encoded { &buffers.encoded } else { &buffers.content };
            &buffer[run.range.clone()]
        };
        let pieces: Vec<(u64, &[u8])> = runs.iter().map(|run| (run.at, bytes(run))).collect();
        write_pieces(self.image, self.phase.block, &pieces)?;
        self.lock().writing = false;
        self.after(buffers, |commit| large.map_or(Ok(()), |file| commit.written(file)))
    }

    /// Tells the commit stage that a job is done, and gives back its buffers if nobody else needs them.
    fn after(
        &self,
        buffers: Arc<Buffers>,
        report: impl FnOnce(&mut Commit<'_>) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let mut state = self.lock();
        if let Some(buffers) = Arc::into_inner(buffers) {
            state.spare.push(buffers);
            state.in_use -= 1;
        }
        report(&mut state.commit)?;
        self.commit_ready(&mut state)
    }
}

/// Writes pieces in ascending order of their places; those that follow each other go out together. A piece that ends within a
/// block is followed by zeros where the next one starts at a block.
fn write_pieces(image: &ImageFile, block: usize, pieces: &[(u64, &[u8])]) -> Result<(), BuildError> {
    let zeros = vec![0; block];
    let mut vector: Vec<IoSlice<'_>> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (at, bytes) in pieces {
        let padding = usize::try_from(at.wrapping_sub(end)).unwrap_or(usize::MAX);
        if padding >= block || vector.len() + 2 > VECTOR_MAX {
            image.write_vectored_at(start, &mut vector)?;
            vector.clear();
            start = *at;
        } else if padding != 0 {
            vector.push(IoSlice::new(&zeros[..padding]));
        }
        vector.push(IoSlice::new(bytes));
        end = at + bytes.len() as u64;
    }
    // Plain files end with a whole block.
    let padding = usize::try_from(end.next_multiple_of(block as u64) - end).unwrap_or(0);
    if padding != 0 {
        vector.push(IoSlice::new(&zeros[..padding]));
    }
    image.write_vectored_at(start, &mut vector)
}
