//! Why a set of images costs what it costs: reasons, directories, duplicates on disk, and what the files
//! themselves say could be done about it. Beside the tally, which says how much.
//!
//! Kept is one small record per fingerprint and one per path, so that thousands of images can be surveyed; of
//! paths only so many as fit into [`PATHS_MAX`].

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;

use erofs_format::words;
use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};

use crate::facts::{FileFacts, ImageFacts};
use crate::pages::{bytes_of, pages_of};
use crate::tally::{Cause, Count, Outcome};
use crate::world::Reason;

/// How many paths are remembered.
pub const PATHS_MAX: usize = 4 << 20;
/// How many directories are distinguished.
const DIRS_MAX: usize = 1 << 16;
/// How many names of a path the directories of the report have.
const DIR_DEPTH: usize = 2;
/// How many files are named for each reason.
const TOP_FILES: usize = 5;
/// How many pairs of files of equal path and size are kept for a look at their content.
const PAIRS_MAX: usize = 32;

/// Why the bytes of a file are in memory once more than they would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The file keeps pages of its own for this cause.
    Cause(Cause),
    /// As for another size or class, but files like this one would share with each other if one of them had
    /// been looked up first.
    FirstComer,
    /// The same content is in memory for another domain.
    OtherDomain,
}

/// What pairs of files at one path say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hint {
    /// Equal sizes, and other content all the same.
    SameSizeOtherContent,
    /// Compressed in one image, and not in the other.
    CompressedInOne,
}

/// A file that is named as an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The number of the image, in the order of adding.
    pub image: usize,
    /// The image with the other file of a pair.
    pub other: Option<usize>,
    /// The path in the image.
    pub path: Vec<u8>,
    /// Length in bytes.
    pub size: u64,
}

/// Files that have something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// How many, and their bytes in memory.
    pub count: Count,
    /// The largest, largest first.
    pub largest: Vec<Named>,
}

impl Group {
    /// Counts a file of an image with all its bytes, and names it if it is among the largest.
    pub fn count_file(&mut self, image: usize, file: &FileFacts) {
        self.count_part(image, file, bytes_of(pages_of(file.size)));
    }

    /// The same, with so many of its bytes.
    pub fn count_part(&mut self, image: usize, file: &FileFacts, bytes: u64) {
        let named = || Named { image, other: None, path: file.path.clone(), size: file.size };
        self.add(TOP_FILES, file.size, bytes, named);
    }

    fn add(&mut self, most: usize, size: u64, bytes: u64, named: impl FnOnce() -> Named) {
        self.count.files += 1;
        self.count.bytes = self.count.bytes.saturating_add(bytes);
        let at = self.largest.partition_point(|known| known.size >= size);
        if at < most {
            self.largest.insert(at, named());
            self.largest.truncate(most);
        }
    }
}

/// Memory of the files below a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The first names of the paths.
    pub path: Vec<u8>,
    /// Bytes without sharing.
    pub private_bytes: u64,
    /// Bytes with sharing.
    pub shared_bytes: u64,
}

/// What a survey found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// By reason.
    pub not_shared: BTreeMap<Why, Group>,
    /// By what pairs of files say.
    pub hints: BTreeMap<Hint, Group>,
    /// Directories, those with the most memory first.
    pub directories: Vec<Directory>,
    /// Bytes of files that an image stores although another image of the set stores the same.
    pub stored_across: Count,
    /// Domains in which images have fingerprints of different kinds, with the kinds.
    pub mixed_kinds: Vec<(String, Vec<String>)>,
    /// More paths came than were remembered; the hints are not complete.
    pub paths_left_out: bool,
}

/// The first file with a fingerprint, and the image that had it last.
#[derive(Debug)]
struct Seen {
    size: u64,
    image: u32,
    domain: u16,
    compressed: bool,
}

/// The last file at a path.
#[derive(Debug)]
struct AtPath {
    value: u64,
    size: u64,
    image: u32,
    compressed: bool,
}

/// Surveys files in the order in which the tally takes them.
#[derive(Debug, Default)]
pub struct Survey {
    hasher: DefaultHashBuilder,
    findings: Findings,
    values: HashMap<u64, Seen>,
    paths: HashMap<u64, AtPath>,
    losers: HashSet<u64>,
    dirs: HashMap<Vec<u8>, usize>,
    /// The directory of the last file.
    dir: Vec<u8>,
    dir_index: Option<usize>,
    domains: Vec<(String, Vec<String>)>,
    /// Of the image that is being added.
    image: u32,
    domain: u16,
    announces: bool,
    kind_known: bool,
}

impl Survey {
    /// Begins the next image. Its files follow.
    pub fn begin(&mut self, number: usize, facts: &ImageFacts, domain: &str) {
        self.image = u32::try_from(number).unwrap_or(u32::MAX);
        self.announces = facts.announces_fingerprints;
        self.kind_known = false;
        let known = self.domains.iter().position(|(name, _)| name == domain);
        let index = known.unwrap_or_else(|| {
            self.domains.push((domain.to_owned(), Vec::new()));
            self.domains.len() - 1
        });
        self.domain = u16::try_from(index).unwrap_or(u16::MAX);
    }

    /// Counts what an image stores that another one stores as well, and nothing else: where not everything is
    /// read.
    pub fn store(&mut self, number: usize, facts: &ImageFacts, domain: &str) {
        self.begin(number, facts, domain);
        for file in facts.files.iter().filter(|file| file.size != 0) {
            if let Some(hash) = self.hash_of(file) {
                self.note_value(hash, file);
            }
        }
    }

    /// A number for the fingerprint of a file, if it counts.
    fn hash_of(&self, file: &FileFacts) -> Option<u64> {
        let value = file.fingerprint.as_deref().filter(|_| self.announces);
        value.map(|value| self.hasher.hash_one(value))
    }

    /// Adds a file with content, and what became of it.
    pub fn file(&mut self, file: &FileFacts, outcome: Outcome) {
        let hash = self.hash_of(file);
        self.count_dir(file, outcome);
        if let Some(value) = file.fingerprint.as_deref().filter(|_| self.announces)
            && !self.kind_known
        {
            self.kind_known = true;
            self.note_kind(value);
        }
        let elsewhere = hash.is_some_and(|hash| self.note_value(hash, file));
        let why = match outcome {
            Outcome::Private(cause @ Cause::Private(Reason::OtherSize | Reason::OtherClass)) => {
                let loser = self.hasher.hash_one((self.domain, hash, file.size, file.compressed));
                Some(if self.losers.insert(loser) { Why::Cause(cause) } else { Why::FirstComer })
            }
            Outcome::Private(cause) => Some(Why::Cause(cause)),
            Outcome::First => elsewhere.then_some(Why::OtherDomain),
            Outcome::Joined => None,
        };
        if let Some(why) = why {
            let image = usize::try_from(self.image).unwrap_or(usize::MAX);
            self.findings.not_shared.entry(why).or_default().count_file(image, file);
        }
        self.note_path(hash.unwrap_or(0), file, outcome);
    }

    /// What was found.
    pub fn finish(self) -> Findings {
        let mut findings = self.findings;
        findings.directories.sort_by(|a, b| (b.private_bytes, &a.path).cmp(&(a.private_bytes, &b.path)));
        findings.mixed_kinds = self.domains.into_iter().filter(|(_, kinds)| kinds.len() > 1).collect();
        findings
    }

    /// Files follow each other by directory, so the last one is mostly the same.
    fn count_dir(&mut self, file: &FileFacts, outcome: Outcome) {
        let dir = dir_of(&file.path);
        let index = match self.dir_index.filter(|_| self.dir == dir) {
            Some(index) => index,
            None => self.find_dir(dir),
        };
        if let Some(dir) = self.findings.directories.get_mut(index) {
            let bytes = bytes_of(pages_of(file.size));
            dir.private_bytes = dir.private_bytes.saturating_add(bytes);
            let shared = if outcome == Outcome::Joined { 0 } else { bytes };
            dir.shared_bytes = dir.shared_bytes.saturating_add(shared);
        }
    }

    fn find_dir(&mut self, dir: &[u8]) -> usize {
        let many = self.dirs.len() >= DIRS_MAX;
        let dir = if many && !self.dirs.contains_key(dir) { b"/..." } else { dir };
        let list = &mut self.findings.directories;
        let index = *self.dirs.entry_ref(dir).or_insert_with(|| {
            list.push(Directory { path: dir.to_vec(), ..Directory::default() });
            list.len() - 1
        });
        self.dir.clear();
        self.dir.extend_from_slice(dir);
        self.dir_index = Some(index);
        index
    }

    /// Remembers a fingerprint; whether another domain has the same file.
    fn note_value(&mut self, hash: u64, file: &FileFacts) -> bool {
        match self.values.entry(hash) {
            Entry::Vacant(vacant) => {
                let (image, domain, compressed) = (self.image, self.domain, file.compressed);
                vacant.insert(Seen { size: file.size, image, domain, compressed });
                false
            }
            Entry::Occupied(mut occupied) => {
                let seen = occupied.get_mut();
                if seen.image != self.image {
                    seen.image = self.image;
                    self.findings.stored_across.files += 1;
                    let across = &mut self.findings.stored_across;
                    across.bytes = across.bytes.saturating_add(file.size);
                }
                seen.domain != self.domain && seen.size == file.size && seen.compressed == file.compressed
            }
        }
    }

    /// Holds a file against the last one at its path.
    fn note_path(&mut self, value: u64, file: &FileFacts, outcome: Outcome) {
        let hash = self.hasher.hash_one((self.domain, &file.path));
        if self.paths.len() >= PATHS_MAX && !self.paths.contains_key(&hash) {
            self.findings.paths_left_out = true;
            return;
        }
        let new = AtPath { value, size: file.size, image: self.image, compressed: file.compressed };
        let Some(old) = self.paths.insert(hash, new) else { return };
        if old.image == self.image || outcome == Outcome::Joined {
            return;
        }
        let both = old.value != 0 && value != 0;
        let hint =
            if old.compressed != file.compressed && old.size == file.size && (old.value == value || !both) {
                (Hint::CompressedInOne, TOP_FILES)
            } else if both && old.value != value && old.size == file.size {
                (Hint::SameSizeOtherContent, PAIRS_MAX)
            } else {
                return;
            };
        let number = |image: u32| usize::try_from(image).unwrap_or(usize::MAX);
        let (image, other) = (number(self.image), Some(number(old.image)));
        let named = || Named { image, other, path: file.path.clone(), size: file.size };
        let bytes = bytes_of(pages_of(file.size));
        self.findings.hints.entry(hint.0).or_default().add(hint.1, file.size, bytes, named);
    }

    fn note_kind(&mut self, value: &[u8]) {
        let kind = kind_of(value);
        if let Some((_, kinds)) = self.domains.get_mut(usize::from(self.domain))
            && !kinds.contains(&kind)
        {
            kinds.push(kind);
        }
    }
}

/// The first names of the directory that a file is in.
pub fn dir_of(path: &[u8]) -> &[u8] {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    match slashes.take(DIR_DEPTH).last() {
        Some(end) => path.get(..end).unwrap_or_default(),
        None => b"/",
    }
}

/// What can be said of a fingerprint from its form: the word before a colon, or its length.
fn kind_of(value: &[u8]) -> String {
    let colon = value.iter().take(16).position(|byte| *byte == b':');
    let word = colon.and_then(|end| value.get(..end)).and_then(|word| std::str::from_utf8(word).ok());
    match word.filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        Some(word) => word.to_owned(),
        None => format!("{} without a name", words::bytes(value.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_two_names() {
        for (path, want) in [
            ("/f", "/"),
            ("/etc/passwd", "/etc"),
            ("/usr/lib/x", "/usr/lib"),
            ("/usr/lib/a/b/c", "/usr/lib"),
            ("", "/"),
        ] {
            assert_eq!(dir_of(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }

    #[test]
    fn kinds_are_told_by_their_form() {
        for (value, want) in [
            (&b"sha256:0123"[..], "sha256"),
            (b"blake3:x", "blake3"),
            (b":x", "2 bytes without a name"),
            (&[0; 16], "16 bytes without a name"),
        ] {
            assert_eq!(kind_of(value), want);
        }
    }
}
