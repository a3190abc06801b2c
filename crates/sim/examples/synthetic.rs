//! `synthetic DIR COUNT FILES`: writes COUNT images of FILES regular files each into DIR, for
//! `benches/scale.sh`.
//!
//! The images are what `mkfs-erofs -E ^inline_data` would write, but for the file data, which is a hole at
//! the end of a sparse file: sizes, blocks, fingerprints, names and directories are all there, so that
//! everything but reading a file works. They stand for releases of some services on a few common systems:
//!
//! - 60 % of the files are those of one of [`SYSTEMS`] base systems, whose releases change 4 % of them;
//! - 35 % are those of one of [`SERVICES`] services, whose releases change 6 % of them;
//! - 5 % belong to one image alone.
//!
//! One file in a hundred is empty, and one in fifty has the content of one of a few dozen (licences, empty
//! packages). The same arguments give the same bytes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::flat::inline_fits;
use erofs_format::dirent::{Dirent, directory_size, encode_block, plan_blocks};
use erofs_format::feature::{compat, incompat};
use erofs_format::filetype::FileType;
use erofs_format::inode::{EXTENDED_SIZE, Inode, Mtime, Version, xattr_icount};
use erofs_format::superblock::{self, Superblock, checksum_span, store_checksum};
use erofs_format::units::{BlockBits, INODE_SLOT_SIZE, Nid, round_up};
use erofs_format::xattr::{BodyHeader, Entry, INDEX_NONE, LONG_PREFIX_BIT, filter_bit};
use erofs_format::xattr_prefix::LongPrefix;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Base systems; services are spread over them evenly.
const SYSTEMS: u64 = 4;
/// Services; images are spread over them evenly, one release after the other.
const SERVICES: u64 = 40;
/// A service moves on to a new release of its base system after so many releases of its own.
const RELEASES_PER_SYSTEM: u64 = 5;
/// Files per directory, and directories per directory.
const FAN_OUT: u64 = 10;
const BITS: BlockBits = BlockBits::DEFAULT;
const KEY: &[u8] = b"erofs.fingerprint.v1";
const SECONDS: i64 = 1_700_000_000;

fn main() -> Result<()> {
    let usage = "usage: synthetic DIR COUNT FILES";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, count, files] = arguments.as_slice() else { return Err(usage.into()) };
    let (count, files) = (count.parse()?, files.parse()?);
    let next = AtomicU64::new(0);
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            write(&path(Path::new(dir), number), &Tree::new(number, files))?;
        }
    };
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread panicked")?)
    })
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:04}.img"))
}

/// Mixes numbers to one that looks random.
fn mix(numbers: &[u64]) -> u64 {
    let step = |state: u64, number: &u64| {
        let state = (state ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        state ^ (state >> 29)
    };
    numbers.iter().fold(0x9e37_79b9_7f4a_7c15, step)
}

/// A content, from which size and fingerprint follow.
#[derive(Debug, Clone, Copy)]
struct Content(u64);

impl Content {
    /// The content of file `slot` of `layer` at `release`, if each release changes `percent` of all files.
    fn at(layer: u64, slot: u64, release: u64, percent: u64) -> Self {
        let changed = |release: &u64| mix(&[layer, slot, *release, 1]) % 100 < percent;
        let last = (1..=release).rev().find(changed).unwrap_or(0);
        let common = mix(&[layer, slot, 2]).is_multiple_of(50);
        Self(if common { mix(&[slot % 40, 3]) } else { mix(&[layer, slot, last, 4]) })
    }

    fn size(self) -> u64 {
        let power = 64 << (mix(&[self.0, 5]) % 12);
        if mix(&[self.0, 6]).is_multiple_of(100) { 0 } else { power + mix(&[self.0, 7]) % power }
    }

    /// The fingerprint in the form of a SHA-256.
    fn fingerprint(self) -> Vec<u8> {
        let words = (8..12).flat_map(|salt| mix(&[self.0, salt]).to_le_bytes());
        b"sha256:".iter().copied().chain(words).collect()
    }
}

#[derive(Debug)]
enum Node {
    Dir(usize),
    File(Content),
}

/// The tree of one image: directory 0 is the root.
#[derive(Debug)]
struct Tree {
    dirs: Vec<BTreeMap<String, Node>>,
}

impl Tree {
    fn new(number: u64, files: u64) -> Self {
        let (service, release) = (number % SERVICES, number / SERVICES);
        let system = service % SYSTEMS;
        let mut tree = Self { dirs: vec![BTreeMap::new()] };
        let (own, of_service) = (files / 20, files * 35 / 100);
        let of_system = files - own - of_service;
        tree.layer("usr", system, of_system, |layer, slot| {
            Content::at(layer, slot, release / RELEASES_PER_SYSTEM, 4)
        });
        tree.layer("opt", 1000 + service, of_service, |layer, slot| Content::at(layer, slot, release, 6));
        tree.layer("srv", 1_000_000 + number, own, |layer, slot| Content::at(layer, slot, 0, 0));
        tree
    }

    fn layer(&mut self, name: &str, layer: u64, files: u64, content: impl Fn(u64, u64) -> Content) {
        let base = self.add_dir(0, name.to_owned());
        for number in 1..files.div_ceil(FAN_OUT) {
            let words = ["lib", "share", "python", "doc", "locale", "plugins", "data", "x86_64-linux-gnu"];
            let name = format!("{}-{number}", pick(&words, mix(&[layer, number, 20])));
            let parent = (number - 1) / FAN_OUT;
            self.add_dir(base + usize::try_from(parent).unwrap_or(0), name);
        }
        for slot in 0..files {
            let words =
                ["libconfig", "module", "test_unit", "README", "messages", "index", "a", "service_client"];
            let endings = ["so.1", "py", "h", "txt", "mo", "json", "html", "conf"];
            let random = mix(&[layer, slot, 21]);
            let name = format!("{}{slot}.{}", pick(&words, random), pick(&endings, random / 8));
            let dir = base + usize::try_from(slot / FAN_OUT).unwrap_or(0);
            self.dirs[dir].insert(name, Node::File(content(layer, slot)));
        }
    }

    fn add_dir(&mut self, parent: usize, name: String) -> usize {
        let number = self.dirs.len();
        self.dirs[parent].insert(name, Node::Dir(number));
        self.dirs.push(BTreeMap::new());
        number
    }
}

fn pick<'a>(words: &[&'a str; 8], random: u64) -> &'a str {
    words[usize::try_from(random % 8).unwrap_or(0)]
}

/// Where everything of a tree stands: inodes by directory in the order of names.
#[derive(Debug)]
struct Places {
    root: u64,
    inodes: Vec<Vec<u64>>,
    dirs: Vec<u64>,
    parents: Vec<usize>,
    /// Where the metadata ends.
    end: u64,
}

fn directory_bytes(entries: &BTreeMap<String, Node>) -> Result<u64> {
    let mut names: Vec<&str> = entries.keys().map(String::as_str).chain([".", ".."]).collect();
    names.sort_unstable();
    let size = directory_size(&plan_blocks(names.iter().map(|name| name.len()), BITS.bytes()), BITS.bytes());
    if size > 3 << 10 { Err("a directory is too large for this program".into()) } else { Ok(size) }
}

/// Gives every inode its place: those of a directory one after the other, then, subdirectory by subdirectory,
/// the same again.
fn places(tree: &Tree, start: u64, xattrs: u64) -> Result<Places> {
    let extended = u64::try_from(EXTENDED_SIZE)?;
    let mut cursor = start;
    let mut place = |size: u64, tail: u64| {
        let at = round_up(cursor, INODE_SLOT_SIZE).ok_or("too far")?;
        let stays = inline_fits(at + size, tail, BITS) && at / BITS.size() == (at + size - 1) / BITS.size();
        let at = if stays { at } else { round_up(cursor, BITS.size()).ok_or("too far")? };
        cursor = at + size + tail;
        Ok::<u64, Box<dyn Error + Send + Sync>>(at)
    };
    let mut dirs = vec![0; tree.dirs.len()];
    let mut parents = vec![0; tree.dirs.len()];
    let mut inodes = vec![Vec::new(); tree.dirs.len()];
    let root = place(extended, directory_bytes(&tree.dirs[0])?)?;
    dirs[0] = root;
    let mut open = vec![0];
    while let Some(dir) = open.pop() {
        let mut below = Vec::new();
        for node in tree.dirs[dir].values() {
            let at = match node {
                Node::Dir(child) => {
                    dirs[*child] = place(extended, directory_bytes(&tree.dirs[*child])?)?;
                    parents[*child] = dir;
                    below.push(*child);
                    dirs[*child]
                }
                Node::File(content) => place(extended + if content.size() == 0 { 0 } else { xattrs }, 0)?,
            };
            inodes[dir].push(at);
        }
        open.extend(below.into_iter().rev());
    }
    Ok(Places { root, inodes, dirs, parents, end: cursor })
}

fn inode(mode: u16, size: u64, ino: u32, nlink: u32) -> Inode {
    Inode {
        version: Version::Extended,
        layout: DataLayout::FlatPlain,
        bit4: false,
        xattr_icount: 0,
        mode,
        size,
        mtime: Mtime::Absolute { sec: SECONDS + i64::from(ino), nsec: 0 },
        i_u: 0,
        hi: 0,
        ino,
        uid: 0,
        gid: 0,
        nlink,
    }
}

fn file_bytes(content: Content, ino: u32, block: u32) -> Result<Vec<u8>> {
    let record = inode(FileType::Regular.mode_bits() | 0o644, content.size(), ino, 1);
    if content.size() == 0 {
        return Ok(record.encode()?);
    }
    let mut xattrs = Vec::new();
    let name_filter = BodyHeader::filter_of(filter_bit(INDEX_NONE, KEY));
    BodyHeader { name_filter, shared_count: 0 }.encode(&mut xattrs);
    Entry { name_index: LONG_PREFIX_BIT, name: b"", value: &content.fingerprint() }.encode(&mut xattrs)?;
    let record = Inode { xattr_icount: xattr_icount(xattrs.len())?, i_u: block, ..record };
    Ok([record.encode()?, xattrs].concat())
}

fn dir_bytes(tree: &Tree, places: &Places, dir: usize, ino: u32) -> Result<Vec<u8>> {
    let nid = |at: u64| Nid(at / INODE_SLOT_SIZE);
    let entry = |name, at, file_type| Dirent { name, nid: nid(at), file_type: Some(file_type) };
    let mut entries = vec![
        entry(b".".as_slice(), places.dirs[dir], FileType::Directory),
        entry(b"..", places.dirs[places.parents[dir]], FileType::Directory),
    ];
    let mut below = 0;
    for ((name, node), at) in tree.dirs[dir].iter().zip(&places.inodes[dir]) {
        let is_dir = matches!(node, Node::Dir(_));
        below += u32::from(is_dir);
        let file_type = if is_dir { FileType::Directory } else { FileType::Regular };
        entries.push(entry(name.as_bytes(), *at, file_type));
    }
    entries.sort_by_key(|entry| entry.name);
    let size = directory_bytes(&tree.dirs[dir])?;
    let record = inode(FileType::Directory.mode_bits() | 0o755, size, ino, 2 + below);
    let mut bytes = Inode { layout: DataLayout::FlatInline, ..record }.encode()?;
    encode_block(&entries, &mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, tree: &Tree) -> Result<()> {
    let mut prefix = Vec::new();
    LongPrefix { base_index: INDEX_NONE, infix: KEY.to_vec() }.encode(&mut prefix)?;
    let prefix_at = superblock::OFFSET + u64::try_from(superblock::BASE_SIZE)?;
    let sample = u64::try_from(file_bytes(Content(0), 0, 0)?.len())? - u64::try_from(EXTENDED_SIZE)?;
    let places = places(tree, prefix_at + u64::try_from(prefix.len())?, sample)?;
    let mut block = u32::try_from(BITS.blocks_ceil(places.end))?;
    let mut image = vec![0; usize::try_from(u64::from(block) * BITS.size())?];
    let mut put = |at: u64, bytes: &[u8]| -> Result<()> {
        let at = usize::try_from(at)?;
        image.get_mut(at..at + bytes.len()).ok_or("past the end")?.copy_from_slice(bytes);
        Ok(())
    };
    put(prefix_at, &prefix)?;
    let mut inos = 1;
    put(places.root, &dir_bytes(tree, &places, 0, inos)?)?;
    for (dir, entries) in tree.dirs.iter().enumerate() {
        for (node, at) in entries.values().zip(&places.inodes[dir]) {
            inos += 1;
            match node {
                Node::Dir(child) => put(*at, &dir_bytes(tree, &places, *child, inos)?)?,
                Node::File(content) => {
                    put(*at, &file_bytes(*content, inos, block)?)?;
                    block += u32::try_from(BITS.blocks_ceil(content.size()))?;
                }
            }
        }
    }
    let mut covered = superblock(&places, inos, block).encode()?;
    covered.extend_from_slice(&prefix);
    let head = usize::try_from(superblock::OFFSET)?;
    put(superblock::OFFSET, &covered)?;
    let checked = image.get_mut(head..head + checksum_span(BITS)).ok_or("an image of no block")?;
    store_checksum(checked);
    let mut file = File::create(path)?;
    file.write_all(&image)?;
    Ok(file.set_len(u64::from(block) * BITS.size())?)
}

fn superblock(places: &Places, inos: u32, blocks: u32) -> Superblock {
    let prefix_at = superblock::OFFSET + superblock::BASE_SIZE as u64;
    Superblock {
        compat: compat::SB_CHKSUM
            | compat::MTIME
            | compat::XATTR_FILTER
            | compat::PLAIN_XATTR_PFX
            | compat::ISHARE_XATTRS,
        incompat: incompat::XATTR_PREFIXES,
        root_nid: Nid(places.root / INODE_SLOT_SIZE),
        inodes: u64::from(inos),
        epoch: SECONDS,
        blocks: u64::from(blocks),
        xattr_prefix_count: 1,
        xattr_prefix_start: u32::try_from(prefix_at / 4).unwrap_or(0),
        ..Superblock::default()
    }
}
