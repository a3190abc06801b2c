//! What an image takes in memory beside the data of files, and what it stores more than once: counted while
//! the image is walked, because it needs the places of inodes and not only facts about files.
//!
//! Linux reads metadata through the page cache of the device (of the image file, on a file-backed mount), in
//! single pages and without readahead (`erofs_bread` of `fs/erofs/data.c`): the superblock, and for each file
//! that is looked up its inode, the xattrs behind it, its chunk table and its inline tail. Directories have
//! pages of their own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::ops::Range;

use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::ChunkFormat;
use erofs_format::extent::Place;
use erofs_format::feature::incompat;
use erofs_format::inode::xattr_body_size;
use erofs_format::{BlkAddr, Nid, device, superblock, xattr, xattr_prefix};
use erofs_image::{Image, ImageError, Inode};

use crate::pages::{PAGE_SIZE, bytes_of, pages_of};

/// How many bytes of index one block of compressed data has, in the compact form and in the full one.
const COMPACT_INDEX: u64 = 4;
const FULL_INDEX: u64 = 8;
/// What stands before the index of a compressed file, in bytes, and what its place is a multiple of.
const MAP_HEADER: u64 = 8;

/// What an image takes beside the data of files, and what it stores more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageTotals {
    /// Bytes of page cache that metadata takes in each mount when every file is read: whole pages of the
    /// device that hold superblock, inodes, xattrs, chunk tables and inline tails. Without directories.
    pub device_bytes: u64,
    /// The same for the packed inode, which keeps ends of compressed files, and for the metabox.
    pub special_bytes: u64,
    /// Bytes of files that the image stores although it stores a file with the same fingerprint elsewhere.
    pub stored_twice_bytes: u64,
    /// How many files these are.
    pub stored_twice_files: u64,
    /// Length of the image in bytes.
    pub image_bytes: u64,
}

/// Counts while an image is walked: every inode is handed over once.
#[derive(Debug)]
pub(crate) struct Surveyor {
    totals: ImageTotals,
    /// Start of the metadata area in bytes.
    base: u64,
    pages: Spans,
    /// Pages of the metabox.
    metabox: Spans,
    /// Where the data of each fingerprint was met first.
    places: HashMap<u64, Option<u64>>,
    /// Bytes of shared xattrs that are fingerprints.
    shared_xattrs: u64,
}

impl Surveyor {
    /// Begins with what a mount reads: superblock, device table, long xattr prefixes.
    ///
    /// # Errors
    /// What cannot be read, with its place in the image.
    pub(crate) fn new(image: &Image) -> Result<Self, ImageError> {
        let sb = image.superblock();
        let base = sb.block_bits.byte_of(BlkAddr(u64::from(sb.meta_blkaddr)))?;
        let mut surveyor = Self {
            totals: ImageTotals { image_bytes: image.primary_len(), ..ImageTotals::default() },
            base,
            pages: Spans::default(),
            metabox: Spans::default(),
            places: HashMap::new(),
            shared_xattrs: 0,
        };
        surveyor.device(superblock::OFFSET, length_of(superblock::record_size(sb.extslots)));
        if sb.incompat & incompat::DEVICE_TABLE != 0 {
            let slot = length_of(device::SLOT_SIZE);
            surveyor.device(u64::from(sb.devt_slotoff) * slot, u64::from(sb.extra_devices) * slot);
        }
        let table = image.prefixes().iter().map(|prefix| length_of(prefix.size())).sum();
        surveyor.device(u64::from(sb.xattr_prefix_start) * xattr_prefix::START_UNIT, table);
        for nid in [sb.packed_nid, sb.metabox_nid] {
            let there = nid != Nid(0) && sb.incompat & (incompat::FRAGMENTS | incompat::METABOX) != 0;
            if there && let Ok(inode) = image.inode(nid) {
                surveyor.visit_header(&inode);
                if nid == sb.packed_nid {
                    let bytes = bytes_of(pages_of(inode.size()));
                    surveyor.totals.special_bytes = surveyor.totals.special_bytes.saturating_add(bytes);
                }
            }
        }
        Ok(surveyor)
    }

    /// Counts an inode that is met for the first time. `fingerprint` is its value, if it has one that counts.
    pub(crate) fn visit(&mut self, image: &Image, inode: &Inode, fingerprint: Option<&[u8]>) {
        self.visit_header(inode);
        let body = length_of(xattr_body_size(inode.record.xattr_icount));
        let header_end = self.start_of(inode).saturating_add(length_of(inode.record.header_size()));
        if inode.is_file() && body != 0 {
            self.span(inode, header_end.saturating_sub(body), body);
            if let Some(value) = fingerprint {
                self.visit_shared_xattr(body, value);
            }
        }
        let block = image.superblock().block_bits;
        let tail = tail_of(inode, block.size());
        // The target of a symbolic link is copied when it is followed, not when it is looked up.
        if !inode.is_symlink() {
            self.span(inode, header_end, tail);
        }
        if inode.is_file() && inode.size() != 0 {
            self.visit_index(image, inode, header_end);
            if let Some(value) = fingerprint {
                self.visit_content(image, inode, value, tail);
            }
        }
    }

    /// What was counted.
    pub(crate) fn finish(self) -> ImageTotals {
        let device_pages = self.pages.count().saturating_add(pages_of(self.shared_xattrs));
        let metabox = bytes_of(self.metabox.count());
        let special_bytes = self.totals.special_bytes.saturating_add(metabox);
        ImageTotals { device_bytes: bytes_of(device_pages), special_bytes, ..self.totals }
    }

    fn visit_header(&mut self, inode: &Inode) {
        self.span(inode, self.start_of(inode), length_of(inode.record.version.size()));
    }

    /// Where the inode starts in its metadata space.
    fn start_of(&self, inode: &Inode) -> u64 {
        let byte = inode.nid.byte().unwrap_or(u64::MAX);
        if inode.nid.in_metabox() { byte } else { byte.saturating_add(self.base) }
    }

    /// Counts bytes of the metadata space that an inode is in.
    fn span(&mut self, inode: &Inode, start: u64, length: u64) {
        let spans = if inode.nid.in_metabox() { &mut self.metabox } else { &mut self.pages };
        spans.add(start, length);
    }

    fn device(&mut self, start: u64, length: u64) {
        self.pages.add(start, length);
    }

    /// A fingerprint that does not fit behind its inode stands in the shared area, once.
    fn visit_shared_xattr(&mut self, body: u64, value: &[u8]) {
        let least = xattr::HEADER_SIZE + xattr::ENTRY_SIZE + value.len();
        if body < length_of(least) && !self.places.contains_key(&hash_of(value)) {
            let size = length_of(xattr::padded_size(0, value.len()));
            self.shared_xattrs = self.shared_xattrs.saturating_add(size);
        }
    }

    /// The table that leads to the blocks of a file.
    fn visit_index(&mut self, image: &Image, inode: &Inode, header_end: u64) {
        let bits = image.superblock().block_bits;
        let (start, length) = match inode.layout() {
            DataLayout::FlatPlain | DataLayout::FlatInline => return,
            DataLayout::ChunkBased => {
                let Ok(format) = ChunkFormat::decode(inode.record.i_u, header_end) else { return };
                let Some(start) = format.entries_at(header_end) else { return };
                (start, format.chunks(inode.size(), bits).saturating_mul(length_of(format.entry_size())))
            }
            DataLayout::CompressedFull | DataLayout::CompressedCompact => {
                let full = inode.layout() == DataLayout::CompressedFull;
                let entry = if full { FULL_INDEX } else { COMPACT_INDEX };
                let start = header_end.next_multiple_of(MAP_HEADER);
                (start, MAP_HEADER.saturating_add(bits.blocks_ceil(inode.size()).saturating_mul(entry)))
            }
        };
        self.span(inode, start, length);
    }

    /// Whether the bytes of a file are stored although a file with the same fingerprint has stored them.
    fn visit_content(&mut self, image: &Image, inode: &Inode, value: &[u8], tail: u64) {
        let place = place_of(image, inode);
        let Some(first) = self.places.insert(hash_of(value), place) else { return };
        let again = match (first, place) {
            (Some(first), Some(place)) if first != place => inode.size(),
            // Whole blocks are stored once; the tail follows each inode.
            _ if tail == inode.size() || (first.is_some() && first == place) => tail,
            _ => 0,
        };
        if again != 0 {
            self.totals.stored_twice_bytes = self.totals.stored_twice_bytes.saturating_add(again);
            self.totals.stored_twice_files += 1;
        }
    }
}

/// How many bytes of the inode's data follow it.
fn tail_of(inode: &Inode, block_size: u64) -> u64 {
    if inode.layout() != DataLayout::FlatInline || inode.size() == 0 {
        return 0;
    }
    inode.size() - (inode.size().div_ceil(block_size) - 1) * block_size
}

/// Something that is equal for files with the same blocks; nothing for files without blocks, and for those
/// whose blocks cannot be found.
fn place_of(image: &Image, inode: &Inode) -> Option<u64> {
    let bits = image.superblock().block_bits;
    match inode.layout() {
        DataLayout::FlatPlain if inode.record.is_flat_hole() => None,
        DataLayout::FlatInline if inode.size() < bits.size() => None,
        DataLayout::FlatPlain | DataLayout::FlatInline => Some(inode.record.start_block()),
        DataLayout::ChunkBased | DataLayout::CompressedFull | DataLayout::CompressedCompact => {
            let extent = image.data(inode).ok()?.map(0).ok()?;
            match extent.place {
                Place::Device { device, byte } => Some(hash_of((device, byte))),
                Place::Hole | Place::Encoded(_) | Place::Inline { .. } => None,
            }
        }
    }
}

fn hash_of(value: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Pages that were used, as runs in the order of use. What a hostile length costs is one run.
#[derive(Debug, Default)]
struct Spans {
    runs: Vec<Range<u64>>,
}

impl Spans {
    fn add(&mut self, start: u64, length: u64) {
        if length == 0 {
            return;
        }
        let run = start / PAGE_SIZE..start.saturating_add(length).div_ceil(PAGE_SIZE);
        // Neighbours are mostly on one page.
        match self.runs.last_mut() {
            Some(last) if last.start <= run.start && run.start <= last.end => {
                last.end = last.end.max(run.end);
            }
            _ => self.runs.push(run),
        }
    }

    fn count(mut self) -> u64 {
        self.runs.sort_unstable_by_key(|run| run.start);
        let (mut count, mut end) = (0, 0);
        for run in self.runs {
            count = u64::saturating_add(count, run.end.saturating_sub(run.start.max(end)));
            end = end.max(run.end);
        }
        count
    }
}

fn length_of(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_once() {
        for (spans, want) in [
            (&[][..], 0),
            (&[(0, 1)], 1),
            (&[(4095, 2)], 2),
            (&[(0, 32), (32, 64), (4090, 10)], 2),
            (&[(40_960, 1), (0, 1), (4096, 1), (40_961, 8192)], 5),
            (&[(0, 0), (8192, 0)], 0),
            (&[(u64::MAX, u64::MAX), (0, 4096)], 2),
        ] {
            let mut pages = Spans::default();
            for (start, length) in spans {
                pages.add(*start, *length);
            }
            assert_eq!(pages.count(), want, "{spans:?}");
        }
    }
}
