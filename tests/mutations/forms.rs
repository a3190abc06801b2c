//! One right image for each form that the format has, small enough that most of its bytes mean something.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use erofs_format::BlockBits;
use erofs_format::datalayout::DataLayout;
use erofs_format::feature::{compat, incompat};
use erofs_format::inode::Inode;
use erofs_format::superblock;
use erofs_image::{Image, OpenOptions};
use erofs_testkit::content::{noise, sparse, text};
use erofs_testkit::peers::{self, Peers};
use erofs_testkit::place;
use rustix::fs::{AtFlags, CWD, FileType, Mode};

use crate::spots::{self, Spot};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// A right image, and where its fields are.
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) image: Vec<u8>,
    /// Its extra device.
    pub(crate) device: Option<Vec<u8>>,
    pub(crate) spots: Vec<Spot>,
    /// The kinds of its spots, each once.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) checksum: bool,
    pub(crate) block_bits: BlockBits,
    /// Whether fsck.erofs can read it: version 1.9.4 takes compressed data of companions from the wrong
    /// device.
    pub(crate) for_fsck: bool,
}

impl Form {
    fn new(name: String, image: Vec<u8>, device: Option<Vec<u8>>) -> Self {
        let for_fsck = !name.starts_with("companion");
        let image = with_plain_metabox(image);
        let spots = spots::of(&image, device.as_deref());
        let mut kinds: Vec<_> = spots.iter().map(|spot| spot.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let opened = Image::open(std::sync::Arc::new(image.clone()), Vec::new(), &OpenOptions::default());
        let superblock = opened.unwrap().superblock().clone();
        let (checksum, block_bits) = (superblock.compat & compat::SB_CHKSUM != 0, superblock.block_bits);
        Self { name, image, device, spots, kinds, checksum, block_bits, for_fsck }
    }
}

/// What our builder makes.
const OURS: [&str; 35] = [
    "",
    "--ishare-key",
    "-b512 -x0",
    "-b1024 -x-1",
    "-b2048 --ishare-key=trusted.fp -E^inline_data --chunksize=4096",
    "-Eforce-inode-extended -E^inline_data",
    "--chunksize=4096 --ishare-key",
    "--chunksize=4096 -Eforce-chunk-indexes",
    "-b512 --chunksize=1024 -Eforce-inode-blockmap",
    "-Enosbcrc,plain-xattr-prefixes --xattr-prefix=user.long.",
    "-Exattr-name-filter,dot-omitted --ishare-key",
    "-E48bit",
    "-E48bit --chunksize=8192 -Eforce-chunk-indexes",
    "-zlz4",
    "-zlz4hc -C16384",
    "-zlz4 -b512 -C2048",
    "-zlz4 -Elegacy-compress -C8192",
    "-zlz4 -Eztailpacking -C16384",
    "-zlz4hc -Eztailpacking,legacy-compress",
    "-zlzma -C16384",
    "-zlzma -Eztailpacking,fragments",
    "-zdeflate -C16384",
    "-zdeflate -Efragments -C8192",
    "-zzstd -C16384",
    "-zzstd -C65536 -Efragments --ishare-key",
    "-zzstd -Eall-fragments",
    "-zzstd -Ededupe -C16384",
    "-zlz4 -Ededupe -C4096",
    "-zzstd -E48bit -C16384",
    "-zzstd -E48bit,fragments -C65536",
    "-zlz4:zstd -Ehead2 -C8192",
    "-zlz4 --zD -C8192",
    "-m4096 --ishare-key",
    "-m4096:lz4 -zlz4",
    "-m8192:zstd -zzstd -C16384 --zD -E48bit,fragments",
];

/// What mkfs.erofs makes, where it differs.
const THEIRS: [&str; 12] = [
    "",
    "-b512 --xattr-inode-digest=trusted.fp",
    "--chunksize=4096 -Eforce-inode-blockmap",
    "-zlz4 -Elegacy-compress",
    "-zlz4hc -C16384 -Eztailpacking",
    "-zlzma -C16384 -Efragments",
    "-zdeflate -C16384 -Eall-fragments",
    "-zzstd -C16384 -Ededupe",
    "-zlz4:zstd -C8192 -E48bit",
    "-m4096 -zlz4",
    "-m8192 -zzstd -C8192 --MZ=id",
    "-zlz4 -b1024 -Eztailpacking",
];

/// Every form; those of mkfs.erofs where it is there.
pub(crate) fn all(peers: Option<&Peers>) -> Vec<Form> {
    let source = place::scratch().unwrap();
    tree(source.path());
    let folder = place::disk_scratch().unwrap();
    let path = folder.path().join("image");
    let words = |options: &'static str| options.split_whitespace().collect::<Vec<_>>();
    let mut forms = Vec::new();
    for options in OURS {
        let all = [&["--quiet", "-T1000"], words(options).as_slice()].concat();
        peers::build(MKFS, &all, &path, source.path()).unwrap();
        forms.push(Form::new(format!("mkfs-erofs {options}"), fs::read(&path).unwrap(), None));
    }
    for (name, options, index) in [
        ("companion", "--ishare-key", &["--plain-metadata"][..]),
        ("companion with compressed metadata", "", &[]),
        ("companion of -z", "-zzstd -C16384", &["--plain-metadata"]),
        ("companion of -z -Efragments", "-zlz4 -Efragments -C16384", &["--plain-metadata"]),
        ("overlay", "", &["--overlay"]),
    ] {
        let all = [&["--quiet", "-T1000"], words(options).as_slice()].concat();
        peers::build(MKFS, &all, &path, source.path()).unwrap();
        let companion = folder.path().join("companion");
        let mut command = Command::new(ISHARE);
        command.args(["index", "--quiet", "-o"]).arg(&companion).args(index).arg(&path);
        peers::run(&mut command).unwrap();
        let device = (name != "overlay").then(|| fs::read(&path).unwrap());
        forms.push(Form::new(name.to_owned(), fs::read(companion).unwrap(), device));
    }
    for options in peers.map(|_| THEIRS).into_iter().flatten() {
        let all = [&["-T1000"], words(options).as_slice()].concat();
        peers.unwrap().build(&all, &path, source.path()).unwrap();
        forms.push(Form::new(format!("mkfs.erofs {options}"), fs::read(&path).unwrap(), None));
    }
    if let Some(peers) = peers {
        let blob = folder.path().join("blob");
        let option = format!("--blobdev={}", blob.display());
        peers.build(&["-T1000", "--chunksize=4096", &option], &path, source.path()).unwrap();
        let device = fs::read(blob).unwrap();
        forms.push(Form::new("mkfs.erofs --blobdev".to_owned(), fs::read(&path).unwrap(), Some(device)));
    }
    forms
}

/// One of each thing, with little content.
fn tree(dir: &Path) {
    let put = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    for name in ["a/b/c", "many", "empty-dir", "acl-dir"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    put("empty", b"");
    put("one", b"1");
    put("short", &noise(1, 100));
    put("block", &noise(2, 4096));
    put("a/tail", &noise(3, 5000));
    let long = text(4, 30_000);
    put("a/text", &long);
    put("a/b/copy", &long);
    put("a/b/shifted", &[b"some bytes before ", &long[..20_000]].concat());
    put("a/b/c/less", &long[..7_000]);
    put("noise", &noise(5, 12_288));
    put("zeros", &[0; 9_000]);
    put("mixed", &[text(6, 9_000), noise(7, 5_000), vec![0; 6_000], text(8, 3_000)].concat());
    sparse(&dir.join("sparse"), 45_000, &[(8_192, noise(9, 4_096)), (30_000, noise(10, 1_000))]).unwrap();
    rustix::fs::linkat(CWD, dir.join("a/tail"), CWD, dir.join("many/link"), AtFlags::empty()).unwrap();
    symlink("a/text", dir.join("symlink")).unwrap();
    symlink("x/".repeat(700), dir.join("long-symlink")).unwrap();
    for number in 0..40 {
        put(
            &format!("many/a-name-of-some-length-{number:02}"),
            format!("{number}").repeat(number).as_bytes(),
        );
    }
    let mode = Mode::from_raw_mode(0o640);
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("char", FileType::CharacterDevice, rustix::fs::makedev(5, 1)),
        ("blockdev", FileType::BlockDevice, rustix::fs::makedev(259, 300)),
    ] {
        rustix::fs::mknodat(CWD, dir.join(name), kind, mode, device).unwrap();
    }
    fs::set_permissions(dir.join("one"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::lchown(dir.join("short"), Some(70_000), Some(80_000)).unwrap();
    attributes(dir);
    erofs_testkit::trees::set_mtime(&dir.join("many"), 2_000_000_000, 999_999_999).unwrap();
}

fn attributes(dir: &Path) {
    let set =
        |name: &str, attribute: &str, value: &[u8]| xattr::set(dir.join(name), attribute, value).unwrap();
    for name in ["one", "short", "block", "a/text", "a"] {
        set(name, "user.shared", b"the same for many files");
        set(name, "user.long.name", name.as_bytes());
    }
    set("a/tail", "trusted.one", &noise(20, 300));
    set("a/tail", "security.selinux", b"system_u:object_r:bin_t:s0\0");
    set("fifo", "trusted.fifo", b"");
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    set("block", "security.capability", &value);
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01_u16, 6_u16, u32::MAX),
        (0x02, 5, 1000),
        (0x04, 4, u32::MAX),
        (0x08, 4, 33),
        (0x10, 5, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    set("short", "system.posix_acl_access", &acl);
    set("acl-dir", "system.posix_acl_access", &acl);
    set("acl-dir", "system.posix_acl_default", &acl);
}

/// The image with its metabox as a flat file, so that the inodes in it can be changed one by one: in a
/// compressed one every change is one to compressed data.
fn with_plain_metabox(mut bytes: Vec<u8>) -> Vec<u8> {
    let image = Image::open(std::sync::Arc::new(bytes.clone()), Vec::new(), &OpenOptions::default()).unwrap();
    let superblock = image.superblock().clone();
    if superblock.incompat & incompat::METABOX == 0 {
        return bytes;
    }
    let inode = image.inode(superblock.metabox_nid).unwrap();
    let mut content = vec![0; usize::try_from(inode.size()).unwrap()];
    image.data(&inode).unwrap().read_range(0, &mut content).unwrap();
    let block = superblock.block_bits.bytes();
    bytes.resize(bytes.len().next_multiple_of(block), 0);
    let start = u32::try_from(bytes.len() / block).unwrap();
    content.resize(content.len().next_multiple_of(block), 0);
    bytes.extend(content);
    let meta = u64::from(superblock.meta_blkaddr) * superblock.block_bits.size();
    let at = usize::try_from(meta + inode.nid.byte().unwrap()).unwrap();
    let record = Inode { layout: DataLayout::FlatPlain, i_u: start, ..inode.record };
    let record = record.encode().unwrap();
    bytes[at..at + record.len()].copy_from_slice(&record);
    let superblock = superblock::Superblock { blocks: (bytes.len() / block) as u64, ..superblock };
    let at = usize::try_from(superblock::OFFSET).unwrap();
    let record = superblock.encode().unwrap();
    bytes[at..at + record.len()].copy_from_slice(&record);
    if superblock.compat & compat::SB_CHKSUM != 0 {
        superblock::store_checksum(&mut bytes[at..at + superblock::checksum_span(superblock.block_bits)]);
    }
    bytes
}
