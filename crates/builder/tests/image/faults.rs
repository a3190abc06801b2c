//! Storage that fails: every operation of a build in turn is refused, a disk is full at every byte, and a
//! machine stops at every write.

use std::fs;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use erofs_builder::image_file::{Target, Wrap};
use erofs_builder::options::{BuildOptions, ChunkOptions, ContentOptions, FragmentOptions, MetaboxOptions};
use erofs_builder::{ImageFile, Summary};
use erofs_image::{Follow, Image};
use erofs_tree::Silent;

use crate::contents::fingerprints;
use crate::memory::{Memory, noise};
use crate::stream::zstd;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// The operation with this number, counted from 0, is refused, and all behind it.
    Operation(u64),
    /// There is room for so many bytes.
    Full(u64),
    /// Writes from the one with this number on are lost.
    Crash(u64),
}

/// What was done, by all targets of a build.
#[derive(Debug, Default)]
struct Done {
    operations: AtomicU64,
    bytes: AtomicU64,
    writes: AtomicU64,
}

#[derive(Debug)]
struct Failing {
    inner: Arc<dyn Target>,
    fault: Fault,
    done: Arc<Done>,
}

impl Failing {
    fn operation(&self) -> io::Result<()> {
        let number = self.done.operations.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Operation(first) if number >= first => Err(io::Error::from_raw_os_error(5)),
            Fault::None | Fault::Operation(_) | Fault::Full(_) | Fault::Crash(_) => Ok(()),
        }
    }
}

impl Target for Failing {
    fn write_at(&self, at: u64, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.operation()?;
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let end = self.done.bytes.fetch_add(length, Ordering::SeqCst) + length;
        let number = self.done.writes.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Full(room) if end > room => Err(io::ErrorKind::StorageFull.into()),
            Fault::Crash(first) if number >= first => Ok(()),
            Fault::None | Fault::Operation(_) | Fault::Full(_) | Fault::Crash(_) => {
                self.inner.write_at(at, pieces)
            }
        }
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.operation()?;
        self.inner.read_at(at, bytes)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.operation()?;
        self.inner.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.operation()?;
        self.inner.sync()
    }
}

fn build(path: &Path, options: &BuildOptions, fault: Fault) -> (Result<Summary, String>, Arc<Done>) {
    let mut source = source();
    let done = Arc::new(Done::default());
    let counted = Arc::clone(&done);
    let wrap: Wrap = Arc::new(move |inner| Arc::new(Failing { inner, fault, done: Arc::clone(&counted) }));
    let image = ImageFile::create(path, 0).unwrap().through(wrap);
    let built = erofs_builder::build(&mut source, image, options, &Silent);
    (built.map_err(|error| error.to_string()), done)
}

fn source() -> Memory {
    let text = b"a line of text\n".repeat(30_000);
    let mut files = vec![
        ("a".to_owned(), noise(1, 3 << 20)),
        ("again".to_owned(), noise(1, 3 << 20)),
        ("text".to_owned(), text),
        ("zeros".to_owned(), vec![0; 3 << 20]),
    ];
    for number in 0..60_usize {
        files.push((format!("file {number}"), noise(number as u64, 200 + number * 150)));
    }
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    Memory::new(&files)
}

fn recipes() -> Vec<(&'static str, BuildOptions)> {
    let content = |content| BuildOptions { content, threads: 2, ..BuildOptions::default() };
    let fragments = Some(FragmentOptions { all: true, pcluster_size: 65_536, dedupe: true });
    let compressed = |fragments| {
        let compression = Some(zstd(fragments));
        content(ContentOptions {
            compression,
            fingerprint: Some(fingerprints()),
            ..ContentOptions::default()
        })
    };
    let mut metabox = compressed(None);
    metabox.layout.metabox = Some(MetaboxOptions { pcluster_size: 4096, algorithm: None });
    let chunks = Some(ChunkOptions { bits: 12 });
    vec![
        ("plain", BuildOptions { threads: 2, ..BuildOptions::default() }),
        ("chunks", content(ContentOptions { chunks, ..ContentOptions::default() })),
        ("zstd and metabox", metabox),
        ("all in fragments", compressed(fragments)),
    ]
}

/// The numbers to try: all, or every so manyth with the first and the last ones, where there are many.
fn sweep(total: u64, most: u64) -> impl Iterator<Item = u64> {
    let step = total.div_ceil(most).max(1);
    (0..total).filter(move |number| number % step == 0 || number + 12 > total || *number < 4)
}

#[test]
fn whatever_is_refused_the_older_image_stays_and_nothing_else() {
    for (name, options) in recipes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let (built, done) = build(&path, &options, Fault::None);
        built.unwrap();
        fs::write(&path, b"the older image").unwrap();
        let operations = done.operations.load(Ordering::SeqCst);
        let bytes = done.bytes.load(Ordering::SeqCst);
        // Two threads may need a few operations more or less, so the last ones are counted anew by the error.
        let faults = (0..operations - 3).map(Fault::Operation);
        let faults = faults.chain(sweep(bytes / 4096, 40).map(|blocks| Fault::Full(blocks * 4096)));
        for fault in faults {
            let (built, _) = build(&path, &options, fault);
            let error = built.expect_err(&format!("{name}: {fault:?} of {operations}"));
            let wanted = match fault {
                Fault::Full(_) => "no storage space",
                Fault::None | Fault::Operation(_) | Fault::Crash(_) => "Input/output error",
            };
            assert!(error.contains(wanted) && error.lines().count() == 1, "{name}: {fault:?}: {error}");
            let names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["image"], "{name}: {fault:?}");
            assert_eq!(fs::read(&path).unwrap(), b"the older image", "{name}: {fault:?}");
        }
    }
}

/// What is written in place has its superblock last, so that a machine that stops leaves no image that looks
/// whole.
#[test]
fn a_crash_leaves_no_half_image() {
    for (name, options) in recipes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let fresh = || fs::write(&path, b"").unwrap();
        fresh();
        let (built, done) = build(&path, &options, Fault::None);
        built.unwrap();
        let want = fs::read(&path).unwrap();
        let writes = done.writes.load(Ordering::SeqCst);
        let mut whole = 0;
        for number in sweep(writes + 1, 60) {
            fresh();
            build(&path, &options, Fault::Crash(number)).0.unwrap();
            let found = fs::read(&path).unwrap();
            let is_image = found.get(1024..1028) == Some(&0xe0f5_e1e2_u32.to_le_bytes());
            assert!(!is_image || found == want, "{name}: write {number} of {writes} and later ones lost");
            whole += u64::from(is_image);
        }
        assert!((1..4).contains(&whole), "{name}: {whole} whole images");
    }
}

#[test]
fn what_passes_through_is_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (name, options) in recipes() {
        build(&path, &options, Fault::None).0.unwrap();
        let image = Image::open_path(&path, &[] as &[&Path], 0).unwrap();
        let inode = image.resolve(b"text", Follow::Never).unwrap();
        let mut read = vec![0; 15];
        image.data(&inode).unwrap().read_range(15, &mut read).unwrap();
        assert_eq!(read, b"a line of text\n", "{name}");
    }
}
