//! An image made by hand from the records of the format.

use erofs_format::compression::{Algorithm, Configs, Lz4Config, records_at};
use erofs_format::datalayout::lcluster::Shape;
use erofs_format::datalayout::{DataLayout, compact, extents, full};
use erofs_format::dirent::{Dirent, encode_block};
use erofs_format::extent::{Coding, Stored, ZExtent, interlace_head_at, interlace_split};
use erofs_format::feature::incompat;
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Mtime, Version};
use erofs_format::map_header::{self, MapHeader, RecordSize};
use erofs_format::superblock::{self, Superblock};
use erofs_format::{BlockBits, Nid};
use erofs_testkit::content::{Stream, noise};
use lzma_rust2::{LzmaOptions, MicroLzmaEncoder};

pub(crate) const BLOCK: usize = 4096;
pub(crate) const BITS: BlockBits = BlockBits::DEFAULT;
/// The first block of the metadata and the first of the data.
pub(crate) const META: usize = 1;
pub(crate) const DATA: usize = 16;

pub(crate) const LZ4: Way = Way::Packed(Algorithm::Lz4);
pub(crate) const ZSTD: Way = Way::Packed(Algorithm::Zstd);
pub(crate) const DEFLATE: Way = Way::Packed(Algorithm::Deflate);
pub(crate) const LZMA: Way = Way::Packed(Algorithm::Lzma);

pub(crate) fn len(slice: &[u8]) -> u64 {
    slice.len() as u64
}

pub(crate) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

pub(crate) fn compress(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Lz4 => lz4_flex::block::compress(bytes),
        Algorithm::Deflate => miniz_oxide::deflate::compress_to_vec(bytes, 6),
        Algorithm::Zstd => {
            ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Algorithm::Lzma => {
            let mut output = vec![0; bytes.len() + 100];
            let options = LzmaOptions { dict_size: 1 << 16, ..LzmaOptions::with_preset(1) };
            let (taken, written) =
                MicroLzmaEncoder::new(&options).unwrap().compress_prefix(bytes, &mut output).unwrap();
            assert_eq!(taken, bytes.len());
            output.truncate(written);
            output
        }
    }
}

/// How a piece of a file is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Packed(Algorithm),
    /// The first part of what was packed; the rest is of no file.
    PartOf(Algorithm),
    Plain,
    Interlaced,
    Hole,
    Inline(Algorithm),
    Fragment,
}

/// What an index is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Compact,
    Full,
    /// Records of this size, on blocks or not.
    Records(RecordSize, bool),
}

/// A file: so many zeros, which only records of 32 bytes have, and then its content.
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) nid: Nid,
    pub(crate) before: u64,
    pub(crate) content: Vec<u8>,
}

pub(crate) struct Maker {
    pub(crate) bytes: Vec<u8>,
    /// Where the next inode is put, and the next data.
    pub(crate) inode_at: usize,
    pub(crate) data_at: usize,
    pub(crate) packed: Vec<u8>,
    pub(crate) stream: Stream,
    pub(crate) files: Vec<Made>,
}

impl Maker {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; 2048 * BLOCK],
            inode_at: META * BLOCK + 1024,
            data_at: DATA * BLOCK,
            packed: Vec::new(),
            stream: Stream::new(5),
            files: Vec::new(),
        }
    }

    /// Bytes that compress to less than half, and differ from all others.
    pub(crate) fn content(&mut self, length: usize) -> Vec<u8> {
        let words = noise(self.stream.number(), 64);
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let from = size(self.stream.below(40));
            let number = u8::try_from(self.stream.below(256)).unwrap();
            bytes.extend_from_slice(&words[from..from + 24]);
            bytes.push(number);
        }
        bytes.truncate(length);
        bytes
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Stores bytes in the data area, with zeros before them up to whole blocks unless they may stand
    /// anywhere.
    pub(crate) fn store(&mut self, bytes: &[u8], tight: bool) -> Stored {
        let length = if tight { bytes.len() } else { bytes.len().next_multiple_of(BLOCK) };
        let at = self.data_at;
        self.put(at + length - bytes.len(), bytes);
        self.data_at += length;
        Stored::Pcluster { byte: at as u64, length: u32::try_from(length).unwrap() }
    }

    /// Stores one piece that starts at byte `start` of its file, and returns its extent and what must follow
    /// the index.
    pub(crate) fn piece(&mut self, start: u64, bytes: &[u8], way: Way, tight: bool) -> (ZExtent, Vec<u8>) {
        let mut extent = ZExtent {
            start,
            length: len(bytes),
            stored: Stored::Hole,
            coding: Coding::Shifted,
            partial: false,
        };
        let mut inline = Vec::new();
        match way {
            Way::Hole => {}
            Way::Packed(algorithm) => {
                extent.coding = Coding::Compressed(algorithm);
                extent.stored = self.store(&compress(algorithm, bytes), tight);
            }
            Way::PartOf(algorithm) => {
                let more = [bytes, &self.content(9000)].concat();
                extent.coding = Coding::Compressed(algorithm);
                extent.partial = true;
                extent.stored = self.store(&compress(algorithm, &more), tight);
            }
            Way::Plain if tight => extent.stored = self.store(bytes, true),
            Way::Plain => {
                let mut block = bytes.to_vec();
                block.resize(BLOCK, 0);
                extent.stored = self.store(&block, false);
            }
            Way::Interlaced => {
                let length = bytes.len().next_multiple_of(BLOCK);
                let split = size(interlace_split(start, len(bytes), BITS));
                let head = size(interlace_head_at(start, u32::try_from(length).unwrap(), BITS).unwrap());
                let mut turned = vec![0; length];
                turned[head..head + split].copy_from_slice(&bytes[..split]);
                turned[..bytes.len() - split].copy_from_slice(&bytes[split..]);
                extent.coding = Coding::Interlaced;
                extent.stored = self.store(&turned, false);
            }
            Way::Inline(algorithm) => {
                inline = compress(algorithm, bytes);
                extent.coding = Coding::Compressed(algorithm);
                extent.stored = Stored::Inline { byte: 0, length: u16::try_from(inline.len()).unwrap() };
            }
            Way::Fragment => {
                extent.stored = Stored::Fragment { offset: len(&self.packed) };
                self.packed.extend_from_slice(bytes);
            }
        }
        (extent, inline)
    }

    /// Puts an inode with what follows it, inside one block, and returns its nid.
    pub(crate) fn inode(&mut self, inode: &Inode, tail: &[u8]) -> Nid {
        let bytes = [inode.encode().unwrap().as_slice(), tail].concat();
        assert!(bytes.len() <= BLOCK);
        if self.inode_at % BLOCK + bytes.len() > BLOCK {
            self.inode_at = self.inode_at.next_multiple_of(BLOCK);
        }
        let at = self.inode_at;
        self.put(at, &bytes);
        self.inode_at = (at + bytes.len()).next_multiple_of(32);
        assert!(self.inode_at <= DATA * BLOCK);
        Nid::at_byte((at - META * BLOCK) as u64).unwrap()
    }

    pub(crate) fn file(&mut self, name: &'static str, form: Form, pieces: &[(usize, Way)]) {
        let tight = matches!(form, Form::Records(_, true));
        let (mut list, mut content, mut inline) = (Vec::new(), Vec::new(), Vec::new());
        let before = if form == Form::Records(RecordSize::ThirtyTwo, true) { (1 << 32) + 5 } else { 0 };
        if before > 0 {
            list.push(ZExtent {
                start: 0,
                length: before,
                stored: Stored::Hole,
                coding: Coding::Shifted,
                partial: false,
            });
        }
        for (length, way) in pieces {
            let bytes = match way {
                Way::Hole => vec![0; *length],
                Way::Plain | Way::Interlaced => noise(self.stream.number(), *length),
                Way::Packed(_) | Way::PartOf(_) | Way::Inline(_) | Way::Fragment => self.content(*length),
            };
            let (extent, tail) = self.piece(before + len(&content), &bytes, *way, tight);
            // A gap, so that every record needs an address.
            self.data_at += usize::from(form == Form::Records(RecordSize::Eight, true));
            list.push(extent);
            inline = tail;
            content.extend(bytes);
        }
        // Space between files, so that no file follows another by chance.
        self.data_at = self.data_at.next_multiple_of(BLOCK) + BLOCK;
        let layout =
            if form == Form::Compact { DataLayout::CompressedCompact } else { DataLayout::CompressedFull };
        let mut inode = inode(FileType::Regular, layout, before + len(&content));
        if before > 0 {
            inode.version = Version::Extended;
            inode.mtime = Mtime::Absolute { sec: 0, nsec: 0 };
        }
        let header_end = inode.header_size() as u64;
        let shape = Shape { size: inode.size, block_bits: BITS, lcluster_bits: 12, header_end };
        let index = match (form, list.as_slice()) {
            (_, [ZExtent { stored: Stored::Fragment { offset }, .. }]) => {
                MapHeader::Fragment { offset: *offset }.encode(BITS).unwrap().to_vec()
            }
            (Form::Compact, _) => compact::encode(&shape, &list).unwrap(),
            (Form::Full, _) => full::encode(&shape, &list).unwrap(),
            (Form::Records(record, _), _) => {
                assert_eq!(extents::header_for(&shape, &list).unwrap().record, record, "{name}");
                extents::encode(&shape, &list).unwrap()
            }
        };
        let mut tail = vec![0; size(map_header::at(header_end).unwrap() - header_end)];
        tail.extend(index);
        tail.extend(inline);
        let nid = self.inode(&inode, &tail);
        self.files.push(Made { name, nid, before, content });
    }

    /// A file whose inode and what follows it the caller makes.
    pub(crate) fn raw(&mut self, name: &'static str, record: &Inode, tail: &[u8]) {
        let nid = self.inode(record, tail);
        self.files.push(Made { name, nid, before: 0, content: Vec::new() });
    }

    /// Puts packed inode, root directory and superblock.
    pub(crate) fn finish(&mut self) {
        let packed = self.packed.clone();
        let blocks = u32::try_from(self.data_at / BLOCK).unwrap();
        self.put(self.data_at, &packed);
        let record = Inode { i_u: blocks, ..inode(FileType::Regular, DataLayout::FlatPlain, len(&packed)) };
        let packed_nid = self.inode(&record, &[]);
        let root_nid = Nid(0);
        let mut names: Vec<(Vec<u8>, Nid, FileType)> = vec![
            (b".".to_vec(), root_nid, FileType::Directory),
            (b"..".to_vec(), root_nid, FileType::Directory),
        ];
        names.extend(self.files.iter().map(|file| (file.name.into(), file.nid, FileType::Regular)));
        names.sort();
        let entries: Vec<Dirent<'_>> = names
            .iter()
            .map(|(name, nid, kind)| Dirent { nid: *nid, file_type: Some(*kind), name })
            .collect();
        let mut block = Vec::new();
        encode_block(&entries, &mut block).unwrap();
        let root = Inode { nlink: 2, ..inode(FileType::Directory, DataLayout::FlatInline, len(&block)) };
        let root = [root.encode().unwrap(), block].concat();
        assert!(root.len() <= 1024);
        self.put(META * BLOCK, &root);
        let configs = Configs {
            lz4: Some(Lz4Config { max_distance: 65535, max_pclusterblks: 256 }),
            lzma_dict_size: Some(1 << 16),
            deflate_windowbits: Some(15),
            zstd_windowlog: Some(20),
        };
        self.put(size(records_at(0)), &configs.encode());
        let superblock = Superblock {
            incompat: incompat::LZ4_0PADDING
                | incompat::COMPR_CFGS
                | incompat::DEVICE_TABLE
                | incompat::ZTAILPACKING
                | incompat::FRAGMENTS
                | incompat::BIT48,
            meta_blkaddr: u32::try_from(META).unwrap(),
            root_nid: Nid(0),
            packed_nid,
            compression: configs.bits(),
            blocks: (self.bytes.len() / BLOCK) as u64,
            inodes: self.files.len() as u64 + 2,
            ..Superblock::default()
        };
        let bytes = superblock.encode().unwrap();
        self.put(size(superblock::OFFSET), &bytes);
    }
}

pub(crate) fn inode(file_type: FileType, layout: DataLayout, size: u64) -> Inode {
    Inode {
        version: Version::Compact,
        layout,
        bit4: false,
        xattr_icount: 0,
        mode: file_type.mode_bits() | 0o644,
        size,
        mtime: Mtime::SinceEpoch(0),
        i_u: 1,
        hi: 0,
        ino: 1,
        uid: 0,
        gid: 0,
        nlink: 1,
    }
}

/// A file: name, form of its map, lengths of its pieces and how they are stored.
type Recipe = (&'static str, Form, Vec<(usize, Way)>);

fn indexes() -> Vec<Recipe> {
    let long: Vec<(usize, Way)> = (0..60).map(|number| (5000 + number * 7, LZ4)).collect();
    let compact = vec![
        ("compact", Form::Compact, vec![(5000, LZ4), (9000, LZ4), (4096, Way::Plain), (8000, LZ4)]),
        ("compact-two-sizes-of-packs", Form::Compact, long.clone()),
        (
            "compact-big",
            Form::Compact,
            vec![(90_000, LZ4), (70_001, ZSTD), (4000, Way::Plain), (33_333, ZSTD)],
        ),
        (
            "compact-interlaced",
            Form::Compact,
            vec![(5001, DEFLATE), (4096, Way::Interlaced), (50_000, LZMA), (4096, Way::Interlaced)],
        ),
        ("compact-inline", Form::Compact, vec![(50_000, LZ4), (3000, Way::Inline(Algorithm::Lz4))]),
        ("compact-all-inline", Form::Compact, vec![(3000, Way::Inline(Algorithm::Zstd))]),
        ("compact-fragment", Form::Compact, vec![(50_000, LZMA), (7000, Way::Fragment)]),
    ];
    let full = vec![
        ("full", Form::Full, long),
        (
            "full-parts",
            Form::Full,
            vec![
                (20_000, LZ4),
                (5000, Way::PartOf(Algorithm::Lz4)),
                (30_000, ZSTD),
                (9000, Way::PartOf(Algorithm::Zstd)),
            ],
        ),
        (
            "full-parts-2",
            Form::Full,
            vec![
                (5000, Way::PartOf(Algorithm::Lzma)),
                (9000, Way::PartOf(Algorithm::Deflate)),
                (20_000, DEFLATE),
            ],
        ),
        ("full-interlaced", Form::Full, vec![(5000, LZ4), (4096, Way::Interlaced), (4001, Way::Interlaced)]),
        ("full-inline", Form::Full, vec![(100_000, ZSTD), (9000, Way::Inline(Algorithm::Lz4))]),
        ("full-fragment", Form::Full, vec![(60_000, ZSTD), (30_000, Way::Fragment)]),
        ("fragment", Form::Full, vec![(12_345, Way::Fragment)]),
    ];
    [compact, full].concat()
}

fn records() -> Vec<Recipe> {
    let steady = |way, last| {
        let mut pieces = vec![(65536, way); 9];
        pieces.push((last, way));
        pieces
    };
    vec![
        ("records-4", Form::Records(RecordSize::Four, true), steady(LZ4, 65536)),
        ("records-4-tail", Form::Records(RecordSize::Four, true), steady(LZMA, 100)),
        ("records-4-one", Form::Records(RecordSize::Four, true), vec![(700, ZSTD)]),
        (
            "records-4-fragment",
            Form::Records(RecordSize::Four, true),
            vec![(8192, ZSTD), (8192, Way::Hole), (100, Way::Fragment)],
        ),
        ("records-8", Form::Records(RecordSize::Eight, true), steady(DEFLATE, 5)),
        (
            "records-32",
            Form::Records(RecordSize::ThirtyTwo, true),
            vec![(5000, LZ4), (9, Way::Plain), (70_001, LZMA)],
        ),
        (
            "records-16",
            Form::Records(RecordSize::Sixteen, true),
            vec![
                (5, Way::Plain),
                (300, LZ4),
                (70_000, Way::Plain),
                (100_000, ZSTD),
                (3000, Way::Hole),
                (20_000, DEFLATE),
                (1, Way::Plain),
                (60_000, LZMA),
            ],
        ),
        (
            "records-16-parts",
            Form::Records(RecordSize::Sixteen, true),
            vec![
                (9000, Way::PartOf(Algorithm::Lz4)),
                (777, Way::PartOf(Algorithm::Zstd)),
                (5555, Way::PartOf(Algorithm::Deflate)),
                (5555, Way::PartOf(Algorithm::Lzma)),
            ],
        ),
        (
            "records-16-interlaced",
            Form::Records(RecordSize::Sixteen, false),
            vec![
                (5000, LZ4),
                (4096, Way::Interlaced),
                (10_000, ZSTD),
                (4096, Way::Interlaced),
                (7, Way::Fragment),
            ],
        ),
    ]
}

/// Every form with everything that it can hold; holes in a full index, which Linux 6.18 does not read, if
/// they are wanted.
pub(crate) fn everything(holes: bool) -> Maker {
    let mut maker = Maker::new();
    for (name, form, pieces) in indexes().into_iter().chain(records()) {
        maker.file(name, form, &pieces);
    }
    if holes {
        maker.file("full-hole", Form::Full, &[(60_000, ZSTD), (30_000, Way::Hole), (9000, LZ4)]);
    }
    maker.finish();
    maker
}
