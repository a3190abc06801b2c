//! The EROFS builder: the same source and options give the same bytes.
//!
//! ```text
//! source ─► pipeline (contents, in parallel; coder, dedupe) ─► layout (pure: every place) ─► finish ─► output
//! ```
//!
//! The order of an image: superblock, configurations, xattr prefixes; the contents of files; inodes and
//! directories; the contents of internal inodes, and these. Contents are read once (twice with `-E dedupe`),
//! hashed, encoded, given places and written. What inodes need to know of them is kept in a spool. When all
//! is known, inodes and directories get their places. The superblock comes last, then the image gets its
//! name.
//!
//! Reading order: [`options`], [`summary`], `content` (where the bytes of a file are), `pipeline` with
//! `coder` and `dedupe`, `layout` (places and bytes, no I/O), `finish`, [`image_file`] and [`output`] (what
//! is written to). Invariant: order comes from the source alone; nothing here looks at a clock, a random
//! number or the iteration order of a hash table.
//!
//! # Example
//!
//! ```
//! use std::path::PathBuf;
//!
//! use erofs_builder::{BuildOptions, ImageFile};
//! use erofs_tree::{Content, ContentRef, Entry, Inode, InodeId, Kind, Tree};
//! use erofs_tree::{Progress, Silent, Source, Timestamp, TreeError};
//!
//! /// A tree in memory: a root directory with one file.
//! struct Hello(&'static [u8]);
//!
//! impl Source for Hello {
//!     fn scan(&mut self, _: &dyn Progress) -> Result<Tree, TreeError> {
//!         let inode = |permissions, links, kind| Inode {
//!             permissions,
//!             uid: 0,
//!             gid: 0,
//!             mtime: Timestamp::default(),
//!             links,
//!             xattrs: [].into(),
//!             kind,
//!         };
//!         let entries = [Entry { name: (*b"hello").into(), inode: InodeId(1) }].into();
//!         let file = Kind::File { size: self.0.len() as u64, content: ContentRef(0) };
//!         let inodes = vec![inode(0o755, 2, Kind::Directory { entries }), inode(0o644, 1, file)];
//!         Ok(Tree { inodes, root: InodeId(0) })
//!     }
//!
//!     fn open(&self, _: ContentRef) -> Result<Box<dyn Content + '_>, TreeError> {
//!         Ok(Box::new(Bytes(self.0)))
//!     }
//!
//!     fn path(&self, _: ContentRef) -> PathBuf {
//!         "hello".into()
//!     }
//!
//!     fn warnings(&self) -> Vec<String> {
//!         Vec::new()
//!     }
//! }
//!
//! struct Bytes<'a>(&'a [u8]);
//!
//! impl Content for Bytes<'_> {
//!     fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
//!         let rest = &self.0[self.0.len().min(offset as usize)..];
//!         let count = rest.len().min(buf.len());
//!         buf[..count].copy_from_slice(&rest[..count]);
//!         Ok(count)
//!     }
//!
//!     fn finish(&self) -> Result<(), TreeError> {
//!         Ok(())
//!     }
//! }
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("hello.img");
//! let image = ImageFile::create(&path, 0)?;
//! // `erofs_tree::DirSource` is the source for a directory, `erofs_tree::Shaped` changes owners and times.
//! let summary = erofs_builder::build(&mut Hello(b"world\n"), image, &BuildOptions::default(), &Silent)?;
//! assert_eq!((summary.files, summary.directories), (1, 1));
//! assert_eq!(std::fs::metadata(&path)?.len(), summary.image_bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod companion;
pub mod error;
pub mod image_file;
pub mod option_error;
pub mod options;
pub mod output;
pub mod summary;

mod buffer;
mod coder;
mod content;
mod dedupe;
mod finish;
mod key;
mod layout;
mod pipeline;
mod store;
mod stored;
mod zeros;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use erofs_format::feature::PAGE_CACHE_SHARE_SINCE;
use erofs_tree::{
    ContentRef, Inode, InodeId, Kind, Progress, Source, Stage, Stream, Streamed, Tree, TreeError,
};

pub use error::BuildError;
pub use image_file::ImageFile;
pub use option_error::{Field, OptionError};
pub use options::BuildOptions;
pub use summary::Summary;

use coder::codecs::{Choice, Codecs, Rules};
use coder::plain::PlainCoder;
use content::Record;
use finish::announce::Announced;
use finish::front::Front;
use finish::{Contents, Context, Finished, PackedContent};
use layout::headers::{Headers, TailRoom};
use layout::place::Layout;
use layout::prefixes::Prefixes;
use layout::table::Tables;
use pipeline::stream::{Once, Passing};
use pipeline::{Committed, File, Opened, Outputs, Phase, Work};
use store::{Area, Spool};
use summary::{FingerprintSummary, Sums};

/// The version of the layout: the promise that the same tree and options give the same bytes. What it holds
/// is written in `docs/layout-1.md`.
pub const LAYOUT_VERSION: u32 = 1;

/// Builds the image of `source` in `image`.
///
/// # Errors
///
/// Every error leaves the target as it was, but for what is written in place (see [`image_file`]): a file is
/// empty then, and a device holds no image. A folder that cannot be synced is a warning, because the new
/// image is there.
pub fn build(
    source: &mut dyn Source,
    image: ImageFile,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    options.check()?;
    let mut tree = source.scan(progress)?;
    let mut found = Found { warnings: source.warnings(), ..Found::default() };
    found.complete(&mut tree, options)?;
    let begun = Begun::new(image, options, progress)?;
    let input = Opened::new(source);
    let phase = begun.phase(&input);
    let files = files(&tree, &phase, options);
    for file in &files {
        pipeline::bounds::check(&phase, file, || path_of(&tree, file))?;
    }
    let committed =
        pipeline::store(phase, &files, begun.area(), begun.outputs(), &begun.work(), Sums::default())?;
    begun.finish(&tree, committed, found)
}

/// Builds the image of what `stream` yields in `image`. Contents are stored in the order of the stream, so
/// that this order has an influence on the image.
///
/// # Errors
///
/// As [`build`]; also [`BuildError::Options`] where equal parts of files are to be stored once (`dedupe` of
/// the compression), which takes reading contents twice.
pub fn build_stream(
    stream: &mut dyn Stream,
    image: ImageFile,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Summary, BuildError> {
    options.check()?;
    let begun = Begun::new(image, options, progress)?;
    let work = begun.work();
    if work.dedupe {
        let found = "a source that is read once";
        return Err(OptionError::new(Field::Dedupe, found, "one that can be read twice").into());
    }
    let phase = begun.phase(&Once);
    let room = TailRoom::new(options);
    let hints = options.content.compression.as_ref().map_or(&[][..], |compression| &compression.hints);
    let describe = |streamed: &Streamed| File {
        content: streamed.content,
        size: streamed.size,
        choice: Choice::of(hints, &streamed.path, phase.rules.usual),
        tail_room: room.of(&streamed.inode),
        // The sizes of the files that follow are not known.
        may_have_duplicate: true,
    };
    let mut choices: Vec<Choice> = hints.iter().map(|hint| Choice::hinted(hint, phase.rules.usual)).collect();
    choices.push(phase.rules.usual);
    let mut feed = Passing::new(stream, phase, &describe);
    progress.begin(Stage::Content, 0, 0);
    let committed = pipeline::store_feed(
        phase,
        &mut feed,
        &choices,
        begun.area(),
        begun.outputs(),
        &work,
        Sums::default(),
    )?;
    progress.end(Stage::Content);
    let mut tree = stream.finish()?;
    let mut found = Found { warnings: stream.warnings(), ..Found::default() };
    found.complete(&mut tree, options)?;
    tails_fit(&tree, &committed, &room)?;
    begun.finish(&tree, committed, found)
}

/// What was noticed of the source.
#[derive(Debug, Default)]
struct Found {
    warnings: Vec<String>,
    /// Fingerprints of the source that were left out.
    dropped: u64,
}

impl Found {
    /// Checks a tree, and takes xattrs out of it that an image cannot hold.
    fn complete(&mut self, tree: &mut Tree, options: &BuildOptions) -> Result<(), BuildError> {
        // A few milliseconds for 100,000 inodes: whatever made the tree, what follows may rely on it.
        tree.validate()?;
        let content = &options.content;
        let (fingerprint, longest) = (content.fingerprint.as_ref(), content.block_bits.size());
        self.dropped = layout::xattrs::sift(tree, fingerprint, longest, &mut self.warnings)?;
        Ok(())
    }
}

/// An image that has begun: what is known before the first content.
struct Begun<'a> {
    image: ImageFile,
    options: &'a BuildOptions,
    progress: &'a dyn Progress,
    codecs: Codecs,
    announced: Announced,
    prefixes: Prefixes,
    front: Front,
    /// What inodes will need of the contents.
    records: Spool,
    /// The content of the packed inode, if there is one.
    packed: Option<Spool>,
}

impl<'a> Begun<'a> {
    fn new(
        image: ImageFile,
        options: &'a BuildOptions,
        progress: &'a dyn Progress,
    ) -> Result<Self, BuildError> {
        let codecs = Codecs::new(options);
        let announced = Announced::new(&codecs, options.content.block_bits);
        let prefixes = Prefixes::new(options)?;
        let front = Front::new(options, &prefixes, announced.records.len() as u64)?;
        finish::begin(&front, &image)?;
        let packs = codecs.rules.fragments.is_some() || options.layout.pack_directories;
        let packed = packs.then(|| Spool::new(image.scratch()));
        let records = Spool::new(image.scratch());
        Ok(Self { image, options, progress, codecs, announced, prefixes, front, records, packed })
    }

    fn phase<'p>(&'p self, input: &'p dyn pipeline::Input) -> Phase<'p> {
        phase(input, &self.codecs, self.options)
    }

    fn area(&self) -> Area {
        let content = &self.options.content;
        let is_unaligned = self.codecs.rules.is_unaligned();
        Area::new(self.front.data_at, content.block_bits, content.dsunit, is_unaligned)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs { image: &self.image, records: &self.records, packed: self.packed.as_ref() }
    }

    fn work(&self) -> Work<'a> {
        work(self.options, &self.codecs, self.progress)
    }

    /// Gives inodes and directories their places and writes all that is not content.
    fn finish(self, tree: &Tree, committed: Committed, found: Found) -> Result<Summary, BuildError> {
        let Self { image, options, progress, codecs, announced, prefixes, front, records, packed } = self;
        let contents = contents(tree, committed, records);
        let tables = Tables {
            block_bits: options.content.block_bits,
            forces_indexes: options.layout.chunk_table == options::ChunkTable::Indexes,
            devices: Vec::new(),
        };
        let headers = Headers::new(tree, options, prefixes);
        let shapes = finish::inodes::shapes(&headers, &contents, &tables, options.workers())?;
        let layout = Layout::new(headers, &shapes, contents.end)?;
        let context = Context {
            layout: &layout,
            contents: &contents,
            tables: &tables,
            front: &front,
            codecs: &codecs,
            announced: &announced,
            image: &image,
            options,
            progress,
        };
        let finished = finish::finish(&context, packed.map(PackedContent::Spool))?;
        let Found { mut warnings, dropped } = found;
        warnings.extend(image.finish(finished.image_bytes)?);
        let summary = summarise(tree, &contents.sums, &finished, options);
        Ok(Summary { warnings, ..summary }.with_dropped(dropped))
    }
}

/// Refuses a tree of a stream in which an inode has more extended attributes than when its content came:
/// there would be no room for the tail that follows it.
fn tails_fit(tree: &Tree, committed: &Committed, room: &TailRoom) -> Result<(), BuildError> {
    let by_content = by_content(committed);
    for (id, inode) in tree.iter() {
        let record = record_of(inode, &by_content);
        let tail =
            record.map_or(0, |record| if record.kind == content::Kind::Flat { record.tail() } else { 0 });
        if tail > room.of(inode) {
            return Err(BuildError::Tree(TreeError::Invalid {
                path: OsString::from_vec(tree.path_of(id)).into(),
                what: "extended attributes at the end of the stream",
                found: "more than with the content".to_owned(),
                wanted: "no more, because the tail of the content has its place",
            }));
        }
    }
    Ok(())
}

/// What the work on the contents of files needs to know.
fn phase<'a>(input: &'a dyn pipeline::Input, codecs: &'a Codecs, options: &'a BuildOptions) -> Phase<'a> {
    let content = &options.content;
    Phase {
        input,
        codecs,
        rules: codecs.rules,
        plain: PlainCoder {
            block_bits: content.block_bits,
            hole_bits: options.hole_bits(),
            chunk_bits: content.chunks.map(|chunks| chunks.bits),
        },
        fingerprint: content.fingerprint.as_ref(),
        file_dedupe: content.file_dedupe && content.chunks.is_none(),
        block: content.block_bits.bytes(),
        segment: pipeline::segment_size(&codecs.rules),
        is_internal: false,
        recipes: None,
    }
}

fn work<'a>(options: &BuildOptions, codecs: &Codecs, progress: &'a dyn Progress) -> Work<'a> {
    let Rules { dedupe, fragments, .. } = codecs.rules;
    // Where all contents go to the packed inode, equal parts are looked for there.
    let dedupe = dedupe && !fragments.is_some_and(|fragments| fragments.all);
    let memory = options.content.compression.as_ref().map_or(0, |compression| compression.memory);
    Work { threads: options.workers(), memory, dedupe, progress }
}

/// The files of a tree, in the order in which they are stored.
fn files(tree: &Tree, phase: &Phase<'_>, options: &BuildOptions) -> Vec<File> {
    let room = TailRoom::new(options);
    let hinted = hinted(tree, phase, options);
    let usual = phase.rules.usual;
    let file = |inode: InodeId, bare: File| File {
        choice: hinted.get(inode.index()).copied().unwrap_or(usual),
        tail_room: room.of(&tree.inodes[inode.index()]),
        ..bare
    };
    pipeline::listed::files(tree, &layout::order::walk(tree), file)
}

/// The path of a file in the tree, for messages: it searches the tree.
fn path_of(tree: &Tree, file: &File) -> Vec<u8> {
    let is_file = |inode: &Inode| matches!(inode.kind, Kind::File { content, .. } if content == file.content);
    tree.iter().find(|(_, inode)| is_file(inode)).map_or_else(Vec::new, |(id, _)| tree.path_of(id))
}

/// How each inode is encoded where hints tell them apart; else nothing.
fn hinted(tree: &Tree, phase: &Phase<'_>, options: &BuildOptions) -> Vec<Choice> {
    let Some(compression) =
        options.content.compression.as_ref().filter(|compression| !compression.hints.is_empty())
    else {
        return Vec::new();
    };
    let usual = phase.rules.usual;
    let mut choices = vec![usual; tree.len()];
    tree.for_each_path(|inode, path| {
        choices[inode.index()] = Choice::of(&compression.hints, path, usual);
    });
    choices
}

/// The record of each content.
fn by_content(committed: &Committed) -> HashMap<ContentRef, Record> {
    committed.files.iter().filter_map(|known| Some((known.content, known.record?))).collect()
}

/// The record of an inode, if it is a regular file with content.
fn record_of(inode: &Inode, by_content: &HashMap<ContentRef, Record>) -> Option<Record> {
    match inode.kind {
        Kind::File { size, content } if size != 0 => by_content.get(&content).copied(),
        Kind::File { .. }
        | Kind::Directory { .. }
        | Kind::Symlink { .. }
        | Kind::CharDevice { .. }
        | Kind::BlockDevice { .. }
        | Kind::Fifo
        | Kind::Socket => None,
    }
}

/// What was stored, by the inodes of the tree.
fn contents(tree: &Tree, committed: Committed, records: Spool) -> Contents {
    let by_content = by_content(&committed);
    let by_inode = tree.inodes.iter().map(|inode| record_of(inode, &by_content)).collect();
    let Committed { end, gaps, key, sums, .. } = committed;
    Contents { records, by_inode, end, gaps, key, sums }
}

fn summarise(tree: &Tree, sums: &Sums, finished: &Finished, options: &BuildOptions) -> Summary {
    let counts = tree.counts();
    let superblock = &finished.superblock;
    let fingerprints = options.content.fingerprint.as_ref().map(|wanted| FingerprintSummary {
        key: wanted.key.clone(),
        digest: wanted.value.name(),
        files: tree.inodes.iter().filter(|inode| layout::xattrs::carries_fingerprint(inode)).count() as u64,
        dropped_from_source: 0,
    });
    Summary {
        image_bytes: finished.image_bytes,
        block_size: superblock.block_bits.size(),
        uuid: superblock.uuid,
        inodes: counts.inodes,
        files: counts.files,
        directories: counts.directories,
        symlinks: counts.symlinks,
        special_files: counts.devices + counts.fifos + counts.sockets,
        hard_links: counts.hard_links,
        logical_bytes: counts.file_bytes,
        stored_bytes: sums.stored_bytes,
        deduplicated_bytes: sums.deduplicated_bytes,
        hole_bytes: sums.hole_bytes,
        compression: options.content.compression.as_ref().map(|_| sums.compression.clone()),
        kernel_to_share: fingerprints.is_some().then_some(PAGE_CACHE_SHARE_SINCE),
        fingerprints,
        metabox: finished.metabox,
        compat: superblock.compat,
        incompat: superblock.incompat,
        kernel_to_mount: superblock.first_kernel(),
        kernel_needs: superblock.kernel_needs(),
        warnings: Vec::new(),
    }
}
