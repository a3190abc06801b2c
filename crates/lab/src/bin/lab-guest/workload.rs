//! A program that runs in a mount as in a container.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use erofs_lab::protocol::{BUSYBOX_PATH, Program, ProgramReport};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::WaitOptions;

use crate::sys;
use crate::world::unmount;

/// Where the layer above the mount is, and where both together are shown.
const LAYER: &str = "/layer";
const ROOT: &str = "/root";
/// What a program says is written here.
const LOG: &str = "/program.log";
/// What programs expect to be mounted, in this order.
const BELOW: [(&str, &str); 5] =
    [("proc", "proc"), ("devtmpfs", "dev"), ("tmpfs", "dev/shm"), ("tmpfs", "tmp"), ("tmpfs", "run")];
/// Where programs are looked for.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often it is looked whether a program still runs.
const PAUSE: Duration = Duration::from_millis(20);
/// How much of what a program says is kept, in characters.
const OUTPUT_MAX: usize = 4000;

/// Runs a program in the mount at `lower` until it ends, and ends whatever it leaves behind.
pub(crate) fn run(lower: &Path, program: &Program) -> io::Result<ProgramReport> {
    status(Command::new(BUSYBOX_PATH).args(["ip", "link", "set", "lo", "up"]), Duration::from_secs(20))?;
    let mut mounted = Vec::new();
    let outcome = enter(lower, &mut mounted).and_then(|()| start(program));
    sys::kill_all()?;
    // Whoever has lost its parent is a child of this program.
    while !matches!(rustix::process::wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    while let Some(point) = mounted.pop() {
        // What the kernel itself still holds for a moment goes by itself.
        unmount(&point).or_else(|_| rustix::mount::unmount(&point, UnmountFlags::DETACH))?;
    }
    let text = fs::read(LOG)?;
    let text = String::from_utf8_lossy(&text);
    let behind = text.char_indices().rev().nth(OUTPUT_MAX).map_or(0, |(at, _)| at);
    Ok(ProgramReport {
        mount: program.mount.clone(),
        status: outcome?.code(),
        output: text.get(behind..).unwrap_or_default().to_owned(),
    })
}

/// Mounts what a program sees, and adds each mount point to `mounted`.
fn enter(lower: &Path, mounted: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut mount = |kind: &str, point: PathBuf, options: &str| -> io::Result<()> {
        fs::create_dir_all(&point)?;
        let options = CString::new(options)?;
        rustix::mount::mount("none", &point, kind, MountFlags::empty(), options.as_c_str())?;
        mounted.push(point);
        Ok(())
    };
    let (layer, root) = (Path::new(LAYER), Path::new(ROOT));
    mount("tmpfs", layer.into(), "mode=755")?;
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    mount("overlay", root.into(), &options)?;
    BELOW.into_iter().try_for_each(|(kind, point)| mount(kind, root.join(point), ""))
}

/// Runs the script to its end.
fn start(program: &Program) -> io::Result<ExitStatus> {
    let run = Path::new(ROOT).join("run");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    fs::copy(BUSYBOX_PATH, run.join("busybox"))?;
    fs::write(run.join("script"), &program.script)?;
    let log = File::create(LOG)?;
    let mut command = Command::new(BUSYBOX_PATH);
    command.args(["chroot", ROOT, "/bin/sh", "/run/script"]).env_clear();
    command.envs([("PATH", SEARCH), ("HOME", "/root"), ("LANG", "C.UTF-8")]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    status(&mut command, Duration::from_secs(program.seconds))
}

/// Waits for the end of a command, or ends it when its time is over.
fn status(command: &mut Command, time: Duration) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() > time {
            child.kill()?;
            return child.wait();
        }
        std::thread::sleep(PAUSE);
    }
}
