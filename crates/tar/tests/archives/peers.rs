//! GNU tar, bsdtar, Python's tarfile and the crate `tar` beside this one: what is accepted they read in the
//! same way, and what they write is accepted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use erofs_tar::{Entry, Kind, Options, entries};
use erofs_testkit::require::{need, program};

use super::hostile::cases;

/// How each program unpacks `archive` in the folder `out`.
const UNPACK: [(&str, &str); 3] = [
    ("tar", r#"tar -xpf "$1" -C "$2""#),
    ("bsdtar", r#"bsdtar -xpf "$1" -C "$2""#),
    (
        "python3",
        r#"python3 -c 'import sys, tarfile
t = tarfile.open(sys.argv[1])
t.extraction_filter = lambda member, path: member
t.extractall(sys.argv[2])' "$1" "$2""#,
    ),
];

/// Accepted cases that programs cannot unpack, or do not read at all: paths that are refused by name, links
/// to nothing, devices, and sparse files beyond what each program is known to read.
fn is_comparable(entries: &[Entry], python: bool) -> bool {
    entries.iter().all(|entry| {
        let text = String::from_utf8_lossy(&entry.path);
        let is_safe = !text.contains("..") && !text.starts_with('/') && text != ".";
        let is_plain = matches!(entry.kind, Kind::File | Kind::Directory | Kind::Symlink { .. } | Kind::Fifo);
        let is_below = entries.iter().any(|other| {
            matches!(other.kind, Kind::Symlink { .. })
                && entry.path.starts_with(&[&other.path[..], b"/"].concat())
        });
        is_safe && is_plain && !is_below && !(python && entry.segments.is_some())
    })
}

/// Paths without slashes at their ends, with the lengths of files.
fn wanted(entries: &[Entry]) -> BTreeMap<String, u64> {
    let name = |path: &[u8]| {
        let text = path.escape_ascii().to_string();
        text.trim_end_matches('/').trim_start_matches("./").replace("//", "/")
    };
    let mut all = BTreeMap::new();
    for entry in entries {
        let path = name(&entry.path);
        for (at, _) in path.match_indices('/') {
            all.insert(path[..at].to_owned(), 0);
        }
        all.insert(path, if entry.kind == Kind::File { entry.size } else { 0 });
    }
    all
}

fn unpacked(folder: &Path, prefix: &str, all: &mut BTreeMap<String, u64>) {
    use std::os::unix::ffi::OsStrExt as _;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().as_bytes().escape_ascii());
        let meta = entry.path().symlink_metadata().unwrap();
        all.insert(name.clone(), if meta.is_file() { meta.len() } else { 0 });
        if meta.is_dir() {
            unpacked(&entry.path(), &format!("{name}/"), all);
        }
    }
}

#[test]
fn programs_read_what_is_accepted() {
    let mut wrong = Vec::new();
    for (name, script) in UNPACK {
        let Some(_) = need("archives unpacked by other programs", program(name)) else { continue };
        let mut compared = 0;
        for case in cases() {
            let Ok(read) = entries(&case.bytes, &Options::default()) else { continue };
            if !is_comparable(&read, name == "python3") {
                continue;
            }
            compared += 1;
            let folder = tempfile::tempdir().unwrap();
            let (archive, out) = (folder.path().join("a.tar"), folder.path().join("out"));
            fs::write(&archive, &case.bytes).unwrap();
            fs::create_dir(&out).unwrap();
            drop(Command::new("sh").args(["-c", script, "sh"]).arg(&archive).arg(&out).output().unwrap());
            let mut found = BTreeMap::new();
            unpacked(&out, "", &mut found);
            if found != wanted(&read) {
                wrong.push(format!("{name}, {}: found {found:?}, wanted {:?}", case.name, wanted(&read)));
            }
        }
        assert!(compared > 30, "{name}: {compared} cases");
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A tree with files of several kinds and lengths.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/file"), vec![b'x'; 700]).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::hard_link(root.join("d/file"), root.join("link")).unwrap();
    symlink("d/file", root.join("symlink")).unwrap();
    let file = fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 300_000).unwrap();
    file.set_len(1 << 20).unwrap();
    erofs_testkit::trees::set_mtime(&root.join("d/file"), 1_700_000_000, 0).unwrap();
}

/// The content of an entry, with its holes.
fn content(archive: &[u8], entry: &Entry) -> Vec<u8> {
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let mut stored = &archive[at(entry.data_offset)..at(entry.data_offset + entry.stored)];
    let Some(segments) = &entry.segments else { return stored.to_vec() };
    let mut content = vec![0; at(entry.size)];
    for segment in segments {
        let (piece, rest) = stored.split_at(at(segment.length));
        content[at(segment.offset)..at(segment.offset + segment.length)].copy_from_slice(piece);
        stored = rest;
    }
    content
}

fn compare(archive: &[u8], root: &Path, what: &str) {
    let read = entries(archive, &Options::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut names = 0;
    for entry in &read {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        let file = root.join(path.trim_end_matches('/'));
        let meta = file.symlink_metadata().unwrap();
        names += 1;
        assert_eq!(u32::from(entry.mode), meta.mode() & 0o7777, "{what}: {path}");
        assert_eq!(entry.uid, u64::from(meta.uid()), "{what}: {path}");
        assert_eq!(entry.mtime.seconds, meta.mtime(), "{what}: {path}");
        match &entry.kind {
            Kind::File => assert!(content(archive, entry) == fs::read(&file).unwrap(), "{what}: {path}"),
            Kind::Directory => assert!(meta.is_dir(), "{what}: {path}"),
            Kind::Symlink { target } => {
                assert_eq!(target, fs::read_link(&file).unwrap().as_os_str().as_encoded_bytes());
            }
            Kind::HardLink { .. } => assert_eq!(meta.nlink(), 2, "{what}: {path}"),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                panic!("{what}: {path}: {:?}", entry.kind)
            }
        }
    }
    assert!(names >= 8, "{what}: {names} entries");
}

#[test]
fn archives_of_programs_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    tree(&root);
    let python = |format: &str| {
        format!(
            "python3 -c 'import tarfile\n\
             with tarfile.open(\"../a.tar\", \"w\", format=tarfile.{format}) as t: t.add(\".\")'"
        )
    };
    let mut commands: Vec<(&str, String)> = Vec::new();
    for format in [
        "v7",
        "ustar",
        "gnu",
        "posix",
        "gnu -S",
        "posix -S --sparse-version=0.0",
        "posix -S --sparse-version=0.1",
        "posix -S --sparse-version=1.0",
    ] {
        commands.push(("tar", format!("tar -cf ../a.tar --format={format} .")));
    }
    for format in ["ustar", "gnutar", "pax", "restricted"] {
        let format = if format == "restricted" { "pax --options=pax:xattrheader=ALL" } else { format };
        commands.push(("bsdtar", format!("bsdtar -cf ../a.tar --format={format} .")));
    }
    for format in ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"] {
        commands.push(("python3", python(format)));
    }
    for (name, command) in commands {
        let Some(_) = need("archives of other programs", program(name)) else { continue };
        let output = Command::new("sh").args(["-c", &command]).current_dir(&root).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        compare(&fs::read(folder.path().join("a.tar")).unwrap(), &root, &command);
    }
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", &root).unwrap();
    compare(&builder.into_inner().unwrap(), &root, "the crate tar");
}

/// Cases that the crate reads differently from all programs: it takes each line of a value for a record, a
/// NUL for a part of a long name, and other versions than 00 for no ustar; and it does not know `X`, sums of
/// signed bytes, and fields of zeros.
const KNOWN: [&str; 6] = [
    "record with a newline",
    "long name with NUL inside",
    "other version of ustar",
    "sun's records",
    "checksum of signed bytes",
    "size of zeros",
];

#[test]
fn the_crate_tar_reads_the_same() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in cases() {
        let Ok(read) = entries(&case.bytes, &Options::default()) else { continue };
        // It takes what follows a directory that states a size for its content, and has no maps of PAX.
        let is_known = read.iter().all(|entry| entry.kind == Kind::File && entry.segments.is_none());
        let mut archive = tar::Archive::new(&case.bytes[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let Ok(entry) = entry else { break };
            // Global records are entries to it.
            if entry.header().entry_type().is_pax_global_extensions() {
                continue;
            }
            found.push((entry.path_bytes().into_owned(), entry.size()));
        }
        if is_known {
            compared += 1;
            let wanted: Vec<_> = read.into_iter().map(|entry| (entry.path, entry.size)).collect();
            if found != wanted && !KNOWN.contains(&&*case.name) {
                wrong.push(format!("{}: found {found:?}, wanted {wanted:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 20, "{compared} cases");
}
