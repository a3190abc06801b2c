//! What is typed, and what each word means.

use std::path::PathBuf;

use clap::ValueEnum;
use erofs_sim::kernel::{self, KernelModel};
use erofs_sim::scenario::{Backend, Method};

use crate::exit::WrongUse;
use crate::files::{self, Item};

/// Say how much page cache a set of images takes on Linux, with sharing and without
///
/// Every image is mounted once, in the order given, and every file of it read completely, as a full backup or
/// a check of all files would: the most that sharing can save. With --access a recorded workload takes the
/// place of this, with
/// --scenario a file says what is mounted and what happens, in order. Nothing is mounted for it, and any
/// machine can do it.
///
/// Said are the memory of each domain, what each further image adds, which files do not share and why, which
/// bytes the images store more than once, what metadata takes beside, and what could be done. See
/// erofs-ishare(1) for the forms of scenarios and traces.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag that takes no value")]
pub struct Args {
    /// Images of the only --domain; without one, all of them share
    #[arg(value_name = "IMAGE")]
    pub(super) images: Vec<PathBuf>,

    /// A domain: its name alone, or with its images (may be repeated). Images of different domains share
    /// nothing
    #[arg(long, value_name = "NAME[=IMAGE,...]")]
    pub(super) domain: Vec<String>,

    /// An extra device of an image, in the order of its device table: what a companion META refers to. Of a
    /// single image the device alone will do
    #[arg(long, value_name = "META=ORIGINAL")]
    pub(super) device: Vec<PathBuf>,

    /// What lies under the mounts
    #[arg(long, value_enum, default_value_t = Under::Block)]
    pub(super) backend: Under,

    /// The kernel: 7.2 (from 7.2.7 on), 7.0 (before), or splice (kernels that share for sendfile too)
    #[arg(long, value_name = "KERNEL", value_parser = kernel_named, default_value = "7.2")]
    pub(super) kernel: KernelModel,

    /// How files are read: all of them by read (all, read), mmap or sendfile, or as trace:FILE or strace:FILE
    /// says
    #[arg(long, value_name = "HOW", default_value = "all")]
    pub(super) access: How,

    /// Where an image was mounted when strace ran (may be repeated)
    #[arg(long, value_name = "DIR=IMAGE")]
    pub(super) mountpoint: Vec<String>,

    /// Write the accesses as a trace, which is shorter than strace's log and tells nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) trace_out: Option<PathBuf>,

    /// What is mounted and what happens, in order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "domain", "device", "backend", "access", "mountpoint", "trace_out", "verify"])]
    pub(super) scenario: Option<PathBuf>,

    /// Take images that announce no fingerprints as well; they share nothing
    #[arg(long)]
    pub(super) allow_unshared: bool,

    /// Read the contents: duplicates are those of content, fingerprints are compared with it, and files that
    /// differ in a few bytes are named
    #[arg(long)]
    pub(super) verify: bool,

    /// Exit with 3 if less than this share of the memory is saved
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) fail_under: Option<f64>,

    /// Exit with 3 if the last image adds more than this
    #[arg(long, value_name = "BYTES", value_parser = crate::value::bytes)]
    pub(super) max_marginal: Option<u64>,

    /// One JSON object
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,

    /// One line per image, as comma-separated values
    #[arg(long)]
    pub(super) csv: bool,

    /// Write a page with tables and charts, for a browser; it needs no network and has no scripts
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// How files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// All of them, completely, by this method; the name that was typed.
    All(&'static str, Method),
    /// As a list of accesses says.
    Trace(PathBuf),
    /// As a log of strace says.
    Strace(PathBuf),
}

impl std::str::FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file = |path: &str| Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
        let all = [
            ("all", Method::Read),
            ("read", Method::Read),
            ("mmap", Method::Mmap),
            ("sendfile", Method::Sendfile),
        ];
        if let Some((name, method)) = all.into_iter().find(|row| row.0 == text) {
            return Ok(Self::All(name, method));
        }
        let trace = text.strip_prefix("trace:").and_then(file).map(Self::Trace);
        let strace = || text.strip_prefix("strace:").and_then(file).map(Self::Strace);
        trace
            .or_else(strace)
            .ok_or_else(|| "want all, read, mmap, sendfile, trace:FILE, or strace:FILE".into())
    }
}

/// What lies under the mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Under {
    /// Block devices
    Block,
    /// Loop devices with direct I/O
    Loop,
    /// Loop devices without direct I/O, so that image files are cached as well
    LoopBuffered,
    /// dm-verity devices
    DmVerity,
    /// The image files themselves, which are cached as well
    File,
    /// The image files themselves, with the mount option directio
    FileDirectio,
}

impl Under {
    pub(super) fn backend(self) -> Backend {
        match self {
            Self::Block => Backend::Block,
            Self::Loop => Backend::Loop,
            Self::LoopBuffered => Backend::LoopBuffered,
            Self::DmVerity => Backend::Verity,
            Self::File => Backend::File,
            Self::FileDirectio => Backend::FileDirectio,
        }
    }
}

/// The name of a backend on the command line.
pub(super) fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Block => "block",
        Backend::Loop => "loop",
        Backend::LoopBuffered => "loop-buffered",
        Backend::Verity => "dm-verity",
        Backend::File => "file",
        Backend::FileDirectio => "file-directio",
    }
}

/// Refuses outputs that are one of the files that are read, or each other, or where the report is printed.
pub(super) fn keep_apart(args: &Args, read: &[Item]) -> Result<(), WrongUse> {
    let outputs = [("--html", &args.html), ("--trace-out", &args.trace_out)];
    let outputs = outputs.iter().filter_map(|(flag, path)| Some(Item::new(flag, path.as_ref()?)));
    let written: Vec<Item> = std::iter::once(Item::stdout()).chain(outputs).collect();
    files::keep_apart(read, &written)
}

fn kernel_named(name: &str) -> Result<KernelModel, String> {
    let known: Vec<&str> = kernel::TABLE.iter().map(|kernel| kernel.name).collect();
    kernel::by_name(name).ok_or_else(|| format!("want one of {}", known.join(", ")))
}

fn percent(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .unwrap_or(text)
        .parse::<f64>()
        .ok()
        .filter(|value| (0.0..=100.0).contains(value))
        .ok_or_else(|| "want 0 to 100".to_owned())
}
