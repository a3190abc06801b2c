//! Contents in, image out, contents back: the cases in which equal files, holes and chunks meet, for one
//! thread and for many.

use std::path::Path;

use erofs_algo::fingerprint;
use erofs_builder::options::{
    BuildOptions, ChunkOptions, ContentOptions, FingerprintOptions, FingerprintValue, FragmentOptions,
    HoleRule, InodeForm, LayoutOptions,
};
use erofs_builder::{BuildError, ImageFile, Summary};
use erofs_format::BlockBits;
use erofs_image::{Follow, Image};
use erofs_tree::{Silent, Xattr};

use crate::memory::{Memory, noise};

pub(crate) const KEY: &[u8] = b"trusted.erofs.fingerprint";
const MIB: usize = 1 << 20;

pub(crate) fn fingerprints() -> FingerprintOptions {
    let kind = fingerprint::by_name("sha256").unwrap();
    let value = FingerprintValue::Computed { kind, namespace: uuid::Uuid::nil() };
    FingerprintOptions { key: KEY.to_vec(), value, strict: false }
}

fn with(content: &ContentOptions) -> BuildOptions {
    BuildOptions {
        content: ContentOptions { fingerprint: Some(fingerprints()), ..content.clone() },
        layout: LayoutOptions { inodes: InodeForm::Extended, ..LayoutOptions::default() },
        ..BuildOptions::default()
    }
}

fn build(source: &mut Memory, path: &Path, options: &BuildOptions) -> Result<Summary, BuildError> {
    erofs_builder::build(source, ImageFile::create(path, 0)?, options, &Silent)
}

/// Builds with 1, 2 and 5 threads, with and without holes in the source, sees that the bytes are equal, reads
/// everything back, and returns the summary.
fn check(name: &str, files: &[(&str, Vec<u8>)], options: &BuildOptions) -> Summary {
    check_source(name, &mut Memory::new(files), options)
}

fn check_source(name: &str, source: &mut Memory, options: &BuildOptions) -> Summary {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut first: Option<(Vec<u8>, Summary)> = None;
    for (threads, sparse) in [(1, false), (2, true), (5, false), (2, false), (5, true), (1, true)] {
        source.sparse = sparse;
        let options = BuildOptions { threads, ..options.clone() };
        let summary = build(source, &path, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, summary.image_bytes, "{name}");
        match &first {
            None => first = Some((bytes, summary)),
            Some((same, wanted)) => {
                assert!(*same == bytes, "{name}: the image depends on the number of threads, or on holes");
                assert_eq!(format!("{summary:?}"), format!("{wanted:?}"), "{name}");
            }
        }
    }
    let image = Image::open_path(&path, &[] as &[&Path], 0).unwrap();
    for (file, content, _) in &source.files {
        let inode = image.resolve(file.as_bytes(), Follow::Never).unwrap();
        assert_eq!(inode.size(), content.len() as u64, "{name}: {file}");
        let mut read = vec![0xaa; content.len()];
        let data = image.data(&inode).unwrap();
        assert_eq!(data.read_range(0, &mut read).unwrap(), content.len());
        assert!(read == *content, "{name}: {file} reads differently");
        let own = image.fingerprint(&inode).unwrap();
        let kind = fingerprint::by_name("sha256").unwrap();
        let want = (!content.is_empty()).then(|| fingerprint::of(kind, uuid::Uuid::nil(), content).value);
        let got = if options.content.fingerprint.is_some() {
            own.value().map(<[u8]>::to_vec)
        } else {
            want.clone()
        };
        assert_eq!(got, want, "{name}: {file}");
    }
    first.unwrap().1
}

fn changed(mut content: Vec<u8>, at: usize) -> Vec<u8> {
    content[at] ^= 1;
    content
}

fn holed(mut content: Vec<u8>, hole: std::ops::Range<usize>) -> Vec<u8> {
    content[hole].fill(0);
    content
}

#[test]
fn equal_files_are_stored_once() {
    let large = noise(1, 3 * MIB + 100);
    let other = noise(2, 3 * MIB + 100);
    let late = changed(large.clone(), 2 * MIB + 5);
    let saved = 3 * MIB as u64;
    for (name, files, want) in [
        ("small pair", vec![("a", noise(3, 9000)), ("b", noise(3, 9000))], 8192),
        ("tails only", vec![("a", noise(3, 900)), ("b", noise(3, 900))], 0),
        ("small and unlike", vec![("a", noise(3, 9000)), ("b", noise(4, 9000))], 0),
        ("large pair", vec![("a", large.clone()), ("b", large.clone())], saved),
        ("large, other start", vec![("a", large.clone()), ("b", other.clone())], 0),
        ("large, same start only", vec![("a", large.clone()), ("b", late.clone())], 0),
        (
            "large, one of two with the same start",
            vec![("a", large.clone()), ("b", late.clone()), ("c", late.clone()), ("d", large.clone())],
            2 * saved,
        ),
        (
            "large with others between and behind",
            vec![
                ("a", large.clone()),
                ("b", other.clone()),
                ("c", noise(5, 5000)),
                ("d", large.clone()),
                ("e", noise(5, 5000)),
                ("f", noise(6, 2 * MIB)),
                ("g", other.clone()),
            ],
            2 * saved + 4096,
        ),
        (
            "large with the same hole",
            vec![("a", holed(large.clone(), MIB..2 * MIB)), ("b", holed(large.clone(), MIB..2 * MIB))],
            saved + 100,
        ),
    ] {
        let summary = check(name, &files, &with(&ContentOptions::default()));
        assert_eq!(summary.deduplicated_bytes, want, "{name}");
        let off = ContentOptions { file_dedupe: false, ..ContentOptions::default() };
        assert_eq!(check(name, &files, &with(&off)).deduplicated_bytes, 0, "{name}");
    }
}

#[test]
fn an_equal_file_whose_tail_cannot_stay_with_its_inode_has_blocks_of_its_own() {
    // The second file's xattrs leave no room for the tail, so it needs one block more than the first has
    // stored. The other way round, the blocks serve both.
    let content = noise(9, 4096 + 3000);
    let mut source = Memory::new(&[("a", content.clone()), ("b", content)]);
    source.files[1].2 = vec![Xattr { name: b"user.a".as_slice().into(), value: noise(1, 2000).into() }];
    assert_eq!(check_source("no room", &mut source, &with(&ContentOptions::default())).deduplicated_bytes, 0);
    source.files.swap(0, 1);
    source.files[0].0 = "0".into();
    source.files[1].0 = "1".into();
    let all = 4096 + 3000;
    assert_eq!(check_source("room", &mut source, &with(&ContentOptions::default())).deduplicated_bytes, all);
}

/// A file whose original has a tail that cannot follow its inode is stored the same way, whether or not a worker
/// saw the original first: with holes it would be one block shorter.
#[test]
fn what_cannot_refer_to_its_original_does_not_depend_on_threads() {
    let first = [vec![0; 4096], vec![b'x'; 100]].concat();
    let files = [("a", first.clone()), ("b", noise(1, 1_044_300)), ("c", first), ("d", noise(2, 1_048_000))];
    for fingerprint in [Some(fingerprints()), None] {
        for _ in 0..4 {
            let mut source = Memory::new(&files);
            source.files[2].2 = vec![Xattr { name: (*b"user.long").into(), value: vec![1; 3930].into() }];
            let content = ContentOptions { fingerprint: fingerprint.clone(), ..ContentOptions::default() };
            let options = BuildOptions {
                content: ContentOptions { holes: HoleRule::Always, ..content },
                ..BuildOptions::default()
            };
            check_source("refused by the tail", &mut source, &options);
        }
    }
}

/// A large file that turns out to be equal to an earlier one leaves nothing behind: neither its places, in the
/// packed inode too, nor its share of the sums.
#[test]
fn an_equal_large_file_leaves_nothing() {
    let content = [noise(1, 100), b"a line of a text\n".repeat(1_100_000)].concat();
    let fragments = FragmentOptions { all: true, pcluster_size: 65_536, dedupe: false };
    for fragments in [None, Some(fragments)] {
        let compression = Some(crate::stream::zstd(fragments));
        let options = BuildOptions {
            content: ContentOptions { compression, ..ContentOptions::default() },
            ..BuildOptions::default()
        };
        let one = check("one", &[("a", content.clone())], &options);
        let two = check("two", &[("a", content.clone()), ("b", content.clone())], &options);
        assert_eq!(two.compression, one.compression, "{fragments:?}");
        assert_eq!(two.stored_bytes, one.stored_bytes, "{fragments:?}");
        // Its inode has an index of its own.
        assert!(two.image_bytes - one.image_bytes < 65_536, "{fragments:?}");
        assert_eq!(two.deduplicated_bytes, content.len() as u64, "{fragments:?}");
    }
}

#[test]
fn zeros_take_no_space() {
    let unit = 16 << 10;
    for (name, content, least) in [
        ("all zeros, small", vec![0; 100_000], 98_304),
        ("all zeros, large", vec![0; 5 * MIB + 1], 5 * MIB),
        ("a block of zeros", holed(noise(1, 5 * 4096), 4096..8192), 4096),
        ("zeros at the front", holed(noise(1, 20_000), 0..8192), 8192),
        ("zeros at the end", holed(noise(1, 20_480), 8192..20_480), 12_288),
        ("large, zeros at the front", holed(noise(1, 3 * MIB + 9), 0..unit), unit),
        ("large, zeros at the end", holed(noise(1, 3 * MIB), 3 * MIB - unit..3 * MIB), unit),
        ("large, zeros over segments", holed(noise(1, 6 * MIB + 77), MIB / 2..4 * MIB + MIB / 2), 4 * MIB),
        ("too few zeros", holed(noise(1, 5 * 4096), 4095..8191), 0),
    ] {
        let files = vec![("a", noise(7, 5000)), ("b", content.clone()), ("c", noise(8, 5000))];
        let summary = check(name, &files, &with(&ContentOptions::default()));
        assert!(summary.hole_bytes >= least as u64, "{name}: {} of {least}", summary.hole_bytes);
        let full = files.iter().map(|file| file.1.len()).sum::<usize>() as u64;
        assert!(summary.stored_bytes <= full - least as u64 + 3 * 4096, "{name}: {}", summary.stored_bytes);
    }
}

#[test]
fn chunks_of_every_size_and_block_size() {
    let files = vec![
        ("a", noise(1, 3 * MIB + 5)),
        ("b", holed(noise(1, 3 * MIB + 5), MIB..2 * MIB)),
        ("c", noise(1, 70_000)),
        ("d", noise(1, 1)),
        ("e", Vec::new()),
        ("f", vec![0; 200_000]),
    ];
    for block in [9, 12, 16] {
        for chunk in [block, 16, 20, 21, 31] {
            let block_bits = BlockBits::new(block).unwrap();
            let content = ContentOptions {
                block_bits,
                chunks: Some(ChunkOptions { bits: chunk }),
                ..ContentOptions::default()
            };
            let name = format!("blocks of 2^{block}, chunks of 2^{chunk}");
            let mut options = with(&content);
            // Shared pages have one chunk each.
            options.content.fingerprint = options.content.fingerprint.filter(|_| chunk >= 12);
            let summary = check(&name, &files, &options);
            if chunk <= 16 {
                assert!(
                    summary.deduplicated_bytes >= 2 * MIB as u64,
                    "{name}: {}",
                    summary.deduplicated_bytes
                );
            }
        }
    }
}

#[test]
fn zeros_in_long_chunks_have_no_place() {
    let sparse = holed(noise(1, 9 * MIB), 2 * MIB..7 * MIB);
    let late = holed(noise(2, 5 * MIB + 9), 0..3 * MIB);
    let files = vec![("a", sparse), ("b", late), ("c", vec![0; 6 * MIB]), ("d", vec![0; 100])];
    let chunks = Some(ChunkOptions { bits: 21 });
    let summary =
        check("chunks of 2 MiB", &files, &with(&ContentOptions { chunks, ..ContentOptions::default() }));
    assert_eq!(summary.hole_bytes, (5 + 3 + 6) * MIB as u64 + 100);
}

#[test]
fn holes_are_not_read_and_large_files_are_opened_once() {
    let full = noise(1, 12 * MIB);
    let sparse = holed(full.clone(), MIB..11 * MIB);
    for (name, content, opened, read) in [
        ("full", full, 1, 12 * MIB),
        ("sparse", sparse, 1, 2 * MIB),
        ("nothing but a hole", vec![0; 12 * MIB], 1, 0),
    ] {
        for options in [with(&ContentOptions::default()), BuildOptions::default()] {
            let mut source = Memory::new(&[("file", content.clone())]);
            source.sparse = true;
            let folder = tempfile::tempdir().unwrap();
            let options = BuildOptions { threads: 3, ..options };
            build(&mut source, &folder.path().join("image"), &options).unwrap();
            let found = (source.opened.into_inner(), source.read.into_inner());
            assert_eq!(found, (opened, read as u64), "{name}");
        }
    }
}

#[test]
fn a_panic_in_a_worker_ends_the_build() {
    let mut source = Memory::new(&[("a", noise(1, 100)), ("b", noise(2, 5 * MIB)), ("c", noise(3, 5 * MIB))]);
    source.panics = Some(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let options = BuildOptions { threads: 4, ..BuildOptions::default() };
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| build(&mut source, &path, &options)));
    assert!(!matches!(outcome, Ok(Ok(_))), "the build cannot have succeeded");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn other_forms_of_data() {
    let files = vec![
        ("a", noise(1, 4095)),
        ("b", noise(2, 4096)),
        ("c", noise(3, 4097)),
        ("d", noise(4, 2 * MIB + 1)),
        ("e", noise(4, 2 * MIB + 1)),
        ("f", noise(5, 3)),
    ];
    for (name, content) in [
        ("no inline data", ContentOptions { inline_data: false, ..ContentOptions::default() }),
        ("dsunit 4", ContentOptions { dsunit: 4, ..ContentOptions::default() }),
        (
            "dsunit 3, no inline data",
            ContentOptions { dsunit: 3, inline_data: false, ..ContentOptions::default() },
        ),
        ("512", ContentOptions { block_bits: BlockBits::new(9).unwrap(), ..ContentOptions::default() }),
        ("65536", ContentOptions { block_bits: BlockBits::new(16).unwrap(), ..ContentOptions::default() }),
    ] {
        check(name, &files, &with(&content));
    }
    let bare = BuildOptions::default();
    let summary = check("no fingerprints", &files, &bare);
    assert_eq!(summary.deduplicated_bytes, 2 * MIB as u64);
    assert!(summary.fingerprints.is_none());
}

#[test]
fn a_file_that_shrinks_is_an_error_and_leaves_nothing() {
    for length in [10, 9000, 3 * MIB + 5] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let mut source =
            Memory::new(&[("a", noise(1, 100)), ("b", noise(2, length)), ("c", noise(3, 5 * MIB))]);
        source.shrinks = Some(1);
        let error = build(&mut source, &path, &with(&ContentOptions::default())).unwrap_err().to_string();
        let want = format!("b: changed while it was read: found {} bytes, want {length}", length - 1);
        assert_eq!(error, want);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}

#[test]
fn an_existing_image_survives_a_failure_and_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    std::fs::write(&path, b"precious").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let mut source = Memory::new(&[("a", noise(1, 9000))]);
    source.shrinks = Some(0);
    build(&mut source, &path, &BuildOptions::default()).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    source.shrinks = None;
    build(&mut source, &path, &BuildOptions::default()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::fs::metadata(&path).unwrap().len() > 8);
}

#[test]
fn the_uuid_follows_the_content() {
    let uuid = |files: &[(&str, Vec<u8>)], options: &BuildOptions| check("uuid", files, options).uuid;
    let base = vec![("a", noise(1, 100)), ("b", noise(2, 2 * MIB))];
    let plain = BuildOptions::default();
    let marked = with(&ContentOptions::default());
    assert_eq!(uuid(&base, &plain), uuid(&base, &plain));
    assert_ne!(uuid(&base, &plain), uuid(&base, &marked), "options that change the image change it");
    for options in [&plain, &marked] {
        for (what, other) in [
            ("small content", vec![("a", changed(noise(1, 100), 50)), ("b", noise(2, 2 * MIB))]),
            ("large content", vec![("a", noise(1, 100)), ("b", changed(noise(2, 2 * MIB), 2 * MIB - 1))]),
            ("name", vec![("aa", noise(1, 100)), ("b", noise(2, 2 * MIB))]),
        ] {
            assert_ne!(uuid(&base, options), uuid(&other, options), "{what}");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    let changes: [fn(&mut BuildOptions); 9] = [
        |_| (),
        |o| o.content.fingerprint.as_mut().unwrap().key = b"user.other".to_vec(),
        |o| {
            let kind = fingerprint::by_name("uuid").unwrap();
            let value = FingerprintValue::Computed { kind, namespace: uuid::Uuid::NAMESPACE_DNS };
            o.content.fingerprint.as_mut().unwrap().value = value;
        },
        |o| {
            let kind = fingerprint::by_name("uuid").unwrap();
            let value = FingerprintValue::Computed { kind, namespace: uuid::Uuid::NAMESPACE_URL };
            o.content.fingerprint.as_mut().unwrap().value = value;
        },
        |o| o.layout.xattr_prefixes = vec![b"user.x".to_vec()],
        |o| o.layout.xattr_prefixes = vec![b"user.y".to_vec()],
        |o| o.layout.inodes = InodeForm::Compact,
        |o| o.content.dsunit = 7,
        |o| o.content.inline_data = false,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut options = marked.clone();
        options.layout.ignore_mtime = true;
        change(&mut options);
        let folder = tempfile::tempdir().unwrap();
        let summary = build(&mut Memory::new(&base), &folder.path().join("image"), &options).unwrap();
        assert!(
            seen.insert(summary.uuid),
            "change {number} of the options changes the image but not its UUID"
        );
    }
}
