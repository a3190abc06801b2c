//! What the bytes of an output, or of a temporary file, are written to: the seam for other kinds of storage,
//! and for tests that make writes fail.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Storage for one output. All places are in bytes; every method may be called from several threads.
pub trait Target: Debug + Send + Sync {
    /// Writes all bytes of the pieces, one behind the other, from byte `at` on.
    ///
    /// # Errors
    /// When not all of them could be written.
    fn write_at(&self, at: u64, pieces: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Fills `bytes` from byte `at` on and returns how many bytes that are: fewer than asked for at the end
    /// alone.
    ///
    /// # Errors
    /// When they could not be read.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Makes the storage `length` bytes long; what is new are zeros.
    ///
    /// # Errors
    /// When its length cannot be changed, as that of a device.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Returns when everything that was written is durable.
    ///
    /// # Errors
    /// When that cannot be known; writes before it may be lost.
    fn sync(&self) -> io::Result<()>;
}

/// Puts a target between the builder and another one: the file of the image, and each temporary file.
pub type Wrap = Arc<dyn Fn(Arc<dyn Target>) -> Arc<dyn Target> + Send + Sync>;

/// Files and block devices.
impl Target for File {
    fn write_at(&self, at: u64, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        let (mut at, mut rest) = (at, pieces);
        // Pieces without bytes are not to be taken for a file that takes none.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match rustix::io::pwritev(self, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    at = at.saturating_add(count as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match FileExt::read_at(self, &mut bytes[filled..], at.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other() {
        let file: Arc<dyn Target> = Arc::new(tempfile::tempfile().unwrap());
        file.write_at(
            3,
            &mut [IoSlice::new(b""), IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")],
        )
        .unwrap();
        file.write_at(100, &mut []).unwrap();
        file.write_at(100, &mut [IoSlice::new(b"")]).unwrap();
        let mut bytes = [1; 8];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), 6);
        assert_eq!(&bytes[..6], b"\0\0\0abc");
        file.set_len(5).unwrap();
        assert_eq!(file.read_at(4, &mut bytes).unwrap(), 1);
        assert_eq!(file.read_at(9, &mut bytes).unwrap(), 0);
        file.sync().unwrap();
    }
}
