//! Trees as maps of paths, sources made of them, and random ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use erofs_testkit::content::Stream as Random;
use erofs_tree::{
    Content, ContentRef, Entry, Inode, InodeId, Kind, Progress, Source, Stream, Streamed, Timestamp, Tree,
    TreeError, Whiteouts, Xattr,
};

/// A path from the root, without a leading slash; empty for the root.
pub(crate) type Path = Vec<u8>;

/// What a path leads to. Directories have no entries here, and no inode has a link count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) inode: Inode,
    /// Paths of the same file have the same layer and key.
    pub(crate) layer: usize,
    pub(crate) key: u32,
}

/// A layer: what is in it, and what it takes away from those below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    pub(crate) nodes: BTreeMap<Path, Node>,
    pub(crate) deleted: BTreeSet<Path>,
    pub(crate) opaque: BTreeSet<Path>,
}

pub(crate) fn join(directory: &[u8], name: &[u8]) -> Path {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

pub(crate) fn xattr(name: &str, value: &str) -> Xattr {
    Xattr { name: name.as_bytes().into(), value: value.as_bytes().into() }
}

pub(crate) fn directory() -> Kind {
    Kind::Directory { entries: Vec::new() }
}

/// A file of the length that [`Memory`] gives it.
pub(crate) fn file(layer: usize, key: u32) -> Kind {
    Kind::File { size: bytes(layer, ContentRef(key)).len() as u64, content: ContentRef(key) }
}

pub(crate) fn node(layer: usize, key: u32, kind: Kind) -> Node {
    let inode = Inode {
        permissions: 0o755,
        uid: 100 + u32::try_from(layer).unwrap(),
        gid: key,
        mtime: Timestamp { sec: i64::from(key), nsec: 5 },
        links: 0,
        xattrs: [].into(),
        kind,
    };
    Node { inode, layer, key }
}

/// What a source of this number gives for a content.
pub(crate) fn bytes(layer: usize, content: ContentRef) -> Vec<u8> {
    format!("content {} of layer {layer}", content.0).into_bytes()
}

impl Layer {
    /// A random layer of up to `most` nodes, with names from a small set.
    pub(crate) fn random(random: &mut Random, layer: usize, most: u64) -> Self {
        let mut made = Self::default();
        made.nodes.insert(Vec::new(), node(layer, 0, directory()));
        let mut directories = vec![Vec::new()];
        for key in 1..=u32::try_from(random.below(most + 1)).unwrap() {
            let path = Self::some_path(random, &directories);
            let files: Vec<&Node> = made.nodes.values().filter(|node| !node.inode.is_directory()).collect();
            let kind = match random.below(10) {
                0..4 => directory(),
                4..7 => file(layer, key),
                7 => Kind::Symlink { target: b"target".as_slice().into() },
                8 => Kind::CharDevice { major: 0, minor: 1 },
                _ if files.is_empty() => Kind::Fifo,
                _ => {
                    let other = files[usize::try_from(random.below(files.len() as u64)).unwrap()].clone();
                    made.nodes.entry(path).or_insert(other);
                    continue;
                }
            };
            if made.nodes.contains_key(&path) {
                continue;
            }
            let mut node = node(layer, key, kind);
            if random.below(3) == 0 {
                node.inode.xattrs = [xattr("trusted.overlayer", "a"), xattr("user.a", "b")].into();
            }
            if node.inode.is_directory() {
                directories.push(path.clone());
                if random.below(4) == 0 {
                    made.opaque.insert(path.clone());
                }
            }
            made.nodes.insert(path, node);
        }
        if random.below(8) == 0 {
            made.opaque.insert(Vec::new());
        }
        for _ in 0..random.below(6) {
            made.deleted.insert(Self::some_path(random, &directories));
        }
        made
    }

    /// A path in one of the directories; there may be something already.
    fn some_path(random: &mut Random, directories: &[Path]) -> Path {
        let names: [&[u8]; 6] = [b"a", b"a.", b"b", b"c", b"\xff", b".w"];
        let directory = &directories[usize::try_from(random.below(directories.len() as u64)).unwrap()];
        join(directory, names[usize::try_from(random.below(6)).unwrap()])
    }

    /// The layer as a tree that spells what it takes away in this way.
    pub(crate) fn tree(&self, layer: usize, whiteouts: Whiteouts) -> Tree {
        let mut nodes = self.nodes.clone();
        for (key, path) in (1_000..).zip(&self.deleted) {
            let (directory, name) = split(path);
            match whiteouts {
                Whiteouts::None => {}
                Whiteouts::Oci => {
                    let path = join(directory, &[b".wh.", name].concat());
                    nodes.insert(path, node(layer, key, file(layer, key)));
                }
                Whiteouts::Overlay => {
                    let device = Kind::CharDevice { major: 0, minor: 0 };
                    nodes.entry(path.clone()).or_insert(node(layer, 999, device));
                }
            }
        }
        for (key, path) in (2_000..).zip(&self.opaque) {
            match whiteouts {
                Whiteouts::None => {}
                Whiteouts::Oci => {
                    nodes.insert(join(path, b".wh..wh..opq"), node(layer, key, file(layer, key)));
                }
                Whiteouts::Overlay => {
                    let inode = &mut nodes.get_mut(path).unwrap().inode;
                    let space = if key % 2 == 0 { "trusted" } else { "user" };
                    let opaque = xattr(&format!("{space}.overlay.opaque"), "y");
                    inode.xattrs = inode.xattrs.iter().cloned().chain([opaque]).collect();
                    inode.xattrs.sort();
                }
            }
        }
        tree(&nodes)
    }

    /// What becomes of a map of paths when this layer is put over it, one path at a time.
    pub(crate) fn put_over(&self, below: &mut BTreeMap<Path, Node>, whiteouts: Whiteouts) {
        if whiteouts != Whiteouts::None {
            let hidden = |path: &[u8]| {
                // Overlayfs cannot delete a name that the same layer has.
                let is_deleted = |path: &Path| {
                    self.deleted.contains(path)
                        && (whiteouts == Whiteouts::Oci || !self.nodes.contains_key(path))
                };
                // Nor hide all that other layers have.
                let is_opaque = |path: &Path| {
                    self.opaque.contains(path) && (whiteouts == Whiteouts::Oci || !path.is_empty())
                };
                is_deleted(&path.to_vec())
                    || parents(path).iter().any(|path| is_deleted(path) || is_opaque(path))
            };
            below.retain(|path, _| !hidden(path));
        }
        for (path, node) in &self.nodes {
            let both_directories =
                node.inode.is_directory() && below.get(path).is_some_and(|node| node.inode.is_directory());
            if !both_directories {
                below.retain(|other, _| other != path && !parents(other).contains(path));
            }
            below.insert(path.clone(), node.clone());
        }
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|&byte| byte == b'/').map_or((b"", path), |at| (&path[..at], &path[at + 1..]))
}

/// The directories on the way to a path, the root among them.
fn parents(path: &[u8]) -> Vec<Path> {
    let mut parents = Vec::new();
    let mut path = path;
    while !path.is_empty() {
        path = split(path).0;
        parents.push(path.to_vec());
    }
    parents
}

/// A map of paths as a tree in canonical order.
pub(crate) fn tree(nodes: &BTreeMap<Path, Node>) -> Tree {
    let mut inodes = Vec::new();
    fill(nodes, &Vec::new(), &mut inodes, &mut HashMap::new());
    let tree = Tree { inodes, root: InodeId(0) };
    tree.validate().unwrap();
    tree
}

fn fill(
    nodes: &BTreeMap<Path, Node>,
    path: &Path,
    inodes: &mut Vec<Inode>,
    placed: &mut HashMap<(usize, u32), usize>,
) {
    let at = inodes.len();
    inodes.push(nodes[path].inode.clone());
    let mut entries = Vec::new();
    let mut links = 2;
    for (below, node) in nodes.iter().filter(|(below, _)| !below.is_empty() && split(below).0 == path) {
        let next = inodes.len();
        let inode = if node.inode.is_directory() {
            links += 1;
            fill(nodes, below, inodes, placed);
            next
        } else {
            let inode = *placed.entry((node.layer, node.key)).or_insert(next);
            if inode == next {
                inodes.push(node.inode.clone());
            }
            inodes[inode].links += 1;
            inode
        };
        let inode = InodeId(u32::try_from(inode).unwrap());
        entries.push(Entry { name: split(below).1.into(), inode });
    }
    inodes[at].links = links;
    inodes[at].kind = Kind::Directory { entries };
}

/// A tree in memory as a source, and as a stream that yields its files from the last to the first.
pub(crate) struct Memory {
    pub(crate) layer: usize,
    pub(crate) tree: Tree,
    /// Of the stream: files that are still to come, and what was not read of the last one.
    pub(crate) order: Vec<InodeId>,
    pub(crate) rest: Vec<u8>,
}

impl Memory {
    pub(crate) fn new(layer: usize, tree: Tree) -> Self {
        let files = tree.iter().filter(|(_, inode)| matches!(inode.kind, Kind::File { .. }));
        let order = files.map(|(id, _)| id).collect();
        Self { layer, tree, order, rest: Vec::new() }
    }

    fn path_of(&self, content: ContentRef) -> Path {
        let is_content =
            |inode: &Inode| matches!(inode.kind, Kind::File { content: found, .. } if found == content);
        let (id, _) = self.tree.iter().find(|(_, inode)| is_content(inode)).unwrap();
        self.tree.path_of(id).split_off(1)
    }

    fn shown(&self, content: ContentRef) -> PathBuf {
        format!("{}:{}", self.layer, self.path_of(content).escape_ascii()).into()
    }
}

impl Source for Memory {
    fn scan(&mut self, _: &dyn Progress) -> Result<Tree, TreeError> {
        Ok(self.tree.clone())
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        Ok(Box::new(Bytes(bytes(self.layer, content))))
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.shown(content)
    }

    fn warnings(&self) -> Vec<String> {
        vec![format!("warning of source {}", self.layer)]
    }
}

impl Stream for Memory {
    fn next(&mut self) -> Result<Option<Streamed>, TreeError> {
        assert!(self.rest.is_empty(), "the file before is not read");
        let Some(id) = self.order.pop() else { return Ok(None) };
        let inode = self.tree.get(id).unwrap().clone();
        let Kind::File { size, content } = inode.kind else { panic!("{id:?} is no file") };
        self.rest = bytes(self.layer, content);
        let path = self.path_of(content);
        Ok(Some(Streamed { content, size, path, inode }))
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<(), TreeError> {
        let rest = self.rest.split_off(buf.len());
        buf.copy_from_slice(&self.rest);
        self.rest = rest;
        Ok(())
    }

    fn finish(&mut self) -> Result<Tree, TreeError> {
        assert!(self.order.is_empty());
        Ok(self.tree.clone())
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.shown(content)
    }

    fn warnings(&self) -> Vec<String> {
        vec!["warning of the stream".into()]
    }
}

struct Bytes(Vec<u8>);

impl Content for Bytes {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        let rest = &self.0[usize::try_from(offset).unwrap()..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn finish(&self) -> Result<(), TreeError> {
        Ok(())
    }
}
