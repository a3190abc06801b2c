//! Where contents come from: the files of a source, of which those stay open that are read part by part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use erofs_algo::fingerprint::Hasher;
use erofs_tree::{Content, ContentRef, Source};

use super::feed::File;
use crate::buffer;
use crate::error::BuildError;
use crate::store::Spool;

/// Where contents come from.
pub(crate) trait Input: Sync {
    /// Fills `bytes` from byte `offset` of a file, and makes sure that the file is still what the scan saw.
    fn fill(&self, file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError>;

    /// The first byte from `offset` on that may be other than zero, no more than the size of the file. What
    /// is in front of it need not be read.
    fn data_from(&self, _file: &File, offset: u64) -> Result<u64, BuildError> {
        Ok(offset)
    }

    /// The error for a file that had other bytes when it was read before.
    fn changed(&self, file: &File) -> BuildError;

    /// Goes on with all bytes of a file.
    fn hash(&self, file: &File, hasher: &mut dyn Hasher) -> Result<(), BuildError> {
        let mut bytes =
            buffer::zeros(usize::try_from(file.size).map_or(HASH_BYTES, |size| size.min(HASH_BYTES)))?;
        let mut at = 0;
        while at < file.size {
            let rest = usize::try_from(file.size - at).map_or(bytes.len(), |rest| rest.min(bytes.len()));
            self.fill(file, at, &mut bytes[..rest])?;
            hasher.update(&bytes[..rest]);
            at += rest as u64;
        }
        Ok(())
    }
}

/// A file is hashed in pieces of so many bytes.
const HASH_BYTES: usize = 1 << 16;

/// One file whose content is in a spool.
#[derive(Debug)]
pub(crate) struct Spooled<'s> {
    pub(crate) bytes: &'s Spool,
}

impl Input for Spooled<'_> {
    fn fill(&self, _: &File, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        self.bytes.read_at(offset, bytes).map_err(BuildError::spool)
    }

    fn changed(&self, _: &File) -> BuildError {
        BuildError::Internal("a temporary file has changed".into())
    }
}

/// So many stay open.
const OPEN_MAX: usize = 8;

/// The files of a source.
pub(crate) struct Opened<'s> {
    source: &'s dyn Source,
    /// The last one that was opened comes last.
    files: Mutex<VecDeque<(ContentRef, Arc<dyn Content + 's>)>>,
}

impl<'s> Opened<'s> {
    /// Nothing is open yet.
    pub(crate) fn new(source: &'s dyn Source) -> Self {
        Self { source, files: Mutex::default() }
    }

    fn kept(&self, file: &File) -> Result<Arc<dyn Content + 's>, BuildError> {
        if let Some((_, open)) = self.files().iter().find(|(content, _)| *content == file.content) {
            return Ok(Arc::clone(open));
        }
        let open = self.open(file)?;
        let mut files = self.files();
        if files.len() == OPEN_MAX {
            files.pop_front();
        }
        files.push_back((file.content, Arc::clone(&open)));
        Ok(open)
    }

    fn open(&self, file: &File) -> Result<Arc<dyn Content + 's>, BuildError> {
        let opened = self.source.open(file.content);
        // Where descriptors are short, none is kept.
        let opened = opened.or_else(|error| {
            let were_open = std::mem::take(&mut *self.files());
            if were_open.is_empty() { Err(error) } else { self.source.open(file.content) }
        });
        Ok(Arc::from(opened?))
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<(ContentRef, Arc<dyn Content + 's>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Input for Opened<'_> {
    fn fill(&self, file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        let is_whole = offset == 0 && bytes.len() as u64 == file.size;
        let open = if is_whole { self.open(file)? } else { self.kept(file)? };
        let found = open.read_at(offset, bytes)?;
        open.finish()?;
        if found == bytes.len() {
            return Ok(());
        }
        let path = self.source.path(file.content);
        Err(BuildError::Resized { path, found: offset + found as u64, want: file.size })
    }

    fn data_from(&self, file: &File, offset: u64) -> Result<u64, BuildError> {
        let open = self.kept(file)?;
        let data = open.data_from(offset);
        if data > offset {
            open.finish()?;
        }
        Ok(data.clamp(offset, file.size))
    }

    fn changed(&self, file: &File) -> BuildError {
        BuildError::Changed { path: self.source.path(file.content) }
    }
}
