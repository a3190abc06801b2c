//! Large files: they pass through part by part. Each part gets its places when its turn comes; the parts are
//! hashed one after the other beside that; the record follows when both are done.
//!
//! Hashing one file is serial and slower than reading and writing it. Parts that wait for it must not hold up
//! the other workers, so those that are in the image as they are give their buffers back when these run out,
//! and are hashed from the image: what is hashed is what was written, and the source is still read once.
//!
//! A large file may turn out to be equal to an earlier one only after its places were given out. So a file
//! that has the size and the first segment of an earlier one holds up all others behind it until its digest
//! is known, and gives its places back if it is equal.

use std::collections::VecDeque;
use std::sync::Arc;

use erofs_algo::fingerprint::Hasher;

use super::feed::File;
use super::job::{TailBytes, ToHash, WriteJob};
use super::work::Buffers;
use crate::content::Content;
use crate::summary::Sums;

/// Zeros are hashed in pieces of so many bytes, so that others get their turn and a failure ends all.
const ZEROS_AT_ONCE: u64 = 1 << 28;

/// The state of a digest that is computed part by part.
#[derive(Default)]
pub(super) enum Hashing {
    /// None is wanted.
    #[default]
    Never,
    /// The next part can be hashed.
    Idle(Box<dyn Hasher>),
    /// A part is being hashed.
    Busy,
}

/// A part that was committed and not hashed.
pub(super) struct Waiting {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) bytes: WaitingBytes,
    /// Where it is in the image, if it is there as it is, in one piece.
    pub(super) stored_at: Option<u64>,
}

/// Where the bytes of a waiting part are.
pub(super) enum WaitingBytes {
    /// In memory; whether they are in the image as well.
    Memory { buffers: Arc<Buffers>, written: bool },
    /// In the image alone.
    Image { at: u64 },
    /// Nowhere: they are zeros.
    Zeros,
}

/// A large file between its first part and its record.
pub(super) struct Large {
    pub(super) file: File,
    pub(super) content: Content<TailBytes>,
    pub(super) hashing: Hashing,
    pub(super) waiting: VecDeque<Waiting>,
    /// Parts that were committed and whose data is not written.
    pub(super) writing: usize,
    /// Whether the last part was committed.
    pub(super) committed: bool,
    /// An earlier file begins with the same bytes and is as long.
    pub(super) candidate: bool,
    /// Whether encoding made any part smaller.
    pub(super) smaller: bool,
    /// The first byte that was free when it began, the length of the packed inode, and the sums.
    pub(super) start: u64,
    pub(super) packed_from: u64,
    pub(super) sums: Sums,
    pub(super) key: u128,
}

impl Large {
    /// Remembers a part of `length` bytes that is to be hashed.
    pub(super) fn wait(&mut self, job: &WriteJob, offset: u64, length: u64) {
        if matches!(self.hashing, Hashing::Never) {
            return;
        }
        let stored_at = match job.runs.as_slice() {
            [run] if !run.encoded && run.range.len() as u64 == length => Some(run.at),
            _ => None,
        };
        let bytes = if job.buffers.content.is_empty() {
            WaitingBytes::Zeros
        } else {
            WaitingBytes::Memory { buffers: Arc::clone(&job.buffers), written: false }
        };
        self.waiting.push_back(Waiting { offset, length, bytes, stored_at });
    }

    /// The next part to be hashed, if the hasher is free.
    pub(super) fn next_to_hash(&mut self) -> Option<(Box<dyn Hasher>, ToHash)> {
        if !matches!(self.hashing, Hashing::Idle(_)) {
            return None;
        }
        let Waiting { offset, length, bytes, .. } = self.waiting.pop_front()?;
        let Hashing::Idle(hasher) = std::mem::replace(&mut self.hashing, Hashing::Busy) else { return None };
        let bytes = match bytes {
            WaitingBytes::Memory { buffers, .. } => ToHash::Memory(buffers),
            WaitingBytes::Image { at } => ToHash::Image(at, usize::try_from(length).unwrap_or(usize::MAX)),
            WaitingBytes::Zeros => {
                let now = length.min(ZEROS_AT_ONCE);
                if now != length {
                    let rest = Waiting { offset: offset + now, length: length - now, bytes, stored_at: None };
                    self.waiting.push_front(rest);
                }
                ToHash::Zeros(now)
            }
        };
        Some((hasher, bytes))
    }
}
