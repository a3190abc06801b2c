//! A metadata space: where inodes and what follows them stand. There are two, the area behind `meta_blkaddr`
//! of the primary device, and the content of the metabox inode. Who reads an inode does not know which one it
//! is in.

use std::fmt;
use std::sync::Arc;

use erofs_format::{FormatError, Nid};

use crate::error::{Cause, Result};
use crate::read_at::ReadAt;

/// Fills `buf` from byte `at` of `source`, which messages call `name`; `what` is what stands there. The range
/// is compared with the length of the source first, so that a wrong address is named as such.
pub(crate) fn read_exactly(
    source: &dyn ReadAt,
    name: &str,
    what: &'static str,
    at: u64,
    buf: &mut [u8],
) -> Result<()> {
    let length = length_of(buf);
    check_range(source, name, what, at, length)?;
    // What is read of a metabox is a file of the image: what is wrong with that file is no failure to read.
    source.read_at(at, buf).map_err(|error| {
        error.downcast().unwrap_or_else(|source| {
            Cause::Io { what, space: name.to_owned(), at, length, source: Arc::new(source) }.into()
        })
    })
}

/// An error unless `length` bytes from `at` on lie within `source`.
fn check_range(source: &dyn ReadAt, name: &str, what: &'static str, at: u64, length: u64) -> Result<()> {
    let end = source.len();
    if at.checked_add(length).is_some_and(|last| last <= end) {
        return Ok(());
    }
    Err(Cause::Beyond { what, space: name.to_owned(), at, length, end }.into())
}

/// The length of a slice as a 64-bit number.
pub(crate) fn length_of(slice: &[u8]) -> u64 {
    u64::try_from(slice.len()).unwrap_or(u64::MAX)
}

/// A metadata space.
#[derive(Clone)]
pub struct Space {
    source: Arc<dyn ReadAt>,
    name: &'static str,
    base: u64,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("name", &self.name).field("base", &self.base).finish_non_exhaustive()
    }
}

impl Space {
    /// A space over `source`, in which nids count from byte `base`.
    pub(crate) fn new(source: Arc<dyn ReadAt>, name: &'static str, base: u64) -> Self {
        Self { source, name, base }
    }

    /// Where the inode `nid` starts, in bytes from the start of the source (`erofs_iloc`).
    pub(crate) fn byte_of(&self, nid: Nid) -> Result<u64> {
        let too_far = || FormatError::limit("nid", nid.0, "byte addresses below 2^64");
        Ok(nid.byte()?.checked_add(self.base).ok_or_else(too_far)?)
    }

    /// Length of the source in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.source.len()
    }

    /// Fills `buf` from byte `at` of the source.
    pub(crate) fn read(&self, what: &'static str, at: u64, buf: &mut [u8]) -> Result<()> {
        read_exactly(self.source.as_ref(), self.name, what, at, buf)
    }

    /// Reads `length` bytes from byte `at` on. Memory is only asked for when the source holds that many.
    pub(crate) fn read_vec(&self, what: &'static str, at: u64, length: usize) -> Result<Vec<u8>> {
        let wanted = u64::try_from(length).unwrap_or(u64::MAX);
        check_range(self.source.as_ref(), self.name, what, at, wanted)?;
        let mut buf = vec![0; length];
        self.read(what, at, &mut buf)?;
        Ok(buf)
    }

    /// Reads as many bytes from byte `at` on as `buf` holds, fewer where the source ends; at least `least`.
    /// `buf` is no shorter than that.
    pub(crate) fn read_into<'b>(
        &self,
        what: &'static str,
        at: u64,
        least: usize,
        buf: &'b mut [u8],
    ) -> Result<&'b [u8]> {
        let left = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let length = left.min(buf.len()).max(least);
        let buf = buf.get_mut(..length).unwrap_or_default();
        self.read(what, at, buf)?;
        Ok(buf)
    }

    /// Reads up to `limit` bytes from byte `at` on, fewer where the source ends; at least `least`.
    pub(crate) fn read_up_to(
        &self,
        what: &'static str,
        at: u64,
        least: usize,
        limit: usize,
    ) -> Result<Vec<u8>> {
        let left = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX);
        self.read_vec(what, at, left.min(limit).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_inside() {
        let space = Space::new(Arc::new(b"0123456789".to_vec()), "the test", 40);
        assert_eq!(space.read_vec("digits", 2, 3).unwrap(), b"234");
        assert_eq!(space.read_up_to("digits", 8, 1, 64).unwrap(), b"89");
        let message = space.read_vec("digits", 2, usize::MAX).unwrap_err().to_string();
        assert!(message.starts_with("digits at byte 2: found"), "{message}");
        assert!(message.ends_with("want an end within the test, which has 10 bytes"), "{message}");
        assert!(space.read_up_to("digits", 10, 1, 64).is_err());
        assert!(space.read_up_to("digits", u64::MAX, 1, 64).is_err());
        assert_eq!(space.byte_of(Nid(1)).unwrap(), 72);
        assert!(space.byte_of(Nid((1 << 59) - 1)).is_err());
    }
}
