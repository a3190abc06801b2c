//! Counting what an image holds.

use std::collections::BTreeMap;

use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::filetype::FileType;

use crate::error::Result;
use crate::image::Image;
use crate::inode::Inode;
use crate::ishare::{Fingerprint, Private};

/// What an image holds. Inodes are counted once, however many names they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Inodes of all types.
    pub inodes: u64,
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes, FIFOs and sockets.
    pub special_files: u64,
    /// Names beyond the first of each inode that is not a directory.
    pub hard_links: u64,
    /// Bytes of all regular files.
    pub logical_bytes: u64,
    /// Regular files without content.
    pub empty_files: u64,
    /// Regular files with a fingerprint that counts.
    pub fingerprinted: u64,
    /// Regular files with content and without such a fingerprint.
    pub unfingerprinted: u64,
    /// How many inodes with content have each data layout, by its name.
    pub layouts: BTreeMap<&'static str, u64>,
    /// How many compressed inodes start with each algorithm, by its name; `plain` is data that is not
    /// compressed in such an inode, `fragment` is the packed inode.
    pub encodings: BTreeMap<&'static str, u64>,
}

fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

fn first_extent(image: &Image, inode: &Inode) -> Result<Option<ZExtent>> {
    if !inode.layout().is_compressed() || inode.size() == 0 {
        return Ok(None);
    }
    image.data(inode)?.zmap(0)
}

fn encoding(extent: &ZExtent) -> &'static str {
    match (extent.stored, extent.coding) {
        (Stored::Fragment { .. }, _) => "fragment",
        (_, Coding::Compressed(algorithm)) => algorithm.name(),
        (_, Coding::Shifted | Coding::Interlaced) => "plain",
    }
}

impl Census {
    fn count(&mut self, image: &Image, inode: &Inode) -> Result<()> {
        add(&mut self.inodes, 1);
        if inode.has_data() {
            add(self.layouts.entry(inode.layout().name()).or_default(), 1);
            if let Some(extent) = first_extent(image, inode)? {
                add(self.encodings.entry(encoding(&extent)).or_default(), 1);
            }
        }
        match inode.file_type {
            FileType::Regular => self.count_file(image, inode)?,
            FileType::Directory => add(&mut self.directories, 1),
            FileType::Symlink => add(&mut self.symlinks, 1),
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                add(&mut self.special_files, 1);
            }
        }
        Ok(())
    }

    fn count_file(&mut self, image: &Image, inode: &Inode) -> Result<()> {
        add(&mut self.files, 1);
        add(&mut self.logical_bytes, inode.size());
        match image.fingerprint(inode)? {
            Fingerprint::Value(_) => add(&mut self.fingerprinted, 1),
            Fingerprint::Private(Private::NoFeature | Private::NotAFile | Private::Absent)
                if inode.size() == 0 => {}
            Fingerprint::Private(_) => add(&mut self.unfingerprinted, 1),
        }
        if inode.size() == 0 {
            add(&mut self.empty_files, 1);
        }
        Ok(())
    }
}

impl Image {
    /// Counts everything below the root. The first thing that cannot be read is an error.
    pub fn census(&self) -> Result<Census> {
        let mut census = Census::default();
        for step in self.walk_all()? {
            let step = step?;
            if step.first {
                let counted = census.count(self, &step.inode);
                counted.map_err(|error| error.at_path(&step.path))?;
            } else {
                add(&mut census.hard_links, 1);
            }
        }
        Ok(census)
    }
}
