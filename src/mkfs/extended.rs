//! The words of `-E`: one row each.

use erofs_builder::BuildOptions;
use erofs_builder::options::{ChunkTable, HoleRule, InodeForm};

use super::compression;

/// A word: its name, what it does in the words of the help, and its effect.
type Row = (&'static str, &'static str, fn(&mut BuildOptions));

/// Each word and what it does. Of words that contradict each other the last one counts.
const WORDS: &[Row] = &[
    (
        "force-inode-compact",
        "inodes of 32 bytes, with the build time where a file's own time would need 64; an error where a file needs 64 otherwise",
        |options| {
            options.layout.inodes = InodeForm::Compact;
            // As mkfs.erofs documents it.
            options.layout.ignore_mtime = true;
        },
    ),
    ("force-inode-extended", "inodes of 64 bytes", |options| {
        options.layout.inodes = InodeForm::Extended;
    }),
    ("force-chunk-indexes", "chunk tables of 8 bytes per chunk", |options| {
        options.layout.chunk_table = ChunkTable::Indexes;
    }),
    ("force-inode-blockmap", "chunk tables of 4 bytes per chunk (the default)", |options| {
        options.layout.chunk_table = ChunkTable::BlockMap;
    }),
    ("nosbcrc", "no checksum in the superblock", |options| options.layout.superblock_checksum = false),
    ("inline_data", "ends of files are stored after their inodes where they fit (the default)", |options| {
        options.content.inline_data = true;
    }),
    ("^inline_data", "ends of files get a block of their own", |options| {
        options.content.inline_data = false;
    }),
    ("noinline_data", "the same", |options| options.content.inline_data = false),
    (
        "holes",
        "zeros take no space wherever that makes the image smaller; such files need Linux 5.15",
        |options| {
            options.content.holes = HoleRule::Always;
        },
    ),
    (
        "^holes",
        "zeros are stored [default: holes of 1 MiB or more, or all where the image needs Linux 5.15 anyway]",
        |options| {
            options.content.holes = HoleRule::Never;
        },
    ),
    // They always stand on the device itself, never in the packed inode or the metabox.
    ("plain-xattr-prefixes", "accepted for scripts: long xattr prefixes are never compressed", |_| ()),
    ("dot-omitted", "directories have no entry for themselves (Linux 6.15)", |options| {
        options.layout.dot_omitted = true;
    }),
    ("^dot-omitted", "they have one (the default)", |options| options.layout.dot_omitted = false),
    ("xattr-name-filter", "filters of xattr names, used from Linux 6.6 on (the default)", |options| {
        options.layout.xattr_filter = true;
    }),
    ("^xattr-name-filter", "no such filters", |options| options.layout.xattr_filter = false),
];

/// Words about compression, which are applied together with its flags. Without -z most of them have no
/// effect.
const COMPRESSION: [(&str, &str); 9] = [
    ("legacy-compress", "full indexes, of 8 bytes per block of content"),
    ("ztailpacking", "the last pcluster of a file is stored after its inode where it fits (Linux 5.17)"),
    (
        "fragments[=BYTES]",
        "ends of files and small files are compressed together, in pclusters of up to BYTES [default: -C] (Linux 6.1)",
    ),
    ("all-fragments", "whole files are (Linux 6.1)"),
    ("fragdedupe=full|inode|off", "whether equal fragments are stored once [default: full]"),
    ("48bit", "pclusters start at any byte, images have up to 2^48 blocks (Linux 6.15)"),
    ("dedupe", "equal parts of files are stored once (Linux 6.1); without -z, equal chunks"),
    (
        "head2[=PERCENT]",
        "pclusters are stored by the second algorithm of -z where it takes at most PERCENT more (Linux 5.16)",
    ),
    ("^WORD", "switches one of these off"),
];

/// Applies the words of one `-E` in their order.
///
/// # Errors
/// What is wrong with the first that is not known.
pub(super) fn apply(
    words: &str,
    options: &mut BuildOptions,
    compression: &mut compression::Words,
) -> Result<(), String> {
    for word in words.strip_suffix(',').unwrap_or(words).split(',') {
        match compression.apply(word) {
            Ok(()) => continue,
            Err(Some(error)) => return Err(format!("-E {word}: {error}")),
            Err(None) => {}
        }
        let Some((_, _, effect)) = WORDS.iter().find(|(name, ..)| *name == word) else {
            return Err(format!("-E {word}: found an unknown word, want {}", known()));
        };
        effect(options);
    }
    Ok(())
}

/// Each word with its help.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    WORDS.iter().map(|(name, help, _)| (*name, *help)).chain(COMPRESSION)
}

fn known() -> String {
    let names: Vec<&str> = rows().map(|(name, _)| name).collect();
    names.join(", ")
}

/// The help of `-E` in one paragraph.
pub(super) fn help() -> String {
    format!("Words that change the layout, separated by commas: {}", known())
}

/// The same with what each word does.
pub(super) fn long_help() -> String {
    let lines: Vec<String> = rows().map(|(name, help)| format!("{name}: {help}")).collect();
    format!("Words that change the layout, separated by commas:\n\n{}", lines.join("\n"))
}
