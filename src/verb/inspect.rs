//! `erofs-ishare inspect`: what an image is, which kernels read it, and how many of its files can share page
//! cache.

use std::io::Write;

use erofs_format::feature::{self, COMPAT, Feature, KernelVersion, PAGE_CACHE_SHARE_SINCE, compat};
use erofs_format::superblock::Superblock;
use erofs_format::words;
use erofs_format::xattr::INDEX_NONE;
use erofs_image::census::Census;
use erofs_image::{Image, printable};
use serde::Serialize;

use super::Done;
use super::source::{ImageArgs, shown};
use super::text::rfc3339;
use crate::output;

/// Print what an image is: superblock, features with the first kernel of each, devices, fingerprints, and
/// counts
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    image: String,
    image_bytes: u64,
    block_size: u64,
    blocks: u64,
    uuid: String,
    label: String,
    build_time: String,
    build_time_seconds: i64,
    checksum: bool,
    root_nid: u64,
    superblock_inodes: u64,
    meta_blkaddr: u32,
    xattr_blkaddr: u32,
    packed_nid: u64,
    compression: Vec<&'static str>,
    compat: Vec<&'static str>,
    incompat: Vec<&'static str>,
    features: Vec<FeatureReport>,
    unknown_compat_bits: u32,
    kernel_to_mount: String,
    kernel_to_share: Option<String>,
    devices: Vec<DeviceReport>,
    xattr_prefixes: Vec<String>,
    ishare: Option<IshareReport>,
    counts: Option<Counts>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FeatureReport {
    name: &'static str,
    kind: &'static str,
    since: String,
}

#[derive(Debug, Serialize)]
struct DeviceReport {
    number: usize,
    tag: String,
    blocks: u64,
    unified_address: u64,
}

#[derive(Debug, Serialize)]
struct IshareReport {
    key: Option<String>,
    hidden: bool,
    prefix_id: u8,
}

#[derive(Debug, Serialize)]
struct Counts {
    inodes: u64,
    files: u64,
    directories: u64,
    symlinks: u64,
    special_files: u64,
    hard_links: u64,
    logical_bytes: u64,
    empty_files: u64,
    files_with_fingerprint: u64,
    files_without_fingerprint: u64,
    layouts: std::collections::BTreeMap<&'static str, u64>,
    /// How many compressed inodes begin with data of each algorithm, plain data, or in the packed inode.
    encodings: std::collections::BTreeMap<&'static str, u64>,
}

impl From<Census> for Counts {
    fn from(census: Census) -> Self {
        Self {
            inodes: census.inodes,
            files: census.files,
            directories: census.directories,
            symlinks: census.symlinks,
            special_files: census.special_files,
            hard_links: census.hard_links,
            logical_bytes: census.logical_bytes,
            empty_files: census.empty_files,
            files_with_fingerprint: census.fingerprinted,
            files_without_fingerprint: census.unfingerprinted,
            layouts: census.layouts,
            encodings: census.encodings,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let image = args.image.open()?;
    let mut warnings = Vec::new();
    let mut failed = false;
    let counts = match image.census() {
        Ok(census) => Some(census.into()),
        Err(error) => {
            // What this version cannot read is no fault of the image; the rest of the report stands.
            failed = !error.is_unsupported();
            warnings.push(format!("nothing is counted, because {error}"));
            None
        }
    };
    let report = report(&args.image, &image, counts, warnings);
    let mut out = output::stdout();
    if args.json {
        output::json(&mut out, &report)?;
    } else {
        print(&mut out, &report)?;
    }
    out.flush()?;
    for warning in &report.warnings {
        output::complain(super::NAME, &format!("{}: warning: {warning}", shown(&args.image.image)));
    }
    Ok(Done::unless(failed))
}

fn names(table: &'static [Feature], bits: u32) -> Vec<&'static str> {
    feature::named(table, bits).map(|feature| feature.name).collect()
}

fn incompatible(superblock: &Superblock) -> impl Iterator<Item = Feature> {
    feature::incompatible(superblock.incompat, superblock.extra_devices > 0)
}

fn features(superblock: &Superblock) -> Vec<FeatureReport> {
    let row = |kind| move |row: Feature| FeatureReport { name: row.name, kind, since: row.since.to_string() };
    let compat = feature::named(&COMPAT, superblock.compat).copied().map(row("compat"));
    compat.chain(incompatible(superblock).map(row("incompat"))).collect()
}

fn ishare(image: &Image) -> Option<IshareReport> {
    let prefix_id = image.superblock().ishare_xattr_prefix_id;
    // An image whose prefixes cannot be read is not opened.
    let prefix = image.ishare_prefix().ok()??;
    let key = prefix.full(0).ok().map(|key| printable(&key));
    Some(IshareReport { key, hidden: prefix.base_index == INDEX_NONE, prefix_id })
}

fn report(args: &ImageArgs, image: &Image, counts: Option<Counts>, warnings: Vec<String>) -> Report {
    let superblock = image.superblock();
    let mount = superblock.first_kernel();
    let shares = superblock.compat & compat::ISHARE_XATTRS != 0;
    let share: Option<KernelVersion> = shares.then(|| mount.max(PAGE_CACHE_SHARE_SINCE));
    let devices = image.devices().slots().iter().enumerate().map(|(index, slot)| DeviceReport {
        number: index + 1,
        tag: printable(slot.tag.split(|byte| *byte == 0).next().unwrap_or_default()),
        blocks: slot.blocks,
        unified_address: slot.uniaddr,
    });
    let prefixes = image.prefixes().iter();
    let prefixes = prefixes.map(|prefix| printable(&prefix.full(0).unwrap_or_default()));
    Report {
        image: shown(&args.image),
        image_bytes: image.primary_len(),
        block_size: superblock.block_bits.size(),
        blocks: superblock.blocks,
        uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
        label: printable(superblock.label()),
        build_time: rfc3339(superblock.build_seconds(), 0),
        build_time_seconds: superblock.build_seconds(),
        checksum: superblock.compat & compat::SB_CHKSUM != 0,
        root_nid: superblock.root_nid.0,
        superblock_inodes: superblock.inodes,
        meta_blkaddr: superblock.meta_blkaddr,
        xattr_blkaddr: superblock.xattr_blkaddr,
        packed_nid: superblock.packed_nid.0,
        compression: image.algorithms(),
        compat: names(&COMPAT, superblock.compat),
        incompat: incompatible(superblock).map(|feature| feature.name).collect(),
        features: features(superblock),
        unknown_compat_bits: feature::unknown(&COMPAT, superblock.compat),
        kernel_to_mount: mount.to_string(),
        kernel_to_share: share.map(|version| version.to_string()),
        devices: devices.collect(),
        xattr_prefixes: prefixes.collect(),
        ishare: ishare(image),
        counts,
        warnings,
    }
}

fn print(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<18}{value}");
    line("image", &format!("{} ({} bytes)", report.image, report.image_bytes))?;
    line("block size", &format!("{} bytes, {}", report.block_size, words::blocks(report.blocks)))?;
    line("UUID", &report.uuid)?;
    line("label", if report.label.is_empty() { "none" } else { &report.label })?;
    line("build time", &report.build_time)?;
    line("checksum", if report.checksum { "crc32c, right" } else { "none" })?;
    for row in &report.features {
        line("feature", &format!("{} ({}, Linux {})", row.name, row.kind, row.since))?;
    }
    if report.unknown_compat_bits != 0 {
        line("feature", &format!("unknown compat bits {:#x}", report.unknown_compat_bits))?;
    }
    if !report.compression.is_empty() {
        line("compression", &report.compression.join(", "))?;
    }
    // The kernel takes no blocks that are larger than its pages, and most machines have pages of 4096 bytes.
    let pages = match report.block_size {
        ..=4096 => String::new(),
        size => format!(", on machines whose pages have {size} bytes or more"),
    };
    line("mounts with", &format!("Linux {}{pages}", report.kernel_to_mount))?;
    let share = report.kernel_to_share.as_ref();
    line("shares with", &share.map_or("no kernel".into(), |version| format!("Linux {version}")))?;
    line("fingerprint key", &key_text(report.ishare.as_ref()))?;
    for device in &report.devices {
        let tag = if device.tag.is_empty() { String::new() } else { format!(", tag {}", device.tag) };
        let place = format!("{} at unified block {}", words::blocks(device.blocks), device.unified_address);
        line(&format!("device {}", device.number), &format!("{place}{tag}"))?;
    }
    for prefix in &report.xattr_prefixes {
        line("xattr prefix", prefix)?;
    }
    if let Some(counts) = &report.counts {
        print_counts(out, counts)?;
    }
    Ok(())
}

fn key_text(ishare: Option<&IshareReport>) -> String {
    match ishare {
        None => "none".into(),
        Some(IshareReport { key: Some(key), hidden, .. }) => {
            let hidden = if *hidden { " (hidden from user space)" } else { "" };
            format!("{key}{hidden}")
        }
        Some(IshareReport { prefix_id, .. }) => format!("prefix {prefix_id}, which is of no namespace"),
    }
}

fn print_counts(out: &mut dyn Write, counts: &Counts) -> anyhow::Result<()> {
    for (name, value) in [
        ("inodes", counts.inodes),
        ("regular files", counts.files),
        ("  fingerprinted", counts.files_with_fingerprint),
        ("  not", counts.files_without_fingerprint),
        ("  empty", counts.empty_files),
        ("directories", counts.directories),
        ("symbolic links", counts.symlinks),
        ("special files", counts.special_files),
        ("hard links", counts.hard_links),
        ("bytes in files", counts.logical_bytes),
    ] {
        writeln!(out, "{name:<18}{value}")?;
    }
    for (name, value) in &counts.layouts {
        writeln!(out, "{:<17} {value}", format!("  {name}"))?;
    }
    for (name, value) in &counts.encodings {
        writeln!(out, "{:<17} {value}", format!("    {name} first"))?;
    }
    Ok(())
}
