//! Whose command line is read: that of `mkfs-erofs`, or that of `mkfs.erofs` of erofs-utils.
//!
//! There is one parser. A [`Personality`] says where the second command line has another meaning;
//! `docs/drop-in.md` is the table of what stays different.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use erofs_tree::ere;

use crate::exit;

/// The name under which the command line is that of erofs-utils.
const PEER_NAME: &str = "mkfs.erofs";
/// The flag that asks for the same under any name.
pub(super) const FLAG: &str = "--as-mkfs-erofs";
/// The hidden argument for what stands behind SOURCE.
const MORE_SOURCES: &str = "more-sources";

/// The version lines of mkfs.erofs, in the form of erofs-utils: the version of erofs-utils whose command line
/// is read ends the first line, so that scripts compare with it. Clap puts the name before it.
const VERSION: &str = concat!(
    "(mkfs-erofs ",
    env!("CARGO_PKG_VERSION"),
    ", compatible with erofs-utils) 1.9.4\navailable compressors: ",
    "lz4, lz4hc, zstd, deflate, libdeflate, lzma"
);

/// Options that installers look for in the file of the program as whole strings that end with a NUL, before
/// they use them (kata-deploy, `contains_c_string`). Strings of Rust have no NUL.
#[used]
static PROBED: [u8; 16] = *b"\0mkfs-time\0sort\0";

/// The long options of mkfs.erofs 1.9.4 as Debian builds it; GNU getopt takes every prefix of one of them
/// that no other begins with.
const PEER_LONG: &[&str] = &[
    "version",
    "help",
    "exclude-path",
    "exclude-regex",
    "file-contexts",
    "force-uid",
    "force-gid",
    "all-root",
    "max-extent-bytes",
    "compress-hints",
    "chunksize",
    "quiet",
    "blobdev",
    "ignore-mtime",
    "preserve-mtime",
    "uid-offset",
    "gid-offset",
    "tar",
    "aufs",
    "mount-point",
    "ovlfs-strip",
    "offset",
    "gzip",
    "ungzip",
    "gzinfo",
    "unlzma",
    "unxz",
    "workers",
    "zfeature-bits",
    "clean",
    "incremental",
    "root-xattr-isize",
    "mkfs-time",
    "all-time",
    "sort",
    "hard-dereference",
    "dsunit",
    "async-queue-limit",
    "fsalignblks",
    "vmdk-desc",
    "s3",
    "oci",
    "zD",
    "MZ",
    "xattr-prefix",
    "xattr-inode-digest",
];

/// Where the two command lines differ in what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each rule")]
pub struct Personality {
    /// `SOURCE_DATE_EPOCH` counts more than -T, --mkfs-time and --all-time, and an empty one is 0.
    pub(super) epoch_first: bool,
    /// Each -z adds algorithms, instead of replacing those of the -z before it.
    pub(super) adds_algorithms: bool,
    /// An empty -E changes nothing, instead of being a wrong word.
    pub(super) empty_words: bool,
    /// --chunksize beside -z is left out with a warning, instead of being an error.
    pub(super) chunks_beside_compression: bool,
    /// Options that change nothing about a directory are taken.
    pub(super) takes_options_without_effect: bool,
    /// Regular expressions are POSIX extended ones.
    posix_regexes: bool,
    /// The exit status of a wrong command line.
    usage: u8,
}

impl Default for Personality {
    fn default() -> Self {
        Self::OWN
    }
}

impl Personality {
    /// `mkfs-erofs`.
    pub const OWN: Self = Self {
        epoch_first: false,
        adds_algorithms: false,
        empty_words: false,
        chunks_beside_compression: false,
        takes_options_without_effect: false,
        posix_regexes: false,
        usage: exit::USAGE,
    };

    /// `mkfs.erofs` of erofs-utils 1.9.4.
    pub const MKFS_EROFS: Self = Self {
        epoch_first: true,
        adds_algorithms: true,
        empty_words: true,
        chunks_beside_compression: true,
        takes_options_without_effect: true,
        posix_regexes: true,
        usage: exit::FAILED,
    };

    /// That of a command line, whose first word is the name of the program.
    pub fn of(line: &[OsString]) -> Self {
        // Keeps the strings in the program.
        std::hint::black_box(&PROBED);
        let is_named = line.first().and_then(|name| Path::new(name).file_name()) == Some(PEER_NAME.as_ref());
        let mut options = line.iter().skip(1).take_while(|word| *word != "--");
        if is_named || options.any(|word| word == FLAG) { Self::MKFS_EROFS } else { Self::OWN }
    }

    /// The command of this personality.
    pub(super) fn command(self, command: Command, compressors: &str) -> Command {
        if self == Self::OWN {
            return command;
        }
        let spellings = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let help = format!("{compressors}\n{spellings}");
        let taken: HashSet<String> = command.get_arguments().flat_map(names).map(str::to_owned).collect();
        let more = Arg::new(MORE_SOURCES).index(3).num_args(0..).hide(true);
        command
            .name(PEER_NAME)
            .version(VERSION)
            .after_help(help.clone())
            .after_long_help(help)
            .mut_args(|argument| abbreviated(argument, &taken))
            .arg(more.value_parser(clap::value_parser!(OsString)))
    }

    /// What is wrong with what stands behind SOURCE, if there is anything.
    pub(super) fn more_sources(matches: &clap::ArgMatches) -> Option<String> {
        // Only one of the commands has the argument.
        let mut more = matches.try_get_raw(MORE_SOURCES).ok()??;
        let found = more.next()?.display().to_string();
        Some(format!(
            "found another SOURCE {found}, want one: several images as sources are not in this version"
        ))
    }

    /// A regular expression, as the crate `regex` writes it.
    ///
    /// # Errors
    /// What the crate cannot do, in one line.
    pub(super) fn pattern(self, typed: &str) -> Result<String, String> {
        if self.posix_regexes { ere::to_regex(typed) } else { Ok(typed.to_owned()) }
    }

    /// The exit status for a code of [`exit`].
    pub(super) fn exit_code(self, code: u8) -> u8 {
        if code == exit::USAGE { self.usage } else { code }
    }
}

/// The long names of an argument, hidden ones included.
fn names(argument: &Arg) -> impl Iterator<Item = &str> {
    argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default())
}

/// An argument that is taken as GNU getopt takes it: under each prefix of its name that is nobody else's, and
/// with whatever word follows as its value.
fn abbreviated(argument: Arg, taken: &HashSet<String>) -> Arg {
    let own: Vec<&'static str> = {
        let names: Vec<&str> = names(&argument).collect();
        PEER_LONG.iter().copied().filter(|name| names.contains(name)).collect()
    };
    let begins = |prefix: &str| PEER_LONG.iter().filter(|name| name.starts_with(prefix)).count();
    let prefixes = own.iter().flat_map(|name| (1..name.len()).filter_map(|end| name.get(..end)));
    let unique: Vec<&'static str> =
        prefixes.filter(|prefix| begins(prefix) == 1 && !taken.contains(*prefix)).collect();
    let takes_next = !own.is_empty()
        && matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
        && !argument.is_require_equals_set();
    let argument = argument.aliases(unique);
    if takes_next { argument.allow_hyphen_values(true) } else { argument }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_flag() {
        let of = |words: &[&str]| Personality::of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for (line, want) in [
            (&["mkfs-erofs", "a", "b"][..], Personality::OWN),
            (&["/usr/bin/mkfs.erofs"], Personality::MKFS_EROFS),
            (&["mkfs.erofs", "a"], Personality::MKFS_EROFS),
            (&["/mkfs.erofs/mkfs-erofs"], Personality::OWN),
            (&["mkfs-erofs", "--as-mkfs-erofs", "a"], Personality::MKFS_EROFS),
            (&["mkfs-erofs", "--", "--as-mkfs-erofs"], Personality::OWN),
            (&[], Personality::OWN),
        ] {
            assert_eq!(of(line), want, "{line:?}");
        }
    }

    #[test]
    fn the_version_names_every_compressor() {
        let listed = VERSION.rsplit(": ").next().unwrap();
        let names: Vec<&str> = erofs_encode::TABLE.iter().map(|row| row.name).collect();
        assert_eq!(listed, names.join(", "));
    }
}
