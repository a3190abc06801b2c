//! The command line of `mkfs-erofs`: what was typed. The doc comments are the help and the man page.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, ValueHint};
use erofs_algo::fingerprint;
use erofs_builder::options::DEFAULT_ISHARE_KEY;
use erofs_format::BlockBits;
use uuid::Uuid;

use super::archive::Archive;
use super::compression::Compression;
use super::metadata::Metadata;
use super::personality::Personality;
use super::verity::Verity;
use super::{compression, extended, refused};
use crate::exit::Failure;
use crate::value::{self, VolumeUuid};

/// The word of `--ishare-digest` that takes the values from the source.
pub(super) const DIGEST_SOURCE: &str = "source";

/// The version of the program and of the layout that it writes; a test holds the second to the builder's
/// number.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\nlayout 1");

/// Build an EROFS image (IMAGE) from a directory or a tar archive (SOURCE).
///
/// The same source and options give the same bytes, on every machine. With --ishare-key every non-empty
/// regular file carries a fingerprint of its content, so that Linux 7.0 and newer keep one copy in memory of
/// files that many mounted images contain.
#[derive(Debug, Clone, Parser)]
#[command(name = "mkfs-erofs", version = VERSION, args_override_self = true, next_line_help = false)]
pub struct Args {
    /// The image: a file to be made or replaced, or a block device to be written
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub image: PathBuf,

    /// The directory whose contents become the image; with --tar an archive
    #[arg(value_name = "SOURCE", value_hint = ValueHint::AnyPath, required_unless_present = "tar")]
    pub source: Option<PathBuf>,

    /// Whose command line this was.
    #[arg(skip)]
    pub personality: Personality,

    /// The flags that say what is stored and how.
    #[command(flatten)]
    pub sharing: Sharing,
    /// See above.
    #[command(flatten)]
    pub archive: Archive,
    /// See above.
    #[command(flatten)]
    pub layout: Layout,
    /// See above.
    #[command(flatten)]
    pub compression: Compression,
    /// See above.
    #[command(flatten)]
    pub metadata: Metadata,
    /// See above.
    #[command(flatten)]
    pub verity: Verity,
    /// See above.
    #[command(flatten)]
    pub times: Times,
    /// See above.
    #[command(flatten)]
    pub contents: Contents,
    /// See above.
    #[command(flatten)]
    pub running: Running,
}

/// Flags about fingerprints and equal files.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Sharing memory between images")]
pub struct Sharing {
    /// Give every non-empty regular file a fingerprint in the extended attribute NAME
    /// [default NAME: erofs.fingerprint.v1, which mounts do not show]
    #[arg(
        long,
        visible_aliases = ["ishare_key", "xattr-inode-digest"],
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_ISHARE_KEY
    )]
    pub ishare_key: Option<OsString>,

    /// What the fingerprints are
    #[arg(long, value_name = "KIND", requires = "ishare_key", value_parser = digests(), default_value = "sha256")]
    pub ishare_digest: String,

    /// The publisher's namespace for --ishare-digest=uuid
    #[arg(long, value_name = "UUID", requires = "ishare_key", value_parser = value::namespace)]
    pub ishare_namespace: Option<Uuid>,

    /// Fail where otherwise a warning or the summary counts: a file of the source has an extended attribute
    /// that would be taken for its fingerprint, or an owner or group that this user namespace does not map
    #[arg(long)]
    pub strict: bool,

    /// Store every file, even if an equal one is stored already
    #[arg(long)]
    pub no_file_dedupe: bool,
}

/// Flags about the form of the image.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Layout of the image")]
pub struct Layout {
    /// Size of a block: a power of two from 512 to 65536 [default: 4096]
    #[arg(short = 'b', value_name = "BYTES", value_parser = value::block_size)]
    pub block_size: Option<BlockBits>,

    /// Words that change the layout.
    #[arg(short = 'E', value_name = "WORD[,...]", allow_hyphen_values = true, help = extended::help(),
          long_help = extended::long_help())]
    pub extended: Vec<String>,

    /// Volume label, at most 15 bytes
    #[arg(short = 'L', value_name = "LABEL", allow_hyphen_values = true)]
    pub label: Option<OsString>,

    /// UUID of the volume: a UUID, `random`, or `clear` for zeros [default: derived from the contents]
    #[arg(short = 'U', value_name = "UUID", value_parser = value::volume_uuid)]
    pub uuid: Option<VolumeUuid>,

    /// Store an extended attribute once for all its files if more than N have it; below 0 none is taken from
    /// the source, from 2147483647 on none is shared [default: 2]
    #[arg(short = 'x', value_name = "N", value_parser = value::signed, allow_negative_numbers = true)]
    pub xattr_tolerance: Option<i64>,

    /// Another long prefix for names of extended attributes, such as trusted.overlay. (may be repeated)
    #[arg(long, value_name = "PREFIX")]
    pub xattr_prefix: Vec<OsString>,

    /// Room for the extended attributes of the root directory, at least
    #[arg(long, value_name = "BYTES", value_parser = value::size)]
    pub root_xattr_isize: Option<u32>,

    /// Store regular files in chunks of this many bytes (a power of two, at least a block), equal chunks once
    #[arg(long, value_name = "BYTES", value_parser = value::chunk_bits)]
    pub chunksize: Option<u8>,

    /// Start the data of each file at a multiple of this many blocks
    #[arg(long, value_name = "BLOCKS", value_parser = value::unsigned)]
    pub dsunit: Option<u32>,

    /// Round the size of the image up to a multiple of this many blocks
    #[arg(long, value_name = "BLOCKS", value_parser = value::unsigned)]
    pub fsalignblks: Option<u32>,

    /// Leave this many bytes at the beginning of IMAGE alone
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub offset: Option<u64>,
}

/// Flags about times.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Times")]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag that takes no value")]
pub struct Times {
    /// Build time in seconds since 1970; also the time of all files, unless --mkfs-time is given
    /// [default: `SOURCE_DATE_EPOCH` of the environment, else 0]
    #[arg(short = 'T', value_name = "SECONDS", value_parser = value::seconds)]
    pub timestamp: Option<i64>,

    /// Give all files the build time
    #[arg(long, overrides_with = "mkfs_time")]
    pub all_time: bool,

    /// Keep the times of files, whatever the build time is
    #[arg(long, overrides_with = "all_time")]
    pub mkfs_time: bool,

    /// Give files the build time where their own would be all that makes a large inode necessary
    #[arg(long, overrides_with = "preserve_mtime")]
    pub ignore_mtime: bool,

    /// Make inodes as large as the times of files need (the default)
    #[arg(long, overrides_with = "ignore_mtime")]
    pub preserve_mtime: bool,
}

/// Flags about what is taken from the source.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What is taken from SOURCE")]
pub struct Contents {
    /// Make root the owner and group of everything
    #[arg(long)]
    pub all_root: bool,

    /// Make UID the owner of everything
    #[arg(long, value_name = "UID", value_parser = value::owner)]
    pub force_uid: Option<u32>,

    /// Make GID the group of everything
    #[arg(long, value_name = "GID", value_parser = value::owner)]
    pub force_gid: Option<u32>,

    /// Add N to every owner
    #[arg(long, value_name = "N", value_parser = value::unsigned)]
    pub uid_offset: Option<u32>,

    /// Add N to every group
    #[arg(long, value_name = "N", value_parser = value::unsigned)]
    pub gid_offset: Option<u32>,

    /// Leave out PATH, relative to SOURCE, and what is below it (may be repeated)
    #[arg(long, value_name = "PATH")]
    pub exclude_path: Vec<OsString>,

    /// Leave out every path, relative to SOURCE, in which REGEX is found, and what is below it (may be
    /// repeated)
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub exclude_regex: Vec<String>,

    /// Give each name of a file with several an inode of its own
    #[arg(long)]
    pub hard_dereference: bool,

    /// Accepted for scripts; changes nothing, because no option of this version looks at target paths
    #[arg(long, value_name = "PATH")]
    pub mount_point: Option<OsString>,
}

/// Flags about the run itself.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Running")]
pub struct Running {
    /// Number of threads, at most 256; fewer work where the system starts no more or memory is short. The
    /// image does not depend on it [default: one per processor]
    #[arg(long, value_name = "N", value_parser = value::unsigned)]
    pub workers: Option<u32>,

    /// How much to say, 0 to 9: 0 is the same as --quiet
    #[arg(short = 'd', value_name = "LEVEL", value_parser = value::verbosity)]
    pub verbosity: Option<u8>,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Print the summary as one JSON object, even with --quiet
    #[arg(long)]
    pub json: bool,

    /// Read the command line as mkfs.erofs of erofs-utils 1.9.4 does, which is the rule under the name
    /// mkfs.erofs (docs/drop-in.md)
    #[arg(long)]
    pub as_mkfs_erofs: bool,

    /// Print help (-h is shorter)
    #[arg(short = 'h', long, action = ArgAction::Help)]
    pub help: Option<bool>,

    /// Print the version of the program and of the layout that it writes
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub version: Option<bool>,
}

/// The kinds of fingerprint, with what help says about each.
fn digests() -> PossibleValuesParser {
    let computed = fingerprint::TABLE.iter().map(|kind| match kind.name {
        "sha256" => PossibleValue::new("sha256").help("SHA-256 of the content, as mkfs.erofs writes it"),
        "blake3" => PossibleValue::new("blake3").help("BLAKE3 of the content"),
        "sha512" => PossibleValue::new("sha512").help("SHA-512 of the content"),
        "uuid" => PossibleValue::new("uuid").help("a UUID made of the content and --ishare-namespace"),
        name => PossibleValue::new(name),
    });
    let source = "what the file of SOURCE has in the attribute NAME: nothing checks it";
    PossibleValuesParser::new(computed.chain([PossibleValue::new(DIGEST_SOURCE).help(source)]))
}

/// The command without what it refuses by name; man page and completions are made from it.
pub fn command() -> clap::Command {
    let command = Args::command().disable_help_flag(true).disable_version_flag(true);
    let spellings = spellings(&command);
    command.after_long_help(spellings)
}

/// How scripts that look for a flag in the help find those that take a value.
fn spellings(command: &clap::Command) -> String {
    let long = command.get_arguments().filter(|argument| argument.get_action().takes_values());
    let mut names: Vec<String> = long
        .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
        .map(|name| format!("--{name}="))
        .collect();
    names.sort();
    let short = command.get_arguments().filter(|argument| argument.get_action().takes_values());
    let mut letters: Vec<String> =
        short.filter_map(Arg::get_short).map(|letter| format!("-{letter}#")).collect();
    letters.sort();
    format!(
        "Long options take their value after an equals sign: {}\n\nShort options take it with or without a blank: {}",
        names.join(" "),
        letters.join(" ")
    )
}

impl Args {
    /// Reads a command line; the first argument is the name of the program.
    ///
    /// # Errors
    /// Why it cannot be followed, or the help or version that it asks for.
    pub fn read<I, T>(line: I) -> Result<Self, Failure>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        // A flag that is refused counts more than a missing argument: `--oci` has no SOURCE.
        let personality = Personality::of(&line);
        let command = personality.command(refused::add_to(command()), &compression::help());
        let path = |id| Arg::new(id).value_parser(clap::value_parser!(OsString));
        let relaxed = command
            .clone()
            .mut_arg("image", |_| path("image").index(1))
            .mut_arg("source", |_| path("source").index(2));
        if let Ok(matches) = relaxed.try_get_matches_from(&line)
            && let Some(text) = refused::found(&matches, personality)
        {
            return Err(Failure::Usage(text));
        }
        let mut matches = command.try_get_matches_from(&line).map_err(|error| with_tip(error, &line))?;
        if let Some(text) = Personality::more_sources(&matches) {
            return Err(Failure::Usage(text));
        }
        let root_owns = is_later(&matches, "all_root", "force_uid");
        let root_is_group = is_later(&matches, "all_root", "force_gid");
        let mut args = Self::from_arg_matches_mut(&mut matches)?;
        args.personality = personality;
        if root_owns {
            args.contents.force_uid = Some(0);
        }
        if root_is_group {
            args.contents.force_gid = Some(0);
        }
        Ok(args)
    }
}

/// Adds a tip to an error where the value of a flag with an optional value was given as a word of its own,
/// which makes it one more path.
fn with_tip(mut error: clap::Error, line: &[OsString]) -> clap::Error {
    for flag in ["--ishare-key", "--ishare_key", "--xattr-inode-digest"] {
        let typed = line.iter().position(|word| word == flag).and_then(|at| line.get(at + 1));
        if let Some(name) = typed.and_then(|name| name.to_str())
            && erofs_format::xattr::split_name(name.as_bytes()).is_some()
            && error.use_stderr()
        {
            let tip = format!("NAME is given after an equals sign: {flag}={name}");
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
    }
    error
}

/// Whether `one` was given, and after `other` if that was given as well.
fn is_later(matches: &ArgMatches, one: &str, other: &str) -> bool {
    let given = |id| {
        let typed = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        if typed { matches.indices_of(id).and_then(Iterator::last) } else { None }
    };
    given(one).is_some_and(|at| given(other).is_none_or(|other| other < at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        refused::add_to(command()).debug_assert();
    }

    #[test]
    fn the_version_names_the_layout() {
        let version = command().render_version();
        let layout = erofs_builder::LAYOUT_VERSION;
        assert_eq!(version, format!("mkfs-erofs {}\nlayout {layout}\n", env!("CARGO_PKG_VERSION")));
    }

    /// The flags of mkfs.erofs 1.9.4.
    const PEER_LONG: &str = "version help exclude-path exclude-regex file-contexts force-uid force-gid all-root \
                             random-pclusterblks random-algorithms max-extent-bytes compress-hints chunksize quiet \
                             blobdev ignore-mtime preserve-mtime uid-offset gid-offset tar aufs mount-point \
                             product-out fs-config-file block-list-file ovlfs-strip offset gzip ungzip gzinfo unlzma unxz workers \
                             zfeature-bits clean incremental root-xattr-isize mkfs-time all-time sort \
                             hard-dereference dsunit async-queue-limit fsalignblks vmdk-desc s3 oci zD MZ \
                             xattr-prefix xattr-inode-digest";
    const PEER_SHORT: &str = "CELTUbdmxzVh";

    #[test]
    fn every_flag_of_the_peer_is_known_or_refused_by_name() {
        let command = refused::add_to(command());
        let long: Vec<&str> = command
            .get_arguments()
            .flat_map(|a| a.get_long_and_visible_aliases().unwrap_or_default())
            .collect();
        let short: Vec<char> = command.get_arguments().filter_map(Arg::get_short).collect();
        for flag in PEER_LONG.split_whitespace() {
            assert!(long.contains(&flag), "--{flag}");
        }
        for flag in PEER_SHORT.chars() {
            assert!(short.contains(&flag), "-{flag}");
        }
    }
}
