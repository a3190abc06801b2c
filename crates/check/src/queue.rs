//! The work that waits: large files before all others, because each is hashed by one thread from its start to
//! its end, and whoever takes the last of them last keeps everybody waiting.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::job::Job;

/// How many inodes, and about how many bytes of content, a worker takes at once.
const BATCH: (usize, u64) = (256, 4 << 20);
/// How many batches may wait before the walk does.
const WAITING: usize = 512;
/// A file of so many bytes is large. That many of them may wait as there may be batches.
const LARGE: u64 = 32 << 20;

/// What waits for the workers.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something came, or the end.
    filled: Condvar,
    /// Something was taken.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    large: BinaryHeap<Large>,
    batches: VecDeque<Vec<Job>>,
    /// Nothing more comes.
    ended: bool,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.large.len().saturating_add(self.batches.len()) >= WAITING
    }
}

/// A large file; the larger one is the greater one.
#[derive(Debug)]
struct Large(Job);

impl Large {
    fn rank(&self) -> (u64, u64) {
        (self.0.inode.size(), self.0.order)
    }
}

impl PartialEq for Large {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Large {}

impl PartialOrd for Large {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Large {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next work, or nothing when there is none and none will come.
    pub(crate) fn take(&self) -> Option<Vec<Job>> {
        let waiting = self.lock();
        let nothing =
            |waiting: &mut Waiting| waiting.large.is_empty() && waiting.batches.is_empty() && !waiting.ended;
        let waited = self.filled.wait_while(waiting, nothing);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        let large = waiting.large.pop().map(|large| vec![large.0]);
        let work = large.or_else(|| waiting.batches.pop_front());
        drop(waiting);
        self.taken.notify_one();
        work
    }

    /// Adds what `put` puts there, when there is room.
    fn add(&self, put: impl FnOnce(&mut Waiting)) {
        let waited = self.taken.wait_while(self.lock(), |waiting| waiting.is_full() && !waiting.ended);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        put(&mut waiting);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Nothing more comes, and nobody waits for room: said at the end of the walk, and by
    /// a worker that gives up.
    fn end(&self) {
        self.lock().ended = true;
        self.filled.notify_all();
        self.taken.notify_all();
    }
}

/// Ends the queue when it goes: without a worker nobody would make room.
#[derive(Debug)]
pub(crate) struct CloseOnDrop<'a>(pub(crate) &'a Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Jobs on their way into the queue. Without it the queue has ended.
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    queue: &'a Queue,
    jobs: Vec<Job>,
    bytes: u64,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(queue: &'a Queue) -> Self {
        Self { queue, jobs: Vec::new(), bytes: 0 }
    }

    pub(crate) fn add(&mut self, job: Job) {
        let size = job.inode.size();
        if job.inode.is_file() && size >= LARGE {
            return self.queue.add(|waiting| waiting.large.push(Large(job)));
        }
        self.bytes = self.bytes.saturating_add(size);
        self.jobs.push(job);
        let (jobs, bytes) = BATCH;
        if self.jobs.len() >= jobs || self.bytes >= bytes {
            self.send();
        }
    }

    fn send(&mut self) {
        self.bytes = 0;
        let jobs = std::mem::take(&mut self.jobs);
        self.queue.add(|waiting| waiting.batches.push_back(jobs));
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        if !self.jobs.is_empty() {
            self.send();
        }
        self.queue.end();
    }
}
