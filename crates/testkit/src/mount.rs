//! The running kernel's view of an image: mounted read-only, by loop device or straight from the file.

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

/// A kernel that mounts files looks into this one and finds no superblock (`EINVAL`); one that does not, or that
/// cannot do it on the file system of the target directory, says that it is no block device (`ENOTBLK`).
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
            Backing::Loop => mount_loop(image, point.path())?,
            Backing::File => mount_file(image, point.path()).map_err(io::Error::from).at("mount", image)?,
        }
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

fn mount_loop(image: &Path, point: &Path) -> Result<()> {
    let attempt = || {
        run(Command::new("mount").args(["-t", "erofs", "-o", "ro,loop"]).arg(image).arg(point)).map(|_| ())
    };
    // Two programs that look for a free loop device at the same time may find the same one.
    match attempt() {
        Err(Error::Command { output, .. }) if output.contains("loop device") => attempt(),
        other => other,
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
