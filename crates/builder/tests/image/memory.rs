//! A source in memory, and bytes to put into it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use erofs_tree::{
    Content, ContentRef, Entry, Inode, InodeId, Kind, Progress, Source, Timestamp, Tree, TreeError, Xattr,
};

/// A directory in memory.
pub(crate) struct Memory {
    pub(crate) files: Vec<(String, Vec<u8>, Vec<Xattr>)>,
    /// The file that turns out to be shorter than the scan said.
    pub(crate) shrinks: Option<usize>,
    /// The file whose opening is a defect of the program.
    pub(crate) panics: Option<usize>,
    /// Whether zeros are holes, as far as they fill pages of 4096 bytes.
    pub(crate) sparse: bool,
    /// How often files were opened.
    pub(crate) opened: AtomicU64,
    /// How many bytes were read.
    pub(crate) read: AtomicU64,
}

impl Memory {
    pub(crate) fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let mut files: Vec<_> =
            files.iter().map(|(name, content)| ((*name).to_owned(), content.clone(), Vec::new())).collect();
        files.sort();
        let (opened, read) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { files, shrinks: None, panics: None, sparse: false, opened, read }
    }
}

/// A file with its bytes.
struct Open<'a> {
    source: &'a Memory,
    bytes: Bytes<'a>,
}

impl Content for Open<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        self.source.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, buf)
    }

    fn data_from(&self, offset: u64) -> u64 {
        let bytes = self.bytes.0;
        let mut at = usize::try_from(offset).unwrap().min(bytes.len());
        while self.source.sparse && at < bytes.len() {
            let end = (at / 4096 * 4096 + 4096).min(bytes.len());
            if bytes[at..end].iter().any(|&byte| byte != 0) {
                break;
            }
            at = end;
        }
        at as u64
    }

    fn finish(&self) -> Result<(), TreeError> {
        Ok(())
    }
}

/// The bytes of a file.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Content for Bytes<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn finish(&self) -> Result<(), TreeError> {
        Ok(())
    }
}

impl Source for Memory {
    fn scan(&mut self, _: &dyn Progress) -> Result<Tree, TreeError> {
        let inode = |links, xattrs: Vec<Xattr>, kind| Inode {
            permissions: 0o644,
            uid: 0,
            gid: 0,
            mtime: Timestamp { sec: 7, nsec: 0 },
            links,
            xattrs: xattrs.into(),
            kind,
        };
        let names = (1..).zip(&self.files);
        let entries =
            names.map(|(id, file)| Entry { name: file.0.as_bytes().into(), inode: InodeId(id) }).collect();
        let mut inodes = vec![inode(2, Vec::new(), Kind::Directory { entries })];
        for (id, (_, content, xattrs)) in (0..).zip(&self.files) {
            let kind = Kind::File { size: content.len() as u64, content: ContentRef(id) };
            inodes.push(inode(1, xattrs.clone(), kind));
        }
        Ok(Tree { inodes, root: InodeId(0) })
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        let index = content.0 as usize;
        assert!(self.panics != Some(index), "as the test wants it");
        let bytes = &self.files[index].1;
        let length = if self.shrinks == Some(index) { bytes.len() - 1 } else { bytes.len() };
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Open { source: self, bytes: Bytes(&bytes[..length]) }))
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.files[content.0 as usize].0.clone().into()
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Bytes that look random and depend on the seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
