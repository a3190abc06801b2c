//! The content of files that say they are empty and are not, as in proc: it is read with everything else of
//! the scan, because its length shows only then and may be another one a moment later.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use rustix::io::{Errno, read};

use super::place::Root;

/// The longest content that is kept, in bytes.
const FILE_MAX: usize = 1 << 20;
/// The longest contents of one scan, in bytes.
const ALL_MAX: u64 = 64 << 20;

/// Why a content is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It cannot be opened.
    Open(Errno),
    /// It cannot be read.
    Read(Errno),
    /// It is longer than a file, or all files together, may be.
    Long,
}

/// The contents that one scan keeps.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: AtomicU64,
}

impl Kept {
    /// The whole content of a file, which is empty for most that say so.
    pub(super) fn read(&self, root: &Root, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Box<[u8]>, Refused> {
        // Without O_NONBLOCK a file that waits for events would hang here for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = root.open_from(dir, name, flags).map_err(Refused::Open)?;
        let mut content = Vec::new();
        let mut piece = [0; 4096];
        loop {
            // Files of proc need not allow pread.
            match read(&fd, &mut piece) {
                Ok(0) => break,
                Ok(count) => content.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Refused::Read(errno)),
            }
            if content.len() > FILE_MAX {
                return Err(Refused::Long);
            }
        }
        let length = content.len() as u64;
        if self.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length) > ALL_MAX {
            return Err(Refused::Long);
        }
        Ok(content.into_boxed_slice())
    }
}
