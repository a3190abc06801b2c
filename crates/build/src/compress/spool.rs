//! Bytes that wait for their place: in memory while they are few, else in a file without a name beside the image.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::SpooledTempFile;

/// As many bytes as stay in memory.
const IN_MEMORY: usize = 16 << 20;

/// A growing row of bytes.
#[derive(Debug)]
pub(crate) struct Spool {
    file: SpooledTempFile,
    end: u64,
    /// Where the file stands.
    at: u64,
}

impl Spool {
    /// An empty one, whose file would be in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { file: tempfile::spooled_tempfile_in(IN_MEMORY, folder), end: 0, at: 0 }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// Adds bytes; tells where they start.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let start = self.end;
        self.seek(start)?;
        self.file.write_all(bytes)?;
        self.end += bytes.len() as u64;
        self.at = self.end;
        Ok(start)
    }

    /// Puts bytes at byte `at`; what nobody wrote in front of them is zeros.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(at)?;
        self.file.write_all(bytes)?;
        self.at = at + bytes.len() as u64;
        self.end = self.end.max(self.at);
        Ok(())
    }

    /// Fills `bytes` from byte `at` on.
    pub(crate) fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.seek(at)?;
        self.file.read_exact(bytes)?;
        self.at = at + bytes.len() as u64;
        Ok(())
    }

    fn seek(&mut self, at: u64) -> io::Result<()> {
        if self.at != at {
            self.file.seek(SeekFrom::Start(at))?;
            self.at = at;
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
