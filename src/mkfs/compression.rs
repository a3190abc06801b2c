//! The flags of compression: what was typed, and what it means.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use erofs_builder::BuildOptions;
use erofs_builder::options::{
    AlgorithmOptions, ChunkOptions, CompressClass, CompressHint, CompressionOptions, FragmentOptions,
    IndexForm,
};
use erofs_encode::Algorithm;
use erofs_format::BlockBits;
use erofs_format::words;

use super::algorithm::algorithm;
use super::metadata::Metadata;
use super::personality::Personality;
use crate::{exit, files, value};

/// The largest pcluster in bytes (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const PCLUSTER_MAX: u32 = 1 << 20;
/// Algorithms on one command line, as in mkfs.erofs.
const ALGORITHMS_MAX: usize = 64;

/// How much more the second algorithm may take with `-E head2`, in percent, where nothing else is said.
const HEAD2_PERCENT: u8 = 5;

/// Flags about compression.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Compression")]
pub struct Compression {
    /// Compress files with ALG at LEVEL; more algorithms, for --compress-hints and -E head2, behind colons.
    /// `help` lists them
    #[arg(short = 'z', value_name = "ALG[,LEVEL][:...]")]
    pub compress: Vec<String>,

    /// The largest pcluster: a multiple of the block size, up to 1M [default: the block size]
    #[arg(short = 'C', value_name = "BYTES", value_parser = value::size)]
    pub pcluster_size: Option<u32>,

    /// Which files are stored compressed: those that get smaller, all of them, or none. Pages are shared only
    /// between images that agree
    #[arg(long, value_name = "CLASS", value_parser = ["auto", "always", "never"], default_value = "auto")]
    pub compress_class: String,

    /// Try harder where the end of a file takes another block for a few bytes: smaller images, more time
    #[arg(long)]
    pub squeeze: bool,

    /// Read from FILE which paths get another pcluster size and algorithm: lines of `BYTES [NUMBER] REGEX`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub compress_hints: Option<PathBuf>,

    /// The most bytes of a file in one pcluster [default: 8388608]
    #[arg(long, value_name = "BYTES", value_parser = value::size)]
    pub max_extent_bytes: Option<u32>,

    /// Memory for contents on their way, in MiB, at most half of what is free [default: a quarter]
    #[arg(long, value_name = "MIB", value_parser = value::unsigned)]
    pub memory: Option<u32>,

    /// Switch words of -E on by number, as mkfs.erofs does: 1 legacy-compress, 2 ztailpacking, 4 fragments,
    /// 8 all-fragments, 16 dedupe, 32 fragdedupe, 64 48bit, 128 dot-omitted
    #[arg(long, value_name = "BITS", value_parser = value::unsigned)]
    pub zfeature_bits: Option<u32>,

    /// Accepted for scripts: the queue is bounded by --memory
    #[arg(long, value_name = "N", value_parser = value::unsigned)]
    pub async_queue_limit: Option<u32>,
}

/// What the words of `-E` say about compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each word")]
pub(super) struct Words {
    pub(super) legacy: bool,
    pub(super) tail_packing: bool,
    pub(super) fragments: bool,
    pub(super) all_fragments: bool,
    /// Size of the packed inode's pclusters, where it is given.
    pub(super) fragment_pcluster: Option<u32>,
    pub(super) fragment_dedupe: bool,
    pub(super) dedupe: bool,
    pub(super) wide: bool,
    /// The percentage of `head2`.
    pub(super) head2: Option<u8>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            legacy: false,
            tail_packing: false,
            fragments: false,
            all_fragments: false,
            fragment_pcluster: None,
            fragment_dedupe: true,
            dedupe: false,
            wide: false,
            head2: None,
        }
    }
}

/// The words by the bits of `--zfeature-bits`.
const FEATURE_BITS: [&str; 8] = [
    "legacy-compress",
    "ztailpacking",
    "fragments",
    "all-fragments",
    "dedupe",
    "fragdedupe",
    "48bit",
    "dot-omitted",
];

impl Words {
    /// Applies a word of `-E`, as `word` or `^word`, with a value or without.
    ///
    /// # Errors
    /// `None` if the word is not about compression, else what is wrong with it.
    pub(super) fn apply(&mut self, word: &str) -> Result<(), Option<String>> {
        let (bare, on) = word.strip_prefix('^').map_or((word, true), |bare| (bare, false));
        let (name, given) = bare.split_once('=').map_or((bare, None), |(name, given)| (name, Some(given)));
        if let (false, Some(given), "fragments" | "all-fragments" | "head2" | "fragdedupe") =
            (on, given, name)
        {
            return Err(Some(format!("found the value {given}, want none behind ^")));
        }
        let field = match name {
            "legacy-compress" => &mut self.legacy,
            "ztailpacking" => &mut self.tail_packing,
            "dedupe" => &mut self.dedupe,
            "48bit" => &mut self.wide,
            "fragments" | "all-fragments" => {
                self.fragment_pcluster = given
                    .map(value::size)
                    .transpose()
                    .map_err(|error| Some(error.to_string()))?
                    .filter(|_| on);
                self.fragments = on;
                self.all_fragments = on && name == "all-fragments";
                return Ok(());
            }
            "head2" => {
                let percent = given.map_or(Ok(HEAD2_PERCENT), percent).map_err(Some)?;
                self.head2 = on.then_some(percent);
                return Ok(());
            }
            "fragdedupe" => {
                self.fragment_dedupe = match given {
                    None => on,
                    Some("off") => false,
                    Some("full" | "inode") => true,
                    Some(other) => return Err(Some(format!("found {other}, want full, inode or off"))),
                };
                return Ok(());
            }
            _ => return Err(None),
        };
        if let Some(given) = given {
            return Err(Some(format!("found the value {given}, want none")));
        }
        *field = on;
        Ok(())
    }
}

/// The words for which bits stand.
fn feature_words(bits: u32) -> Result<String, String> {
    if bits >> FEATURE_BITS.len() != 0 {
        return Err(format!("--zfeature-bits: found {bits}, want less than {}", 1 << FEATURE_BITS.len()));
    }
    let numbered = FEATURE_BITS.iter().enumerate();
    let on: Vec<&str> =
        numbered.filter(|(number, _)| bits >> number & 1 == 1).map(|(_, word)| *word).collect();
    Ok(on.join(","))
}

impl Compression {
    /// The words of `-E` for which `--zfeature-bits` stands, separated by commas, if there are any.
    ///
    /// # Errors
    /// A bit that stands for no word.
    pub(super) fn feature_words(&self) -> Result<Option<String>, String> {
        self.zfeature_bits.filter(|&bits| bits != 0).map(feature_words).transpose()
    }

    /// Puts what the flags mean into the options of the build; what has no effect becomes a warning.
    pub(super) fn apply(
        &self,
        mut words: Words,
        metadata: &Metadata,
        personality: Personality,
        build: &mut BuildOptions,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let algorithms = self.algorithms(personality)?;
        build.layout.metabox = metadata.metabox(&algorithms)?;
        if algorithms.is_empty() {
            build.layout.wide = std::mem::take(&mut words.wide);
            return self.without(words, metadata, build, warnings);
        }
        build.layout.pack_directories = metadata.packs_directories();
        let block_bits = build.content.block_bits;
        let pcluster_size = self.pcluster_size.map_or(Ok(block_bits.bytes()), |size| {
            pcluster(size, block_bits).map_err(|error| format!("-C: {error}"))
        })?;
        let narrow = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let fragments = match words.fragment_pcluster {
            Some(size) => pcluster(size, block_bits).map_err(|error| format!("-E fragments: {error}"))?,
            None => pcluster_size,
        };
        if build.content.chunks.is_some() {
            if !personality.chunks_beside_compression {
                return Err("--chunksize: contradicts -z, chunks are not compressed".into());
            }
            build.content.chunks = None;
            warnings.push("--chunksize: no effect with -z".to_owned());
        }
        let hints = match &self.compress_hints {
            Some(path) => {
                let syntax = Syntax { algorithms: algorithms.len(), block_bits, personality };
                hints(path, syntax, warnings)?
            }
            None => Vec::new(),
        };
        build.content.compression = Some(CompressionOptions {
            algorithms,
            pcluster_size: narrow(pcluster_size),
            class: match self.compress_class.as_str() {
                "always" => CompressClass::Always,
                "never" => CompressClass::Never,
                _ => CompressClass::Auto,
            },
            index: match words {
                Words { wide: true, .. } => IndexForm::Extents,
                Words { legacy: true, .. } => IndexForm::Full,
                Words { .. } => IndexForm::Compact,
            },
            dedupe: words.dedupe,
            head2: words.head2,
            squeeze: self.squeeze,
            tail_packing: words.tail_packing,
            fragments: words.fragments.then_some(FragmentOptions {
                all: words.all_fragments,
                pcluster_size: narrow(fragments),
                dedupe: words.fragment_dedupe,
            }),
            max_extent_size: self.max_extent_bytes.unwrap_or(0),
            hints,
            memory: u64::from(self.memory.unwrap_or(0)) << 20,
        });
        Ok(())
    }

    /// The algorithms of `-z`: of all of them or of the last.
    fn algorithms(&self, personality: Personality) -> Result<Vec<AlgorithmOptions>, String> {
        let counted = if personality.adds_algorithms { self.compress.len() } else { 1 };
        let from = self.compress.len().saturating_sub(counted);
        algorithms(&self.compress.get(from..).unwrap_or_default().join(":"))
    }

    /// What the flags mean without `-z`: nothing but a warning, as in mkfs.erofs, so that scripts can switch
    /// compression off by leaving `-z` out. `-E dedupe` stores equal chunks once.
    fn without(
        &self,
        words: Words,
        metadata: &Metadata,
        build: &mut BuildOptions,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        if self.compress_class == "always" {
            return Err("--compress-class=always: needs -z, which names the algorithm".to_owned());
        }
        if words.dedupe && build.content.chunks.is_none() {
            build.content.chunks = Some(ChunkOptions { bits: build.least_chunk_bits() });
        }
        let no_effect = [
            (self.pcluster_size.is_some(), "-C"),
            (self.compress_hints.is_some(), "--compress-hints"),
            (self.squeeze, "--squeeze"),
            (metadata.packs_directories(), "--zD"),
            (words.legacy, "-E legacy-compress"),
            (words.tail_packing, "-E ztailpacking"),
            (words.all_fragments, "-E all-fragments"),
            (words.fragments && !words.all_fragments, "-E fragments"),
            (!words.fragment_dedupe, "-E fragdedupe"),
            (words.head2.is_some(), "-E head2"),
        ];
        let flags: Vec<&str> =
            no_effect.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag).collect();
        if !flags.is_empty() {
            warnings.push(format!("{}: no effect without -z", flags.join(", ")));
        }
        Ok(())
    }
}

/// A percentage as it is typed.
fn percent(typed: &str) -> Result<u8, String> {
    let known = value::unsigned(typed).ok().and_then(|percent| u8::try_from(percent).ok());
    known.filter(|percent| *percent <= 100).ok_or_else(|| format!("found {typed:?} percent, want 0 to 100"))
}

/// A pcluster size as it is typed.
fn pcluster(size: u32, block_bits: BlockBits) -> Result<usize, String> {
    let wide = size as usize;
    if wide == 0 || size > PCLUSTER_MAX || !wide.is_multiple_of(block_bits.bytes()) {
        let block = block_bits.size();
        return Err(format!(
            "found {}, want a multiple of the block size, {block}, up to {PCLUSTER_MAX}",
            words::bytes(size)
        ));
    }
    Ok(wide)
}

/// Reads `ALG[,LEVEL|,level=N|,dictsize=N][:...]`, or nothing.
fn algorithms(typed: &str) -> Result<Vec<AlgorithmOptions>, String> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<AlgorithmOptions> =
        typed.split(':').map(|typed| algorithm("-z", typed)).collect::<Result<_, _>>()?;
    if list.len() > ALGORITHMS_MAX {
        return Err(format!("-z: found {} algorithms, want at most {ALGORITHMS_MAX}", list.len()));
    }
    Ok(list)
}

/// Reads a file of hints. A line with a size that cannot be is left out with a warning, as in mkfs.erofs.
fn hints(path: &Path, syntax: Syntax, warnings: &mut Vec<String>) -> Result<Vec<CompressHint>, String> {
    let shown = files::shown(path);
    let text = files::read_text(path).map_err(|error| format!("--compress-hints: {shown}: {error}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut hints = Vec::new();
    for (number, line) in lines {
        let place = format!("--compress-hints: {shown}: line {}", number + 1);
        match hint(line, syntax) {
            Ok(hint) => hints.push(hint),
            Err(BadHint::Size(error)) => warnings.push(format!("{place}: {error}; the line is left out")),
            Err(BadHint::Line(error)) => return Err(format!("{place}: {error}")),
        }
    }
    Ok(hints)
}

/// What a line of hints may hold.
#[derive(Debug, Clone, Copy)]
struct Syntax {
    /// How many algorithms there are.
    algorithms: usize,
    block_bits: BlockBits,
    /// Whose regular expressions they are.
    personality: Personality,
}

/// What is wrong with a line of hints.
#[derive(Debug)]
enum BadHint {
    /// Its size.
    Size(String),
    /// Anything else.
    Line(String),
}

/// Reads `BYTES [NUMBER] REGEX`.
fn hint(line: &str, syntax: Syntax) -> Result<CompressHint, BadHint> {
    let Syntax { algorithms, block_bits, personality } = syntax;
    let wrong = |error: String| BadHint::Line(error);
    let words = line.trim_start_matches([' ', '\t']).split_once([' ', '\t']);
    let (size, rest) = words.ok_or_else(|| wrong("found one word, want BYTES [NUMBER] REGEX".to_owned()))?;
    let size = value::size(size).map_err(|error| wrong(error.to_string()))?;
    let rest = rest.trim_start();
    let (number, pattern) = match rest.split_once([' ', '\t']) {
        Some((number, pattern)) if !pattern.trim().is_empty() => {
            let unknown = || wrong(format!("found algorithm {number:?}, want a number below {algorithms}"));
            (
                number.parse::<usize>().ok().filter(|&number| number < algorithms).ok_or_else(unknown)?,
                pattern.trim_start(),
            )
        }
        Some((pattern, _)) => (0, pattern),
        None => (0, rest),
    };
    let written = personality.pattern(pattern).map_err(|error| wrong(format!("pattern {error}")))?;
    let pattern = regex::bytes::Regex::new(&written)
        .map_err(|error| wrong(format!("pattern {pattern}: {}", exit::one_line(&error.to_string()))))?;
    if size != 0 {
        pcluster(size, block_bits).map_err(BadHint::Size)?;
    }
    Ok(CompressHint { pattern, pcluster_size: size, algorithm: number })
}

/// Whether a command line asks for nothing but the list of algorithms: `-z help` needs neither IMAGE nor
/// SOURCE.
pub(super) fn asks_for_help(line: &[OsString]) -> bool {
    line.windows(2).any(|pair| pair[0] == "-z" && pair[1] == "help")
        || line.iter().any(|word| word == "-zhelp")
}

/// What `-z help` prints.
pub(super) fn help() -> String {
    let mut text =
        String::from("Algorithms of -z, with levels and the first Linux that mounts their images:\n");
    for row in &erofs_encode::TABLE {
        let Algorithm { name, levels, default_level, first_kernel: (major, minor), help, .. } = row;
        let line = format!(
            "  {name:<11} levels {levels} [default: {default_level}], Linux {major}.{minor}: {help}\n"
        );
        text.push_str(&line);
        if let Some(dictionary) = &row.dictionary {
            // A String takes everything.
            let _ = writeln!(text, "  {:<11} dictsize={}", "", dictionary.help);
        }
    }
    // A String takes everything.
    let _ = writeln!(
        text,
        "With -z A:B -E head2[=PERCENT] pclusters are stored by B where that takes at most PERCENT percent more than A \
         [default: {HEAD2_PERCENT}]."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_hints() {
        let own = Syntax { algorithms: 2, block_bits: BlockBits::DEFAULT, personality: Personality::OWN };
        let size = |line| matches!(hint(line, own), Err(BadHint::Size(_)));
        assert!(
            size("100 x") && size("2097152 1 x") && !size("4096 2 x") && !size("100 a(b") && !size("100")
        );
        for (line, want) in [
            ("65536 1 \\.so$", Some((65_536, 1, "\\.so$"))),
            ("4096 ^usr/", Some((4096, 0, "^usr/"))),
            (" \t64k 1 x", Some((65_536, 1, "x"))),
            ("1M x", Some((1 << 20, 0, "x"))),
            ("8G x", None),
            ("0\t1\ta b", Some((0, 1, "a b"))),
            ("4096 2 x", None),
            ("100 x", None),
            ("4096", None),
            ("4096 a(b", None),
        ] {
            let found = hint(line, own);
            let found = found.as_ref().ok();
            let found = found.map(|hint| (hint.pcluster_size, hint.algorithm, hint.pattern.as_str()));
            assert_eq!(found, want, "{line}");
        }
    }

    #[test]
    fn words_and_bits() {
        let mut words = Words::default();
        for word in ["ztailpacking", "^ztailpacking", "fragments=32k", "fragdedupe=off", "48bit"] {
            words.apply(word).unwrap();
        }
        let want = Words {
            fragments: true,
            fragment_pcluster: Some(32_768),
            fragment_dedupe: false,
            wide: true,
            ..Words::default()
        };
        assert_eq!(words, want);
        assert_eq!(words.apply("force-inode-compact"), Err(None));
        assert!(matches!(words.apply("48bit=1"), Err(Some(_))));
        assert_eq!(feature_words(0b1_0011).unwrap(), "legacy-compress,ztailpacking,dedupe");
        assert_eq!(feature_words(128).unwrap(), "dot-omitted");
        assert!(feature_words(256).is_err());
        let mut words = Words::default();
        for (word, want) in [
            ("head2", Ok(Some(5))),
            ("head2=0", Ok(Some(0))),
            ("head2=100", Ok(Some(100))),
            ("^head2", Ok(None)),
            ("^head2=7", Err("found the value 7, want none behind ^")),
            ("head2=101", Err("found \"101\" percent, want 0 to 100")),
            ("head2=", Err("found \"\" percent, want 0 to 100")),
            ("head2=+5", Err("found \"+5\" percent, want 0 to 100")),
        ] {
            let found = words.apply(word).map(|()| words.head2).map_err(Option::unwrap_or_default);
            assert_eq!(found, want.map_err(str::to_owned), "{word}");
        }
    }
}
