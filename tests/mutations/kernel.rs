//! The running kernel's view of an image, taken in a process of its own.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use erofs_testkit::mount::Backing;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::view::{DEPTH, PATHS, Status, View};

/// The first argument of the process that mounts.
pub(crate) const MODE: &str = "--mount-mutated-images-in";
/// How long one image may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names of the files in the folder of a worker.
pub(crate) const IMAGE: &str = "image";
pub(crate) const DEVICE: &str = "device";
const POINT: &str = "point";
const ANSWER: &str = "answer";

/// What came of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The kernel does not mount the image.
    Refused(String),
    /// This could be seen.
    View(View),
    /// The process that mounted it did not come back.
    Lost,
}

/// The process that mounts images, as long as it answers.
pub(crate) struct Kernel {
    folder: PathBuf,
    process: Option<Process>,
}

struct Process {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<()>,
}

impl Process {
    /// The process has mounts of its own, so that none stays when it ends.
    fn start(folder: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new("unshare")
            .args(["--mount", "--"])
            .arg(program)
            .arg(MODE)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (requests, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            for _ in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
        Self { child, requests, answers }
    }
}

impl Kernel {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join(POINT)).unwrap();
        Self { folder: folder.to_path_buf(), process: None }
    }

    /// Mounts the image that is in the folder, and looks at everything.
    pub(crate) fn look(&mut self, backing: Backing, with_device: bool) -> Seen {
        let process = self.process.get_or_insert_with(|| Process::start(&self.folder));
        let request = format!("{} {}\n", u8::from(backing == Backing::Loop), u8::from(with_device));
        let asked = process.requests.write_all(request.as_bytes());
        if asked.is_err() || process.answers.recv_timeout(PATIENCE).is_err() {
            if let Some(mut process) = self.process.take() {
                // One that hangs in the kernel cannot be ended, and must not be waited for.
                let _killed = process.child.kill();
                let _status = process.child.try_wait();
            }
            return Seen::Lost;
        }
        read_answer(&self.folder.join(ANSWER))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Some(Process { mut child, requests, .. }) = self.process.take() {
            drop(requests);
            drop(child.wait());
        }
    }
}

fn read_answer(path: &Path) -> Seen {
    let text = fs::read_to_string(path).unwrap();
    let mut view = View::default();
    for line in text.lines() {
        match line.split_at(1) {
            ("!", rest) => view.troubles.push(rest.to_owned()),
            ("x", rest) => return Seen::Refused(rest.to_owned()),
            (_, rest) => view.lines.push(rest.to_owned()),
        }
    }
    Seen::View(view)
}

/// Answers requests on stdin until there are no more.
pub(crate) fn serve(folder: &Path) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let flags: Vec<bool> = line.split(' ').map(|flag| flag == "1").collect();
        let answer = mounted(folder, flags[0], flags[1]);
        fs::write(folder.join(ANSWER), answer).unwrap();
        crate::say("done");
    }
}

fn mounted(folder: &Path, by_loop: bool, with_device: bool) -> String {
    let (image, point) = (folder.join(IMAGE), folder.join(POINT));
    let outcome = if by_loop {
        let mut mount = Command::new("mount");
        mount.args(["-t", "erofs", "-o", "ro,loop"]).arg(&image).arg(&point);
        match mount.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    } else {
        let device = CString::new(format!("device={}", folder.join(DEVICE).display())).unwrap();
        let data = with_device.then_some(device.as_c_str());
        rustix::mount::mount(&image, &point, "erofs", MountFlags::RDONLY, data)
            .map_err(|errno| errno.to_string())
    };
    if let Err(reason) = outcome {
        return format!("x{}", reason.lines().next().unwrap_or_default());
    }
    let mut view = View::default();
    look(&point, "", 0, &mut view);
    if let Err(errno) = rustix::mount::unmount(&point, UnmountFlags::empty()) {
        view.trouble("/", &format!("unmount: {errno}"));
        let _detached = rustix::mount::unmount(&point, UnmountFlags::DETACH);
    }
    let lines = view.lines.iter().map(|line| format!("={line}\n"));
    lines.chain(view.troubles.iter().map(|line| format!("!{line}\n"))).collect()
}

/// Looks at a file, which messages call `shown`, and at everything below it.
fn look(path: &Path, shown: &str, depth: usize, view: &mut View) {
    if view.lines.len() > PATHS || depth > DEPTH {
        return view.trouble(shown, "too much to look at");
    }
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => return view.trouble(shown, &format!("lstat: {error}")),
    };
    let device = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    view.status(
        shown,
        &Status {
            mode: meta.mode(),
            uid: meta.uid(),
            gid: meta.gid(),
            nlink: meta.nlink(),
            size: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            device,
        },
    );
    attributes(path, shown, view);
    if meta.is_symlink() {
        match fs::read_link(path) {
            Ok(target) => view.note(shown, &format!("-> {}", target.as_os_str().as_bytes().escape_ascii())),
            Err(error) => view.trouble(shown, &format!("readlink: {error}")),
        }
    } else if meta.is_file() {
        match File::open(path) {
            Ok(file) => view.content(shown, meta.len(), |at, buffer| {
                file.read_at(buffer, at).map_err(|error| error.to_string())
            }),
            Err(error) => view.trouble(shown, &format!("open: {error}")),
        }
    } else if meta.is_dir() {
        directory(path, shown, depth, view);
    }
}

fn attributes(path: &Path, shown: &str, view: &mut View) {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) => return view.trouble(shown, &format!("listxattr: {error}")),
    };
    for name in names {
        let plain = name.as_bytes().escape_ascii();
        match xattr::get(path, &name) {
            Ok(Some(value)) => view.attribute(shown, name.as_bytes(), &value),
            Ok(None) => view.trouble(shown, &format!("getxattr {plain}: is listed and has no value")),
            Err(error) => view.trouble(shown, &format!("getxattr {plain}: {error}")),
        }
    }
}

/// The entries of a directory, as getdents64(2) gives them.
fn directory(path: &Path, shown: &str, depth: usize, view: &mut View) {
    let open = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    let Ok(directory) = open else { return view.trouble(shown, "cannot be opened") };
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    let (mut names, mut dots) = (Vec::new(), [0, 0]);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) => {
                view.trouble(shown, &format!("readdir: {errno}"));
                break;
            }
        };
        let name = entry.file_name().to_bytes().to_vec();
        if entry.ino() == 0 {
            let name = name.escape_ascii();
            view.trouble(shown, &format!("entry {name} has inode number 0, which readdir(3) leaves out"));
        }
        match name.as_slice() {
            b"." => dots[0] += 1,
            b".." => dots[1] += 1,
            _ if names.len() > PATHS => return view.trouble(shown, "too many entries to look at"),
            _ => names.push((name, entry.file_type())),
        }
    }
    view.note(shown, &format!("{dots:?} of . and .."));
    for (name, file_type) in names {
        let below = path.join(std::ffi::OsString::from_vec(name.clone()));
        let below_shown = format!("{shown}/{}", name.escape_ascii());
        // The type as it is listed, beside that of the file.
        view.note(&below_shown, &format!("{file_type:?}"));
        look(&below, &below_shown, depth + 1, view);
    }
}
