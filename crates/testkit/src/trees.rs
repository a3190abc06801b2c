//! A tree with one of each thing that a directory can hold, and a few trees for one purpose each.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::content::{Piece, Stream, edges, noise, sparse, symlink_target, write_lengths};
use crate::error::{At as _, Result};
use crate::place;
use crate::require::{self, Absent};

/// What the file system or the user could not make of a tree; each would be a check that is not made.
pub type Omitted = BTreeSet<Absent>;

/// Scratch space filled by [`everything`]; what this machine cannot make of it is named by [`require::need`].
///
/// # Errors
/// Those of [`everything`].
///
/// # Panics
/// When something cannot be made and nothing may be absent.
pub fn one_of_each() -> Result<TempDir> {
    let dir = place::scratch()?;
    for omitted in everything(dir.path())? {
        require::need("one of each thing in a source tree", Err::<(), _>(omitted));
    }
    Ok(dir)
}

/// Fills the empty directory `dir` with one of each thing that a directory can hold: lengths, links, special
/// files, names, modes, owners, attributes of every namespace, ACLs, holes, copies, a directory of 1,500
/// entries and one 150 levels deep, every path with a modification time of its own.
///
/// Returns what could not be made here; as root and on a tmpfs of Linux 6.6 or newer that is nothing.
///
/// # Errors
/// When something cannot be made that every file system and user can make.
pub fn everything(dir: &Path) -> Result<Omitted> {
    let mut omitted = Omitted::new();
    let part = |name: &str| -> Result<PathBuf> {
        let path = dir.join(name);
        fs::create_dir_all(&path).at("make", &path)?;
        Ok(path)
    };
    part("empty")?;
    lengths(&part("lengths")?)?;
    links(&part("links")?)?;
    special(&part("special")?, &mut omitted)?;
    names(&part("names")?)?;
    holes(&part("holes")?)?;
    copies(&part("copies")?)?;
    many_entries(&part("many")?, 1_500)?;
    deep(&part("deep")?, 150)?;
    owners(&part("owners")?, &mut omitted)?;
    modes(&part("modes")?, &mut omitted)?;
    attributes(&part("attributes")?, &mut omitted)?;
    acls(&part("acls")?, &mut omitted)?;
    capability(&part("capability")?, &mut omitted)?;
    set_times(dir, 1)?;
    Ok(omitted)
}

/// Gives every path under `dir` a modification time that is reproducible from its name and `seed`, so that a
/// copy of a tree can be made with the same times in any order. Nanoseconds include 0 and 999,999,999.
///
/// # Errors
/// When a time cannot be set.
pub fn set_times(dir: &Path, seed: u64) -> Result<()> {
    // In the order of names: of several names of one file, the last one decides.
    for entry in WalkDir::new(dir).contents_first(true).sort_by_file_name() {
        let entry = entry.map_err(std::io::Error::from).at("list", dir)?;
        let relative = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        let hash = relative.as_os_str().as_bytes().iter().fold(seed, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
        });
        let mut stream = Stream::new(hash);
        let seconds = match stream.below(16) {
            0 => 0,
            1 => i64::from(u32::MAX) + 5,
            _ => 1_000_000_000 + i64::try_from(stream.below(700_000_000)).unwrap_or(0),
        };
        let nanoseconds = match stream.below(4) {
            0 => 0,
            1 => 999_999_999,
            _ => i64::try_from(stream.below(1_000_000_000)).unwrap_or(0),
        };
        set_mtime(entry.path(), seconds, nanoseconds)?;
    }
    Ok(())
}

/// Sets the modification time of a path itself, not of what a symlink points to.
///
/// # Errors
/// When the system refuses.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) -> Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).at("set the time of", path)
}

fn lengths(dir: &Path) -> Result<()> {
    for block_size in [512, 4096, 65536] {
        write_lengths(dir, &edges(block_size)).at("fill", dir)?;
    }
    Ok(())
}

fn links(dir: &Path) -> Result<()> {
    for len in [1, 2, 59, 60, 61, 255, 256, 1000, 3900, 3990, 4000, 4031, 4032, 4033, 4063, 4094, 4095] {
        let path = dir.join(format!("symlink-{len}"));
        symlink(OsStr::from_bytes(&symlink_target(len)), &path).at("make the symlink", &path)?;
    }
    let first = dir.join("first");
    fs::write(&first, b"one file under several names").at("write", &first)?;
    fs::create_dir_all(dir.join("below/further")).at("make", dir)?;
    let names = ["second", "below/third", "below/further/fourth"];
    for (from, to) in
        names.map(|name| ("first", name)).into_iter().chain([("symlink-60", "symlink-60-again")])
    {
        rustix::fs::linkat(CWD, dir.join(from), CWD, dir.join(to), AtFlags::empty())
            .at("link", &dir.join(to))?;
    }
    Ok(())
}

/// FIFO, socket and devices with the smallest and largest numbers that a device can have.
fn special(dir: &Path, omitted: &mut Omitted) -> Result<()> {
    let mode = Mode::from_raw_mode(0o640);
    let node = |name: &str, kind, device| rustix::fs::mknodat(CWD, dir.join(name), kind, mode, device);
    node("fifo", FileType::Fifo, 0).at("make", &dir.join("fifo"))?;
    node("socket", FileType::Socket, 0).at("make", &dir.join("socket"))?;
    for (major, minor) in [(0, 0), (1, 3), (8, 1), (255, 255), (256, 256), (259, 70_000), (4095, 1_048_575)] {
        let device = rustix::fs::makedev(major, minor);
        for (letter, kind) in [("c", FileType::CharacterDevice), ("b", FileType::BlockDevice)] {
            if let Err(errno) = node(&format!("{letter}-{major}-{minor}"), kind, device) {
                omitted.insert(Absent::because(format!(
                    "device {letter} {major}:{minor} cannot be made: {errno}"
                )));
            }
        }
    }
    rustix::fs::linkat(CWD, dir.join("fifo"), CWD, dir.join("fifo-again"), AtFlags::empty())
        .at("link", dir)?;
    Ok(())
}

/// Every single byte that can be a name, the longest names, and names that tools like to stumble over.
fn names(dir: &Path) -> Result<()> {
    let single = (1..=255_u8).filter(|byte| !b"/.".contains(byte)).map(|byte| vec![byte]);
    let odd = [
        b"...".to_vec(),
        b"..a".to_vec(),
        b".hidden".to_vec(),
        b"-rf".to_vec(),
        b"two words".to_vec(),
        b"line\nbreak\ttab".to_vec(),
        b"\"quotes' \\ $(x) `y` %s *".to_vec(),
        b"\xff\xfe\x80 no UTF-8".to_vec(),
        "gr\u{fc}\u{df}e \u{1f980} \u{4f60}\u{597d}".as_bytes().to_vec(),
        b"n".repeat(254),
        b"n".repeat(255),
        "\u{e4}".repeat(127).into_bytes(),
    ];
    for name in single.chain(odd) {
        let path = dir.join(OsStr::from_bytes(&name));
        fs::write(&path, &name).at("write", &path)?;
    }
    Ok(())
}

fn holes(dir: &Path) -> Result<()> {
    let data = |len| noise(len as u64, len);
    let cases: [(&str, u64, Vec<Piece>); 8] = [
        ("only-hole", 1 << 20, vec![]),
        ("one-byte-hole", 1, vec![]),
        ("hole-at-start", (1 << 20) + 5000, vec![(1 << 20, data(5000))]),
        ("hole-at-end", 1 << 20, vec![(0, data(5000))]),
        ("hole-in-middle", 300_000, vec![(0, data(70_000)), (200_000, data(100_000))]),
        ("many-holes", 64 * 65536, (0..64).map(|at| (at * 65536 + 4096, data(4096))).collect()),
        ("written-zeros", 200_000, vec![(0, vec![0; 200_000])]),
        ("odd-holes", 1_000_001, vec![(3, data(1)), (500_001, data(2)), (1_000_000, data(1))]),
    ];
    for (name, len, pieces) in cases {
        let path = dir.join(name);
        sparse(&path, len, &pieces).at("write", &path)?;
    }
    Ok(())
}

/// Files that are identical, that begin alike, and that end alike.
fn copies(dir: &Path) -> Result<()> {
    for len in [1, 100, 4096, 4097, 100_000] {
        for copy in 0..3 {
            let path = dir.join(format!("{len}-{copy}"));
            fs::write(&path, noise(99, len)).at("write", &path)?;
        }
    }
    let mut changed = noise(99, 100_000);
    changed[99_999] ^= 1;
    let path = dir.join("last-byte-differs");
    fs::write(&path, &changed).at("write", &path)
}

/// Fills a directory with `count` entries whose names differ in length, mostly empty files.
///
/// # Errors
/// When an entry cannot be made.
pub fn many_entries(dir: &Path, count: usize) -> Result<()> {
    for at in 0..count {
        let path = dir.join(format!("{at}{}", "-".repeat(at % 97)));
        if at % 100 == 99 {
            fs::create_dir(&path).at("make", &path)?;
        } else {
            let content = if at % 10 == 0 { noise(at as u64, at % 50) } else { Vec::new() };
            fs::write(&path, content).at("write", &path)?;
        }
    }
    Ok(())
}

fn deep(dir: &Path, levels: usize) -> Result<()> {
    let mut path = dir.to_path_buf();
    for level in 0..levels {
        path.push(format!("level-{level}"));
    }
    fs::create_dir_all(&path).at("make", &path)?;
    let file = path.join("at the bottom");
    fs::write(&file, b"down here").at("write", &file)
}

/// A directory with one file that has `count` names.
///
/// # Errors
/// When a link cannot be made, for instance because the file system allows fewer.
pub fn many_links(dir: &Path, count: usize) -> Result<()> {
    let first = dir.join("000000");
    fs::write(&first, b"many names").at("write", &first)?;
    for at in 1..count {
        let path = dir.join(format!("{at:06}"));
        fs::hard_link(&first, &path).at("link", &path)?;
    }
    Ok(())
}

fn owners(dir: &Path, omitted: &mut Omitted) -> Result<()> {
    for (uid, gid) in
        [(0, 0), (1000, 1000), (65535, 65535), (65536, 1), (1, 65536), (u32::MAX - 1, u32::MAX - 1)]
    {
        let path = dir.join(format!("{uid}-{gid}"));
        fs::write(&path, b"owned").at("write", &path)?;
        if let Err(error) = std::os::unix::fs::lchown(&path, Some(uid), Some(gid)) {
            omitted.insert(Absent::because(format!("owner {uid}:{gid} cannot be set: {error}")));
        }
    }
    Ok(())
}

fn modes(dir: &Path, omitted: &mut Omitted) -> Result<()> {
    for mode in [0o000, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777] {
        // Only root reads what its owner may not.
        if mode & 0o500 != 0o500
            && let Err(absent) = require::root()
        {
            omitted.insert(Absent::because(format!("mode {mode:04o} cannot be read: {absent}")));
            continue;
        }
        for is_dir in [false, true] {
            let path = dir.join(format!("{mode:04o}{}", if is_dir { "-dir" } else { "" }));
            if is_dir {
                fs::create_dir(&path).at("make", &path)?;
            } else {
                fs::write(&path, b"mode").at("write", &path)?;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).at("set the mode of", &path)?;
        }
    }
    Ok(())
}

/// Sets an attribute and notes when that is not possible here.
fn set(path: &Path, name: &str, value: &[u8], omitted: &mut Omitted) {
    if let Err(error) = xattr::set(path, name, value) {
        let len = value.len();
        omitted.insert(Absent::because(format!("attribute {name} of {len} bytes cannot be set: {error}")));
    }
}

fn attributes(dir: &Path, omitted: &mut Omitted) -> Result<()> {
    let file = |name: &str| -> Result<PathBuf> {
        let path = dir.join(name);
        fs::write(&path, name).at("write", &path)?;
        Ok(path)
    };
    let namespaces = file("namespaces")?;
    for name in ["user.one", "trusted.one", "security.one", "security.selinux"] {
        set(&namespaces, name, name.as_bytes(), omitted);
    }
    for len in [0, 1, 3, 4, 5, 255, 256, 4000, 4096, 5000, 30_000, 60_000] {
        set(&file(&format!("value-{len}"))?, "user.value", &noise(len as u64, len), omitted);
    }
    for len in [1, 2, 3, 4, 5, 100, 249, 250] {
        set(&file(&format!("name-{len}"))?, &format!("user.{}", "n".repeat(len)), b"value", omitted);
    }
    let many = file("many")?;
    for at in 0..200 {
        set(&many, &format!("user.number.{at}"), format!("{at}").repeat(at % 9).as_bytes(), omitted);
    }
    for at in 0..40 {
        let path = file(&format!("shared-{at}"))?;
        set(&path, "user.shared", b"the same for many files", omitted);
        set(&path, "user.prefix.of.some.length.name", format!("{}", at % 5).as_bytes(), omitted);
        set(&path, "trusted.other", &noise(at % 3, 300), omitted);
    }
    // Prefixes of each other, and names that sort differently with and without their namespace.
    let order = file("order")?;
    for name in
        ["user.a", "user.ab", "user.abc", "user.b", "trusted.a", "security.zz", "trusted.overlay.opaque"]
    {
        set(&order, name, b"y", omitted);
    }
    set(dir, "user.directory", b"directories too", omitted);
    let link = dir.join("symlink");
    symlink("namespaces", &link).at("make the symlink", &link)?;
    set(&link, "trusted.symlink", b"symlinks too", omitted);
    let fifo = dir.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).at("make", &fifo)?;
    set(&fifo, "trusted.fifo", b"and special files", omitted);
    let empty = dir.join("empty-file");
    fs::write(&empty, b"").at("write", &empty)?;
    set(&empty, "user.on.empty", b"value", omitted);
    Ok(())
}

/// The value of `system.posix_acl_access` and `system.posix_acl_default`: version 2, then tag, permissions
/// and id of each entry (`linux/posix_acl_xattr.h`).
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

fn acls(dir: &Path, omitted: &mut Omitted) -> Result<()> {
    const NO_ID: u32 = u32::MAX;
    let value = acl(&[
        (0x01, 7, NO_ID),
        (0x02, 5, 1000),
        (0x02, 1, 70_000),
        (0x04, 5, NO_ID),
        (0x08, 4, 33),
        (0x10, 7, NO_ID),
        (0x20, 0, NO_ID),
    ]);
    let file = dir.join("file");
    fs::write(&file, b"with an ACL").at("write", &file)?;
    let folder = dir.join("folder");
    fs::create_dir(&folder).at("make", &folder)?;
    set(&file, "system.posix_acl_access", &value, omitted);
    set(&folder, "system.posix_acl_access", &value, omitted);
    set(&folder, "system.posix_acl_default", &value, omitted);
    let heir = folder.join("heir");
    fs::write(&heir, b"inherits").at("write", &heir)
}

/// A file capability: version 2 with the effective bit, `CAP_NET_RAW` permitted (`linux/capability.h`).
fn capability(dir: &Path, omitted: &mut Omitted) -> Result<()> {
    let path = dir.join("ping");
    fs::write(&path, b"not really").at("write", &path)?;
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    set(&path, "security.capability", &value, omitted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Expect, assert_same};

    /// Twice the same recipe is twice the same tree, or no two runs of a test would be comparable.
    #[test]
    fn everything_is_reproducible() {
        let (left, right) = (one_of_each().unwrap(), one_of_each().unwrap());
        let expect = Expect { directory_links: false, ..Expect::default() };
        assert_same(left.path(), right.path(), &expect, "two trees with everything");
    }

    #[test]
    fn many_links_name_one_file() {
        let dir = place::scratch().unwrap();
        many_links(dir.path(), 300).unwrap();
        let links = std::os::unix::fs::MetadataExt::nlink(&fs::metadata(dir.path().join("000299")).unwrap());
        assert_eq!(links, 300);
    }
}
