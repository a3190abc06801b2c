//! Two algorithms within one file (`-E head2`), and plain blocks that are turned (with `-E fragments`): the
//! running kernel, fsck.erofs and our own reader judge both.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erofs_format::compression::Algorithm;
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::feature::incompat;
use erofs_format::map_header::MapHeader;
use erofs_image::{FileData, Follow, Image, OpenOptions};
use erofs_testkit::compare::{assert_extracted, assert_same};
use erofs_testkit::content::{Stream, edges, gaps, noise, text, write_lengths};
use erofs_testkit::require::need;
use erofs_testkit::{Expect, Mount, mount, peers, place, trees};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");
const KEY: &str = "trusted.erofs.fingerprint";
const KEY_OPTION: &str = "--ishare-key=trusted.erofs.fingerprint";

const PCLUSTERS: [&str; 3] = ["-C4096", "-C65536", "-C1048576"];
const INDEXES: [&str; 3] = ["-E^legacy-compress", "-Elegacy-compress", "-E48bit"];
const ENDS: [&str; 5] = ["-E^dedupe", "-Eztailpacking", "-Efragments", "-Eall-fragments", "-Ededupe"];

fn lines(seed: u64, length: usize) -> Vec<u8> {
    let mut numbers = Stream::new(seed);
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        let (name, other) = (numbers.below(40), numbers.below(900));
        let line = format!("    let value_{name} = self.table[{other}].checked_add(value_{other})?;\n");
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tree whose files change from one kind of content to another, within and at the edges of blocks and
/// pclusters.
fn mixed() -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(source.path().join(name), bytes).unwrap();
    let kinds = [text(1, 260_003), gaps(2, 240_001), lines(3, 200_000), noise(4, 80_007)];
    let turns = [kinds.concat(), gaps(5, 300_000), text(6, 150_000)].concat();
    write("turns", &turns);
    write("turns-copy", &turns);
    write("turns-shifted", &[b"777", &turns[..]].concat());
    write("part", &turns[65_536..500_000]);
    for (name, bytes) in ["text", "gaps", "code", "noise"].into_iter().zip(&kinds) {
        for length in [1, 100, 4095, 4097, 9000, 70_000] {
            write(&format!("{name}-{length}"), &bytes[..length]);
        }
    }
    write_lengths(source.path(), &edges(4096)).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

/// The same with a file longer than a segment, and with all kinds of content longer than the largest
/// pcluster.
fn mixed_and_long() -> tempfile::TempDir {
    let source = mixed();
    let turns = fs::read(source.path().join("turns")).unwrap();
    let long = [vec![0; 12 << 20], turns, gaps(7, 3_500_000), lines(8, 500_000)].concat();
    fs::write(source.path().join("long"), long).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

fn build(options: &[&str], source: &Path) -> (tempfile::TempDir, PathBuf) {
    peers::image(MKFS, &[&[KEY_OPTION], options].concat(), source)
}

fn opened(image: &Path) -> Image {
    OpenOptions::new().open(image).unwrap()
}

fn data(image: &Image, name: &str) -> FileData {
    image.data(&image.resolve(name.as_bytes(), Follow::All).unwrap()).unwrap()
}

fn extents(data: &FileData) -> Vec<ZExtent> {
    let mut extents: Vec<ZExtent> = Vec::new();
    while let Some(extent) = extents
        .last()
        .map_or(Some(0), |last| Some(last.end()).filter(|end| *end < data.len()))
        .and_then(|at| data.zmap(at).unwrap())
    {
        extents.push(extent);
    }
    extents
}

/// The algorithms of a file's pclusters.
fn algorithms(data: &FileData) -> BTreeSet<Algorithm> {
    let of = |extent: ZExtent| match extent.coding {
        Coding::Compressed(algorithm) => Some(algorithm),
        Coding::Shifted | Coding::Interlaced => None,
    };
    extents(data).into_iter().filter_map(of).collect()
}

fn ishare(arguments: &[&str], paths: &[&Path]) -> Output {
    let done = Command::new(ISHARE).args(arguments).args(paths).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}{}", text_of(&done.stdout), text_of(&done.stderr));
    done
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everybody reads the image as the tree that it was made of.
fn judge(source: &Path, image: &Path, what: &str) {
    if let Some(backings) = need("the kernel reads two algorithms and turned blocks", mount::both()) {
        let mounted = Mount::new(image, backings[what.len() % backings.len()])
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(source, mounted.path(), &Expect::with_sha256(KEY), what);
    }
    if let Some(peers) = need("fsck.erofs reads two algorithms and turned blocks", peers::find())
        && let Err(error) = peers.check(&["--extract", "--xattr-inode-digest"], image)
    {
        panic!("{what}: {error}");
    }
    assert_extracted(ISHARE, image, source, &Expect::with_sha256(KEY), &format!("{what}, extracted"));
    ishare(&["verify"], &[image]);
}

/// Every size, index and end with one pair of algorithms; a file of this name has both where `both` says so
/// of the size.
fn pair(source: &Path, algorithms_of: &str, percent: &str, name: &str, both: impl Fn(&str) -> bool) {
    for pcluster in PCLUSTERS {
        for index in INDEXES {
            for end in ENDS {
                let options = [algorithms_of, pcluster, index, end, percent];
                let (_dir, image) = build(&options, source);
                let what = format!("{options:?}");
                judge(source, &image, &what);
                let image = opened(&image);
                // With everything in the packed inode that is the one to look at.
                let found = match (end, image.packed()) {
                    ("-Eall-fragments", Some(packed)) => algorithms(packed),
                    _ => algorithms(&data(&image, name)),
                };
                assert!(found.len() == 2 || !both(pcluster), "{what}: {found:?}");
                // Extent records name their algorithms without it.
                let announced = image.superblock().incompat & incompat::COMPR_HEAD2 != 0;
                assert!(announced == (index != "-E48bit") || !both(pcluster), "{what}");
            }
        }
    }
}

#[test]
fn zstd_and_lz4() {
    pair(mixed_and_long().path(), "-zzstd,3:lz4", "-Ehead2", "long", |_| true);
}

#[test]
fn lzma_and_lz4hc() {
    // The file fits a pcluster of 1 MiB.
    pair(mixed().path(), "-zlzma,1:lz4hc,4", "-Ehead2=6", "turns", |pcluster| pcluster != "-C1048576");
}

#[test]
fn deflate_and_zstd() {
    // What is nearly as good or better is taken, which can be everything.
    pair(mixed().path(), "-zdeflate,6:zstd,3", "-Ehead2=1", "turns", |pcluster| pcluster == "-C4096");
}

/// Without the option, and where it finds nothing to do, everything stays as it is.
#[test]
fn without_it_there_is_one_algorithm() {
    let source = mixed();
    for options in [&["-zzstd,3:lz4", "-C65536"][..], &["-zzstd,3:lz4", "-C65536", "-Ehead2,^head2"]] {
        let (_dir, image) = build(options, source.path());
        let image = opened(&image);
        assert_eq!(image.superblock().incompat & incompat::COMPR_HEAD2, 0, "{options:?}");
        assert_eq!(algorithms(&data(&image, "turns")), BTreeSet::from([Algorithm::Zstd]), "{options:?}");
    }
}

/// Each pair of algorithms with each size of pclusters and with each of the other options, and each of these
/// with each size; not all three, since every row is built twice.
#[test]
fn zero_percent_never_costs_space() {
    let source = mixed();
    let pairs = ["-zzstd,3:lz4", "-zlzma,1:lz4hc,4", "-zdeflate,6:zstd,3", "-zlz4:zstd,3", "-zlz4:deflate,1"];
    let forms: [&[&str]; 7] = [
        &[],
        &["-Elegacy-compress"],
        &["-Eztailpacking"],
        &["-E48bit"],
        &["-Efragments"],
        &["-Ededupe"],
        &["--squeeze"],
    ];
    for (number, algorithms) in pairs.into_iter().enumerate() {
        for (pcluster, words) in PCLUSTERS.into_iter().cycle().skip(number).zip(forms) {
            let size = |more: &[&str]| {
                let options = [&[algorithms, pcluster], words, more].concat();
                fs::metadata(build(&options, source.path()).1).unwrap().len()
            };
            let (with, without) = (size(&["-Ehead2=0"]), size(&[]));
            assert!(with <= without, "{algorithms} {pcluster} {words:?}: {with} and {without} bytes");
        }
    }
}

#[test]
fn threads_do_not_change_the_image() {
    let source = mixed();
    for options in [
        &["-zzstd,3:lz4", "-C65536", "-Ehead2"][..],
        &["-zzstd,3:lz4", "-C65536", "-Ehead2,48bit"],
        &["-zlzma,1:lz4hc", "-C1048576", "-Ehead2=20,fragments"],
        &["-zdeflate,1:zstd,1", "-C16384", "-Ehead2,dedupe"],
        &["-zlz4", "-C65536", "-Efragments"],
    ] {
        let images = [1, 2, 5].map(|workers| {
            let workers = format!("--workers={workers}");
            let (_dir, image) = build(&[options, &[&workers]].concat(), source.path());
            fs::read(image).unwrap()
        });
        assert!(images.iter().all(|image| *image == images[0]), "{options:?}");
    }
}

/// Files to which a hint gives something else have one algorithm.
#[test]
fn hinted_files_have_no_alternative() {
    let source = mixed();
    let dir = place::scratch().unwrap();
    let path = dir.path().join("hints");
    fs::write(&path, "65536 0 ^turns-copy$\n32768 0 ^turns-shifted$\n65536 1 ^part$\n").unwrap();
    let hints = format!("--compress-hints={}", path.display());
    let options = ["-zzstd,3:lz4", "-C65536", "-Ehead2", "--no-file-dedupe", &hints];
    let (_dir, image) = build(&options, source.path());
    judge(source.path(), &image, "hints");
    let strict = Command::new(ISHARE).args(["verify", "--profile=hardened"]).arg(&image).output().unwrap();
    let said = text_of(&strict.stdout);
    assert!(said.contains("compr_head2") && !said.contains("nothing makes use of"), "{said}");
    let opened = opened(&image);
    let (zstd, lz4) = (Algorithm::Zstd, Algorithm::Lz4);
    for (name, want) in [
        ("turns", &[zstd, lz4][..]),
        // What it asks for is what others have.
        ("turns-copy", &[zstd, lz4]),
        ("turns-shifted", &[zstd]),
        ("part", &[lz4]),
    ] {
        assert_eq!(algorithms(&data(&opened, name)), want.iter().copied().collect(), "{name}");
    }
}

/// Compressed metadata has one algorithm, even where it is full of tails that both make equally small.
#[test]
fn metadata_has_no_alternative() {
    let source = place::scratch().unwrap();
    for number in 0..200_u64 {
        fs::write(source.path().join(number.to_string()), gaps(number, 3000)).unwrap();
    }
    trees::set_times(source.path(), 1).unwrap();
    let images = [&["-Ehead2"][..], &[]].map(|more| {
        let options = [&["-zzstd,3:lz4", "-m65536:0"], more].concat();
        let (_dir, image) = build(&options, source.path());
        fs::read(image).unwrap()
    });
    assert!(images[0] == images[1]);
}

#[test]
fn what_cannot_be_meant_is_refused_in_one_line() {
    let rows: [(&[&str], &str); 5] = [
        (&["-zzstd", "-Ehead2"], "-E head2: found one algorithm, want two, as in zstd:lz4\n"),
        (&["-zlz4:lz4", "-Ehead2"], "-E head2: found lz4 and lz4, which are one format, want two\n"),
        (&["-zlz4:lz4hc", "-Ehead2"], "-E head2: found lz4 and lz4hc, which are one format, want two\n"),
        (&["-zzstd:lz4", "-Ehead2=101"], "-E head2=101: found \"101\" percent, want 0 to 100\n"),
        (&["-zzstd:lz4", "-Ehead2=few"], "-E head2=few: found \"few\" percent, want 0 to 100\n"),
    ];
    let dir = place::scratch().unwrap();
    let image = dir.path().join("image");
    for (options, want) in rows {
        let done = Command::new(MKFS).args(options).args([&image, dir.path()]).output().unwrap();
        let said = text_of(&done.stderr);
        let line = said.strip_prefix("mkfs-erofs: ").unwrap_or(&said);
        assert!(line.starts_with(want) && line.lines().count() == 1, "{options:?}: {said}");
        assert_eq!(done.status.code(), Some(2), "{options:?}");
        assert!(!image.exists(), "{options:?}");
    }
}

/// One of [`odd`].
const ODD: &str = "odd-70001-4500001";

/// Files with noise that starts at odd bytes, within and at the edge of pclusters.
fn odd() -> tempfile::TempDir {
    let source = place::scratch().unwrap();
    for (start, length) in
        [(1, 100_000), (12_345, 100_000), (70_001, 4097), (70_001, 4_500_001), (65_536, 8192)]
    {
        let bytes =
            [text(start, usize::try_from(start).unwrap()), noise(start, length), text(9, 150_000)].concat();
        fs::write(source.path().join(format!("odd-{start}-{length}")), bytes).unwrap();
    }
    let long =
        [text(1, (16 << 20) - 70_000), noise(2, 400_000), text(3, 300_001), noise(4, 200_000)].concat();
    fs::write(source.path().join("long"), long).unwrap();
    trees::set_times(source.path(), 1).unwrap();
    source
}

fn is_interlaced(data: &FileData) -> bool {
    matches!(data.map_header(), Some(MapHeader::Index(header)) if header.interlaced)
}

fn plain(data: &FileData) -> Vec<ZExtent> {
    let is_plain = |extent: &ZExtent| {
        matches!(extent.stored, Stored::Pcluster { .. }) && !matches!(extent.coding, Coding::Compressed(_))
    };
    extents(data).into_iter().filter(is_plain).collect()
}

#[test]
fn plain_blocks_are_turned_with_fragments() {
    let source = odd();
    for algorithm in ["-zlz4", "-zzstd,1", "-zzstd,1:lz4"] {
        for pcluster in PCLUSTERS {
            for (words, block) in [
                ("-Efragments", "-b4096"),
                ("-Elegacy-compress,fragments", "-b4096"),
                ("-Efragments,fragdedupe=off", "-b1024"),
            ] {
                let mut options = vec![algorithm, pcluster, words, block];
                options.extend(algorithm.contains(':').then_some("-Ehead2"));
                let (_dir, image) = build(&options, source.path());
                let what = format!("{options:?}");
                judge(source.path(), &image, &what);
                let file = data(&opened(&image), ODD);
                let plain = plain(&file);
                // What starts at a block needs no turn.
                assert!(plain.iter().any(|extent| extent.start % 4096 != 0), "{what}");
                assert!(plain.iter().all(|extent| extent.coding == Coding::Interlaced), "{what}");
                assert!(is_interlaced(&file), "{what}");
            }
        }
    }
}

/// In each turned block a byte stands where it stands in its block of the file.
#[test]
fn turned_bytes_keep_their_place() {
    let source = odd();
    let (_dir, path) = build(&["-zlz4", "-C65536", "-Efragments"], source.path());
    let content = fs::read(source.path().join(ODD)).unwrap();
    let file = data(&opened(&path), ODD);
    let image = fs::read(&path).unwrap();
    let plain = plain(&file);
    assert!(plain.len() > 20);
    for extent in plain {
        let Stored::Pcluster { byte, length: 4096 } = extent.stored else { panic!("{extent:?}") };
        for at in extent.start..extent.end() {
            let stored = image[usize::try_from(byte + at % 4096).unwrap()];
            assert_eq!(stored, content[usize::try_from(at).unwrap()], "byte {at}");
        }
    }
}

/// Kernels before 6.1, which ignore the bit, mount what has no fragments; references and extent records have
/// other rules.
#[test]
fn elsewhere_plain_blocks_stay_as_they_are() {
    let source = odd();
    for words in ["-E^fragments", "-Eztailpacking", "-Efragments,dedupe", "-Efragments,48bit"] {
        let (_dir, image) = build(&["-zlz4", "-C65536", words], source.path());
        let image = opened(&image);
        let file = data(&image, ODD);
        assert!(!is_interlaced(&file), "{words}");
        let plain = plain(&file);
        assert!(!plain.is_empty() && plain.iter().all(|extent| extent.coding == Coding::Shifted), "{words}");
    }
}

/// The packed inode follows the rule of the others.
#[test]
fn the_packed_inode_has_turned_blocks() {
    let source = odd();
    for words in ["-Eall-fragments", "-Eall-fragments,legacy-compress"] {
        let (_dir, image) = build(&["-zlz4", "-C65536", words], source.path());
        judge(source.path(), &image, words);
        let image = opened(&image);
        let packed = image.packed().unwrap();
        assert!(is_interlaced(packed), "{words}");
        assert!(plain(packed).iter().any(|extent| extent.start % 4096 != 0), "{words}");
    }
}

/// Linux cannot read DEFLATE whose last three bytes lie on two pages, so without blocks its pclusters start
/// and end at multiples of four bytes, whatever stands before them.
#[test]
fn deflate_stays_aligned_beside_others() {
    let source = mixed();
    let dir = place::scratch().unwrap();
    let path = dir.path().join("hints");
    fs::write(&path, "65536 1 ^(gaps|part|text)\n").unwrap();
    let hints = format!("--compress-hints={}", path.display());
    for options in [
        &["-zzstd,3:deflate,1", "-C65536", "-E48bit", &hints][..],
        &["-zzstd,3:deflate,1", "-C8192", "-E48bit,head2=50"],
        &["-zdeflate,1:lz4", "-C8192", "-E48bit,head2"],
    ] {
        let (_dir, path) = build(options, source.path());
        judge(source.path(), &path, &format!("{options:?}"));
        let image = opened(&path);
        let mut seen = 0;
        for entry in fs::read_dir(source.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            for extent in extents(&data(&image, &name)) {
                if let (Stored::Pcluster { byte, length }, Coding::Compressed(Algorithm::Deflate)) =
                    (extent.stored, extent.coding)
                {
                    assert_eq!((byte % 4, length % 4), (0, 0), "{options:?}: {name} {extent:?}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 5, "{options:?}");
    }
}
