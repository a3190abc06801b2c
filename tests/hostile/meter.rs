//! A source of bytes that counts what it is asked for and refuses to go past a budget.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use erofs_image::ReadAt;

/// Every call costs as much as this many bytes.
const CALL: u64 = 32;

/// An image in memory with a budget.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes: Vec<u8>,
    spent: AtomicU64,
    budget: u64,
}

impl Meter {
    /// What an image may cost: so many times its own length, and something for the smallest.
    pub(crate) fn new(bytes: Vec<u8>, times: u64) -> Arc<Self> {
        let budget = times * bytes.len() as u64 + (1 << 16);
        Arc::new(Self { bytes, spent: AtomicU64::new(0), budget })
    }

    /// How much was asked for.
    pub(crate) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Fails the test if more was asked for than the budget allows.
    pub(crate) fn settle(&self, what: &str) {
        assert!(
            self.spent() <= self.budget,
            "{what}: {} bytes of work, want at most {}",
            self.spent(),
            self.budget
        );
    }
}

impl ReadAt for Meter {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let cost = CALL + buf.len() as u64;
        if self.spent.fetch_add(cost, Ordering::Relaxed) + cost > self.budget {
            return Err(io::Error::other("the budget is spent"));
        }
        self.bytes.read_at(offset, buf)
    }
}
