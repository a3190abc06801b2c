//! Everything that lstat, readdir, readlink, listxattr and read can tell about two trees, compared path by
//! path.
//!
//! [`compare`] does not stop at the first difference and asserts nothing: it returns a list of sentences,
//! which a test wants to be empty.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, FileType, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::SeekFrom;
use walkdir::{DirEntryExt as _, WalkDir};

use crate::content::Stream;
use crate::error::{At as _, Result};
use crate::fingerprint::Fingerprint;
use crate::{peers, place};

/// What a tree made from a source is expected to hold besides what the source holds.
#[derive(Debug, Clone)]
pub struct Expect {
    /// The fingerprint of every regular file that is not empty; `None` means that nothing has one.
    pub fingerprint: Option<Fingerprint>,
    /// The owner and group of everything, where the source's do not count.
    pub owner: Option<(u32, u32)>,
    /// The modification time of everything in seconds and nanoseconds, where the source's do not count.
    pub mtime: Option<(i64, i64)>,
    /// Whether extended attributes other than the fingerprint are kept.
    pub xattrs: bool,
    /// Whether hard links stay links. If not, every path is a file of its own with one link.
    pub hard_links: bool,
    /// Whether a directory's link count is 2 and one for each directory in it. Not every file system counts
    /// them so.
    pub directory_links: bool,
    /// Paths, relative to the root, that are left out together with everything below them.
    pub excluded: Vec<PathBuf>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            fingerprint: None,
            owner: None,
            mtime: None,
            xattrs: true,
            hard_links: true,
            directory_links: true,
            excluded: Vec::new(),
        }
    }
}

impl Expect {
    /// A faithful copy in which files carry this SHA-256 fingerprint.
    pub fn with_sha256(name: &str) -> Self {
        Self { fingerprint: Some(Fingerprint::sha256(name)), ..Self::default() }
    }
}

/// Contents up to this many bytes are compared whole; of longer ones, the parts that the source file system
/// holds as data and the ends of its holes.
const WHOLE_CONTENT: u64 = 512 << 20;

/// Reads at odd offsets that are made of each file before it is read from the start.
const ODD_READS: u64 = 4;

/// One path of a tree.
struct Entry {
    /// The type that readdir gave.
    listed: FileType,
    /// The inode number that readdir gave.
    listed_inode: u64,
    meta: Metadata,
}

type Listing = BTreeMap<PathBuf, Entry>;

/// Compares the tree under `copy` with what `expect` makes of the tree under `source`, and returns the
/// differences.
///
/// # Errors
/// When the source cannot be read. What cannot be read in the copy is a difference.
pub fn compare(source: &Path, copy: &Path, expect: &Expect) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let wanted = list(source, &expect.excluded)?;
    let found = match list(copy, &[]) {
        Ok(found) => found,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    for path in wanted.keys().filter(|path| !found.contains_key(*path)) {
        differences.push(format!("{}: is missing", path.display()));
    }
    for path in found.keys().filter(|path| !wanted.contains_key(*path)) {
        differences.push(format!("{}: is not in the source", path.display()));
    }
    let links = Links::new(&wanted, &found);
    for (path, want) in &wanted {
        let Some(have) = found.get(path) else { continue };
        let mut pair = Pair { source, copy, path, want, have, expect, differences: &mut differences };
        pair.status(&links);
        pair.attributes()?;
        if want.meta.is_file() && links.is_first(path) {
            pair.content()?;
        }
    }
    differences.extend(absent_names(copy, &found));
    Ok(differences)
}

/// [`compare`] as an assertion.
///
/// # Panics
/// When the trees differ, with the first differences, or when the source cannot be read.
pub fn assert_same(source: &Path, copy: &Path, expect: &Expect, what: &str) {
    let differences = match compare(source, copy, expect) {
        Ok(differences) => differences,
        Err(error) => vec![error.to_string()],
    };
    let shown: Vec<&str> = differences.iter().take(30).map(String::as_str).collect();
    assert!(
        differences.is_empty(),
        "{what}: {} differences, of which the first are\n{}",
        differences.len(),
        shown.join("\n")
    );
}

/// Has `program`, an `erofs-ishare`, extract an image, and compares with the source.
///
/// # Panics
/// When it cannot be extracted, or when [`assert_same`] does.
pub fn assert_extracted(program: &str, image: &Path, source: &Path, expect: &Expect, what: &str) {
    let target = place::scratch().unwrap_or_else(|error| panic!("{what}: {error}"));
    let extracted = target.path().join("extracted");
    let mut command = Command::new(program);
    command.args(["extract", "--quiet", "--output"]).arg(&extracted).arg(image);
    if let Err(error) = peers::run(&mut command) {
        panic!("{what}: {error}");
    }
    // How a directory counts its links is a matter of the file system that was extracted to.
    assert_same(source, &extracted, &Expect { directory_links: false, ..expect.clone() }, what);
}

fn list(root: &Path, excluded: &[PathBuf]) -> Result<Listing> {
    let mut listing = Listing::new();
    let is_kept = |path: &Path| {
        path.strip_prefix(root).is_ok_and(|path| !excluded.iter().any(|excluded| path == excluded))
    };
    for entry in WalkDir::new(root).into_iter().filter_entry(|entry| is_kept(entry.path())) {
        let entry = entry.map_err(std::io::Error::from).at("list", root)?;
        let meta = entry.metadata().map_err(std::io::Error::from).at("lstat", entry.path())?;
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_path_buf();
        listing.insert(path, Entry { listed: entry.file_type(), listed_inode: entry.ino(), meta });
    }
    Ok(listing)
}

/// Which paths name the same file, on both sides, and how many links that makes.
struct Links {
    /// For each path of the source, the first path of the same inode.
    first: BTreeMap<PathBuf, PathBuf>,
    /// For each first path, how many paths there are.
    count: BTreeMap<PathBuf, u64>,
    /// For each path of the copy, the first path of the same inode.
    copy_first: BTreeMap<PathBuf, PathBuf>,
    /// For each directory of the source, how many directories are in it.
    directories: BTreeMap<PathBuf, u64>,
}

impl Links {
    fn new(wanted: &Listing, found: &Listing) -> Self {
        let first = first_paths(wanted);
        let mut count = BTreeMap::new();
        for path in first.values() {
            *count.entry(path.clone()).or_insert(0) += 1;
        }
        let mut directories = BTreeMap::new();
        for (path, entry) in wanted {
            if let Some(parent) = path.parent()
                && entry.meta.is_dir()
            {
                *directories.entry(parent.to_path_buf()).or_insert(0) += 1;
            }
        }
        Self { first, count, copy_first: first_paths(found), directories }
    }

    fn is_first(&self, path: &Path) -> bool {
        self.first.get(path).is_some_and(|first| first == path)
    }

    fn count(&self, path: &Path) -> u64 {
        self.first.get(path).and_then(|first| self.count.get(first)).copied().unwrap_or(0)
    }
}

fn first_paths(listing: &Listing) -> BTreeMap<PathBuf, PathBuf> {
    let mut seen: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut first = BTreeMap::new();
    for (path, entry) in listing {
        let inode = (entry.meta.dev(), entry.meta.ino());
        first.insert(path.clone(), seen.entry(inode).or_insert_with(|| path.clone()).clone());
    }
    first
}

/// One path on both sides, and where its differences go.
struct Pair<'a> {
    source: &'a Path,
    copy: &'a Path,
    path: &'a Path,
    want: &'a Entry,
    have: &'a Entry,
    expect: &'a Expect,
    differences: &'a mut Vec<String>,
}

impl Pair<'_> {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, want: &T, have: &T) -> bool {
        if want != have {
            self.differences.push(format!("{}: {what} is {have:?}, want {want:?}", self.path.display()));
        }
        want == have
    }

    fn differs(&mut self, what: &str) {
        self.differences.push(format!("{}: {what}", self.path.display()));
    }

    /// The fields of lstat, the type that readdir gave, the target of a symlink, and who is linked with whom.
    fn status(&mut self, links: &Links) {
        let (want, have) = (&self.want.meta, &self.have.meta);
        let owner = self.expect.owner.unwrap_or((want.uid(), want.gid()));
        let mtime = self.expect.mtime.unwrap_or((want.mtime(), want.mtime_nsec()));
        self.same("mode", &octal(want.mode()), &octal(have.mode()));
        self.same("owner and group", &owner, &(have.uid(), have.gid()));
        self.same("mtime", &mtime, &(have.mtime(), have.mtime_nsec()));
        self.same("type in its directory", &have.file_type(), &self.have.listed);
        self.same("inode number in its directory", &have.ino(), &self.have.listed_inode);
        if !want.is_dir() {
            self.same("size", &want.size(), &have.size());
        }
        if want.file_type().is_char_device() || want.file_type().is_block_device() {
            self.same("device number", &want.rdev(), &have.rdev());
        }
        if want.file_type().is_symlink() {
            let read =
                |root: &Path| std::fs::read_link(root.join(self.path)).map_err(|error| error.to_string());
            let (want, have) = (read(self.source), read(self.copy));
            self.same("symlink target", &want, &have);
        }
        if want.is_dir() {
            if self.expect.directory_links {
                let wanted = 2 + links.directories.get(self.path).copied().unwrap_or(0);
                self.same("link count", &wanted, &have.nlink());
            }
        } else if self.expect.hard_links {
            self.same("link count", &links.count(self.path), &have.nlink());
            self.same("first link", &links.first.get(self.path), &links.copy_first.get(self.path));
        } else {
            self.same("link count", &1, &have.nlink());
        }
    }

    /// Names and values of all extended attributes, with the fingerprint that is due.
    fn attributes(&mut self) -> Result<()> {
        let original = self.source.join(self.path);
        let mut want = read_attributes(&original).at("read the attributes of", &original)?;
        if !self.expect.xattrs {
            want.clear();
        }
        if let Some(fingerprint) = &self.expect.fingerprint {
            want.remove(&fingerprint.name);
            if self.want.meta.is_file() && self.want.meta.len() > 0 {
                let value = fingerprint.digest.of_file(&original).at("read", &original)?;
                want.insert(fingerprint.name.clone(), value);
            }
        }
        let have = match read_attributes(&self.copy.join(self.path)) {
            Ok(have) => have,
            Err(error) => {
                self.differs(&format!("its attributes cannot be read: {error}"));
                return Ok(());
            }
        };
        let names = |attributes: &BTreeMap<OsString, Vec<u8>>| attributes.keys().cloned().collect::<Vec<_>>();
        if self.same("list of attributes", &names(&want), &names(&have)) {
            for (name, value) in &want {
                if have.get(name) != Some(value) {
                    let lengths = (have.get(name).map_or(0, Vec::len), value.len());
                    self.differs(&format!("value of {} differs (lengths {lengths:?})", name.display()));
                }
            }
        }
        Ok(())
    }

    /// Reads at odd places first, while nothing of the file is in the page cache, and then all of it.
    fn content(&mut self) -> Result<()> {
        let (original, path) = (self.source.join(self.path), self.copy.join(self.path));
        let want = File::open(&original).at("open", &original)?;
        let have = match File::open(&path) {
            Ok(have) => have,
            Err(error) => {
                self.differs(&format!("it cannot be opened: {error}"));
                return Ok(());
            }
        };
        let len = self.want.meta.len();
        let mut stream = Stream::new(
            self.path
                .as_os_str()
                .as_bytes()
                .iter()
                .fold(len, |seed, &byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte))),
        );
        let mut ranges = Vec::new();
        for _ in 0..if len > 1 { ODD_READS } else { 0 } {
            let start = stream.below(len);
            ranges.push((start, (start + 1 + stream.below(10_000)).min(len)));
        }
        ranges.extend(if len <= WHOLE_CONTENT { vec![(0, len)] } else { data_and_edges(&want, len) });
        for range in ranges {
            match first_difference(&want, &have, range) {
                Ok(None) => {}
                Ok(Some(offset)) => {
                    self.differs(&format!("content differs at or after byte {offset} of {len}"));
                    break;
                }
                Err(error) => {
                    self.differs(&format!("bytes {range:?} of {len} cannot be read: {error}"));
                    break;
                }
            }
        }
        Ok(())
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:#o}")
}

fn read_attributes(path: &Path) -> std::io::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut attributes = BTreeMap::new();
    for name in xattr::list(path)? {
        let value = xattr::get(path, &name)?.unwrap_or_default();
        attributes.insert(name, value);
    }
    Ok(attributes)
}

/// The first 64 KiB piece of a range, given by its start, in which two files differ.
fn first_difference(want: &File, have: &File, (mut start, end): (u64, u64)) -> std::io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    while start < end {
        let len = usize::try_from(end - start).unwrap_or(usize::MAX).min(left.len());
        want.read_exact_at(&mut left[..len], start)?;
        have.read_exact_at(&mut right[..len], start)?;
        if left[..len] != right[..len] {
            return Ok(Some(start));
        }
        start += len as u64;
    }
    // A file that goes on behind its end would hand out bytes of its neighbour.
    let past = have.read_at(&mut right[..1], have.metadata()?.len())?;
    Ok((past != 0).then_some(end))
}

/// Where the source file system holds data, and 64 KiB at both ends of each hole.
fn data_and_edges(file: &File, len: u64) -> Vec<(u64, u64)> {
    const EDGE: u64 = 64 << 10;
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let data = rustix::fs::seek(file, SeekFrom::Data(at)).unwrap_or(len).min(len);
        if data > at {
            ranges.push((at, (at + EDGE).min(data)));
            ranges.push((data.saturating_sub(EDGE).max(at), data));
        }
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap_or(len).min(len);
        ranges.push((data, hole));
        at = hole.max(data);
    }
    ranges
}

/// Names that are in no directory must not be found, wherever a search for them ends.
fn absent_names(root: &Path, found: &Listing) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, _) in found.iter().filter(|(_, entry)| entry.meta.is_dir()) {
        for name in ["\u{1}", "Mm-not-here", "\u{10ffff}\u{10ffff}"] {
            let missing = path.join(name);
            if let Ok(meta) = std::fs::symlink_metadata(root.join(&missing))
                && !found.contains_key(&missing)
            {
                differences.push(format!("{}: is found though not listed: {meta:?}", missing.display()));
            }
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_trees() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = place::scratch().unwrap();
        let (left, right) = (dir.path().join("left"), dir.path().join("right"));
        for side in [&left, &right] {
            std::fs::create_dir_all(side.join("sub")).unwrap();
            std::fs::write(side.join("sub/file"), b"content").unwrap();
            std::os::unix::fs::symlink("target", side.join("link")).unwrap();
        }
        (dir, left, right)
    }

    fn differences(left: &Path, right: &Path) -> Vec<String> {
        // The two trees are made one after the other, so only their times differ.
        let at = std::fs::symlink_metadata(left.join("sub/file")).unwrap();
        let expect = Expect { mtime: Some((at.mtime(), at.mtime_nsec())), ..Expect::default() };
        let all = compare(left, right, &expect).unwrap();
        all.into_iter().filter(|line| !line.contains("mtime")).collect()
    }

    #[test]
    fn equal_trees_have_no_differences() {
        let (_dir, left, right) = two_trees();
        assert_eq!(differences(&left, &right), Vec::<String>::new());
    }

    #[test]
    fn each_change_is_found() {
        type Change = fn(&Path);
        let cases: [(&str, Change, &str); 6] = [
            ("content", |dir| std::fs::write(dir.join("sub/file"), b"cOntent").unwrap(), "content differs"),
            ("length", |dir| std::fs::write(dir.join("sub/file"), b"contents").unwrap(), "size is 8"),
            ("extra", |dir| std::fs::write(dir.join("extra"), b"").unwrap(), "extra: is not in the source"),
            ("missing", |dir| std::fs::remove_file(dir.join("link")).unwrap(), "link: is missing"),
            (
                "link",
                |dir| std::fs::hard_link(dir.join("sub/file"), dir.join("other")).unwrap(),
                "sub/file: link count is 2, want 1",
            ),
            (
                "mode",
                |dir| {
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4711);
                    std::fs::set_permissions(dir.join("sub/file"), mode).unwrap();
                },
                "mode is \"0o104711\"",
            ),
        ];
        for (name, change, sentence) in cases {
            let (_dir, left, right) = two_trees();
            change(&right);
            let found = differences(&left, &right);
            assert!(found.iter().any(|line| line.contains(sentence)), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_expected_on_files_with_content() {
        let (_dir, left, right) = two_trees();
        let expect = Expect::with_sha256("user.print");
        let missing = compare(&left, &right, &expect).unwrap();
        assert!(missing.iter().any(|line| line.contains("sub/file: list of attributes")), "{missing:?}");
    }
}
