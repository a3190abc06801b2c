//! The words of `-E`: one row each.

use erofs_build::BuildOptions;
use erofs_build::options::{ChunkTable, InodeForm};

use super::compression;

type Effect = fn(&mut BuildOptions);

/// Each word and what it does. Of words that contradict each other the last one counts.
const WORDS: &[(&str, Effect)] = &[
    ("force-inode-compact", |options| {
        options.layout.inodes = InodeForm::Compact;
        // As mkfs.erofs documents it.
        options.layout.ignore_mtime = true;
    }),
    ("force-inode-extended", |options| options.layout.inodes = InodeForm::Extended),
    ("force-chunk-indexes", |options| {
        options.layout.chunk_table = ChunkTable::Indexes;
    }),
    ("force-inode-blockmap", |options| {
        options.layout.chunk_table = ChunkTable::BlockMap;
    }),
    ("nosbcrc", |options| options.layout.superblock_checksum = false),
    ("inline_data", |options| options.content.inline_data = true),
    ("^inline_data", |options| options.content.inline_data = false),
    ("noinline_data", |options| options.content.inline_data = false),
    // They always stand on the device itself, never in the packed inode or the metabox.
    ("plain-xattr-prefixes", |_| ()),
    ("dot-omitted", |options| options.layout.dot_omitted = true),
    ("^dot-omitted", |options| options.layout.dot_omitted = false),
    ("xattr-name-filter", |options| options.layout.xattr_filter = true),
    ("^xattr-name-filter", |options| options.layout.xattr_filter = false),
];

/// Words about compression, which are applied together with its flags.
const COMPRESSION: [&str; 9] = [
    "legacy-compress",
    "ztailpacking",
    "fragments[=BYTES]",
    "all-fragments",
    "fragdedupe=full|inode|off",
    "48bit",
    "dedupe",
    "head2[=PERCENT]",
    "^WORD",
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
        let Some((_, effect)) = WORDS.iter().find(|(name, _)| *name == word) else {
            return Err(format!("-E {word}: found an unknown word, want {}", known()));
        };
        effect(options);
    }
    Ok(())
}

fn known() -> String {
    let names: Vec<&str> = WORDS.iter().map(|(name, _)| *name).chain(COMPRESSION).collect();
    names.join(", ")
}

/// The help of `-E`.
pub(super) fn help() -> String {
    format!("Words that change the layout, separated by commas: {}", known())
}
