//! Bytes that wait for their place in the image: in memory while they are few, else in a file without a name,
//! beside the image or where temporary files belong.
//!
//! Any thread may write to bytes that were reserved for it; nobody waits for others but while the file is
//! made.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::target::Target;
use crate::image_file::Scratch;

/// As many bytes stay in memory.
const IN_MEMORY: usize = 8 << 20;

/// A growing row of bytes; what nobody wrote is zeros.
#[derive(Debug)]
pub(crate) struct Spool {
    scratch: Scratch,
    /// How many bytes there are, those that are reserved and not written among them.
    length: AtomicU64,
    store: Mutex<Store>,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File(Arc<dyn Target>),
}

impl Spool {
    /// An empty one, whose file would be one of `scratch`.
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self { scratch, length: AtomicU64::new(0), store: Mutex::new(Store::Memory(Vec::new())) }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Reserves bytes behind those that there are: the first of them.
    pub(crate) fn reserve(&self, length: u64) -> u64 {
        self.length.fetch_add(length, Ordering::Relaxed)
    }

    /// Gives back the bytes from byte `length` on. They must have been written, and are not zeros if they are
    /// reserved again.
    pub(crate) fn rewind(&self, length: u64) {
        self.length.fetch_min(length, Ordering::Relaxed);
    }

    /// Adds bytes: the place of the first of them.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn push(&self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.reserve(bytes.len() as u64);
        self.write_at(at, bytes)?;
        Ok(at)
    }

    /// Writes bytes from byte `at` on.
    ///
    /// # Errors
    /// Those of the file, and [`io::ErrorKind::OutOfMemory`].
    pub(crate) fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        self.length.fetch_max(end, Ordering::Relaxed);
        let file = {
            let mut store = self.store();
            match &mut *store {
                Store::File(file) => Arc::clone(file),
                Store::Memory(memory) => match usize::try_from(end) {
                    Ok(end) if end <= IN_MEMORY => {
                        if memory.len() < end {
                            memory.try_reserve(end - memory.len())?;
                            memory.resize(end, 0);
                        }
                        memory[end - bytes.len()..end].copy_from_slice(bytes);
                        return Ok(());
                    }
                    Ok(_) | Err(_) => {
                        let file = self.scratch.open()?;
                        file.write_at(0, &mut [IoSlice::new(memory)])?;
                        *store = Store::File(Arc::clone(&file));
                        file
                    }
                },
            }
        };
        file.write_at(at, &mut [IoSlice::new(bytes)])
    }

    /// Fills `bytes` from byte `at` on.
    ///
    /// # Errors
    /// Those of the file; [`io::ErrorKind::UnexpectedEof`] if there are not so many bytes.
    pub(crate) fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let file = match &*self.store() {
            Store::File(file) => Arc::clone(file),
            Store::Memory(memory) => {
                let start = usize::try_from(at).map_or(memory.len(), |at| at.min(memory.len()));
                let known = &memory[start..memory.len().min(start + bytes.len())];
                bytes[..known.len()].copy_from_slice(known);
                bytes[known.len()..].fill(0);
                return Ok(());
            }
        };
        let filled = file.read_at(at, bytes)?;
        // The file ends where the last write did.
        bytes[filled..].fill(0);
        Ok(())
    }

    /// Makes `bytes` those of `range`; errors as for [`Self::read_at`].
    pub(crate) fn load(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> io::Result<()> {
        let length = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        bytes.try_reserve(length.saturating_sub(bytes.len()))?;
        bytes.resize(length, 0);
        self.read_at(range.start, bytes)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_like_one_vector() {
        let spool = Spool::new(Scratch::temporary());
        let mut model: Vec<u8> = Vec::new();
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        while model.len() < 20 << 20 {
            let most = if random(20) == 0 { 3 << 20 } else { 5000 };
            let length = random(most);
            let first = random(255);
            let bytes: Vec<u8> = (1..=255).cycle().skip(first).take(length).collect();
            let at = match random(3) {
                0 => random(model.len() + 10_000),
                1 => {
                    let at = usize::try_from(spool.reserve(length as u64)).unwrap();
                    assert_eq!(at, model.len());
                    at
                }
                _ => {
                    assert_eq!(spool.push(&bytes).unwrap(), model.len() as u64);
                    model.len()
                }
            };
            model.resize(model.len().max(at + length), 0);
            model[at..at + length].copy_from_slice(&bytes);
            spool.write_at(at as u64, &bytes).unwrap();
            assert_eq!(spool.len(), model.len() as u64);
            let at = random(model.len() + 1);
            let mut found = vec![7; random(20_000).min(model.len() - at)];
            spool.read_at(at as u64, &mut found).unwrap();
            assert!(found == model[at..at + found.len()], "{} bytes at {at}", found.len());
        }
        let mut all = Vec::new();
        spool.load(0..model.len() as u64, &mut all).unwrap();
        assert!(all == model);
        assert!(spool.read_at(model.len() as u64, &mut [0]).is_err());
        spool.read_at(model.len() as u64, &mut []).unwrap();
    }

    #[test]
    fn threads_write_what_they_reserved() {
        let spool = Spool::new(Scratch::temporary());
        let pieces: Vec<usize> = (0..400).collect();
        let written = erofs_threads::each("spool", 4, &pieces, |&number, (): &mut ()| {
            let bytes = vec![u8::try_from(number % 251).unwrap(); 60_000 + number];
            spool.push(&bytes).map(|at| (at, bytes))
        });
        for (at, bytes) in written.unwrap() {
            let mut found = vec![0; bytes.len()];
            spool.read_at(at, &mut found).unwrap();
            assert!(found == bytes);
        }
    }
}
