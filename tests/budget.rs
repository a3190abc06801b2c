//! How much of an image the verbs read: everything that the builder writes, nothing without end, and one line
//! where a device is not there.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../crates/image/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{Maker, dir_block, inode};
use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{ChunkFormat, encode_entry};
use erofs_format::feature::incompat;
use erofs_format::filetype::FileType;
use erofs_format::inode::{Inode, Version};
use erofs_testkit::{content, peers, place};

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

fn ishare(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(ISHARE).args(arguments).args(paths).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Directories get far shorter than what they hold, so that an image is no measure of its directories.
#[test]
fn directories_may_be_longer_than_the_image() {
    const EACH: usize = 100;
    let source = place::scratch().unwrap();
    for directory in 0..EACH {
        let path = source.path().join(format!("directory-{directory:03}"));
        fs::create_dir(&path).unwrap();
        for file in 0..EACH {
            fs::write(path.join(format!("file{file}")), b"").unwrap();
        }
    }
    let listed = EACH * EACH + EACH + 1;
    for options in [
        &["-m65536:zstd"][..],
        &["-zzstd", "-C65536", "--zD"],
        &["-zzstd", "-C65536", "-Efragments", "--zD", "-m65536"],
        &["-zlz4", "--zD", "-m4096"],
    ] {
        let all = [&["--quiet", "-T0", "--all-root"], options].concat();
        let (dir, image) = peers::image(MKFS, &all, source.path());
        let companion = dir.path().join("companion");
        let index = ishare(&["index", "-q", "-o"], &[&companion, &image]);
        assert_eq!((index.status.code(), stderr(&index).as_str()), (Some(0), ""), "{options:?}");
        // All files are empty, so that nobody asks for the companion's device.
        for image in [&image, &companion] {
            let list = ishare(&["ls", "-R"], &[image]);
            let lines = list.stdout.split(|byte| *byte == b'\n').count() - 1;
            assert_eq!((lines, stderr(&list).as_str()), (listed, ""), "{options:?}");
            let verify = ishare(&["verify"], &[image]);
            let text = String::from_utf8_lossy(&verify.stdout);
            assert_eq!(verify.status.code(), Some(0), "{options:?}: {text}");
        }
    }
}

#[test]
fn a_pipe_is_no_image() {
    let dir = place::scratch().unwrap();
    let script = |line: &str| format!("true | {ISHARE} {line} /dev/stdin");
    for line in ["ls", "inspect", "verify", "sign --to-be-signed tbs", "index -o made", "extract -q -o out"] {
        let output =
            Command::new("bash").current_dir(dir.path()).args(["-c", &script(line)]).output().unwrap();
        let want =
            "/dev/stdin: is a pipe, which can only be read once, want a regular file or a block device";
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert!(!output.status.success() && text.contains(want), "{line}: {text}");
    }
}

/// An image of directories one in the other, each with a name of 255 bytes.
fn deep(levels: usize) -> Vec<u8> {
    // A directory takes 32 bytes, three entries of 12 bytes, and 258 of names: one in each block of 512 bytes.
    const SLOTS: u64 = (common::BLOCK / 32) as u64;
    let mut maker = Maker::new(common::META + levels + 1);
    maker.superblock.root_nid = Nid(SLOTS);
    maker.superblock.inodes = levels as u64;
    maker.superblock.blocks = (common::META + levels + 1) as u64;
    let name = [b'n'; 255];
    for level in 1..=levels as u64 {
        let (here, above) = (Nid(level * SLOTS), Nid(level.saturating_sub(1).max(1) * SLOTS));
        let (child, directory) = (Nid((level + 1) * SLOTS), FileType::Directory);
        let all = [(b".".as_slice(), here, directory), (b"..", above, directory), (&name, child, directory)];
        let is_last = level == levels as u64;
        let block = dir_block(&all[..if is_last { 2 } else { 3 }]);
        let record = inode(directory, DataLayout::FlatInline, block.len() as u64);
        let mode = directory.mode_bits() | 0o755;
        maker.inode(here.0, Inode { nlink: if is_last { 2 } else { 3 }, mode, ..record }, &[], &block);
    }
    maker.bytes()
}

/// Linux reads it. The paths of all its directories have 512 MB together.
#[test]
fn directories_may_be_2000_levels_deep() {
    let dir = place::disk_scratch().unwrap();
    let path = |name: &str| dir.path().join(name);
    let image = path("image");
    fs::write(&image, deep(2000)).unwrap();
    for line in [
        "verify image",
        "simulate --allow-unshared image",
        "index -q -o companion image",
        "extract --quiet -o out image",
    ] {
        // Not in the memory of all paths: that of one is half a megabyte.
        let script = format!("ulimit -v 400000 && exec {ISHARE} {line}");
        let output = Command::new("bash").current_dir(dir.path()).args(["-c", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        let shown: String = text.chars().take(1000).collect();
        assert_eq!(output.status.code(), Some(0), "{line}: {shown}");
    }
    // The library's own way of removing keeps a file open for each level.
    assert!(Command::new("rm").args(["-r", "-f"]).arg(path("out")).status().unwrap().success());
}

/// An image with one file, which has this inode and this behind it.
fn with_file(record: Inode, behind: &[u8]) -> Vec<u8> {
    let mut maker = Maker::new(12);
    let (dir, file) = (FileType::Directory, FileType::Regular);
    let block = dir_block(&[(b".", Nid(1), dir), (b"..", Nid(1), dir), (b"file", Nid(8), file)]);
    let root = Inode { nlink: 2, ..inode(dir, DataLayout::FlatInline, block.len() as u64) };
    maker.superblock.root_nid = Nid(1);
    maker.superblock.inodes = 2;
    maker.superblock.incompat = incompat::CHUNKED_FILE;
    maker.inode(1, root, &[], &block);
    maker.inode(8, Inode { version: Version::Extended, ..record }, &[], behind);
    maker.bytes()
}

/// An image with a file of `size` bytes, all of them one hole in chunks of 2^40 bytes.
fn with_hole(size: u64) -> Vec<u8> {
    let format = ChunkFormat { blkbits: 31, indexes: false, wide: false };
    let mut table = Vec::new();
    for _ in 0..size.div_ceil(1 << 40) {
        encode_entry(format, None, &mut table).unwrap();
    }
    let record = inode(FileType::Regular, DataLayout::ChunkBased, size);
    with_file(Inode { i_u: format.encode(), ..record }, &table)
}

#[test]
fn no_verb_reads_contents_without_end() {
    let dir = place::disk_scratch().unwrap();
    let path = |name: &str| dir.path().join(name);
    let image = path("image");
    fs::write(&image, with_hole(4 << 40)).unwrap();
    let (made, folder) = (path("made"), path("folder"));
    let (made, folder) = (made.to_str().unwrap(), folder.to_str().unwrap());
    let too_much =
        "contents: found more than 1099512020992 bytes, want no more than is read of an image of this size";
    for (arguments, code, want) in [
        (&["inspect"][..], 0, ""),
        (&["ls", "-lR"], 0, ""),
        (&["verify", "--profile=core"], 0, ""),
        (&["simulate", "--allow-unshared"], 0, ""),
        (&["simulate", "--allow-unshared", "--verify"], 1, too_much),
        (&["index", "-q", "-o", made], 1, too_much),
        (&["index", "-q", "--overlay", "-o", made], 0, ""),
        (&["extract", "--quiet", "-o", folder], 0, ""),
    ] {
        let started = Instant::now();
        let output = ishare(arguments, &[&image]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(want) && text.lines().count() <= 1, "{arguments:?}: {text}");
        assert!(started.elapsed() < Duration::from_secs(20), "{arguments:?}: {:?}", started.elapsed());
    }
    let extracted = fs::metadata(path("folder").join("file")).unwrap();
    assert_eq!(extracted.len(), 4 << 40);
}

/// Tables of chunks would take far more than these images, up to 16 GiB.
#[test]
fn an_overlay_has_no_tables_without_end() {
    let dir = place::disk_scratch().unwrap();
    let (image, companion) = (dir.path().join("image"), dir.path().join("companion"));
    let flat = inode(FileType::Regular, DataLayout::FlatPlain, u64::MAX >> 1);
    for bytes in [with_hole(100 << 40), with_file(Inode { i_u: u32::MAX, hi: u16::MAX, ..flat }, &[])] {
        fs::write(&image, bytes).unwrap();
        let output = ishare(&["index", "-q", "--overlay", "-o"], &[&companion, &image]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("/file: tables of files: found more than "), "{text}");
    }
}

/// An image with files of whole blocks and tails, compressed or not, and its companion.
fn companion(options: &[&str], index: &[&str]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let source = place::scratch().unwrap();
    for (number, length) in [9_000, 20_000, 40_000].into_iter().enumerate() {
        fs::write(source.path().join(format!("file-{number}")), content::text(7, length)).unwrap();
    }
    let all = [&["--quiet", "-T0", "--all-root"], options].concat();
    let (dir, image) = peers::image(MKFS, &all, source.path());
    let companion = dir.path().join("companion");
    let output = ishare(&[&["index", "-q"], index, &["-o"]].concat(), &[&companion, &image]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{options:?}");
    (dir, image, companion)
}

#[test]
fn a_companion_without_its_device_is_one_line() {
    for options in [&[][..], &["--chunksize=4096"], &["-zzstd", "-C16384"], &["-zlz4", "-Eall-fragments"]] {
        for index in [&[][..], &["--plain-metadata"]] {
            let (dir, image, companion) = companion(options, index);
            let folder = dir.path().join("folder");
            let folder = folder.to_str().unwrap();
            let inspect = ishare(&["inspect"], &[&image]);
            let text = String::from_utf8(inspect.stdout).unwrap();
            let uuid = text.lines().find_map(|line| line.strip_prefix("UUID")).unwrap().trim();
            let absent = format!("data on extra device 1 ({uuid}): found no such device, want 1 given");
            for (arguments, behind, code) in [
                (&["ls", "-lR"][..], &[][..], 0),
                (&["inspect"], &[], 0),
                (&["simulate"], &[], 0),
                (&["verify"], &[], 8),
                (&["cat"], &["/file-0"], 1),
                (&["extract", "--quiet", "-o", folder], &[], 1),
                (&["simulate", "--verify"], &[], 1),
            ] {
                let mut command = Command::new(ISHARE);
                let output = command.args(arguments).arg(&companion).args(behind).output().unwrap();
                let text = stderr(&output);
                assert_eq!(output.status.code(), Some(code), "{options:?} {index:?} {arguments:?}: {text}");
                let lines = usize::from(code != 0);
                assert_eq!(text.lines().count(), lines, "{options:?} {index:?} {arguments:?}: {text}");
                assert!(code == 0 || text.contains(&absent), "{options:?} {index:?} {arguments:?}: {text}");
            }
            let device = format!("--device={}", image.display());
            let output = ishare(&["verify", &device], &[&companion]);
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// Blocks that are longer than the pclusters that metadata has by default.
#[test]
fn companions_have_blocks_of_any_size() {
    for options in [&["-b65536"][..], &["-b65536", "-zzstd", "-C65536"], &["-b512"], &["-b32768"]] {
        let (_dir, image, companion) = companion(options, &[]);
        let device = format!("--device={}", image.display());
        let output = ishare(&["verify", &device], &[&companion]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{options:?}: {text}");
        let read = |arguments: &[&str], image: &Path| {
            let output =
                Command::new(ISHARE).arg("cat").args(arguments).arg(image).arg("/file-2").output().unwrap();
            assert!(output.status.success(), "{options:?}: {}", stderr(&output));
            output.stdout
        };
        assert!(read(&[&device], &companion) == read(&[], &image), "{options:?}");
    }
}

/// Hundreds of files whose tables are the same bytes: each table is small, and all together are not.
#[test]
fn overlapping_tables_do_not_add_up() {
    const FILES: u64 = 300;
    const CHUNKS: usize = 12_000;
    let mut maker = Maker::new(128);
    let format = ChunkFormat { blkbits: 0, indexes: false, wide: false };
    let (dir, file) = (FileType::Directory, FileType::Regular);
    let names: Vec<String> = (0..FILES).map(|number| format!("{number:03}")).collect();
    let mut entries: Vec<(&[u8], Nid, FileType)> = vec![(b".", Nid(1), dir), (b"..", Nid(1), dir)];
    entries.extend(names.iter().zip(8..).map(|(name, nid)| (name.as_bytes(), Nid(nid), file)));
    let mut block = Vec::new();
    for part in entries.chunks(30) {
        block.resize(block.len().next_multiple_of(512), 0);
        block.extend(dir_block(part));
    }
    maker.put(100 * 512, &block);
    let root = Inode { i_u: 100, nlink: 2, ..inode(dir, DataLayout::FlatPlain, block.len() as u64) };
    maker.superblock.root_nid = Nid(1);
    maker.superblock.inodes = FILES + 1;
    maker.superblock.incompat = incompat::CHUNKED_FILE;
    maker.inode(1, root, &[], &[]);
    for nid in 8..8 + FILES {
        let size = CHUNKS as u64 * 512;
        let record = Inode { i_u: format.encode(), ..inode(file, DataLayout::ChunkBased, size) };
        maker.inode(nid, record, &[], &[]);
    }
    let place = place::disk_scratch().unwrap();
    let image = place.path().join("image");
    fs::write(&image, maker.bytes()).unwrap();
    let started = Instant::now();
    let output = ishare(&["verify"], &[&image]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{text}");
    assert!(text.contains("extents: found more than 34816 of them"), "{text}");
    assert!(output.stdout.len() < 100_000 && started.elapsed() < Duration::from_secs(20));
}
