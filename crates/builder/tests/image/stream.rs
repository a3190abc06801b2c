//! The same files from a source that is read once, in a shuffled order and through a pipe.

use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::path::{Path, PathBuf};
use std::thread;

use erofs_builder::options::{
    AlgorithmOptions, BuildOptions, ChunkOptions, CompressClass, CompressionOptions, ContentOptions,
    FragmentOptions, IndexForm,
};
use erofs_builder::{BuildError, ImageFile, Summary};
use erofs_image::{Follow, Image};
use erofs_tree::{
    ContentRef, Exclude, Kind, ShapeOptions, Shaped, Silent, Source as _, Stream, Streamed, Tree, TreeError,
};

use crate::contents::fingerprints;
use crate::memory::{Memory, noise};

/// Contents that come from a pipe in an order of their own.
struct Piped {
    tree: Tree,
    paths: Vec<String>,
    /// The inodes of files that are still to come, the last one first.
    order: Vec<usize>,
    /// Bytes of the last file that were not read.
    left: u64,
    pipe: PipeReader,
}

impl Stream for Piped {
    fn next(&mut self) -> Result<Option<Streamed>, TreeError> {
        assert_eq!(self.left, 0, "the file before is not read");
        let Some(id) = self.order.pop() else { return Ok(None) };
        let inode = self.tree.inodes[id].clone();
        let Kind::File { size, content } = inode.kind else { panic!("inode {id} is no file") };
        self.left = size;
        let path = self.paths[content.0 as usize].clone().into_bytes();
        Ok(Some(Streamed { content, size, path, inode }))
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<(), TreeError> {
        self.left -= buf.len() as u64;
        let ended = |source| TreeError::Io { action: "read", path: "pipe".into(), source };
        self.pipe.read_exact(buf).map_err(ended)
    }

    fn finish(&mut self) -> Result<Tree, TreeError> {
        assert!(self.order.is_empty());
        Ok(self.tree.clone())
    }

    fn path(&self, content: ContentRef) -> PathBuf {
        self.paths[content.0 as usize].clone().into()
    }

    fn warnings(&self) -> Vec<String> {
        vec!["of the stream".into()]
    }
}

/// Builds from a pipe which ends `missing` bytes too early.
fn build(
    source: &mut Memory,
    path: &Path,
    options: &BuildOptions,
    missing: usize,
) -> Result<Summary, BuildError> {
    build_shaped(source, path, options, missing, (ShapeOptions::default(), Exclude::new()))
}

fn build_shaped(
    source: &mut Memory,
    path: &Path,
    options: &BuildOptions,
    missing: usize,
    (shape, exclude): (ShapeOptions, Exclude),
) -> Result<Summary, BuildError> {
    let tree = source.scan(&Silent).unwrap();
    let mut order: Vec<usize> = (1..tree.inodes.len()).collect();
    // A fixed shuffle.
    order.sort_by_key(|&id| id * 7919 % 31);
    let mut bytes: Vec<u8> =
        order.iter().rev().flat_map(|id| source.files[id - 1].1.iter().copied()).collect();
    bytes.truncate(bytes.len() - missing);
    let paths = source.files.iter().map(|(name, ..)| name.clone()).collect();
    let (reader, mut writer) = pipe().unwrap();
    let stream = Piped { tree, paths, order, left: 0, pipe: reader };
    let mut stream = Shaped::new(stream, shape, exclude);
    thread::scope(|scope| {
        scope.spawn(move || {
            // The reader may have given up.
            drop(writer.write_all(&bytes));
        });
        let built = erofs_builder::build_stream(&mut stream, ImageFile::create(path, 0)?, options, &Silent);
        drop(stream);
        built
    })
}

fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("empty".to_owned(), Vec::new()),
        ("large".to_owned(), noise(3, 5 << 20)),
        ("large again".to_owned(), noise(3, 5 << 20)),
        ("large but for its end".to_owned(), [noise(3, (5 << 20) - 1), vec![1]].concat()),
        ("zeros".to_owned(), vec![0; (2 << 20) + 5]),
        ("text".to_owned(), b"line of a text\n".repeat(300_000)),
    ];
    for number in 0..40_usize {
        // Lengths at, before and behind the ends of blocks; every third one is equal to another.
        let length = number % 27 * 2048 + number % 3;
        files.push((format!("small {number:02}"), noise(number as u64 % 27, length)));
    }
    files
}

/// Compression with Zstandard.
pub(crate) fn zstd(fragments: Option<FragmentOptions>) -> CompressionOptions {
    CompressionOptions {
        algorithms: vec![AlgorithmOptions {
            algorithm: erofs_encode::by_name("zstd").unwrap(),
            level: 3,
            dict_size: None,
            lzma: erofs_encode::LzmaBits::default(),
        }],
        head2: None,
        pcluster_size: 16_384,
        class: CompressClass::Auto,
        index: IndexForm::Compact,
        tail_packing: true,
        fragments,
        dedupe: false,
        squeeze: false,
        max_extent_size: 0,
        hints: Vec::new(),
        memory: 0,
    }
}

fn options() -> Vec<(&'static str, BuildOptions)> {
    let content = |content| BuildOptions { content, ..BuildOptions::default() };
    let fragments = FragmentOptions { all: false, pcluster_size: 65_536, dedupe: true };
    let compressed = |fragments| {
        let fingerprint = Some(fingerprints());
        content(ContentOptions {
            compression: Some(zstd(fragments)),
            fingerprint,
            ..ContentOptions::default()
        })
    };
    vec![
        ("plain", BuildOptions::default()),
        (
            "fingerprints",
            content(ContentOptions { fingerprint: Some(fingerprints()), ..ContentOptions::default() }),
        ),
        (
            "chunks",
            content(ContentOptions { chunks: Some(ChunkOptions { bits: 12 }), ..ContentOptions::default() }),
        ),
        ("zstd", compressed(None)),
        ("zstd and fragments", compressed(Some(fragments))),
    ]
}

#[test]
fn a_stream_gives_what_a_directory_gives() {
    let named = files();
    let borrowed: Vec<(&str, Vec<u8>)> =
        named.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    let mut source = Memory::new(&borrowed);
    let folder = tempfile::tempdir().unwrap();
    let (path, indexed) = (folder.path().join("image"), folder.path().join("indexed"));
    for (name, options) in options() {
        let mut first: Option<Vec<u8>> = None;
        for threads in [1, 2, 5] {
            let options = BuildOptions { threads, ..options.clone() };
            let summary = build(&mut source, &path, &options, 0).unwrap();
            assert_eq!(summary.warnings, ["of the stream"], "{name}");
            let bytes = std::fs::read(&path).unwrap();
            assert!(first.get_or_insert_with(|| bytes.clone()) == &bytes, "{name}: {threads} threads");
            let image = ImageFile::create(&indexed, 0).unwrap();
            let want = erofs_builder::build(&mut source, image, &options, &Silent).unwrap();
            // The order alone differs: as much is stored once, and only where pieces are cut differs with
            // fragments.
            assert_eq!(summary.inodes, want.inodes, "{name}");
            if !name.contains("fragments") {
                let sums = |summary: &Summary| (summary.deduplicated_bytes, summary.hole_bytes);
                assert_eq!(sums(&summary), sums(&want), "{name}");
            }
        }
        let image = Image::open_path(&path, &[] as &[&Path], 0).unwrap();
        for (file, content, _) in &source.files {
            let inode = image.resolve(file.as_bytes(), Follow::Never).unwrap();
            let mut read = vec![0xaa; content.len() + 1];
            let count = image.data(&inode).unwrap().read_range(0, &mut read).unwrap();
            assert!(read[..count] == *content, "{name}: {file} reads differently");
        }
    }
}

#[test]
fn what_is_excluded_from_a_stream_is_not_in_the_image() {
    let mut source = Memory::new(&[("a", noise(1, 9000)), ("b", noise(2, 3 << 20)), ("c", noise(3, 5000))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut exclude = Exclude::new();
    exclude.add_path("b").unwrap();
    exclude.add_path("absent").unwrap();
    let shape = ShapeOptions { force_uid: Some(77), ..ShapeOptions::default() };
    let summary = build_shaped(&mut source, &path, &BuildOptions::default(), 0, (shape, exclude)).unwrap();
    assert_eq!(summary.warnings, ["of the stream", "excluded path absent: no entry of the source has it"]);
    assert!(summary.files == 2 && summary.image_bytes < 64 << 10, "{summary:?}");
    let image = Image::open_path(&path, &[] as &[&Path], 0).unwrap();
    for (file, length) in [("a", 9000), ("c", 5000)] {
        let inode = image.resolve(file.as_bytes(), Follow::Never).unwrap();
        assert_eq!((inode.record.uid, inode.size()), (77, length), "{file}");
    }
    image.resolve(b"b", Follow::Never).unwrap_err();
}

#[test]
fn a_stream_that_ends_early_is_an_error_and_leaves_nothing() {
    let mut source = Memory::new(&[("a", noise(1, 9000)), ("b", noise(2, 3 << 20))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for missing in [1, 9000, 3 << 20] {
        let error = build(&mut source, &path, &BuildOptions::default(), missing).unwrap_err().to_string();
        assert_eq!(error, "cannot read pipe");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn parts_of_a_stream_cannot_be_found_again() {
    let (_, mut options) = options().remove(3);
    options.content.compression.as_mut().unwrap().dedupe = true;
    let mut source = Memory::new(&[("a", noise(1, 9000))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let error = build(&mut source, &path, &options, 0).unwrap_err().to_string();
    assert_eq!(
        error,
        "equal parts of files: found a source that is read once, want one that can be read twice"
    );
}
