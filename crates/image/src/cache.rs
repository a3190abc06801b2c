//! A source that is read in pieces of a window, so that the thousands of small reads of a walk become few
//! large ones.
//!
//! Images have their metadata together, and a walk asks for it nearly in order: with windows of [`WINDOW`]
//! bytes a walk costs one system call where it would cost some hundred. A window that cannot be read costs
//! nothing but the attempt: then the source is asked for the wanted bytes alone. The memory is bounded,
//! whatever the image says.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::read_at::ReadAt;

/// How many bytes are read at once. Reads of more than half of it go to the source as they are.
pub const WINDOW: usize = 1 << 16;
/// How many windows are kept. Each has one place, by its number.
pub const WINDOWS: usize = 16;

/// Another source, whose bytes are taken to stay the same, and the windows of it that were read last: at most
/// [`WINDOWS`] × [`WINDOW`] bytes.
pub struct Cached<R> {
    source: R,
    windows: Mutex<Vec<Window>>,
}

#[derive(Clone, Default)]
struct Window {
    number: u64,
    /// Empty until a window was read.
    bytes: Vec<u8>,
}

impl<R> fmt::Debug for Cached<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}

impl<R: ReadAt> Cached<R> {
    /// Nothing is read before it is asked for.
    pub fn new(source: R) -> Self {
        Self { source, windows: Mutex::new(vec![Window::default(); WINDOWS]) }
    }

    /// Copies from window `number` what it has from byte `skip` on, and returns how much that was; `None` if
    /// the window cannot be read.
    fn copy(&self, windows: &mut [Window], number: u64, skip: usize, buf: &mut [u8]) -> Option<usize> {
        let places = u64::try_from(windows.len()).ok()?;
        let place = usize::try_from(number.checked_rem(places)?).ok()?;
        let window = windows.get_mut(place)?;
        if window.number != number || window.bytes.is_empty() {
            self.load(window, number)?;
        }
        let there = window.bytes.get(skip..)?;
        let length = there.len().min(buf.len());
        buf.get_mut(..length)?.copy_from_slice(there.get(..length)?);
        Some(length)
    }

    fn load(&self, window: &mut Window, number: u64) -> Option<()> {
        let start = number.checked_mul(u64::try_from(WINDOW).ok()?)?;
        let left = usize::try_from(self.source.len().checked_sub(start)?).unwrap_or(usize::MAX);
        window.number = number;
        window.bytes.resize(left.min(WINDOW), 0);
        if self.source.read_at(start, &mut window.bytes).is_err() {
            window.bytes.clear();
        }
        (!window.bytes.is_empty()).then_some(())
    }

    fn copy_all(&self, offset: u64, buf: &mut [u8]) -> Option<()> {
        let size = u64::try_from(WINDOW).ok()?;
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let skip = usize::try_from(at.checked_rem(size)?).ok()?;
            let done = self.copy(&mut windows, at.checked_div(size)?, skip, rest)?;
            if done == 0 {
                return None;
            }
            at = at.checked_add(u64::try_from(done).ok()?)?;
            rest = rest.get_mut(done..)?;
        }
        Some(())
    }
}

impl<R: ReadAt> ReadAt for Cached<R> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if buf.len() <= WINDOW / 2 && self.copy_all(offset, buf).is_some() {
            return Ok(());
        }
        self.source.read_at(offset, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Bytes of which some cannot be read, and a count of reads.
    struct Faulty {
        bytes: Vec<u8>,
        bad: Option<usize>,
        reads: AtomicUsize,
    }

    impl ReadAt for Faulty {
        fn len(&self) -> u64 {
            ReadAt::len(&self.bytes)
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let end = offset.saturating_add(buf.len() as u64);
            match self.bad {
                Some(bad) if (offset..end).contains(&(bad as u64)) => Err(io::ErrorKind::Other.into()),
                _ => self.bytes.read_at(offset, buf),
            }
        }
    }

    fn faulty(length: usize, bad: Option<usize>) -> Arc<Faulty> {
        let bytes = (0..length).map(|at| u8::try_from((at / 7 + at / 251) % 256).unwrap()).collect();
        Arc::new(Faulty { bytes, bad, reads: AtomicUsize::new(0) })
    }

    #[test]
    fn the_bytes_are_those_of_the_source() {
        let length = WINDOW * (WINDOWS + 3) + 77;
        let source = faulty(length, None);
        let cached = Cached::new(Arc::clone(&source));
        assert_eq!(cached.len(), source.len());
        let mut state = 1_u64;
        for step in 0..4000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = [0, 1, 32, 64, 4096, WINDOW / 2, WINDOW / 2 + 1, WINDOW * 2]
                [usize::try_from(state >> 40 & 7).unwrap()];
            // Some reads begin in the last window or behind the end.
            let at = usize::try_from((state >> 20) % (length as u64 + 10)).unwrap();
            let (mut got, mut want) = (vec![0; size], vec![0; size]);
            let there = cached.read_at(at as u64, &mut got).is_ok();
            assert_eq!(
                there,
                source.bytes.read_at(at as u64, &mut want).is_ok(),
                "step {step}: {size} at {at}"
            );
            assert!(!there || got == want, "step {step}: {size} at {at}");
        }
    }

    #[test]
    fn small_reads_in_order_become_few() {
        let source = faulty(WINDOW * 4, None);
        let cached = Cached::new(Arc::clone(&source));
        for at in (0..WINDOW * 4).step_by(32) {
            cached.read_at(at as u64, &mut [0; 32]).unwrap();
            cached.read_at(0, &mut [0; 32]).unwrap();
        }
        assert_eq!(source.reads.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn bytes_beside_bad_ones_can_be_read() {
        let cached = Cached::new(faulty(WINDOW, Some(100)));
        let mut buf = [0; 32];
        assert!(cached.read_at(90, &mut buf).is_err());
        cached.read_at(101, &mut buf).unwrap();
        cached.read_at(68, &mut buf).unwrap();
        assert!(cached.read_at(u64::MAX, &mut buf).is_err());
    }
}
