//! Random trees as proptest values: a failing tree is shrunk to a small one and printed as a list of nodes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode};

use crate::compare::Expect;
use crate::content::{noise, sparse, symlink_target, text};
use crate::error::{At as _, Result};
use crate::trees::set_mtime;

/// A recipe of a tree. Making it twice gives equal trees.
#[derive(Clone)]
pub struct TreeSpec {
    /// The nodes, in the order in which they are made.
    pub nodes: Vec<NodeSpec>,
}

/// A recipe of one entry of a directory.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Which of the directories made so far holds it, counted modulo their number.
    pub parent: usize,
    /// Its name; a node whose name is taken is left out.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
    /// Its permission bits, 0 to 07777.
    pub mode: u32,
    /// Its owner and group.
    pub owner: (u32, u32),
    /// Its modification time in seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Its extended attributes: name, seed and length of the value in bytes.
    pub xattrs: Vec<(String, u64, usize)>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file of pseudo-random bytes: seed and length in bytes.
    File(u64, usize),
    /// A regular file of words, which compress: seed and length in bytes.
    Text(u64, usize),
    /// A regular file of one byte repeated: the byte and the length in bytes.
    Repeated(u8, usize),
    /// A regular file with holes: its length in bytes, and where its pieces of data start and how long they
    /// are.
    Sparse(u64, Vec<(u64, usize)>),
    /// A symlink with a target of this many bytes.
    Symlink(usize),
    /// A FIFO.
    Fifo,
    /// A character device with major and minor number.
    Device(u32, u32),
    /// Another name of a file made so far, counted modulo their number.
    Link(usize),
}

/// Trees of up to `most` nodes.
pub fn tree(most: usize) -> impl Strategy<Value = TreeSpec> {
    vec(node(), 0..=most).prop_map(|nodes| TreeSpec { nodes })
}

fn node() -> impl Strategy<Value = NodeSpec> {
    let owner = prop_oneof![4 => Just((0, 0)), 2 => (0..70_000_u32, 0..70_000_u32)];
    let mtime =
        (prop_oneof![Just(1_700_000_000), 0..5_000_000_000_i64], prop_oneof![Just(0), 0..1_000_000_000_i64]);
    (any::<usize>(), name(), kind(), 0..=0o7777_u32, owner, mtime, vec(attribute(), 0..4)).prop_map(
        |(parent, name, kind, mode, owner, mtime, xattrs)| NodeSpec {
            parent,
            name,
            kind,
            mode,
            owner,
            mtime,
            xattrs,
        },
    )
}

fn name() -> impl Strategy<Value = OsString> {
    let byte = any::<u8>().prop_map(|byte| if byte == 0 || byte == b'/' { b'_' } else { byte });
    prop_oneof![
        6 => "[a-z]{1,3}".prop_map(String::into_bytes),
        2 => vec(byte.clone(), 1..40),
        1 => vec(byte, 200..=255),
    ]
    .prop_filter("a name that means a directory", |name| name != b"." && name != b"..")
    .prop_map(OsString::from_vec)
}

fn length() -> impl Strategy<Value = usize> {
    let near = |range: std::ops::Range<usize>| {
        (range, 0..140_usize).prop_map(|(blocks, less)| (blocks * 4096).saturating_sub(less) + less % 2)
    };
    // Rarely more than a mebibyte, which is where files begin to be read in parts.
    prop_oneof![20 => 0..200_usize, 30 => 0..6_000_usize, 30 => near(1..5), 10 => 0..300_000_usize, 1 => near(254..800)]
}

fn kind() -> impl Strategy<Value = Kind> {
    let piece = (0..40_u64, 1..9_000_usize).prop_map(|(at, len)| (at * 5_000, len));
    prop_oneof![
        4 => Just(Kind::Directory),
        8 => (0..30_u64, length()).prop_map(|(seed, len)| Kind::File(seed, len)),
        6 => (0..30_u64, length()).prop_map(|(seed, len)| Kind::Text(seed, len)),
        2 => (0..4_u8, length()).prop_map(|(byte, len)| Kind::Repeated(byte, len)),
        2 => (0..400_000_u64, vec(piece, 0..4)).prop_map(|(len, pieces)| Kind::Sparse(len, pieces)),
        2 => (1..=4095_usize).prop_map(Kind::Symlink),
        1 => Just(Kind::Fifo),
        1 => (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Kind::Device(major, minor)),
        2 => any::<usize>().prop_map(Kind::Link),
    ]
}

fn attribute() -> impl Strategy<Value = (String, u64, usize)> {
    let space = prop_oneof![Just("user"), Just("trusted"), Just("security")];
    let suffix = prop_oneof![3 => "[a-c]{1,2}", 1 => "[a-z.]{1,60}"];
    let len = prop_oneof![4 => 0..40_usize, 1 => 0..5_000_usize];
    (space, suffix, 0..5_u64, len)
        .prop_map(|(space, suffix, seed, len)| (format!("{space}.{suffix}"), seed, len))
}

/// Options of the builder and what they change about a tree.
#[derive(Debug, Clone)]
pub struct OptionsSpec {
    /// The words of the command line.
    pub words: Vec<String>,
    /// What the mounted tree has.
    pub expect: Expect,
}

/// Options of mkfs-erofs that go together. Fingerprints, where there are any, are SHA-256 in the attribute
/// `key`.
pub fn options(key: &'static str) -> impl Strategy<Value = OptionsSpec> {
    let block = prop_oneof![6 => Just(12_u32), 1 => Just(9), 1 => Just(10), 1 => Just(11)];
    (block, form(), any::<[bool; 16]>(), 0..8_u32).prop_map(move |(bits, form, on, number)| {
        let block = 1_u32 << bits;
        let mut words = vec![format!("-b{block}")];
        let mut expect = Expect::default();
        form.add(block, on[0], number, &mut words);
        if on[0] {
            words.push(format!("--ishare-key={key}"));
            expect = Expect::with_sha256(key);
        }
        // Each of the rest is rare, so that what fails has few of them.
        let rare = |one: usize, other: usize| on[one] && on[other];
        let mut add = |given: bool, word: String| words.extend(given.then_some(word));
        add(rare(1, 2), format!("--dsunit={number}"));
        add(rare(2, 3), format!("--fsalignblks={number}"));
        add(rare(3, 4), format!("-x{number}"));
        add(rare(4, 5), format!("--root-xattr-isize={}", number * 600));
        add(rare(5, 6), "--xattr-prefix=user.a".to_owned());
        add(rare(6, 7), "-Enosbcrc".to_owned());
        add(rare(7, 8), "-Eforce-inode-extended".to_owned());
        add(rare(8, 9), "-Edot-omitted".to_owned());
        add(rare(9, 10), "-E^xattr-name-filter,^inline_data".to_owned());
        add(rare(10, 11), if on[12] { "-Eholes".to_owned() } else { "-E^holes".to_owned() });
        add(rare(11, 12), "--no-file-dedupe".to_owned());
        if rare(12, 13) {
            words.push("--all-root".to_owned());
            expect.owner = Some((0, 0));
        }
        if rare(13, 14) {
            words.push("-T1700000000".to_owned());
            expect.mtime = Some((1_700_000_000, 0));
        }
        if rare(14, 15) {
            words.push("--hard-dereference".to_owned());
            expect.hard_links = false;
        }
        OptionsSpec { words, expect }
    })
}

/// How contents and metadata are stored.
#[derive(Debug, Clone)]
struct FormSpec {
    /// The algorithm, if contents are compressed.
    algorithm: Option<&'static str>,
    /// The size of pclusters or chunks in blocks, as a power of two.
    size: u32,
    words: Vec<&'static str>,
    /// The options of `-m` behind its size, if metadata is compressed.
    metabox: Option<&'static str>,
    class: &'static str,
}

fn form() -> impl Strategy<Value = FormSpec> {
    let algorithm = prop_oneof![
        6 => Just(None),
        10 => proptest::sample::select(vec![
            "lz4", "lz4hc,9", "zstd,3", "zstd,12", "deflate,1", "libdeflate,6", "lzma,1", "zstd:lz4",
        ])
        .prop_map(Some),
    ];
    let words = proptest::sample::subsequence(
        vec!["legacy-compress", "ztailpacking", "fragments", "all-fragments", "dedupe", "48bit"],
        0..=3,
    );
    let metabox = proptest::option::weighted(0.2, proptest::sample::select(vec!["", ":zstd", ":lz4"]));
    let class = proptest::sample::select(vec!["auto", "auto", "auto", "always", "never"]);
    (algorithm, 0..=4_u32, words, metabox, class).prop_map(|(algorithm, size, words, metabox, class)| {
        FormSpec { algorithm, size, words, metabox, class }
    })
}

impl FormSpec {
    fn add(&self, block: u32, fingerprints: bool, number: u32, words: &mut Vec<String>) {
        let bytes = block << self.size;
        if let Some(algorithm) = self.algorithm {
            words.extend([
                format!("-z{algorithm}"),
                format!("-C{bytes}"),
                format!("--compress-class={}", self.class),
            ]);
            words.extend((algorithm.contains(':')).then(|| format!("-Ehead2={}", number * 10)));
            words.extend((!self.words.is_empty()).then(|| format!("-E{}", self.words.join(","))));
            words.extend((number == 7).then(|| "--zD".to_owned()));
        } else if number > 4 {
            // Chunks of files that are shared are pages at least.
            let least = if fingerprints { block.max(4096) } else { block };
            words.push(format!("--chunksize={}", bytes.max(least)));
            words.extend((number == 7).then(|| "-Eforce-chunk-indexes".to_owned()));
        }
        words.extend(self.metabox.map(|named| format!("-m{bytes}{named}")));
    }
}

/// One line for each node, however the list is asked for, because a failing tree is read by people.
impl fmt::Debug for TreeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.iter().try_for_each(|node| writeln!(f, "\n{node:?}"))
    }
}

impl TreeSpec {
    /// Makes the tree in the empty directory `dir`. Attributes that the kernel does not allow on a kind of
    /// file are left out; the source is then simply without them.
    ///
    /// # Errors
    /// When a node cannot be made; making owners and devices takes root.
    pub fn make(&self, dir: &Path) -> Result<()> {
        let mut directories = vec![dir.to_path_buf()];
        let mut files: Vec<PathBuf> = Vec::new();
        let mut made: Vec<(PathBuf, &NodeSpec)> = Vec::new();
        for node in &self.nodes {
            let path = directories[node.parent % directories.len()].join(&node.name);
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            match node.kind {
                Kind::Link(_) if files.is_empty() => continue,
                Kind::Link(at) => {
                    rustix::fs::linkat(CWD, &files[at % files.len()], CWD, &path, AtFlags::empty())
                        .at("link", &path)?;
                    continue;
                }
                Kind::Directory => {
                    fs::create_dir(&path).at("make", &path)?;
                    directories.push(path.clone());
                }
                Kind::File(..)
                | Kind::Text(..)
                | Kind::Repeated(..)
                | Kind::Sparse(..)
                | Kind::Symlink(_)
                | Kind::Fifo
                | Kind::Device(..) => {
                    node.kind.make(&path)?;
                    files.push(path.clone());
                }
            }
            made.push((path, node));
        }
        // The innermost come last in `made`, and a directory's time must be set after its entries.
        made.iter().rev().try_for_each(|(path, node)| node.finish(path))?;
        set_mtime(dir, 1_600_000_000, 7)
    }
}

impl Kind {
    fn make(&self, path: &Path) -> Result<()> {
        match self {
            Self::Directory | Self::Link(_) => Ok(()),
            Self::File(seed, len) => fs::write(path, noise(*seed, *len)).at("write", path),
            Self::Text(seed, len) => fs::write(path, text(*seed, *len)).at("write", path),
            Self::Repeated(byte, len) => fs::write(path, vec![*byte; *len]).at("write", path),
            Self::Sparse(len, pieces) => {
                let pieces: Vec<_> = pieces.iter().map(|(at, len)| (*at, noise(*at, *len))).collect();
                sparse(path, *len, &pieces).at("write", path)
            }
            Self::Symlink(len) => {
                symlink(OsStr::from_bytes(&symlink_target(*len)), path).at("make the symlink", path)
            }
            Self::Fifo => {
                rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).at("make", path)
            }
            Self::Device(major, minor) => {
                let device = rustix::fs::makedev(*major, *minor);
                rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), device)
                    .at("make", path)
            }
        }
    }
}

impl NodeSpec {
    /// Owner, then mode, then attributes, then time: each step would undo part of a later one.
    fn finish(&self, path: &Path) -> Result<()> {
        lchown(path, Some(self.owner.0), Some(self.owner.1)).at("set the owner of", path)?;
        if !matches!(self.kind, Kind::Symlink(_)) {
            fs::set_permissions(path, fs::Permissions::from_mode(self.mode)).at("set the mode of", path)?;
        }
        for (name, seed, len) in &self.xattrs {
            // The kernel allows `user.` attributes on regular files and directories only.
            drop(xattr::set(path, name, &noise(*seed, *len)));
        }
        set_mtime(path, self.mtime.0, self.mtime.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::assert_same;
    use crate::{place, require};
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    #[test]
    fn a_recipe_makes_equal_trees() {
        if require::need("random trees", require::root()).is_none() {
            return;
        }
        let mut runner = TestRunner::deterministic();
        for _ in 0..8 {
            let spec = tree(60).new_tree(&mut runner).unwrap().current();
            let (left, right) = (place::scratch().unwrap(), place::scratch().unwrap());
            spec.make(left.path()).unwrap();
            spec.make(right.path()).unwrap();
            let expect = Expect { directory_links: false, ..Expect::default() };
            assert_same(left.path(), right.path(), &expect, &format!("{spec:?}"));
        }
    }
}
