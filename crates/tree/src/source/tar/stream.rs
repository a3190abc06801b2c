//! An archive that comes once, such as on a pipe.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

use erofs_tar::{BLOCK, Parser};

use super::decompress::fill;
use super::unpack::inode;
use super::{Found, TarOptions, clean_path};
use crate::error::TreeError;
use crate::node::{ContentRef, Tree};
use crate::source::stream::{Stream, Streamed};

/// How many bytes that nobody wants are read at once.
const SKIP: usize = 64 * 1024;

/// A tar archive that is read once, in its order. Memory is taken for metadata alone. The tree is that of
/// [`TarSource`](super::TarSource).
///
/// The reader should be buffered: headers are read in blocks of 512 bytes. It is read to its end, so that a
/// program which writes into a pipe is not killed.
pub struct TarStream<R> {
    input: R,
    parser: Parser,
    found: Found,
    /// How many bytes were read.
    offset: u64,
    /// The last file, and how many bytes of it were read.
    current: Option<(ContentRef, u64)>,
    is_done: bool,
}

impl<R> fmt::Debug for TarStream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarStream").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<R: Read + Send> TarStream<R> {
    /// An archive that `input` yields; `name` is for messages.
    pub fn new(input: R, name: impl Into<PathBuf>, options: &TarOptions) -> Self {
        Self {
            input,
            parser: Parser::new(options.format.clone()),
            found: Found::new(name.into(), options),
            offset: 0,
            current: None,
            is_done: false,
        }
    }

    /// The same for an archive that may be [compressed](super::decompressed).
    ///
    /// # Errors
    /// [`TreeError::Io`] if its first bytes cannot be read, or are those of a compression that is not known.
    pub fn decompressed<'a>(
        input: R,
        name: impl Into<PathBuf>,
        options: &TarOptions,
    ) -> Result<TarStream<Box<dyn Read + Send + 'a>>, TreeError>
    where
        R: 'a,
    {
        let path = name.into();
        match super::decompressed(input) {
            Ok(input) => Ok(TarStream::new(input, path, options)),
            Err(source) => Err(TreeError::Io { action: "read", path, source }),
        }
    }

    /// Fills `buf` as far as the input goes; how many bytes that are.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, TreeError> {
        let filled = fill(&mut self.input, buf).map_err(|error| self.found.io(error))?;
        self.offset += filled as u64;
        Ok(filled)
    }

    /// Reads up to the next header; whether the input goes so far.
    fn skip(&mut self) -> Result<bool, TreeError> {
        let mut buf = Vec::new();
        while self.offset < self.parser.offset() {
            buf.resize(SKIP, 0);
            let left = self.parser.offset() - self.offset;
            let count = usize::try_from(left).map_or(SKIP, |left| left.min(SKIP));
            if self.fill(buf.get_mut(..count).unwrap_or_default())? < count {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the archive, whose last bytes are these.
    fn end(&mut self, rest: &[u8]) -> Result<(), TreeError> {
        self.is_done = true;
        self.parser.finish(self.offset, rest).map_err(|error| self.found.damaged(error))
    }
}

impl<R: Read + Send> Stream for TarStream<R> {
    fn next(&mut self) -> Result<Option<Streamed>, TreeError> {
        self.current = None;
        while !self.is_done {
            if !self.skip()? {
                self.end(&[])?;
                break;
            }
            let mut block = [0; BLOCK];
            let filled = self.fill(&mut block)?;
            if filled < BLOCK {
                self.end(block.get(..filled).unwrap_or_default())?;
                break;
            }
            let Some(entry) = self.parser.push(&block).map_err(|error| self.found.damaged(error))? else {
                continue;
            };
            let Some(content) = self.found.add(&entry)?.filter(|_| entry.size != 0) else { continue };
            self.current = Some((content, 0));
            let inode = inode(&entry, content).map_err(|flaw| self.found.wrong(&entry, flaw.into()))?;
            return Ok(Some(Streamed { content, size: entry.size, path: clean_path(&entry.path), inode }));
        }
        Ok(None)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<(), TreeError> {
        let Some((content, done)) = self.current else {
            return Err(TreeError::UnknownContent { found: u32::MAX, files: self.found.files.len() });
        };
        let length = self.offset;
        let stored = self.found.stored(content)?;
        let (input, mut read) = (&mut self.input, 0);
        // Pieces follow each other in the archive as in the file.
        let filled = stored.fill(done, buf, |_, piece| {
            let count = fill(input, piece)?;
            read += count as u64;
            if count == piece.len() { Ok(()) } else { Err(io::Error::from(ErrorKind::UnexpectedEof)) }
        });
        self.offset = length + read;
        self.current = Some((content, done.saturating_add(buf.len() as u64)));
        match filled {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.end(&[])?;
                Err(self.found.io(error))
            }
            filled => filled.map_err(|error| self.found.io(error)),
        }
    }

    fn finish(&mut self) -> Result<Tree, TreeError> {
        while self.next()?.is_some() {}
        self.found.tree()
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.found.path(content)
    }

    fn warnings(&self) -> Vec<String> {
        self.found.warnings()
    }
}
