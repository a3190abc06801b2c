//! `erofs-ishare index`: the companion of an image, which gives it fingerprints without changing it.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use erofs_algo::fingerprint::{self, FingerprintKind};
use erofs_builder::companion::{self, Form};
use erofs_builder::options::{DEFAULT_ISHARE_KEY, FingerprintOptions, FingerprintValue, MetaboxOptions};
use erofs_builder::{BuildError, ImageFile, Summary};
use erofs_format::xattr_prefix::LongPrefix;
use erofs_image::{Image, OpenOptions};
use erofs_tree::{Progress, Silent};
use serde::Serialize;
use uuid::Uuid;

use super::Done;
use super::source::shown;
use crate::exit::{WrongUse, one_line};
use crate::files::{self, Item};
use crate::mkfs::metadata;
use crate::output;
use crate::progress::Bars;
use crate::value;
use crate::words::{counted, size};

/// How metadata is compressed where nothing else is said: in pclusters of so many bytes, or of a block where
/// that is more. They are long enough to shrink well, and short enough to be read at once.
const DEFAULT_METADATA: (u64, &str) = (32_768, "zstd");

/// Make the companion of an image: metadata with fingerprints, and no contents
///
/// The companion is an EROFS image with the same files, owners, modes, times and attributes, whose contents
/// stay in IMAGE. Its fingerprints are computed here from the contents; those that IMAGE may have are not
/// looked at. Mounted with IMAGE as its device (the mount option device), it shares page cache like an image
/// that was built with fingerprints.
///
/// IMAGE must stay what it is: the kernel compares neither fingerprints nor images. Files that are compressed
/// in IMAGE are compressed files of the companion, and share with files that other images have compressed.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag that takes no value")]
pub struct Args {
    /// The original image: a regular file or a block device
    image: PathBuf,

    /// The companion, to be made or replaced
    #[arg(short, long, value_name = "META.img")]
    output: PathBuf,

    /// The attribute that carries the fingerprints
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ISHARE_KEY)]
    ishare_key: OsString,

    /// What the fingerprints are
    #[arg(long, value_name = "KIND", default_value = "sha256", value_parser = kinds())]
    ishare_digest: String,

    /// The publisher's namespace for --ishare-digest=uuid
    #[arg(long, value_name = "UUID", value_parser = value::namespace)]
    ishare_namespace: Option<Uuid>,

    /// Make a layer for overlayfs instead, whose files name their contents in a layer below that is for data
    /// only; it has no fingerprints, because its own files are holes
    #[arg(long, conflicts_with_all = ["ishare_key", "ishare_digest", "ishare_namespace"])]
    overlay: bool,

    /// Compress the metadata with ALG, in pclusters of up to BYTES, which Linux 6.17 and newer read
    /// [default: 32768:zstd, or a block where that is more, and none with --overlay]
    #[arg(short, long, value_name = "BYTES:ALG[,LEVEL]")]
    metadata: Option<String>,

    /// Leave the metadata uncompressed: companions get about twice as long where ends of files are copied
    #[arg(long, conflicts_with = "metadata")]
    plain_metadata: bool,

    /// How many threads compute fingerprints, at most 256; the companion does not depend on it
    /// [default: one per processor]
    #[arg(long, value_name = "N", value_parser = value::unsigned)]
    workers: Option<u32>,

    /// One JSON object
    #[arg(long)]
    json: bool,

    /// Say nothing but errors and warnings
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// The names of the kinds that are computed.
fn kinds() -> impl clap::builder::TypedValueParser<Value = String> {
    PossibleValuesParser::new(fingerprint::TABLE.map(|kind: FingerprintKind| kind.name)).map(|name| name)
}

#[derive(Debug, Serialize)]
struct Report {
    image: String,
    companion: String,
    overlay: bool,
    uuid: String,
    image_bytes: u64,
    companion_bytes: u64,
    copied_bytes: u64,
    /// Bytes of metadata before compression, where it is compressed.
    metadata_bytes: Option<u64>,
    inodes: u64,
    files: u64,
    logical_bytes: u64,
    fingerprints: u64,
    digest: Option<&'static str>,
    kernel_to_mount: String,
    kernel_to_share: Option<String>,
    warnings: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let (read, written) = ([Item::new("IMAGE", &args.image)], [Item::new("--output", &args.output)]);
    files::keep_apart(&read, &written)?;
    files::keep_apart(&read, &[Item::stdout()])?;
    let form = form(args).map_err(WrongUse)?;
    let named = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", shown(&args.image));
    let original = OpenOptions::new().cached(true).open(&args.image).map_err(|error| named(&error))?;
    let metabox = metabox(args, original.superblock().block_bits.size()).map_err(WrongUse)?;
    let target = ImageFile::create(&args.output, 0)?;
    let bars = if args.quiet { None } else { Bars::on_terminal() };
    let progress: &dyn Progress = bars.as_ref().map_or(&Silent, |bars| bars);
    let threads = args.workers.map_or(0, |workers| workers.max(1) as usize);
    let summary =
        companion::build(&original, target, &form, metabox, threads, progress).map_err(|error| {
            // Messages about the companion's own file name it.
            if matches!(error, BuildError::Write { .. }) { anyhow!("{error}") } else { named(&error) }
        })?;
    drop(bars);
    for warning in &summary.warnings {
        output::complain(super::NAME, &one_line(&format!("warning: {warning}")));
    }
    let report = Report::new(args, &original, summary);
    let mut out = output::report(files::stdout_is_among(&written));
    if args.json {
        output::json(&mut *out, &report)?;
    } else if !args.quiet {
        out.write_all(report.text(args).as_bytes())?;
    }
    out.flush()?;
    Ok(Done::Whole)
}

fn form(args: &Args) -> Result<Form, String> {
    if args.overlay {
        return Ok(Form::Overlay);
    }
    let digest = args.ishare_digest.as_str();
    let kind = fingerprint::by_name(digest);
    let kind = kind.ok_or_else(|| format!("--ishare-digest: found an unknown kind {digest}"))?;
    match (kind.needs_namespace, args.ishare_namespace.is_some()) {
        (true, false) => Err(format!("--ishare-digest={digest}: needs --ishare-namespace")),
        (false, true) => {
            Err(format!("--ishare-namespace: found --ishare-digest={digest}, want --ishare-digest=uuid"))
        }
        _ => {
            let key = args.ishare_key.as_bytes().to_vec();
            LongPrefix::of_fingerprint(&key).map_err(|error| format!("--ishare-key: {error}"))?;
            let namespace = args.ishare_namespace.unwrap_or(Uuid::nil());
            let value = FingerprintValue::Computed { kind, namespace };
            Ok(Form::Index { fingerprint: FingerprintOptions { key, value, strict: false } })
        }
    }
}

/// How the metadata is compressed. Pages are shared from Linux 7.0 on, which has read such metadata since
/// 6.17; what overlayfs needs is older, so that form stays plain unless asked otherwise.
fn metabox(args: &Args, block: u64) -> Result<Option<MetaboxOptions>, String> {
    let (bytes, algorithm) = DEFAULT_METADATA;
    let default = format!("{}:{algorithm}", bytes.max(block));
    match args.metadata.as_deref() {
        None if args.plain_metadata || args.overlay => Ok(None),
        typed => metadata::metabox("-m", typed.unwrap_or(&default), &[]).map(Some),
    }
}

impl Report {
    fn new(args: &Args, original: &Image, summary: Summary) -> Self {
        let fingerprints = summary.fingerprints.as_ref();
        Self {
            image: shown(&args.image),
            companion: shown(&args.output),
            overlay: args.overlay,
            uuid: Uuid::from_bytes(summary.uuid).hyphenated().to_string(),
            image_bytes: original.primary_len(),
            companion_bytes: summary.image_bytes,
            copied_bytes: summary.stored_bytes,
            metadata_bytes: summary.metabox.map(|metabox| metabox.content_bytes),
            inodes: summary.inodes,
            files: summary.files,
            logical_bytes: summary.logical_bytes,
            fingerprints: fingerprints.map_or(0, |fingerprints| fingerprints.files),
            digest: fingerprints.map(|fingerprints| fingerprints.digest),
            kernel_to_mount: summary.kernel_to_mount.to_string(),
            kernel_to_share: summary.kernel_to_share.map(|version| version.to_string()),
            warnings: summary.warnings,
        }
    }

    fn text(&self, args: &Args) -> String {
        let thousandths = u128::from(self.companion_bytes) * 1000 / u128::from(self.image_bytes.max(1));
        let (whole, tenth) = (thousandths / 10, thousandths % 10);
        let mut lines = vec![format!(
            "{}: {} ({whole}.{tenth} % of the image), {} of {}",
            self.companion,
            size(self.companion_bytes),
            counted(self.inodes, "inode", "inodes"),
            self.image
        )];
        if self.copied_bytes > 0 {
            let copied = size(self.copied_bytes);
            lines.push(format!("  copied        {copied} of content that is not in whole blocks"));
        }
        if let Some(bytes) = self.metadata_bytes {
            lines.push(format!("  metadata      {} before compression", size(bytes)));
        }
        if let Some(digest) = self.digest {
            let files = counted(self.fingerprints, "file", "files");
            lines.push(format!("  fingerprints  {files} ({digest})"));
        }
        let output = shown(&args.output);
        lines.push(if self.overlay {
            format!(
                "  mount         {output} at META, the image at DATA, then -t overlay overlay -o \
                 ro,metacopy=on,redirect_dir=on,lowerdir=META::DATA"
            )
        } else {
            format!("  mount         -t erofs -o ro,loop,device=DEV {output}, where DEV is a loop device of the image")
        });
        lines.iter().map(|line| one_line(line) + "\n").collect()
    }
}
