//! Bytes that wait for their place: in memory while they are few, else in a file without a name, beside the
//! image or where temporary files belong.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::image_file::Scratch;

/// As many bytes as stay in memory.
const IN_MEMORY: usize = 16 << 20;
/// Bytes that go to the file in one call: what is added is mostly a few dozen bytes.
const PENDING: usize = 256 << 10;

/// A growing row of bytes.
#[derive(Debug)]
pub(crate) struct Spool {
    scratch: Scratch,
    /// The file, once there is one, and how many bytes of the row it holds.
    file: Option<File>,
    filed: u64,
    /// The bytes behind those of the file.
    pending: Vec<u8>,
}

impl Spool {
    /// An empty one, whose file would be one of `scratch`.
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self { scratch, file: None, filed: 0, pending: Vec::new() }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.filed + self.pending.len() as u64
    }

    /// Adds bytes; tells where they start.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let start = self.len();
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= if self.file.is_some() { PENDING } else { IN_MEMORY } {
            self.flush()?;
        }
        Ok(start)
    }

    /// Puts bytes at byte `at`; what nobody wrote in front of them is zeros.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let zeros = [0; 4096];
        while self.len() < at {
            let missing = usize::try_from(at - self.len()).map_or(zeros.len(), |rest| rest.min(zeros.len()));
            self.push(&zeros[..missing])?;
        }
        let known = usize::try_from(self.len() - at).map_or(bytes.len(), |known| known.min(bytes.len()));
        let (known, new) = bytes.split_at(known);
        let (filed, waiting) = known.split_at(self.split(at, known.len()));
        if let (false, Some(file)) = (filed.is_empty(), &self.file) {
            file.write_all_at(filed, at)?;
        }
        if !waiting.is_empty() {
            let first = self.place(at + filed.len() as u64)?;
            self.pending[first..first + waiting.len()].copy_from_slice(waiting);
        }
        self.push(new).map(drop)
    }

    /// Fills `bytes` from byte `at` on.
    ///
    /// # Errors
    ///
    /// Those of the file; [`io::ErrorKind::UnexpectedEof`] if there are not so many bytes.
    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let (filed, rest) = bytes.split_at_mut(self.split(at, bytes.len()));
        if let (false, Some(file)) = (filed.is_empty(), &self.file) {
            file.read_exact_at(filed, at)?;
        }
        if !rest.is_empty() {
            let first = self.place(at + filed.len() as u64)?;
            let known = self.pending.get(first..).and_then(|known| known.get(..rest.len()));
            rest.copy_from_slice(known.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        Ok(())
    }

    /// Makes `bytes` those of `range`; errors as for [`Self::read`].
    pub(crate) fn load(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> io::Result<()> {
        let length = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        bytes.resize(length, 0);
        self.read(range.start, bytes)
    }

    /// How many of `length` bytes from byte `at` on are in the file.
    fn split(&self, at: u64, length: usize) -> usize {
        usize::try_from(self.filed.saturating_sub(at)).map_or(length, |filed| filed.min(length))
    }

    /// Where a byte is that is not in the file.
    fn place(&self, at: u64) -> io::Result<usize> {
        usize::try_from(at - self.filed).map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    /// Brings what waits to the file.
    fn flush(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.scratch.open()?,
        };
        let file = self.file.insert(file);
        file.write_all_at(&self.pending, self.filed)?;
        self.filed += self.pending.len() as u64;
        self.pending.clear();
        self.pending.shrink_to(PENDING);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(folder: &std::path::Path) -> Scratch {
        Scratch::Folder(std::sync::Arc::new(File::open(folder).unwrap().into()))
    }

    #[test]
    fn bytes_come_back_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(scratch(folder.path()));
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
        spool.read(20 << 20, &mut []).unwrap();
        spool.write(1000, b"between").unwrap();
        spool.write((21 << 20) - 1, b"!").unwrap();
        assert_eq!(spool.len(), 21 << 20);
        spool.read(999, &mut bytes[..9]).unwrap();
        assert_eq!(bytes[1..8], *b"between");
        spool.read((20 << 20) + 5, &mut bytes[..9]).unwrap();
        assert_eq!(bytes[..9], [0; 9]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn a_spool_is_like_one_vector() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(scratch(folder.path()));
        let mut model: Vec<u8> = Vec::new();
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        while model.len() < 40 << 20 {
            let most = if random(20) == 0 { 3 << 20 } else { 5000 };
            let length = random(most);
            let first = random(255);
            let bytes: Vec<u8> = (1..=255).cycle().skip(first).take(length).collect();
            let at = if random(3) == 0 { random(model.len() + 10_000) } else { model.len() };
            model.resize(model.len().max(at + length), 0);
            model[at..at + length].copy_from_slice(&bytes);
            if at == model.len() - length && random(2) == 0 && spool.len() == at as u64 {
                assert_eq!(spool.push(&bytes).unwrap(), at as u64);
            } else {
                spool.write(at as u64, &bytes).unwrap();
            }
            assert_eq!(spool.len(), model.len() as u64);
            let at = random(model.len() + 1);
            let mut found = vec![0; random(20_000).min(model.len() - at)];
            spool.read(at as u64, &mut found).unwrap();
            assert!(found == model[at..at + found.len()], "{} bytes at {at}", found.len());
        }
        let mut all = vec![0; model.len()];
        spool.read(0, &mut all).unwrap();
        assert!(all == model);
    }
}
