//! Whether a machine can share page cache between EROFS images, and what on it should be changed: from plain
//! values to findings, without I/O.

use std::collections::BTreeMap;

use erofs_format::printable;
use erofs_sim::pages::PAGE_SIZE;
use erofs_sim::scenario::Backend;

use crate::backing::Backing;
use crate::defects::{self, EXAMINED, Scope, Standing};
use crate::kernel::{SHARES_SINCE, Setting, Version};
use crate::mountinfo::{DeviceNumber, MountEntry};
use crate::system::{System, TextPlace};

/// The option that turns sharing on when the kernel is built.
const SHARE_OPTION: &str = "EROFS_FS_PAGE_CACHE_SHARE";

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Sharing does not work, or the machine is in danger.
    Problem,
    /// Something costs memory or confidentiality, or could not be found out.
    Warning,
    /// To be known; nothing has to be changed.
    Note,
}

impl Severity {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name, the same in all versions of the program.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The mount, process or file that it is about; the kernel where there is none.
    pub subject: Option<String>,
    /// What was found.
    pub text: String,
    /// What to do.
    pub advice: String,
}

/// Whether files of different images can share page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They can.
    Yes,
    /// They cannot.
    No,
    /// The machine does not say.
    Unknown,
}

impl Verdict {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// What is said of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whether its kernel can share.
    pub verdict: Verdict,
    /// The version, where the release begins with one.
    pub version: Option<Version>,
    /// The findings, those that matter most first, else in the order: kernel, mounts, places of the domain.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether there is something to change.
    pub fn wants_change(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity != Severity::Note)
    }
}

fn finding(
    id: &'static str,
    severity: Severity,
    text: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding { id, severity, subject: None, text: text.into(), advice: advice.into() }
}

fn about(subject: &[u8], finding: Finding) -> Finding {
    Finding { subject: Some(printable(subject)), ..finding }
}

/// Looks at everything.
pub fn examine(system: &System) -> Diagnosis {
    let version = system.release.as_deref().and_then(Version::parse);
    let mut findings = Vec::new();
    let verdict = kernel(system, version, &mut findings);
    if verdict != Verdict::No {
        findings.extend(defects(version, Scope::Sharing));
    }
    let mounts: Vec<(&MountEntry, Backing)> = system
        .mounts
        .iter()
        .filter(|mount| mount.is_erofs())
        .map(|mount| (mount, Backing::of(mount, &system.devices)))
        .collect();
    if mounts.iter().any(|(_, backing)| backing.backend == Backend::FileDirectio) {
        findings.extend(defects(version, Scope::FileDirectio));
    }
    for (mount, backing) in &mounts {
        findings.extend(one_mount(mount, backing, verdict));
        findings.extend(small_blocks(mount, system.block_sizes.get(&mount.point).copied()));
    }
    findings.extend(one_device_twice(&mounts));
    findings.extend(mixed_backends(&mounts));
    findings.extend(system.texts.iter().filter_map(|text| domain_in(&text.place, &text.bytes)));
    findings.sort_by_key(|finding| finding.severity);
    Diagnosis { verdict, version, findings }
}

/// What the kernel's version and configuration say, and whether it can share.
fn kernel(system: &System, version: Option<Version>, findings: &mut Vec<Finding>) -> Verdict {
    use Severity::{Note, Problem, Warning};
    let config = system.config.as_ref();
    let erofs = config.map(|config| config.setting("EROFS_FS"));
    let share = config.map(|config| config.setting(SHARE_OPTION));
    let place = config.map_or("", |config| config.place.as_str());
    let newest = "use Linux 7.2.7 or newer with CONFIG_EROFS_FS_PAGE_CACHE_SHARE=y";
    let named = version.map_or_else(|| "of an unknown version".to_owned(), |version| version.to_string());
    if version.is_none() {
        let found = system
            .release
            .as_deref()
            .map_or_else(|| "nothing".to_owned(), |release| printable(release.as_bytes()));
        let text = format!("the kernel's release names no version: found {found}");
        findings.push(finding("kernel-version-unknown", Warning, text, "look at uname -r"));
    }
    if matches!(erofs, Some(Setting::Off | Setting::Absent)) {
        let text = format!("this kernel is built without EROFS (CONFIG_EROFS_FS in {place})");
        findings.push(finding("erofs-off", Problem, text, newest));
        return Verdict::No;
    }
    findings.extend(module(system, erofs));
    let old = version.is_some_and(|version| version < SHARES_SINCE);
    match (share, old) {
        (Some(Setting::BuiltIn | Setting::Module), false) => Verdict::Yes,
        (Some(Setting::BuiltIn | Setting::Module), true) => {
            let text =
                format!("Linux {named} is older than the feature, but its configuration has it: a back-port");
            let advice =
                "hold what the simulator says against erofs-ishare measure --frames before relying on it";
            findings.push(finding("kernel-back-port", Note, text, advice));
            Verdict::Yes
        }
        (_, true) => {
            let text = format!(
                "Linux {named} does not share page cache between EROFS images, 7.0 is the first that does"
            );
            findings.push(finding("kernel-too-old", Problem, text, newest));
            Verdict::No
        }
        (Some(Setting::Off | Setting::Absent), false) => {
            let text = format!("this kernel is built without sharing (CONFIG_{SHARE_OPTION} in {place})");
            findings.push(finding("share-off", Problem, text, newest));
            Verdict::No
        }
        (None, false) => {
            let text = format!(
                "cannot tell whether this kernel is built with CONFIG_{SHARE_OPTION}: found neither \
                /proc/config.gz nor a configuration of this release in /boot or /lib/modules"
            );
            let advice = "load the module configs, install the configuration beside the kernel, or try it: mount two \
                images with inode_share and run erofs-ishare measure --frames";
            findings.push(finding("config-unknown", Warning, text, advice));
            Verdict::Unknown
        }
    }
}

/// Whether EROFS is there to be used.
fn module(system: &System, erofs: Option<Setting>) -> Option<Finding> {
    let loaded = system.filesystems.lines().any(|line| line.split_whitespace().last() == Some("erofs"));
    if loaded || erofs == Some(Setting::BuiltIn) {
        return None;
    }
    Some(match system.module {
        Some(true) => finding(
            "module-not-loaded",
            Severity::Note,
            "the module erofs is not loaded yet",
            "nothing: the first mount loads it; where modules may not be loaded, load it at boot",
        ),
        Some(false) => finding(
            "module-missing",
            Severity::Problem,
            "the module erofs is neither loaded nor among the modules of this kernel",
            "install the package with the kernel's further modules (linux-modules-extra or alike)",
        ),
        None => finding(
            "module-unknown",
            Severity::Warning,
            "EROFS is not in /proc/filesystems, and there is no list of modules of this kernel to look it up in",
            "run modprobe erofs and look again",
        ),
    })
}

/// The known defects of a version, as findings.
fn defects(version: Option<Version>, scope: Scope) -> Vec<Finding> {
    let row = |row: &defects::Defect| {
        // A back-port has what the first version had, as far as anybody knows.
        let version = match (scope, version) {
            (Scope::Sharing, version) => version.map_or(EXAMINED, |version| version.max(SHARES_SINCE)),
            (Scope::FileDirectio, version) => version?,
        };
        let text = match row.standing(version) {
            Standing::Clear => return None,
            Standing::Affected => row.text.to_owned(),
            Standing::Unknown(seen) => {
                format!("as of Linux {seen}, which is older than this kernel: {}", row.text)
            }
        };
        let severity = if row.wants_change { Severity::Warning } else { Severity::Note };
        Some(finding(row.id, severity, text, row.advice))
    };
    defects::TABLE.iter().filter(|row| row.scope == scope).filter_map(row).collect()
}

fn one_mount(mount: &MountEntry, backing: &Backing, verdict: Verdict) -> Vec<Finding> {
    use Severity::{Note, Warning};
    let mut findings = Vec::new();
    if verdict != Verdict::No && !mount.has("inode_share") {
        findings.push(finding(
            "mount-does-not-share",
            Warning,
            "the mount has no inode_share: the option was not given, or the kernel took it away because the image announces no fingerprints",
            "look at the image with erofs-ishare inspect; build it with mkfs-erofs --ishare-key; unmount it, and mount it with inode_share,domain_id=NAME",
        ));
    }
    if mount.has("inode_share")
        && mount.value("cache_strategy").is_some_and(|strategy| strategy != "disabled")
    {
        findings.push(finding(
            "mount-compressed-cache",
            Note,
            "compressed data of the image stays in memory besides the shared files",
            "mount it with cache_strategy=disabled",
        ));
    }
    if backing.caches_twice() {
        let loops = backing.backend == Backend::LoopBuffered;
        findings.push(finding(
            if loops { "loop-buffered" } else { "file-buffered" },
            Warning,
            if loops {
                "the loop device reads its file through the page cache: the image is in memory a second time"
            } else {
                "the image file is read through the page cache: the image is in memory a second time"
            },
            if loops {
                "losetup --direct-io=on DEVICE, or set up loop devices with direct I/O"
            } else {
                "unmount it, and mount it with directio"
            },
        ));
    }
    findings.into_iter().map(|finding| about(&mount.point, finding)).collect()
}

/// Whether a mount that shares has blocks that are smaller than a page, which kernels read wrong.
fn small_blocks(mount: &MountEntry, block_size: Option<u64>) -> Option<Finding> {
    let size = block_size.filter(|size| *size < PAGE_SIZE && mount.has("inode_share"))?;
    let text = format!(
        "the image has blocks of {size} bytes: of its files, those of which a page has its bytes in several places are read \
        wrong or crash the kernel"
    );
    let advice = "look at the image with erofs-ishare verify (sub-page-extents); build it with blocks of 4096 bytes, or mount \
        it without inode_share";
    Some(about(&mount.point, finding("mount-small-blocks", Severity::Warning, text, advice)))
}

/// A block device has one superblock, whose options are those of its first mount.
fn one_device_twice(mounts: &[(&MountEntry, Backing)]) -> Vec<Finding> {
    let mut points: BTreeMap<DeviceNumber, Vec<&MountEntry>> = BTreeMap::new();
    for (mount, _) in mounts.iter().filter(|(mount, _)| !mount.is_file_backed()) {
        points.entry(mount.device).or_default().push(mount);
    }
    let twice = |mounts: Vec<&MountEntry>| {
        let (first, more) = mounts.split_first()?;
        let others: Vec<String> = more.iter().map(|mount| printable(&mount.point)).collect();
        (!others.is_empty()).then(|| {
            let text = format!(
                "the block device is mounted at {} as well; if those are no bind mounts, their options counted for nothing",
                others.join(", ")
            );
            let advice = "mount a device once with the options that are wanted, and bind it to other places";
            about(&first.point, finding("device-mounted-twice", Severity::Note, text, advice))
        })
    };
    points.into_values().filter_map(twice).collect()
}

fn mixed_backends(mounts: &[(&MountEntry, Backing)]) -> Option<Finding> {
    let sharing = || mounts.iter().filter(|(mount, _)| mount.has("inode_share")).map(|(mount, _)| mount);
    let file = sharing().find(|mount| mount.is_file_backed())?;
    let block = sharing().find(|mount| !mount.is_file_backed())?;
    let text = format!(
        "{} comes from an image file and {} from a block device: files that are not compressed do not share between the two kinds",
        printable(&file.point),
        printable(&block.point)
    );
    Some(finding("mixed-backends", Severity::Warning, text, "mount all images of a domain in the same way"))
}

/// Whether a text names a domain. The name itself is a secret and stays out of the report.
fn domain_in(place: &TextPlace, bytes: &[u8]) -> Option<Finding> {
    const OPTION: &[u8] = b"domain_id=";
    let named = bytes.windows(OPTION.len() + 1).any(|window| {
        let (option, value) = window.split_at(OPTION.len());
        option == OPTION
            && value.first().is_some_and(|byte| !byte.is_ascii_whitespace() && !b",\0\"'".contains(byte))
    });
    if !named {
        return None;
    }
    let advice = "whoever knows the domain and may mount an image can put content into it: give it where only root can \
        read it, from a program that calls mount itself, or from a unit that root alone may read";
    Some(match place {
        TextPlace::Process { pid, program } => about(
            format!("process {pid} ({program})").as_bytes(),
            finding(
                "domain-in-process-list",
                Severity::Warning,
                "a domain_id stands in a command line, which every user can read in the list of processes",
                advice,
            ),
        ),
        TextPlace::File { path, readable_by_all: true } => about(
            path.as_bytes(),
            finding(
                "domain-in-file",
                Severity::Warning,
                "a domain_id stands in a file that every user can read",
                advice,
            ),
        ),
        TextPlace::File { path, readable_by_all: false } => about(
            path.as_bytes(),
            finding(
                "domain-in-file",
                Severity::Note,
                "a domain_id stands in a file that not every user can read",
                "systemd shows the options of its units to every user (systemctl show): look whether that matters here",
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_share_small_blocks_are_named() {
        let line = |options: &str| format!("40 27 7:0 / /a ro - erofs /dev/loop0 ro,{options}\n");
        for (options, size, named) in [
            ("inode_share", 512, true),
            ("inode_share", 2048, true),
            ("inode_share", 4096, false),
            ("user_xattr", 512, false),
        ] {
            let mounts = crate::mountinfo::parse(line(options).as_bytes()).unwrap();
            let block_sizes = BTreeMap::from([(b"/a".to_vec(), size)]);
            let system = System { release: Some("7.3.4".into()), mounts, block_sizes, ..System::default() };
            let findings = examine(&system).findings;
            let found = findings.iter().find(|finding| finding.id == "mount-small-blocks");
            assert_eq!(found.is_some(), named, "{options} {size}");
            assert!(found.is_none_or(|found| found.subject.as_deref() == Some("/a")));
            assert!(
                findings
                    .iter()
                    .any(|finding| finding.id == "sub-page-extents" && finding.text.starts_with("of images"))
            );
        }
    }
}
