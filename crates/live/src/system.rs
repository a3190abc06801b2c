//! What is read from a machine before anything is concluded: files of `/proc`, `/sys`, `/boot`,
//! `/lib/modules` and `/etc`, below any root directory, as plain values.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{LiveError, Result};
use crate::gzip;
use crate::kernel::Config;
use crate::mountinfo::{self, DeviceNumber, MountEntry};

/// What `statfs` says of EROFS (`EROFS_SUPER_MAGIC_V1`).
const EROFS_MAGIC: u32 = 0xe0f5_e1e2;
/// The most that is read of any file, in bytes.
const LIMIT: u64 = 8 << 20;
/// Where systemd looks for units, and its generators put them.
const UNIT_DIRS: [&str; 6] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/transient",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
];

/// A machine.
#[derive(Debug, Clone, Default)]
pub struct System {
    /// The release of the kernel, as `uname -r` prints it.
    pub release: Option<String>,
    /// The configuration of the kernel, where one is found.
    pub config: Option<Config>,
    /// `/proc/filesystems`.
    pub filesystems: String,
    /// Whether the modules of this release have EROFS among them; `None` where no list of modules is found.
    pub module: Option<bool>,
    /// All mounts that this process sees.
    pub mounts: Vec<MountEntry>,
    /// The size of the blocks of EROFS mounts in bytes, by mount point; of the running machine only.
    pub block_sizes: BTreeMap<Vec<u8>, u64>,
    /// The block devices under EROFS mounts.
    pub devices: BTreeMap<DeviceNumber, BlockDevice>,
    /// Texts in which the options of a mount may stand.
    pub texts: Vec<Text>,
}

/// What the kernel says of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockDevice {
    /// A loop device.
    Loop {
        /// The file that it shows, as the kernel prints it.
        file: Vec<u8>,
        /// Whether it reads the file past the page cache.
        direct: bool,
        /// Where in the file it starts, in bytes.
        offset: u64,
    },
    /// A dm-verity device.
    Verity,
    /// Any other device.
    Other,
}

/// A text in which the options of a mount may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What it is.
    pub place: TextPlace,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Where a text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPlace {
    /// The command line of a process.
    Process {
        /// Its number.
        pid: u32,
        /// The name of its program.
        program: String,
    },
    /// A file.
    File {
        /// Its path on the machine.
        path: String,
        /// Whether every user may read it.
        readable_by_all: bool,
    },
}

impl System {
    /// Reads a machine whose files are below `root`, which is `/` for the running one. What is not there, or
    /// not readable for this user, is left out.
    ///
    /// # Errors
    /// A list of mounts that is absent or not one.
    pub fn read(root: &Path) -> Result<Self> {
        let release = text(&root.join("proc/sys/kernel/osrelease")).map(|text| text.trim().to_owned());
        let mountinfo = root.join("proc/self/mountinfo");
        let lines = fs::read(&mountinfo).map_err(LiveError::io("read", mountinfo.as_os_str().as_bytes()))?;
        let mounts = mountinfo::parse(&lines)?;
        let numbers = mounts.iter().filter(|mount| mount.is_erofs() && !mount.is_file_backed());
        let devices = numbers.map(|mount| (mount.device, device(root, mount.device))).collect();
        let points = mounts.iter().filter(|mount| mount.is_erofs()).map(|mount| &mount.point);
        let block_sizes =
            points.filter_map(|point| Some((point.clone(), block_size(root, point)?))).collect();
        let mut texts = command_lines(root);
        texts.extend(files_with_options(root));
        Ok(Self {
            config: release.as_deref().and_then(|release| config(root, release)),
            module: release.as_deref().and_then(|release| has_module(root, release)),
            filesystems: text(&root.join("proc/filesystems")).unwrap_or_default(),
            release,
            mounts,
            block_sizes,
            devices,
            texts,
        })
    }
}

/// The size of the blocks of the EROFS mount at `point`, if one is there.
fn block_size(root: &Path, point: &[u8]) -> Option<u64> {
    let point = OsStr::from_bytes(point);
    let path = root.join(Path::new(point).strip_prefix("/").unwrap_or(Path::new(point)));
    let found = rustix::fs::statfs(path).ok()?;
    let is_erofs = u32::try_from(found.f_type).is_ok_and(|magic| magic == EROFS_MAGIC);
    u64::try_from(found.f_bsize).ok().filter(|_| is_erofs)
}

fn bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn text(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&bytes(path)?).into_owned())
}

/// The running kernel's own copy first, then the files that distributions put beside it.
fn config(root: &Path, release: &str) -> Option<Config> {
    if let Some(text) = bytes(&root.join("proc/config.gz")).and_then(|packed| gzip::unpack(&packed)) {
        let text = String::from_utf8_lossy(&text).into_owned();
        return Some(Config { place: "/proc/config.gz".into(), text });
    }
    let places = [
        format!("boot/config-{release}"),
        format!("lib/modules/{release}/config"),
        format!("usr/lib/modules/{release}/config"),
        format!("lib/modules/{release}/build/.config"),
    ];
    let read =
        |place: String| text(&root.join(&place)).map(|text| Config { place: format!("/{place}"), text });
    places.into_iter().find_map(read)
}

/// Looks for `erofs.ko`, packed or not, in the lists that `depmod` keeps.
fn has_module(root: &Path, release: &str) -> Option<bool> {
    let dirs = [format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")];
    let lists =
        dirs.iter().flat_map(|dir| ["modules.dep", "modules.builtin"].map(|list| format!("{dir}/{list}")));
    let texts: Vec<String> = lists.filter_map(|list| text(&root.join(list))).collect();
    let named = |text: &String| text.lines().any(|line| line.contains("/erofs.ko"));
    (!texts.is_empty()).then(|| texts.iter().any(named))
}

fn device(root: &Path, (major, minor): DeviceNumber) -> BlockDevice {
    let dir = root.join(format!("sys/dev/block/{major}:{minor}"));
    if let Some(mut file) = bytes(&dir.join("loop/backing_file")) {
        file.truncate(file.strip_suffix(b"\n").map_or(file.len(), <[u8]>::len));
        let number =
            |name: &str| text(&dir.join("loop").join(name)).and_then(|text| text.trim().parse::<u64>().ok());
        return BlockDevice::Loop {
            file,
            direct: number("dio") == Some(1),
            offset: number("offset").unwrap_or_default(),
        };
    }
    let verity = text(&dir.join("dm/uuid")).is_some_and(|uuid| uuid.starts_with("CRYPT-VERITY-"));
    if verity { BlockDevice::Verity } else { BlockDevice::Other }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<PathBuf> = names.collect();
    names.sort();
    names
}

/// The command lines of all processes but this one. Processes come and go meanwhile.
fn command_lines(root: &Path) -> Vec<Text> {
    let mut texts: Vec<(u32, Text)> = Vec::new();
    for dir in entries(&root.join("proc")) {
        let pid = dir.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != std::process::id()) else { continue };
        let Some(bytes) = bytes(&dir.join("cmdline")).filter(|bytes| !bytes.is_empty()) else { continue };
        let program = text(&dir.join("comm")).map(|name| name.trim().to_owned()).unwrap_or_default();
        texts.push((pid, Text { place: TextPlace::Process { pid, program }, bytes }));
    }
    texts.sort_by_key(|(pid, _)| *pid);
    texts.into_iter().map(|(_, text)| text).collect()
}

/// The table of file systems, and systemd's units with their additions.
fn files_with_options(root: &Path) -> Vec<Text> {
    let mut paths = vec![root.join("etc/fstab")];
    for dir in UNIT_DIRS {
        for path in entries(&root.join(dir)) {
            if path.extension().is_some_and(|kind| kind == "d") {
                paths.extend(entries(&path));
            } else {
                paths.push(path);
            }
        }
    }
    let kind = |path: &PathBuf| {
        let kind = path.extension().and_then(|kind| kind.to_str());
        path.ends_with("etc/fstab") || matches!(kind, Some("mount" | "service" | "conf"))
    };
    paths.into_iter().filter(kind).filter_map(|path| file_text(root, &path)).collect()
}

fn file_text(root: &Path, path: &Path) -> Option<Text> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    // What this user may not read, or what has gone meanwhile, shows nothing to this user.
    let bytes = bytes(path)?;
    let inside = path.strip_prefix(root).unwrap_or(path);
    let path = format!("/{}", inside.to_string_lossy());
    let readable_by_all = metadata.permissions().mode() & 0o004 != 0;
    Some(Text { place: TextPlace::File { path, readable_by_all }, bytes })
}
