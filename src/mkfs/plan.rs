//! From what was typed to what it means: a pure function of the command line and one environment variable.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use erofs_algo::fingerprint;
use erofs_builder::options::{
    BuildOptions, ChunkOptions, DEFAULT_XATTR_TOLERANCE, FingerprintOptions, FingerprintValue, UuidRule,
};
use erofs_builder::{Field, OptionError};
use erofs_format::BlockBits;
use erofs_format::xattr_prefix::LongPrefix;
use erofs_tree::{DirOptions, Exclude, ShapeOptions, TimeRule, Timestamp, Unmapped};
use uuid::Uuid;

use super::archive;
use super::args::{Args, Contents, DIGEST_SOURCE, Sharing, Times};
use super::compression::Words;
use super::extended;
use super::personality::Personality;
use super::verity::Wanted;
use crate::value::{self, VolumeUuid};

/// From this tolerance on no xattr is shared, as in mkfs.erofs.
const NEVER_SHARED: i64 = i32::MAX as i64;

/// What a command line means.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How the source is read. The image is not among the files to skip yet.
    pub source: DirOptions,
    /// What of the source is left out.
    pub exclude: Exclude,
    /// What becomes of owners and times of the source.
    pub shape: ShapeOptions,
    /// How the image is made.
    pub build: BuildOptions,
    /// Bytes at the beginning of the image file that are left alone.
    pub offset: u64,
    /// The hash tree, if one is wanted.
    pub verity: Option<Wanted>,
    /// How SOURCE is read if it is an archive.
    pub archive: Option<archive::Plan>,
    /// Whether nothing but errors is said.
    pub quiet: bool,
    /// Whether the summary is a JSON object.
    pub json: bool,
    /// What the user should know about the command line.
    pub warnings: Vec<String>,
}

impl Plan {
    /// What `args` mean, where the environment has this `SOURCE_DATE_EPOCH`. Only `-U random` has another
    /// input: the system's random numbers.
    ///
    /// # Errors
    /// What is wrong with the command line, in one line.
    pub fn new(args: &Args, source_date_epoch: Option<&OsStr>) -> Result<Self, String> {
        let (build_time, time) =
            times(&args.times, epoch_of(source_date_epoch, args.personality)?, args.personality);
        let threads = threads(args.running.workers);
        let mut build = BuildOptions { threads, ..BuildOptions::default() };
        build.layout.build_time = build_time;
        let mut warnings = warnings(args);
        content(args, &mut build)?;
        layout(args, &mut build, &mut warnings)?;
        build.check().map_err(|error| named(&error))?;
        let source = DirOptions {
            hard_dereference: args.contents.hard_dereference,
            read_xattrs: args.layout.xattr_tolerance.is_none_or(|tolerance| tolerance >= 0),
            unmapped_users: unmapped(args, args.contents.force_uid),
            unmapped_groups: unmapped(args, args.contents.force_gid),
            threads,
            ..DirOptions::default()
        };
        Ok(Self {
            archive: args.archive.plan(args.personality, &source, &build)?,
            source,
            exclude: exclude(&args.contents, args.personality)?,
            shape: shape(&args.contents, time),
            warnings,
            build,
            offset: args.layout.offset.unwrap_or(0),
            verity: args.verity.plan(&args.image, args.layout.offset.unwrap_or(0), threads)?,
            quiet: args.running.quiet || args.running.verbosity == Some(0),
            json: args.running.json,
        })
    }
}

fn epoch_of(variable: Option<&OsStr>, personality: Personality) -> Result<Option<i64>, String> {
    let Some(variable) = variable else { return Ok(None) };
    if variable.is_empty() && personality.epoch_first {
        return Ok(Some(0));
    }
    let text = variable.to_string_lossy();
    value::source_date_epoch(&text).map(Some).map_err(|error| format!("SOURCE_DATE_EPOCH: {error}"))
}

/// The build time and what becomes of the times of files. A flag counts more than the environment, except
/// under the name mkfs.erofs.
fn times(flags: &Times, epoch: Option<i64>, personality: Personality) -> (i64, TimeRule) {
    if let Some(sec) = epoch.filter(|_| personality.epoch_first) {
        return (sec, TimeRule::Clamp(Timestamp { sec, nsec: 0 }));
    }
    let build_time = flags.timestamp.or(epoch).unwrap_or(0);
    let moment = Timestamp { sec: build_time, nsec: 0 };
    let rule = if flags.mkfs_time {
        TimeRule::Keep
    } else if flags.all_time || flags.timestamp.is_some() {
        TimeRule::Fixed(moment)
    } else if epoch.is_some() {
        TimeRule::Clamp(moment)
    } else {
        TimeRule::Keep
    };
    (build_time, rule)
}

/// No workers are one thread in mkfs.erofs as well; the builder's 0 is one per processor.
fn threads(workers: Option<u32>) -> usize {
    workers.map_or(0, |workers| usize::try_from(workers.max(1)).unwrap_or(usize::MAX))
}

fn shape(flags: &Contents, time: TimeRule) -> ShapeOptions {
    ShapeOptions {
        force_uid: flags.force_uid,
        force_gid: flags.force_gid,
        uid_offset: flags.uid_offset.unwrap_or(0),
        gid_offset: flags.gid_offset.unwrap_or(0),
        time,
    }
}

/// What becomes of owners, or groups, that are not mapped, where this one is stored for all.
fn unmapped(args: &Args, forced: Option<u32>) -> Unmapped {
    match forced {
        Some(_) => Unmapped::Ignore,
        None if args.sharing.strict => Unmapped::Refuse,
        None => Unmapped::Warn,
    }
}

fn content(args: &Args, build: &mut BuildOptions) -> Result<(), String> {
    let content = &mut build.content;
    content.block_bits = args.layout.block_size.unwrap_or(BlockBits::DEFAULT);
    content.chunks = args.layout.chunksize.map(|bits| ChunkOptions { bits });
    content.dsunit = args.layout.dsunit.unwrap_or(0);
    content.file_dedupe = !args.sharing.no_file_dedupe;
    content.fingerprint = fingerprint(&args.sharing)?;
    Ok(())
}

fn fingerprint(flags: &Sharing) -> Result<Option<FingerprintOptions>, String> {
    let Some(key) = &flags.ishare_key else { return Ok(None) };
    let key = key.as_bytes().to_vec();
    LongPrefix::of_fingerprint(&key).map_err(|error| format!("--ishare-key: {error}"))?;
    let digest = flags.ishare_digest.as_str();
    let kind = fingerprint::by_name(digest);
    if flags.ishare_namespace.is_some() && !kind.is_some_and(|kind| kind.needs_namespace) {
        return Err(format!("--ishare-namespace: found --ishare-digest={digest}, want --ishare-digest=uuid"));
    }
    let value = match kind {
        Some(kind) => {
            FingerprintValue::Computed { kind, namespace: flags.ishare_namespace.unwrap_or(Uuid::nil()) }
        }
        None if digest == DIGEST_SOURCE && flags.strict => {
            return Err("--strict: contradicts --ishare-digest=source, which takes what it forbids".into());
        }
        None if digest == DIGEST_SOURCE => FingerprintValue::Source,
        None => return Err(format!("--ishare-digest: found an unknown kind {digest}")),
    };
    Ok(Some(FingerprintOptions { key, value, strict: flags.strict }))
}

fn layout(args: &Args, build: &mut BuildOptions, warnings: &mut Vec<String>) -> Result<(), String> {
    let flags = &args.layout;
    let mut compression = Words::default();
    let is_taken = |words: &&String| !(words.is_empty() && args.personality.empty_words);
    for words in flags.extended.iter().filter(is_taken) {
        extended::apply(words, build, &mut compression)?;
    }
    if let Some(words) = args.compression.feature_words()? {
        extended::apply(&words, build, &mut compression)?;
    }
    args.compression.apply(compression, &args.metadata, args.personality, build, warnings)?;
    let layout = &mut build.layout;
    layout.ignore_mtime = (layout.ignore_mtime || args.times.ignore_mtime) && !args.times.preserve_mtime;
    layout.xattr_tolerance = tolerance(flags.xattr_tolerance);
    for prefix in &flags.xattr_prefix {
        LongPrefix::of(prefix.as_bytes()).map_err(|error| format!("--xattr-prefix: {error}"))?;
        layout.xattr_prefixes.push(prefix.as_bytes().to_vec());
    }
    layout.root_xattr_isize = flags.root_xattr_isize.unwrap_or(0);
    layout.fsalignblks = flags.fsalignblks.unwrap_or(0);
    layout.volume_label = flags.label.clone().map(OsString::into_vec).unwrap_or_default();
    layout.uuid = match flags.uuid {
        None => UuidRule::Content,
        Some(VolumeUuid::Given(uuid)) => UuidRule::Given(uuid),
        Some(VolumeUuid::Random) => UuidRule::Given(Uuid::new_v4().into_bytes()),
    };
    Ok(())
}

fn tolerance(flag: Option<i64>) -> Option<u32> {
    match flag {
        None => Some(DEFAULT_XATTR_TOLERANCE),
        Some(tolerance) if tolerance >= NEVER_SHARED => None,
        // Below 0 there is none to share, but for fingerprints, which stay with their inodes as in
        // mkfs.erofs.
        Some(tolerance) => u32::try_from(tolerance).ok(),
    }
}

fn exclude(flags: &Contents, personality: Personality) -> Result<Exclude, String> {
    let mut exclude = Exclude::new();
    for path in &flags.exclude_path {
        exclude.add_path(path.as_bytes()).map_err(|error| format!("--exclude-path: {error}"))?;
    }
    for regex in &flags.exclude_regex {
        let pattern = personality.pattern(regex).map_err(|error| format!("--exclude-regex: {error}"))?;
        exclude.add_regex(&pattern).map_err(|error| format!("--exclude-regex: {error}"))?;
    }
    Ok(exclude)
}

fn warnings(args: &Args) -> Vec<String> {
    let mut warnings = Vec::new();
    if args.contents.mount_point.is_some() {
        warnings.push(
            "--mount-point changes nothing: it is a prefix for Android's file system configuration, SELinux file \
             contexts and compression hints, none of which this version reads"
                .to_owned(),
        );
    }
    if let Some(blocks) = args.layout.block_size.filter(|&blocks| blocks > BlockBits::DEFAULT) {
        // The kernel refuses blocks that are longer than a page, and most machines have pages of 4096 bytes.
        let size = blocks.size();
        warnings.push(format!(
            "blocks of {size} bytes: only machines with pages of at least {size} bytes mount the image"
        ));
    }
    warnings
}

/// An option that cannot be met, with the flag that sets it.
fn named(error: &OptionError) -> String {
    let flag = match error.field {
        Field::VolumeLabel => "-L",
        Field::ChunkSize => "--chunksize",
        Field::SecondAlgorithm => "-E head2",
        Field::PclusterSize => "-C",
        Field::Encoder => "-z",
        Field::Dedupe => "-E dedupe",
        Field::PackedDirectories => "--zD",
        Field::MetadataPclusterSize => "-m",
        Field::Fingerprint => "--ishare-digest",
        Field::FingerprintNamespace => "--ishare-namespace",
        _ => return error.to_string(),
    };
    format!("{flag}: {}", error.rule)
}

#[cfg(test)]
mod tests {
    use erofs_builder::options::{ChunkTable, HoleRule, InodeForm, MetaboxOptions};

    use super::*;
    use crate::exit::{Failure, USAGE};

    fn plan_with(epoch: Option<&str>, flags: &[&str]) -> Result<Plan, Failure> {
        let args = Args::read(["mkfs-erofs"].iter().chain(flags).chain(&["img", "dir"]))?;
        assert_eq!(
            (args.image.to_str(), args.source.as_deref().and_then(std::path::Path::to_str)),
            (Some("img"), Some("dir"))
        );
        Plan::new(&args, epoch.map(OsStr::new)).map_err(Failure::Usage)
    }

    fn plan(flags: &[&str]) -> Plan {
        plan_with(None, flags).unwrap_or_else(|failure| panic!("{flags:?}: {failure:?}"))
    }

    /// What the flags make of the options of a build, against what the change makes of the default ones.
    fn assert_build(flags: &[&str], change: impl FnOnce(&mut BuildOptions)) {
        let mut want = BuildOptions::default();
        change(&mut want);
        assert_eq!(format!("{:?}", plan(flags).build), format!("{want:?}"), "{flags:?}");
    }

    type Row = (&'static [&'static str], fn(&mut BuildOptions));

    #[test]
    fn layout_flags() {
        let rows: &[Row] = &[
            (&[], |_| ()),
            (&["-b4096"], |_| ()),
            (&["-b", "512"], |o| o.content.block_bits = BlockBits::new(9).unwrap()),
            (&["-b64K"], |o| o.content.block_bits = BlockBits::new(16).unwrap()),
            (&["-b512", "-b0x1000"], |_| ()),
            (&["-Lroot"], |o| o.layout.volume_label = b"root".to_vec()),
            (&["-L", "-fifteen-bytes-"], |o| o.layout.volume_label = b"-fifteen-bytes-".to_vec()),
            (&["-Uclear"], |o| o.layout.uuid = UuidRule::Given([0; 16])),
            (&["-x-1"], |o| o.layout.xattr_tolerance = None),
            (&["-x", "-1"], |o| o.layout.xattr_tolerance = None),
            (&["-x0"], |o| o.layout.xattr_tolerance = Some(0)),
            (&["-x2"], |_| ()),
            (&["-x2147483646"], |o| o.layout.xattr_tolerance = Some(2_147_483_646)),
            (&["-x2147483647"], |o| o.layout.xattr_tolerance = None),
            (&["-x", "99999999999"], |o| o.layout.xattr_tolerance = None),
            (&["--xattr-prefix=user.a", "--xattr-prefix", "trusted.overlay."], |o| {
                o.layout.xattr_prefixes = vec![b"user.a".to_vec(), b"trusted.overlay.".to_vec()];
            }),
            (&["--root-xattr-isize=0x200"], |o| o.layout.root_xattr_isize = 512),
            (&["--chunksize=4096"], |o| o.content.chunks = Some(ChunkOptions { bits: 12 })),
            (&["--chunksize", "2M"], |o| o.content.chunks = Some(ChunkOptions { bits: 21 })),
            (&["-Ededupe"], |o| o.content.chunks = Some(ChunkOptions { bits: 12 })),
            (&["-Ededupe", "-b512"], |o| {
                o.content.block_bits = BlockBits::new(9).unwrap();
                o.content.chunks = Some(ChunkOptions { bits: 9 });
            }),
            (&["-Ededupe", "--chunksize=8192"], |o| o.content.chunks = Some(ChunkOptions { bits: 13 })),
            (&["--dsunit=512"], |o| o.content.dsunit = 512),
            (&["--fsalignblks=010"], |o| o.layout.fsalignblks = 8),
            (&["--no-file-dedupe"], |o| o.content.file_dedupe = false),
            (&["--workers=3"], |o| o.threads = 3),
            (&["--workers=0"], |o| o.threads = 1),
        ];
        for (flags, change) in rows {
            assert_build(flags, change);
        }
        let UuidRule::Given(uuid) = plan(&["-Urandom"]).build.layout.uuid else { panic!("no UUID") };
        assert_eq!(Uuid::from_bytes(uuid).get_version_num(), 4);
        assert_eq!(plan(&["-Urandom", "-Uclear"]).build.layout.uuid, UuidRule::Given([0; 16]));
    }

    #[test]
    fn extended_words() {
        let rows: &[Row] = &[
            (&["-Eforce-inode-compact"], |o| {
                o.layout.inodes = InodeForm::Compact;
                o.layout.ignore_mtime = true;
            }),
            (&["--preserve-mtime", "-Eforce-inode-compact"], |o| o.layout.inodes = InodeForm::Compact),
            (&["-Eforce-inode-extended"], |o| o.layout.inodes = InodeForm::Extended),
            (&["-E", "force-chunk-indexes"], |o| o.layout.chunk_table = ChunkTable::Indexes),
            (&["-Eforce-chunk-indexes,force-inode-blockmap"], |o| {
                o.layout.chunk_table = ChunkTable::BlockMap;
            }),
            (&["-Eforce-inode-blockmap", "-Eforce-chunk-indexes"], |o| {
                o.layout.chunk_table = ChunkTable::Indexes;
            }),
            (&["-Enosbcrc,"], |o| o.layout.superblock_checksum = false),
            (&["-E^inline_data"], |o| o.content.inline_data = false),
            (&["-Enoinline_data"], |o| o.content.inline_data = false),
            (&["-Enoinline_data,inline_data"], |_| ()),
            (&["-E^holes"], |o| o.content.holes = HoleRule::Never),
            (&["-E^holes,holes"], |o| o.content.holes = HoleRule::Always),
            (&["-Eplain-xattr-prefixes,xattr-name-filter"], |_| ()),
            (&["-E^xattr-name-filter"], |o| o.layout.xattr_filter = false),
            (&["-E48bit"], |o| o.layout.wide = true),
            (&["-Edot-omitted"], |o| o.layout.dot_omitted = true),
            (&["-Edot-omitted,^dot-omitted", "--MZ", "--MZ=i", "--zD=0"], |_| ()),
            (&["-m0x2000"], |o| {
                o.layout.metabox = Some(MetaboxOptions { pcluster_size: 8192, algorithm: None });
            }),
        ];
        for (flags, change) in rows {
            assert_build(flags, change);
        }
    }

    #[test]
    fn owners() {
        let forced = |force_uid, force_gid| ShapeOptions { force_uid, force_gid, ..ShapeOptions::default() };
        for (flags, want) in [
            (&[][..], ShapeOptions::default()),
            (&["--all-root"], forced(Some(0), Some(0))),
            (&["--force-uid=0x10"], forced(Some(16), None)),
            (&["--force-uid=5", "--all-root"], forced(Some(0), Some(0))),
            (&["--all-root", "--force-gid=7"], forced(Some(0), Some(7))),
            (
                &["--uid-offset=100000", "--gid-offset=1"],
                ShapeOptions { uid_offset: 100_000, gid_offset: 1, ..ShapeOptions::default() },
            ),
        ] {
            assert_eq!(plan(flags).shape, want, "{flags:?}");
            assert_build(flags, |_| ());
        }
    }

    #[test]
    fn times_come_from_flags_then_from_the_environment() {
        let at = |sec| Timestamp { sec, nsec: 0 };
        let rows: [(Option<&str>, &[&str], i64, TimeRule); 13] = [
            (None, &[], 0, TimeRule::Keep),
            (None, &["-T5"], 5, TimeRule::Fixed(at(5))),
            (None, &["-T0"], 0, TimeRule::Fixed(at(0))),
            (None, &["-T5", "--all-time"], 5, TimeRule::Fixed(at(5))),
            (None, &["-T5", "--mkfs-time"], 5, TimeRule::Keep),
            (None, &["--mkfs-time", "-T5", "--all-time"], 5, TimeRule::Fixed(at(5))),
            (None, &["--all-time", "--mkfs-time", "-T5"], 5, TimeRule::Keep),
            (None, &["--all-time"], 0, TimeRule::Fixed(at(0))),
            (Some("9"), &[], 9, TimeRule::Clamp(at(9))),
            (Some("9"), &["--all-time"], 9, TimeRule::Fixed(at(9))),
            (Some("9"), &["--mkfs-time"], 9, TimeRule::Keep),
            (Some("9"), &["-T5"], 5, TimeRule::Fixed(at(5))),
            (Some("9"), &["-T5", "--mkfs-time"], 5, TimeRule::Keep),
        ];
        for (epoch, flags, build_time, rule) in rows {
            let plan = plan_with(epoch, flags).unwrap();
            assert_eq!(
                (plan.build.layout.build_time, plan.shape.time),
                (build_time, rule),
                "{epoch:?} {flags:?}"
            );
        }
        let rows: &[Row] = &[
            (&["--ignore-mtime"], |o| o.layout.ignore_mtime = true),
            (&["--ignore-mtime", "--preserve-mtime"], |_| ()),
            (&["--preserve-mtime", "--ignore-mtime"], |o| o.layout.ignore_mtime = true),
        ];
        for (flags, change) in rows {
            assert_build(flags, change);
        }
    }

    #[test]
    fn fingerprints() {
        let options = |flags: &[&str]| plan(flags).build.content.fingerprint;
        assert!(options(&[]).is_none());
        for (flags, key, digest, strict) in [
            (&["--ishare-key"][..], "erofs.fingerprint.v1", "sha256", false),
            (&["--ishare-key=trusted.erofs.fingerprint"], "trusted.erofs.fingerprint", "sha256", false),
            (&["--ishare_key=user.a", "--strict"], "user.a", "sha256", true),
            (&["--xattr-inode-digest"], "erofs.fingerprint.v1", "sha256", false),
            (&["--xattr-inode-digest=user.b"], "user.b", "sha256", false),
            (&["--ishare-key", "--ishare-digest=blake3"], "erofs.fingerprint.v1", "blake3", false),
            (&["--ishare-key", "--ishare-digest", "sha512"], "erofs.fingerprint.v1", "sha512", false),
            (&["--ishare-key", "--ishare-digest=source"], "erofs.fingerprint.v1", "source", false),
        ] {
            let found = options(flags).unwrap_or_else(|| panic!("{flags:?}"));
            assert_eq!(found.key, key.as_bytes(), "{flags:?}");
            assert_eq!((found.value.name(), found.strict), (digest, strict), "{flags:?}");
        }
        let namespace = "--ishare-namespace=6ba7b811-9dad-11d1-80b4-00c04fd430c8";
        let found = options(&["--ishare-key", "--ishare-digest=uuid", namespace]).unwrap();
        let FingerprintValue::Computed { namespace, .. } = found.value else { panic!("{found:?}") };
        assert_eq!(namespace, Uuid::NAMESPACE_URL);
    }

    #[test]
    fn source_and_run() {
        let found =
            plan(&["--hard-dereference", "--exclude-path=a/b", "--exclude-regex=\\.o$", "--workers=2"]);
        assert!(found.source.hard_dereference && found.source.read_xattrs);
        assert_eq!(found.source.threads, 2);
        for (flags, users, groups) in [
            (&[][..], Unmapped::Warn, Unmapped::Warn),
            (&["--strict"], Unmapped::Refuse, Unmapped::Refuse),
            (&["--all-root", "--strict"], Unmapped::Ignore, Unmapped::Ignore),
            (&["--force-gid=5"], Unmapped::Warn, Unmapped::Ignore),
        ] {
            let found = plan(flags).source;
            assert_eq!((found.unmapped_users, found.unmapped_groups), (users, groups), "{flags:?}");
        }
        for (path, excluded) in [(&b"a/b"[..], true), (b"x.o", true), (b"a", false)] {
            assert_eq!(found.exclude.matches(path), excluded, "{path:?}");
        }
        assert!(!plan(&["-x-1"]).source.read_xattrs);
        for (flags, want) in [
            (&["-E48bit,ztailpacking", "--zD"][..], "--zD, -E ztailpacking: no effect without -z"),
            (&["-Eall-fragments", "--squeeze"], "--squeeze, -E all-fragments: no effect without -z"),
            (
                &["-Efragments,fragdedupe=off,head2"],
                "-E fragments, -E fragdedupe, -E head2: no effect without -z",
            ),
            (
                &["-C65536", "--compress-hints=/absent", "-Elegacy-compress"],
                "-C, --compress-hints, -E legacy-compress: no effect without -z",
            ),
        ] {
            let found = plan(flags);
            assert_eq!(found.warnings, [want], "{flags:?}");
            assert!(
                found.build.content.compression.is_none() && !found.build.layout.pack_directories,
                "{flags:?}"
            );
        }
        for (flags, quiet) in [
            (&["--quiet"][..], true),
            (&["-d0"], true),
            (&["-d", "0"], true),
            (&["-d9"], false),
            (&["-d1"], false),
        ] {
            assert_eq!(plan(flags).quiet, quiet, "{flags:?}");
        }
        assert!(plan(&["--json"]).json);
        assert_eq!(plan(&["--offset=1M"]).offset, 1 << 20);
        let found = plan(&["--mount-point=/system"]);
        assert!(found.warnings.len() == 1 && found.warnings[0].starts_with("--mount-point changes nothing"));
        assert_eq!(plan(&["-b4096"]).warnings, [""; 0]);
        let found = plan(&["-b8192"]);
        assert!(
            found.warnings.len() == 1 && found.warnings[0].starts_with("blocks of 8192 bytes: only machines")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_one_line() {
        let rows: &[(Option<&str>, &[&str], &str)] = &[
            (
                Some("tomorrow"),
                &[],
                "SOURCE_DATE_EPOCH: found \"tomorrow\", want seconds since 1970 in decimal digits",
            ),
            (Some(""), &["-T1"], "SOURCE_DATE_EPOCH: found \"\""),
            (None, &["-zlz4hc,13"], "-z lz4hc: level 13, want "),
            (None, &["--tar=i", "--aufs"], "--tar=i: found another KIND than f; "),
            (None, &["--aufs"], "--aufs: needs --tar"),
            (None, &["--tar", "--sort=size"], "--sort: found size, want path or none"),
            (None, &["--compress-class=always"], "--compress-class=always: needs -z"),
            (None, &["-Enosbcrc,dot-omitted=1"], "-E dot-omitted=1: found an unknown word"),
            (None, &["-m5000"], "-m: found 5000 bytes"),
            (None, &["-m4096:2", "-zlz4:zstd"], "-m: found algorithm 2, want a number below 2"),
            (
                None,
                &["-b1024", "--chunksize=1024", "--ishare-key"],
                "--chunksize: found 1024 bytes, want at least 4096 with fingerprints",
            ),
            (None, &["-Efoo"], "-E foo: found an unknown word, want force-inode-compact, "),
            (None, &["-E^nosbcrc"], "-E ^nosbcrc: found an unknown word"),
            (None, &["-E", ""], "-E : found an unknown word"),
            (
                None,
                &["-b4096", "--chunksize=2048"],
                "--chunksize: found 2^11 bytes, want 2^12 (the block size)",
            ),
            (None, &["-L", "sixteen bytes is"], "-L: found 16 bytes, want at most 15"),
            (
                None,
                &["-zlz4", "--compress-hints=/dev/zero"],
                "--compress-hints: /dev/zero: found more than 16777216 ",
            ),
            (None, &["--xattr-prefix="], "--xattr-prefix: xattr name prefix: "),
            (
                None,
                &["--ishare-key", "--ishare-digest=uuid"],
                "--ishare-namespace: found none, want one for fingerprints of kind uuid",
            ),
            (
                None,
                &["--ishare-key", "--ishare-namespace=6ba7b811-9dad-11d1-80b4-00c04fd430c8"],
                "--ishare-namespace: found --ishare-digest=sha256, want --ishare-digest=uuid",
            ),
            (
                None,
                &["--ishare-key", "--ishare-digest=source", "--strict"],
                "--strict: contradicts --ishare-digest",
            ),
            (None, &["--exclude-path=/"], "--exclude-path: exclude pattern /: found the root"),
            (None, &["--exclude-regex=a(b"], "--exclude-regex: exclude pattern a(b: "),
        ];
        refused(rows);
    }

    #[test]
    fn names_that_are_no_fingerprints_are_refused() {
        let rows: &[(Option<&str>, &[&str], &str)] = &[
            (None, &["--ishare-key="], "--ishare-key: xattr name prefix: "),
            (None, &["--ishare-key=system.posix_acl_access"], "--ishare-key: xattr name prefix: "),
            (
                None,
                &["--ishare-key=user."],
                "--ishare-key: xattr name of fingerprints: found \"user.\", the ",
            ),
            (None, &["--ishare-key=trusted."], "--ishare-key: xattr name of fingerprints: "),
            (None, &["--ishare-key=security."], "--ishare-key: xattr name of fingerprints: "),
            (
                None,
                &["--ishare-key=security.capability", "--ishare-digest=source"],
                "--ishare-key: xattr name of fingerprints: found \"security.capability\", ",
            ),
        ];
        refused(rows);
    }

    /// Fails if not every command line of `rows` is a usage error that starts as given: `SOURCE_DATE_EPOCH`,
    /// flags, start of the message.
    fn refused(rows: &[(Option<&str>, &[&str], &str)]) {
        for (epoch, flags, want) in rows {
            let failure = plan_with(*epoch, flags).expect_err(want);
            assert_eq!(failure.code(), USAGE);
            let Failure::Usage(text) = failure else { panic!("{flags:?}: {failure:?}") };
            assert!(text.starts_with(want) && !text.contains('\n'), "{flags:?}: {text}");
        }
    }

    /// A plan under the name mkfs.erofs.
    fn peer(epoch: Option<&str>, flags: &[&str]) -> Plan {
        let args = Args::read(["mkfs.erofs"].iter().chain(flags).chain(&["img", "dir"])).unwrap();
        Plan::new(&args, epoch.map(OsStr::new)).unwrap_or_else(|error| panic!("{flags:?}: {error}"))
    }

    #[test]
    fn the_name_mkfs_erofs() {
        let clamp = |sec| TimeRule::Clamp(Timestamp { sec, nsec: 0 });
        for (epoch, flags, build_time, rule) in [
            (Some("9"), &["-T5"][..], 9, clamp(9)),
            (Some("9"), &["--mkfs-time"], 9, clamp(9)),
            (Some(""), &["--all-time"], 0, clamp(0)),
            (None, &["-T5", "--mkfs-t"], 5, TimeRule::Keep),
        ] {
            let plan = peer(epoch, flags);
            let found = (plan.build.layout.build_time, plan.shape.time);
            assert_eq!(found, (build_time, rule), "{epoch:?} {flags:?}");
        }
        for (flags, want) in [
            (&["-zlz4", "-z", "zstd:lzma"][..], &["lz4", "zstd", "lzma"][..]),
            (&["-zlz4", "--chunksize=4096"], &["lz4"]),
        ] {
            let compression = peer(None, flags).build.content.compression.unwrap();
            let names: Vec<_> = compression.algorithms.iter().map(|chosen| chosen.algorithm.name).collect();
            assert_eq!(names, want, "{flags:?}");
        }
        let last = plan(&["-zlz4", "-z", "zstd"]).build.content.compression.unwrap();
        assert_eq!(last.algorithms.len(), 1);
        assert!(peer(None, &["--zD=1", "-zlz4"]).build.layout.pack_directories);
        assert!(peer(None, &["-E", "", "--zf=128"]).build.layout.dot_omitted);
        assert!(
            peer(None, &["--quie"]).quiet && peer(None, &["--xattr-i"]).build.content.fingerprint.is_some()
        );
        let found = peer(None, &["--exclude-r=[\\d]$", "--exclude-path", "-x"]).exclude;
        assert!(found.matches(b"d") && found.matches(b"-x") && !found.matches(b"1"));
        assert!(plan_with(None, &["--quie"]).is_err());
    }

    #[test]
    fn what_clap_refuses() {
        let rows: &[&[&str]] = &[
            &["--unknown"],
            &["another"],
            &["-b1000"],
            &["-d10"],
            &["-T-1"],
            &["-Ux"],
            &["-xfew"],
            &["--chunksize=3000"],
            &["--workers=-1"],
            &["--ishare-digest=sha256"],
            &["--ishare-key", "--ishare-digest=md5"],
            &["--force-uid=4294967295"],
            &["--quiet=yes"],
        ];
        for flags in rows {
            let failure = plan_with(None, flags).expect_err("is accepted");
            assert!(matches!(failure, Failure::Parse(_)), "{flags:?}: {failure:?}");
            assert_eq!(failure.code(), USAGE, "{flags:?}");
        }
    }

    #[test]
    fn a_refused_flag_counts_more_than_a_missing_argument() {
        let Err(Failure::Usage(text)) = Args::read(["mkfs.erofs", "--oci=f", "--quiet", "img"]) else {
            panic!("--oci is accepted");
        };
        assert!(text.starts_with("--oci: "), "{text}");
        assert!(matches!(Args::read(["mkfs.erofs", "img"]), Err(Failure::Parse(_))));
    }
}
