//! The running kernel's view of an image: mounted read-only, by loop device or straight from the file. And
//! loop devices for tests that write to a block device.
//!
//! No loop device outlives its test, even if that is killed: the kernel frees it once its mount is gone and
//! its last file is closed. Mounts go when their value is dropped; those of a killed test stay, unless it
//! runs in a mount namespace of its own, as `tools/test.sh` has it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::error::{At as _, Error, Result};
use crate::peers::run;
use crate::place;
use crate::require::{self, Absent};

/// How the kernel reaches the bytes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Through a loop device, on every kernel with EROFS.
    Loop,
    /// Straight from the regular file, on Linux 6.12 and newer with `CONFIG_EROFS_FS_BACKED_BY_FILE`.
    File,
}

/// An image that is mounted read-only until this value is dropped.
#[derive(Debug)]
pub struct Mount {
    point: TempDir,
}

/// Every way in which the running kernel can mount an image.
///
/// # Errors
/// When one of the two ways is absent.
pub fn both() -> std::result::Result<[Backing; 2], Absent> {
    supported(Backing::Loop)?;
    supported(Backing::File)?;
    Ok([Backing::Loop, Backing::File])
}

/// Whether the tests may mount images in this way here.
///
/// # Errors
/// When they do not run as root, or the kernel lacks EROFS, loop devices or mounts straight from a file.
pub fn supported(backing: Backing) -> std::result::Result<(), Absent> {
    static KERNEL: OnceLock<std::result::Result<(), Absent>> = OnceLock::new();
    static FILE: OnceLock<std::result::Result<(), Absent>> = OnceLock::new();
    require::root()?;
    KERNEL.get_or_init(kernel_has_erofs).clone()?;
    match backing {
        Backing::Loop if Path::new("/dev/loop-control").exists() => Ok(()),
        Backing::Loop => Err(Absent::because("there are no loop devices: /dev/loop-control is missing")),
        Backing::File => FILE.get_or_init(kernel_mounts_files).clone(),
    }
}

fn kernel_has_erofs() -> std::result::Result<(), Absent> {
    let listed = || {
        std::fs::read_to_string("/proc/filesystems")
            .is_ok_and(|text| text.lines().any(|line| line.split_whitespace().last() == Some("erofs")))
    };
    if !listed() {
        // Where EROFS is a module, the list names it only once the module is loaded.
        drop(Command::new("modprobe").arg("erofs").output());
    }
    if listed() { Ok(()) } else { Err(Absent::because("the running kernel has no EROFS")) }
}

/// A kernel that mounts files looks into this one and finds no superblock (`EINVAL`); one that does not, or
/// that cannot do it on the file system of the target directory, says that it is no block device (`ENOTBLK`).
fn kernel_mounts_files() -> std::result::Result<(), Absent> {
    let probe = || -> Result<std::result::Result<(), Errno>> {
        let dir = place::disk_scratch()?;
        let file = dir.path().join("zeros");
        std::fs::write(&file, vec![0; 8192]).at("write", &file)?;
        Ok(mount_file(&file, dir.path()))
    };
    match probe() {
        Ok(Err(Errno::INVAL)) => Ok(()),
        Ok(Err(errno)) => Err(Absent::because(format!("the kernel does not mount files directly: {errno}"))),
        Ok(Ok(())) => Err(Absent::because("the kernel mounted a file of zeros")),
        Err(error) => Err(Absent::because(error.to_string())),
    }
}

fn mount_file(image: &Path, point: &Path) -> std::result::Result<(), Errno> {
    rustix::mount::mount(image, point, "erofs", MountFlags::RDONLY, None)
}

impl Mount {
    /// Mounts `image` read-only on a directory of its own.
    ///
    /// # Errors
    /// When the kernel refuses the image. For [`Backing::File`] the image must not lie on tmpfs.
    pub fn new(image: &Path, backing: Backing) -> Result<Self> {
        let point = place::disk_scratch()?;
        match backing {
            Backing::Loop => mount_command("erofs", image, "ro,loop", point.path())?,
            Backing::File => mount_file(image, point.path()).map_err(io::Error::from).at("mount", image)?,
        }
        Ok(Self { point })
    }

    /// Mounts a companion of `image` read-only, with `image` as its device.
    ///
    /// # Errors
    /// When the kernel refuses it. For [`Backing::File`] no file may lie on tmpfs.
    pub fn companion(companion: &Path, image: &Path, backing: Backing) -> Result<Self> {
        match backing {
            Backing::Loop => {
                // The mount keeps the device.
                let device = LoopDevice::new(image)?;
                Self::with_options("erofs", companion, &format!("ro,loop,device={}", device.path().display()))
            }
            Backing::File => {
                // mount(8) would make a loop device of it.
                let point = place::disk_scratch()?;
                let options = CString::new(format!("device={}", image.display()));
                let options = options.map_err(io::Error::from).at("mount", companion)?;
                rustix::mount::mount(
                    companion,
                    point.path(),
                    "erofs",
                    MountFlags::RDONLY,
                    Some(options.as_c_str()),
                )
                .map_err(io::Error::from)
                .at("mount", companion)?;
                Ok(Self { point })
            }
        }
    }

    /// Mounts `what` with `mount -t kind -o options` on a directory of its own, until this value is dropped.
    ///
    /// # Errors
    /// When mount(8) fails.
    pub fn with_options(kind: &str, what: &Path, options: &str) -> Result<Self> {
        let point = place::disk_scratch()?;
        mount_command(kind, what, options, point.path())?;
        Ok(Self { point })
    }

    /// Mounts a directory of a mount once more, on a directory of its own, until this value is dropped.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn bind(dir: &Path) -> Result<Self> {
        let point = place::disk_scratch()?;
        rustix::mount::mount_bind(dir, point.path()).map_err(io::Error::from).at("mount", dir)?;
        Ok(Self { point })
    }

    /// The directory where the image's root is.
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

fn mount_command(kind: &str, what: &Path, options: &str, point: &Path) -> Result<()> {
    let attempt =
        || run(Command::new("mount").args(["-t", kind, "-o", options]).arg(what).arg(point)).map(drop);
    // Two programs that look for a free loop device at the same time may find the same one.
    match attempt() {
        Err(Error::Command { output, .. }) if output.contains("loop device") => attempt(),
        other => other,
    }
}

/// A loop device over a file. The kernel frees it when this value is dropped and nothing else uses the
/// device.
#[derive(Debug)]
pub struct LoopDevice {
    device: PathBuf,
    /// Keeps the device, which is detached already: the kernel then frees it at the last close
    /// (`LO_FLAGS_AUTOCLEAR`), also when the test is killed.
    _open: File,
}

impl LoopDevice {
    /// A device over `file` that can be written to.
    ///
    /// # Errors
    /// When there is none, or the user may not have one.
    pub fn new(file: &Path) -> Result<Self> {
        let attempt = || run(Command::new("losetup").args(["--find", "--show"]).arg(file));
        // Two programs that look for a free device at the same time may find the same one.
        let output = attempt().or_else(|_| attempt())?;
        let device = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let open = File::open(&device).at("open", &device);
        let detached = run(Command::new("losetup").arg("--detach").arg(&device));
        let open = open?;
        detached?;
        Ok(Self { device, _open: open })
    }

    /// The name of the device.
    pub fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let point: PathBuf = self.point.path().to_path_buf();
        if rustix::mount::unmount(&point, UnmountFlags::empty()).is_err()
            && let Err(errno) = rustix::mount::unmount(&point, UnmountFlags::DETACH)
        {
            // A destructor can only say so; the next test would not be disturbed by a mount that stays.
            drop(writeln!(io::stderr(), "cannot unmount {}: {errno}", point.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require::need;

    /// The file behind a loop device, as long as there is one.
    fn backing(device: &Path) -> Option<String> {
        let name = device.file_name()?.to_str()?;
        std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()
    }

    #[test]
    fn loop_devices_go_with_their_last_use() {
        let Some(()) = need("a loop device that frees itself", supported(Backing::Loop)) else { return };
        let dir = place::disk_scratch().unwrap();
        let file = dir.path().join("disk");
        std::fs::write(&file, vec![7; 1 << 20]).unwrap();
        let device = LoopDevice::new(&file).unwrap();
        let path = device.path().to_path_buf();
        let is_ours = || backing(&path).is_some_and(|name| name.trim_end() == file.to_str().unwrap());
        assert!(is_ours());
        assert!(std::fs::read(&path).unwrap() == vec![7; 1 << 20]);
        assert!(is_ours(), "another use ends and the device is gone");
        drop(device);
        let gone = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            !is_ours()
        });
        assert!(gone, "{} is still there", path.display());
    }
}
