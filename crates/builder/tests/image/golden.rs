//! Layout 1 is a promise: a tree of every kind of file gives the same bytes today, tomorrow and on every
//! machine. The digests of the images are pinned in `testdata/golden/layout-1.txt`; `UPDATE_GOLDEN=1` writes
//! them anew, which is right only together with a new layout number.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use erofs_algo::fingerprint;
use erofs_builder::options::{
    BuildOptions, ChunkOptions, ChunkTable, FingerprintOptions, FingerprintValue, InodeForm,
};
use erofs_builder::{ImageFile, LAYOUT_VERSION};
use erofs_format::BlockBits;
use erofs_image::{Follow, Image};
use erofs_tree::{
    Content, ContentRef, Entry, Inode, InodeId, Kind, Progress, Silent, Source, Timestamp, Tree, TreeError,
    Xattr,
};

use crate::memory::{Bytes, noise};

/// A tree with everything that a directory can hold.
#[derive(Default)]
struct Everything {
    inodes: Vec<Inode>,
    contents: Vec<Vec<u8>>,
}

impl Source for Everything {
    fn scan(&mut self, _: &dyn Progress) -> Result<Tree, TreeError> {
        *self = Self::default();
        self.directory(0);
        let tree = Tree { inodes: self.inodes.clone(), root: InodeId(0) };
        tree.validate()?;
        Ok(tree)
    }

    fn open(&self, content: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
        Ok(Box::new(Bytes(&self.contents[content.0 as usize])))
    }

    fn path(&self, _: ContentRef) -> PathBuf {
        PathBuf::new()
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Everything {
    fn inode(&mut self, links: u32, xattrs: &[(&str, &[u8])], kind: Kind) -> InodeId {
        let number = u32::try_from(self.inodes.len()).unwrap();
        let xattrs =
            xattrs.iter().map(|&(name, value)| Xattr { name: name.as_bytes().into(), value: value.into() });
        self.inodes.push(Inode {
            permissions: 0o4755,
            uid: number,
            gid: 70_000 * (number % 2),
            mtime: Timestamp { sec: 1_700_000_000 + i64::from(number % 3), nsec: number % 2 },
            links,
            xattrs: xattrs.collect(),
            kind,
        });
        InodeId(number)
    }

    fn file(&mut self, xattrs: &[(&str, &[u8])], content: Vec<u8>) -> InodeId {
        let kind = Kind::File {
            size: content.len() as u64,
            content: ContentRef(self.contents.len().try_into().unwrap()),
        };
        self.contents.push(content);
        self.inode(1, xattrs, kind)
    }

    /// A directory, its contents, and, two levels deep, directories in it.
    fn directory(&mut self, depth: u64) -> InodeId {
        let label: &[(&str, &[u8])] = &[("security.selinux", b"system_u:object_r:etc_t:s0\0")];
        let acl: &[(&str, &[u8])] = &[("system.posix_acl_default", &[2, 0, 0, 0]), ("user.overlay.x", b"y")];
        let id = self.inode(2, acl, Kind::Fifo);
        let mut entries = Vec::new();
        let mut add = |name: &str, inode| entries.push(Entry { name: name.as_bytes().into(), inode });
        add("!before the dots", self.inode(1, &[], Kind::CharDevice { major: 5, minor: 300 }));
        add("a block device", self.inode(1, label, Kind::BlockDevice { major: 259, minor: 7 }));
        for length in [0_usize, 1, 511, 512, 513, 4000, 4095, 4096, 4097, 65_535, 65_536, 65_537] {
            add(&format!("file {length:06}"), self.file(label, noise(depth + length as u64, length)));
        }
        add("file hole", self.file(&[], [noise(1, 8192), vec![0; 100_000], noise(2, 77)].concat()));
        add("file large", self.file(label, noise(7, 2_500_000)));
        add("file large too", self.file(&[], noise(7, 2_500_000)));
        add("link", self.inode(1, &[], Kind::Symlink { target: b"file 000001".as_slice().into() }));
        for length in [500, 512, 700, 2049, 4095] {
            let target = vec![b'x'; length].into();
            add(&format!("link, long {length:04}"), self.inode(1, label, Kind::Symlink { target }));
        }
        let many: Vec<Entry> = (0..300)
            .map(|n| Entry {
                name: format!("many {n:03} {}", "n".repeat(n % 50)).into_bytes().into(),
                inode: id,
            })
            .collect();
        let first_many = u32::try_from(self.inodes.len()).unwrap();
        for (entry, number) in many.into_iter().zip(first_many..) {
            self.inode(1, &[], Kind::Socket);
            entries.push(Entry { inode: InodeId(number), ..entry });
        }
        if depth < 2 {
            let (one, two) = (self.directory(depth + 1), self.directory(depth + 2));
            entries.push(Entry { name: b"sub one".as_slice().into(), inode: one });
            entries.push(Entry { name: b"sub two".as_slice().into(), inode: two });
            self.inodes[id.index()].links += 2;
        }
        // A second name for the first file, in the parent of everything that comes later.
        let first = entries[3].inode;
        self.inodes[first.index()].links += 1;
        entries.push(Entry { name: b"twice".as_slice().into(), inode: first });
        self.inodes[id.index()].kind = Kind::Directory { entries };
        id
    }
}

fn recipes() -> Vec<(&'static str, BuildOptions)> {
    let kind = fingerprint::by_name("sha256").unwrap();
    let value = FingerprintValue::Computed { kind, namespace: uuid::Uuid::nil() };
    let key = b"trusted.erofs.fingerprint".to_vec();
    let mut base = BuildOptions { threads: 2, ..BuildOptions::default() };
    base.content.fingerprint = Some(FingerprintOptions { key, value, strict: false });
    let recipe = |change: fn(&mut BuildOptions)| {
        let mut options = base.clone();
        change(&mut options);
        options
    };
    vec![
        ("default", recipe(|_| ())),
        ("no fingerprints", recipe(|o| o.content.fingerprint = None)),
        (
            "hidden key",
            recipe(|o| {
                if let Some(wanted) = &mut o.content.fingerprint {
                    wanted.key = b"erofs.fingerprint.v1".to_vec();
                }
            }),
        ),
        ("blocks of 512", recipe(|o| o.content.block_bits = BlockBits::new(9).unwrap())),
        ("blocks of 65536", recipe(|o| o.content.block_bits = BlockBits::new(16).unwrap())),
        ("chunks of 4096", recipe(|o| o.content.chunks = Some(ChunkOptions { bits: 12 }))),
        (
            "chunk indexes",
            recipe(|o| {
                o.content.chunks = Some(ChunkOptions { bits: 16 });
                o.layout.chunk_table = ChunkTable::Indexes;
            }),
        ),
        ("no inline data", recipe(|o| o.content.inline_data = false)),
        ("no dedupe", recipe(|o| o.content.file_dedupe = false)),
        ("extended inodes", recipe(|o| o.layout.inodes = InodeForm::Extended)),
        ("build time", recipe(|o| o.layout.build_time = 1_800_000_000)),
        ("no shared xattrs", recipe(|o| o.layout.xattr_tolerance = None)),
        ("prefix", recipe(|o| o.layout.xattr_prefixes = vec![b"user.overlay.".to_vec()])),
        (
            "aligned",
            recipe(|o| {
                o.content.dsunit = 4;
                o.layout.fsalignblks = 100;
            }),
        ),
    ]
}

/// What is pinned must be right in the first place: every inode reads back as it was.
fn assert_reads_back(name: &str, path: &Path) {
    let mut source = Everything::default();
    let tree = source.scan(&Silent).unwrap();
    let image = Image::open_path(path, &[] as &[&Path], 0).unwrap();
    for (id, want) in tree.iter() {
        let path = tree.path_of(id);
        let shown = format!("{name}: {}", String::from_utf8_lossy(&path));
        let inode = image.resolve(&path, Follow::Never).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(inode.permissions(), want.permissions, "{shown}");
        match &want.kind {
            Kind::File { content, .. } => {
                let content = &source.contents[content.0 as usize];
                let mut read = vec![0xaa; content.len()];
                assert_eq!(inode.size(), content.len() as u64, "{shown}");
                image.data(&inode).unwrap().read_range(0, &mut read).unwrap();
                assert!(read == *content, "{shown} reads differently");
            }
            Kind::Symlink { target } => assert!(image.link_target(&inode).unwrap() == **target, "{shown}"),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                assert_eq!(inode.device(), Some((*major, *minor)), "{shown}");
            }
            Kind::Directory { entries } => {
                let listed =
                    image.entries(&inode).unwrap().filter(|entry| !entry.as_ref().unwrap().is_dot()).count();
                assert_eq!(listed, entries.len(), "{shown}");
            }
            Kind::Fifo | Kind::Socket => assert!(!inode.has_data(), "{shown}"),
        }
    }
}

#[test]
fn images_have_their_pinned_digests() {
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../testdata/golden/layout-{LAYOUT_VERSION}.txt"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut lines = String::new();
    for (name, options) in recipes() {
        let image = ImageFile::create(&path, 0).unwrap();
        let summary = erofs_builder::build(&mut Everything::default(), image, &options, &Silent)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, summary.image_bytes);
        assert_reads_back(name, &path);
        let kind = fingerprint::by_name("sha256").unwrap();
        for byte in fingerprint::of(kind, uuid::Uuid::nil(), &bytes).digest {
            write!(lines, "{byte:02x}").unwrap();
        }
        writeln!(lines, "  {}  {name}", bytes.len()).unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&pinned, &lines).unwrap();
    }
    let want = std::fs::read_to_string(&pinned).unwrap_or_default();
    assert_eq!(lines, want, "the layout has changed: it needs a new number, or the change is wrong");
}
