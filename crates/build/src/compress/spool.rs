//! Bytes that wait for their place: in memory while they are few, else in a file without a name beside the image.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::SpooledTempFile;

/// As many bytes as stay in memory.
const IN_MEMORY: usize = 16 << 20;
/// Bytes that go to the file, or come from it, in one call: what is asked for is mostly a few dozen bytes, in the order
/// in which they were added.
const WINDOW: usize = 256 << 10;

/// A growing row of bytes.
#[derive(Debug)]
pub(crate) struct Spool {
    file: SpooledTempFile,
    end: u64,
    /// The last bytes of the row, which are not in the file yet.
    pending: Vec<u8>,
    /// A copy of bytes of the file, and where they start.
    window: Vec<u8>,
    window_at: u64,
}

impl Spool {
    /// An empty one, whose file would be in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            file: tempfile::spooled_tempfile_in(IN_MEMORY, folder),
            end: 0,
            pending: Vec::new(),
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// Adds bytes; tells where they start.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let start = self.end;
        self.pending.extend_from_slice(bytes);
        self.end += bytes.len() as u64;
        if self.pending.len() >= WINDOW {
            self.flush()?;
        }
        Ok(start)
    }

    /// Puts bytes at byte `at`; what nobody wrote in front of them is zeros.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at == self.end {
            return self.push(bytes).map(drop);
        }
        self.flush()?;
        self.window.clear();
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)?;
        self.end = self.end.max(at + bytes.len() as u64);
        Ok(())
    }

    /// Fills `bytes` from byte `at` on.
    pub(crate) fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.flush()?;
        if let Some(known) = self.known(at, bytes.len()) {
            bytes.copy_from_slice(known);
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(at))?;
        if bytes.len() >= WINDOW {
            return self.file.read_exact(bytes);
        }
        let length = usize::try_from(self.end.saturating_sub(at)).map_or(WINDOW, |rest| rest.min(WINDOW));
        self.window.resize(length, 0);
        self.window_at = at;
        let done = self.file.read_exact(&mut self.window);
        if done.is_err() {
            self.window.clear();
        }
        done?;
        let known = self.known(at, bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(known);
        Ok(())
    }

    /// Bytes that are in the window.
    fn known(&self, at: u64, length: usize) -> Option<&[u8]> {
        let first = usize::try_from(at.checked_sub(self.window_at)?).ok()?;
        self.window.get(first..first.checked_add(length)?)
    }

    /// Brings what waits to the file.
    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.file.seek(SeekFrom::Start(self.end - self.pending.len() as u64))?;
            self.file.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path());
        let piece: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for number in 0..20 {
            assert_eq!(spool.push(&piece).unwrap(), number << 20);
        }
        assert_eq!(spool.len(), 20 << 20);
        let mut bytes = vec![0; 1000];
        for at in [0, 5 << 20, (16 << 20) - 500, (20 << 20) - 1000] {
            spool.read(at, &mut bytes).unwrap();
            let first = usize::try_from(at).unwrap() % piece.len();
            let want: Vec<u8> = piece.iter().cycle().skip(first).take(1000).copied().collect();
            assert_eq!(bytes, want, "at {at}");
        }
        assert!(spool.read((20 << 20) - 1, &mut bytes).is_err());
        spool.write(1000, b"between").unwrap();
        spool.write((21 << 20) - 1, b"!").unwrap();
        assert_eq!(spool.len(), 21 << 20);
        spool.read(999, &mut bytes[..9]).unwrap();
        assert_eq!(bytes[1..8], *b"between");
        spool.read((20 << 20) + 5, &mut bytes[..9]).unwrap();
        assert_eq!(bytes[..9], [0; 9]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }
}
