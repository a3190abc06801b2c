//! The files of the original, for the pipeline: where each is stored, and its bytes, which are read for
//! fingerprints and for what is copied.

use erofs_algo::fingerprint::Hasher;
use erofs_format::Nid;
use erofs_format::extent::Coding;
use erofs_format::inode::EXTENDED_SIZE;
use erofs_image::{FileData, Image, Piece};
use erofs_tree::{ContentRef, Tree};

use super::bounds::Bounds;
use super::encoded::{self, Uses};
use super::form::Form;
use super::plain;
use crate::coder::codecs::Choice;
use crate::content::{Class, Content, Extent};
use crate::error::BuildError;
use crate::pipeline::feed::Part;
use crate::pipeline::{Feed, File, Input, Unit};
use crate::stored::Stored;
use crate::zeros;

/// What messages call the packed inode, which has no path.
const PACKED: &[u8] = b"(packed inode)";
/// A unit of small files ends after this many bytes or files.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FILES: usize = 64;

/// The files of an image, which the tree's contents number like its inodes; one more is the packed inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) original: &'a Image,
    pub(super) tree: &'a Tree,
    /// Where each inode of the tree is in the image.
    pub(super) nids: &'a [Nid],
}

impl Files<'_> {
    /// The number of the packed inode.
    pub(super) fn packed(&self) -> ContentRef {
        ContentRef(u32::try_from(self.nids.len()).unwrap_or(u32::MAX))
    }

    fn open(&self, content: ContentRef) -> Result<FileData, BuildError> {
        let missing = || BuildError::Internal(format!("file {} of {}", content.0, self.nids.len()));
        if content == self.packed() {
            return self.original.packed().cloned().ok_or_else(missing);
        }
        let nid = self.nids.get(content.0 as usize).ok_or_else(missing)?;
        Ok(self.original.data(&self.original.inode(*nid)?)?)
    }

    fn path_of(&self, content: ContentRef) -> Vec<u8> {
        if content == self.packed() {
            return PACKED.to_vec();
        }
        self.tree.path_of(erofs_tree::InodeId(content.0))
    }

    /// An error with the path of its file.
    fn named(&self, content: ContentRef, error: BuildError) -> BuildError {
        let path = || self.path_of(content);
        if let BuildError::Original(error) = error {
            error.at_path(&path()).into()
        } else {
            error.in_file(path)
        }
    }
}

impl Input for Files<'_> {
    fn fill(&self, file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), BuildError> {
        let read =
            || -> Result<usize, BuildError> { Ok(self.open(file.content)?.read_range(offset, bytes)?) };
        let mut read = read;
        match read().map_err(|error| self.named(file.content, error))? {
            found if found == bytes.len() => Ok(()),
            _ => Err(self.changed(file)),
        }
    }

    fn changed(&self, file: &File) -> BuildError {
        let path = crate::error::shown(&self.path_of(file.content));
        BuildError::Internal(format!("{path}: the image changed while it was read"))
    }

    fn hash(&self, file: &File, hasher: &mut dyn Hasher) -> Result<(), BuildError> {
        let data = self.open(file.content);
        let outcome = data.and_then(|data| {
            data.copy(|piece| {
                match piece {
                    Piece::Bytes(bytes) => hasher.update(bytes),
                    Piece::Hole(length) => zeros::hash(hasher, length),
                }
                Ok::<(), BuildError>(())
            })
        });
        outcome.map_err(|error| self.named(file.content, error))
    }
}

/// Says where files are stored.
pub(super) struct Referring<'a> {
    files: Files<'a>,
    list: Vec<File>,
    next: usize,
    /// Whether files have no data of their own, because overlayfs finds it elsewhere.
    are_holes: bool,
    pub(super) bounds: Bounds,
    /// What the compressed ones make use of, as far as the feed was asked.
    pub(super) uses: Uses,
}

impl<'a> Referring<'a> {
    /// The files of `list`, and the packed inode if one of them is in it.
    pub(super) fn new(files: Files<'a>, list: Vec<File>, form: &Form, bounds: Bounds) -> Self {
        let are_holes = matches!(form, Form::Overlay);
        Self { files, list, next: 0, are_holes, bounds, uses: Uses::default() }
    }

    fn stored(&mut self, file: &File) -> Result<Stored, BuildError> {
        if self.are_holes {
            return self.hole(file.size);
        }
        let data = self.files.open(file.content)?;
        if data.inode().layout().is_compressed() {
            return encoded::stored(&data, &self.bounds, &mut self.uses);
        }
        plain::stored(&data, file.tail_room, &self.bounds)
    }

    fn hole(&self, size: u64) -> Result<Stored, BuildError> {
        let mut content = Content::new(Class::Plain { chunk_bits: None });
        let coding = Coding::Shifted;
        content.push(Extent { start: 0, length: size, stored: 0, at: None, coding, partial: false });
        // A file can claim 2^63 bytes, whose table would take 16 GiB.
        self.bounds.take_chunks(size.div_ceil(1 << content.chunk_bits()))?;
        Ok(Stored { content, copies: Vec::new(), has_fingerprint: false })
    }

    /// The packed inode, if it is needed. Its tail follows its inode where that is in one block with it.
    fn packed(&self) -> Option<File> {
        let data = self.files.original.packed().filter(|_| self.uses.fragments)?;
        let room = self.bounds.block_bits.size() - EXTENDED_SIZE as u64;
        Some(File {
            content: self.files.packed(),
            size: data.len(),
            choice: Choice::PLAIN,
            tail_room: u32::try_from(room).unwrap_or(0),
            may_have_duplicate: false,
        })
    }
}

impl Feed for Referring<'_> {
    fn next(&mut self, _: &mut Vec<u8>) -> Result<Option<Unit>, BuildError> {
        let first = self.next;
        let (mut files, mut stored, mut bytes) = (Vec::new(), Vec::new(), 0);
        while files.len() < BATCH_FILES && bytes < BATCH_BYTES {
            let file = match self.list.get(self.next) {
                Some(file) => *file,
                // It comes last, alone: by then is known whether it is needed.
                None if files.is_empty() && self.next == self.list.len() => match self.packed() {
                    Some(packed) => packed,
                    None => break,
                },
                None => break,
            };
            let mut found = self.stored(&file).map_err(|error| self.files.named(file.content, error))?;
            found.has_fingerprint &= file.content != self.files.packed();
            (bytes, self.next) = (bytes.saturating_add(file.size), self.next + 1);
            files.push(file);
            stored.push(found);
        }
        Ok((!files.is_empty()).then_some(Unit { first, files, part: Part::Stored(stored) }))
    }
}
