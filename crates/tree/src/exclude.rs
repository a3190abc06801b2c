//! What is left out of the tree: exact paths and regular expressions, as `mkfs.erofs --exclude-path` and
//! `--exclude-regex` mean them, and how they are applied to a whole tree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regex::bytes::{Regex, RegexBuilder};

use crate::canonical::{Growing, Parts, Taken, take_entries};
use crate::error::TreeError;
use crate::node::{Entry, Tree, push_name};

/// Rules by which entries of a source are left out; a directory that is left out takes its contents with it.
///
/// Every rule is compared with the path relative to the root of the source without a leading slash, such as
/// `usr/share/doc`. The root itself is never tested.
///
/// Regular expressions are those of the crate `regex` on bytes (no Unicode classes, `.` matches every byte,
/// `^` and `$` the ends of the whole path) and are searched for anywhere in the path. They are written like
/// POSIX extended ones; these differ:
///
/// * inside brackets a backslash escapes (POSIX takes it literally), `[` must be written `\[`, and `&&`,
///   `--`, `~~` between two items are set operations;
/// * `[[.x.]]` and `[[=x=]]` do not exist, and characters beyond ASCII may not stand in brackets;
/// * a `{` that opens no valid repetition must be written `\{`;
/// * back-references such as `\1`, an extension of glibc, do not exist.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    /// Each path, and whether an entry had it.
    paths: BTreeMap<Box<[u8]>, Arc<AtomicBool>>,
    regexes: Vec<Regex>,
}

impl Exclude {
    /// No rules: nothing is left out.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out the entry of exactly this path. Empty components and those that are `.` are ignored.
    ///
    /// # Errors
    ///
    /// [`TreeError::BadExclude`] if nothing remains but the root, which cannot be left out.
    pub fn add_path(&mut self, path: impl AsRef<[u8]>) -> Result<(), TreeError> {
        let given = path.as_ref();
        let components = given.split(|&byte| byte == b'/');
        let components = components.filter(|component| !component.is_empty() && *component != b".");
        let path = components.collect::<Vec<_>>().join(&b"/"[..]);
        if path.is_empty() {
            return Err(TreeError::BadExclude {
                pattern: String::from_utf8_lossy(given).into_owned(),
                reason: "found the root, wanted a path below it".into(),
            });
        }
        self.paths.insert(path.into(), Arc::default());
        Ok(())
    }

    /// Leaves out every entry in whose path the expression is found.
    ///
    /// # Errors
    ///
    /// [`TreeError::BadExclude`] if it is no regular expression.
    pub fn add_regex(&mut self, pattern: &str) -> Result<(), TreeError> {
        let regex = RegexBuilder::new(pattern).unicode(false).dot_matches_new_line(true).build();
        let regex = regex.map_err(|error| TreeError::BadExclude {
            pattern: pattern.to_owned(),
            // The parser draws the pattern over several lines; its last line says what is wrong.
            reason: error.to_string().lines().last().unwrap_or("not a regular expression").trim().to_owned(),
        })?;
        self.regexes.push(regex);
        Ok(())
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.regexes.is_empty()
    }

    /// Whether the entry of this path, relative to the root and without a leading slash, is left out.
    pub fn matches(&self, path: &[u8]) -> bool {
        if let Some(seen) = self.paths.get(path) {
            seen.store(true, Ordering::Relaxed);
            return true;
        }
        self.regexes.iter().any(|regex| regex.is_match(path))
    }

    /// The same of the entry of this path and of the directories on the way to it. Such an entry is left out
    /// of a tree, but does not count as one that a rule matched: the tree decides that.
    pub(crate) fn covers(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        slashes.chain([path.len()]).filter_map(|end| path.get(..end)).any(|path| {
            self.paths.contains_key(path) || self.regexes.iter().any(|regex| regex.is_match(path))
        })
    }

    /// The exact paths that no entry has had so far, in byte order.
    pub fn unmatched(&self) -> impl Iterator<Item = &[u8]> {
        let unseen = self.paths.iter().filter(|(_, seen)| !seen.load(Ordering::Relaxed));
        unseen.map(|(path, _)| &**path)
    }
}

/// The tree without the entries that the rules leave out. What still has a name stays, in canonical order:
/// the second name of a file whose first name is left out becomes the first. Content references stay as they
/// are.
///
/// # Errors
///
/// [`TreeError::Invalid`] if names lead to no inode, or several to one directory.
pub fn prune(tree: Tree, exclude: &Exclude) -> Result<Tree, TreeError> {
    if exclude.is_empty() {
        return Ok(tree);
    }
    let root = tree.root;
    let mut parts = Parts::new(tree);
    let mut root = parts.take_directory(root)?;
    let mut path = Vec::new();
    // The names that are still to come, and the length of the path of their directory.
    let mut stack = vec![(take_entries(&mut root), 0)];
    let mut growing = Growing::new(root);
    while let Some((rest, length)) = stack.last_mut() {
        path.truncate(*length);
        let Some(Entry { name, inode: id }) = rest.next() else {
            stack.pop();
            growing.leave();
            continue;
        };
        push_name(&mut path, &name);
        if exclude.matches(&path) {
            continue;
        }
        match parts.take(id)? {
            Taken::Moved(moved) => growing.link(name, moved),
            Taken::New(mut inode) if inode.is_directory() => {
                stack.push((take_entries(&mut inode), path.len()));
                growing.enter(name, inode)?;
            }
            Taken::New(inode) => parts.moved(id, growing.add(name, inode)?),
        }
    }
    Ok(growing.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_paths() {
        let cases: [(&str, &[u8], bool); 11] = [
            ("usr/bin", b"usr/bin", true),
            ("./usr/bin", b"usr/bin", true),
            ("usr//./bin/.", b"usr/bin", true),
            ("./.hidden", b".hidden", true),
            ("/usr/bin", b"usr/bin", true),
            ("//usr/bin/", b"usr/bin", true),
            ("usr/bin", b"usr/bin/true", false),
            ("usr/bin", b"local/usr/bin", false),
            ("bin", b"usr/bin", false),
            ("a*", b"abc", false),
            ("a*", b"a*", true),
        ];
        for (rule, path, left_out) in cases {
            let mut exclude = Exclude::new();
            exclude.add_path(rule).unwrap();
            assert_eq!(exclude.matches(path), left_out, "{rule} on {path:?}");
            assert_eq!(exclude.unmatched().count(), usize::from(!left_out), "{rule} on {path:?}");
        }
    }

    #[test]
    fn regular_expressions_are_searched_in_the_whole_path() {
        let cases: [(&str, &[u8], bool); 12] = [
            ("bin", b"usr/bin/true", true),
            ("^bin", b"usr/bin", false),
            ("^usr/(bin|lib)$", b"usr/lib", true),
            ("^usr/(bin|lib)$", b"usr/lib/x", false),
            (r"\.o$", b"a/b.o", true),
            (r"\.o$", b"a/b.o\nc", false),
            ("a.c", b"a\nc", true),
            ("a.c", b"a\xffc", true),
            ("[[:digit:]]{3}", b"x/123", true),
            ("gr\u{fc}n", "x/gr\u{fc}n".as_bytes(), true),
            ("A", b"a", false),
            ("", b"anything", true),
        ];
        for (rule, path, left_out) in cases {
            let mut exclude = Exclude::new();
            exclude.add_regex(rule).unwrap();
            assert_eq!(exclude.matches(path), left_out, "{rule} on {path:?}");
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        let mut exclude = Exclude::new();
        for (text, message) in [
            (exclude.add_path("/").unwrap_err().to_string(), "exclude pattern /: found the root"),
            (exclude.add_path("").unwrap_err().to_string(), "exclude pattern : found the root"),
            (exclude.add_regex("a(b").unwrap_err().to_string(), "exclude pattern a(b: error: unclosed group"),
        ] {
            assert!(text.starts_with(message) && !text.contains('\n'), "{text}");
        }
        assert!(exclude.is_empty());
    }
}
