//! The judges of one image: verify and our reader here, the kernel in a process of its own, fsck.erofs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use erofs_check::{Code, Options, Source};
use erofs_format::filetype::FileType;
use erofs_image::{Image, ImageError, Inode, ReadAt};
use erofs_testkit::mount::Backing;
use erofs_testkit::peers::Peers;

use crate::forms::Form;
use crate::kernel::{DEVICE, IMAGE, Kernel, Seen};
use crate::view::{Status, View};

const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// Every so many images are mounted by a loop device instead of straight from their file.
const BY_LOOP: u64 = 16;
/// How long verify may take for images of some hundred KiB.
const SLOW: Duration = Duration::from_secs(20);

/// Every so many images go through the other verbs.
const BY_VERBS: u64 = 64;
/// The verbs that look at everything. `{folder}` is where what they make goes.
const VERBS: [&[&str]; 6] = [
    &["inspect"],
    &["ls", "-lR", "--xattrs"],
    &["simulate", "--allow-unshared", "--verify"],
    &["index", "-q", "-o", "{folder}/made"],
    &["index", "-q", "--overlay", "-o", "{folder}/made"],
    &["extract", "--quiet", "-o", "{folder}/extracted"],
];

/// What verify says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    Right,
    /// The codes of the findings, and the first one.
    Wrong(Vec<&'static str>, String),
    /// It could not read everything, and says so.
    Unread(String),
    Panicked,
}

/// What all judges say.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) verified: Verified,
    pub(crate) kernel: Seen,
    /// Whether fsck.erofs accepts it; nothing where it is not there or has not come back.
    pub(crate) fsck: Option<bool>,
    /// What our reader sees; only of images that verify calls right.
    pub(crate) ours: Option<View>,
    pub(crate) slow: bool,
    /// The other verb that did not end as it should, and how.
    pub(crate) verb: Option<String>,
}

impl Verdict {
    /// In which way the judges contradict each other so that verify must be wrong.
    pub(crate) fn conflict(&self) -> Option<&'static str> {
        if self.verified == Verified::Panicked {
            return Some("verify panics");
        }
        if self.slow {
            return Some("verify is slow");
        }
        if self.verb.is_some() {
            return Some("a verb panics or does not end");
        }
        let right = self.verified == Verified::Right;
        match &self.kernel {
            Seen::Lost => Some("the kernel does not come back"),
            Seen::Refused(_) if right => Some("right, and Linux does not mount it"),
            Seen::View(view) if right && !view.troubles.is_empty() => Some("right, and Linux has trouble"),
            Seen::View(view) if right && self.ours.as_ref() != Some(view) => {
                Some("right, and Linux sees something else")
            }
            Seen::Refused(_) | Seen::View(_) => None,
        }
    }

    /// The kernel reads everything.
    pub(crate) fn is_read(&self) -> bool {
        matches!(&self.kernel, Seen::View(view) if view.troubles.is_empty())
    }
}

/// The judges, with a folder for the image.
pub(crate) struct Judges<'a> {
    folder: PathBuf,
    kernel: Kernel,
    peers: Option<&'a Peers>,
}

impl<'a> Judges<'a> {
    pub(crate) fn new(folder: &Path, peers: Option<&'a Peers>) -> Self {
        Self { folder: folder.to_path_buf(), kernel: Kernel::new(folder), peers }
    }

    pub(crate) fn judge(&mut self, form: &Form, image: &[u8], number: u64) -> Verdict {
        self.write(IMAGE, image);
        if let Some(device) = &form.device {
            self.write(DEVICE, device);
        }
        let started = Instant::now();
        let (verified, warned) = verified(image, form.device.as_deref());
        let slow = started.elapsed() > SLOW;
        let mut ours = (verified == Verified::Right).then(|| ours(image, form.device.as_deref()));
        let by_loop = number.is_multiple_of(BY_LOOP) && form.device.is_none();
        let backing = if by_loop { Backing::Loop } else { Backing::File };
        let mut kernel = self.kernel.look(backing, form.device.is_some());
        if let Seen::View(view) = &mut kernel {
            if warned.contains(&Code::RootZero) {
                view.troubles.retain(|trouble| !is_about_dots(trouble));
            }
            if warned.contains(&Code::XattrMisread) {
                view.without_attributes();
                ours.iter_mut().for_each(View::without_attributes);
            }
        }
        let peers = self.peers.filter(|_| form.for_fsck);
        let fsck = peers.and_then(|peers| self.fsck(peers, form.device.is_some()));
        let verb = if number.is_multiple_of(BY_VERBS) { self.verbs() } else { None };
        Verdict { verified, kernel, fsck, ours, slow, verb }
    }

    /// Has the other verbs look at the image; the first that ends otherwise than with success or an error.
    /// Companions are looked at without their device.
    fn verbs(&self) -> Option<String> {
        let folder = self.folder.display().to_string();
        let ended = |verb: &&[&str]| -> Option<String> {
            let mut command = Command::new("timeout");
            command.arg("20").arg(ISHARE).args(verb.iter().map(|word| word.replace("{folder}", &folder)));
            let status =
                command.arg(self.folder.join(IMAGE)).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let status = status.unwrap();
            (!matches!(status.code(), Some(0..=3))).then(|| format!("{verb:?}: {status}"))
        };
        let found = VERBS.iter().find_map(ended);
        // Left out if nothing was extracted.
        drop(std::fs::remove_dir_all(self.folder.join("extracted")));
        found
    }

    /// Overwrites the file of the last image, so that its blocks are used again.
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }

    fn fsck(&self, peers: &Peers, with_device: bool) -> Option<bool> {
        let mut command = Command::new("timeout");
        command.arg("20").arg(&peers.fsck).arg("--extract");
        if with_device {
            command.arg(format!("--device={}", self.folder.join(DEVICE).display()));
        }
        command.arg(self.folder.join(IMAGE)).stdout(Stdio::null()).stderr(Stdio::null());
        let code = command.status().unwrap().code()?;
        // That of timeout(1), and what a program that crashed leaves.
        (code < 124).then_some(code == 0)
    }
}

fn sources(image: &[u8], device: Option<&[u8]>) -> (Arc<dyn ReadAt>, Vec<Arc<dyn ReadAt>>) {
    let extra = device.map(|bytes| -> Arc<dyn ReadAt> { Arc::new(bytes.to_vec()) });
    (Arc::new(image.to_vec()), extra.into_iter().collect())
}

/// Whether a trouble is that of an entry that leads to a root directory with number 0, of which verify warns.
fn is_about_dots(trouble: &str) -> bool {
    [" entry . has inode number 0", " entry .. has inode number 0"]
        .iter()
        .any(|known| trouble.contains(known))
}

/// What verify says, and of what it warns.
fn verified(image: &[u8], device: Option<&[u8]>) -> (Verified, Vec<Code>) {
    let (primary, extra) = sources(image, device);
    let options = Options { threads: 1, ..Options::default() };
    let check = AssertUnwindSafe(|| erofs_check::check(&Source::new(primary, extra), &options));
    let Ok(outcome) = catch_unwind(check) else { return (Verified::Panicked, Vec::new()) };
    let warnings = match &outcome {
        Ok(report) => report.warnings.iter().map(|warning| warning.code).collect(),
        Err(_) => Vec::new(),
    };
    let verified = match outcome {
        Err(error) => Verified::Unread(error.to_string()),
        Ok(report) => match (report.findings.first(), &report.failed) {
            (Some(first), _) => {
                let mut codes: Vec<_> = report.findings.iter().map(|finding| finding.code.name()).collect();
                codes.sort_unstable();
                codes.dedup();
                Verified::Wrong(codes, first.to_string())
            }
            (None, Some((error, _))) => Verified::Unread(error.to_string()),
            (None, None) => Verified::Right,
        },
    };
    (verified, warnings)
}

/// What our reader sees.
fn ours(image: &[u8], device: Option<&[u8]>) -> View {
    let (primary, extra) = sources(image, device);
    let mut view = View::default();
    match Image::open(primary, extra, &erofs_image::OpenOptions::default()) {
        Err(error) => view.trouble("/", &format!("our reader: {error}")),
        Ok(image) => match image.root() {
            Err(error) => view.trouble("/", &format!("our reader: {error}")),
            Ok(root) => look(&image, &root, "", &mut view),
        },
    }
    view
}

fn look(image: &Image, inode: &Inode, shown: &str, view: &mut View) {
    let record = &inode.record;
    view.status(
        shown,
        &Status {
            mode: u32::from(inode.mode()),
            uid: record.uid,
            gid: record.gid,
            nlink: u64::from(record.nlink),
            size: inode.size(),
            mtime: (inode.mtime_sec, i64::from(inode.mtime_nsec)),
            device: inode.device().unwrap_or((0, 0)),
        },
    );
    let mut parts = || -> Result<(), ImageError> {
        for attribute in image.xattrs(inode)? {
            let attribute = attribute?;
            if !attribute.hidden {
                let value = image.xattr(inode, &attribute.name)?.unwrap_or_default();
                view.attribute(shown, &attribute.name, &value);
            }
        }
        if inode.is_symlink() {
            view.note(shown, &format!("-> {}", image.link_target(inode)?.escape_ascii()));
        } else if inode.is_file() {
            let data = image.data(inode)?;
            view.content(shown, inode.size(), |at, buffer| {
                data.read_range(at, buffer).map_err(|error| error.to_string())
            });
        } else if inode.is_dir() {
            directory(image, inode, shown, view)?;
        }
        Ok(())
    };
    if let Err(error) = parts() {
        view.trouble(shown, &format!("our reader: {error}"));
    }
}

fn directory(image: &Image, inode: &Inode, shown: &str, view: &mut View) -> Result<(), ImageError> {
    let entries: Vec<_> = image.entries(inode)?.collect::<Result<_, _>>()?;
    let count = |name: &[u8]| entries.iter().filter(|entry| entry.name == name).count();
    let dots = [count(b".") + usize::from(inode.dot_omitted()), count(b"..")];
    view.note(shown, &format!("{dots:?} of . and .."));
    for entry in entries.iter().filter(|entry| !entry.is_dot()) {
        let below = format!("{shown}/{}", entry.name.escape_ascii());
        view.note(&below, entry.file_type.map_or("Unknown", kernel_name));
        look(image, &image.inode(entry.nid)?, &below, view);
    }
    Ok(())
}

/// The name that the kernel's side has for a type.
fn kernel_name(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Regular => "RegularFile",
        FileType::Directory => "Directory",
        FileType::CharDevice => "CharacterDevice",
        FileType::BlockDevice => "BlockDevice",
        FileType::Fifo => "Fifo",
        FileType::Socket => "Socket",
        FileType::Symlink => "Symlink",
    }
}
