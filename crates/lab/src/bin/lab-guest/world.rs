//! What exists while a scenario runs: mounts, loop devices, open files. Events are carried out here.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use erofs_lab::protocol::{Place, Step};
use erofs_sim::scenario::{Backend, Event};
use rustix::fs::Advice;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::access::{self, Range};
use crate::sys;
use crate::walk;

/// Where images lie as files.
pub(crate) const SHELF: &str = "/shelf";
/// How often the caches are dropped behind a scenario: inodes that were just used survive the first time.
const DROPS: usize = 4;
/// How often an unmount is tried, and how long it waits in between.
const UNMOUNT_TRIES: usize = 25;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// A mount.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) name: String,
    pub(crate) point: PathBuf,
}

/// What exists.
#[derive(Debug, Default)]
pub(crate) struct World {
    mounts: Vec<Mounted>,
    /// Loop devices, by the name that the scenario gives them.
    loops: BTreeMap<String, PathBuf>,
    /// Files that are held open, by mount and path.
    open: Vec<((String, String), File)>,
    /// How many mounts there have been, for the names of mount points.
    count: usize,
}

impl World {
    /// The mounts, in the order in which they were made.
    pub(crate) fn mounts(&self) -> &[Mounted] {
        &self.mounts
    }

    /// Carries out an event.
    pub(crate) fn carry_out(&mut self, step: &Step) -> io::Result<()> {
        match &step.event {
            Event::Mount { mount, backend, inode_share, domain, .. } => {
                let options = options(inode_share.unwrap_or(domain.is_some()), domain.as_deref(), *backend);
                self.mount(mount, step.place.as_ref(), *backend, &options)
            }
            Event::Remount { mount, inode_share, domain } => {
                let options = options(*inode_share, domain.as_deref(), Backend::Block);
                let options = CString::new(options)?;
                Ok(rustix::mount::mount_remount(self.point(mount)?, MountFlags::RDONLY, options)?)
            }
            Event::Umount { mount } => {
                unmount(self.point(mount)?)?;
                self.mounts.retain(|mounted| mounted.name != *mount);
                Ok(())
            }
            Event::Stat { mount, path } => fs::symlink_metadata(self.path(mount, path)?).map(drop),
            Event::StatAll { mount } => {
                walk::walk(self.point(mount)?, &mut |path, _| fs::symlink_metadata(path).map(drop))
            }
            Event::Open { mount, path } => {
                let file = File::open(self.path(mount, path)?)?;
                self.open.push(((mount.clone(), path.clone()), file));
                Ok(())
            }
            Event::Close { mount, path } => {
                let at = self.open.iter().position(|((of, at), _)| of == mount && at == path);
                at.map(|at| drop(self.open.remove(at))).ok_or_else(|| Errno::BADF.into())
            }
            Event::Read { mount, path, offset, length, method, call } => {
                let range = Range { offset: *offset, length: *length, call: *call };
                access::access(self.point(mount)?, &self.path(mount, path)?, *method, range)
            }
            Event::ReadAll { mount, method } => {
                let point = self.point(mount)?;
                walk::walk(point, &mut |path, kind| {
                    if kind.is_file() { access::access(point, path, *method, Range::WHOLE) } else { Ok(()) }
                })
            }
            Event::Dontneed { mount, path, offset, length } => {
                let file = File::open(self.path(mount, path)?)?;
                let length = length.and_then(std::num::NonZero::new);
                Ok(rustix::fs::fadvise(&file, *offset, length, Advice::DontNeed)?)
            }
            Event::DropCaches { value } => drop_caches(*value),
        }
    }

    fn mount(
        &mut self,
        name: &str,
        place: Option<&Place>,
        backend: Backend,
        options: &str,
    ) -> io::Result<()> {
        let source = match place {
            Some(Place::Disk(serial)) => disk(serial)?,
            Some(Place::File(file)) => Path::new(SHELF).join(file),
            Some(Place::Loop { file, device }) => {
                self.loop_device(device, &Path::new(SHELF).join(file), backend == Backend::Loop)?
            }
            None => return Err(io::Error::other("the plan says nowhere where the image is")),
        };
        self.count += 1;
        let point = PathBuf::from(format!("/mnt/{}", self.count));
        fs::create_dir_all(&point)?;
        let options = CString::new(options)?;
        rustix::mount::mount(&source, &point, "erofs", MountFlags::RDONLY, options.as_c_str())?;
        self.mounts.push(Mounted { name: name.to_owned(), point });
        Ok(())
    }

    /// The loop device of this name, which shows `file`.
    fn loop_device(&mut self, name: &str, file: &Path, direct: bool) -> io::Result<PathBuf> {
        if let Some(device) = self.loops.get(name) {
            return Ok(device.clone());
        }
        let number = sys::loop_free(&File::open("/dev/loop-control")?)?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        sys::loop_configure(&File::open(&path)?, &File::open(file)?, direct)?;
        self.loops.insert(name.to_owned(), path.clone());
        Ok(path)
    }

    fn point(&self, mount: &str) -> io::Result<&Path> {
        let found = self.mounts.iter().find(|mounted| mounted.name == mount);
        let absent = || io::Error::other(format!("nothing is mounted as {mount}"));
        found.map(|mounted| mounted.point.as_path()).ok_or_else(absent)
    }

    fn path(&self, mount: &str, path: &str) -> io::Result<PathBuf> {
        Ok(self.point(mount)?.join(path.trim_start_matches('/')))
    }

    /// Takes everything away, for the next scenario.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.open.clear();
        while let Some(mounted) = self.mounts.pop() {
            unmount(&mounted.point)?;
        }
        for device in std::mem::take(&mut self.loops).into_values() {
            sys::loop_clear(&File::open(device)?)?;
        }
        (0..DROPS).try_for_each(|_| drop_caches(3))
    }
}

/// Unmounts. A mount that does not share is busy for a moment after its files were mapped, for an unknown reason; one that is
/// really in use stays so.
fn unmount(point: &Path) -> io::Result<()> {
    for _ in 0..UNMOUNT_TRIES {
        match rustix::mount::unmount(point, UnmountFlags::empty()) {
            Err(Errno::BUSY) => std::thread::sleep(UNMOUNT_PAUSE),
            other => return Ok(other?),
        }
    }
    Err(Errno::BUSY.into())
}

fn drop_caches(value: u8) -> io::Result<()> {
    fs::write("/proc/sys/vm/drop_caches", value.to_string())
}

/// The mount options that an event stands for.
fn options(inode_share: bool, domain: Option<&str>, backend: Backend) -> String {
    let directio = (backend == Backend::FileDirectio).then(|| "directio".to_owned());
    let share = inode_share.then(|| "inode_share".to_owned());
    let domain = domain.map(|domain| format!("domain_id={domain}"));
    [directio, share, domain].into_iter().flatten().collect::<Vec<_>>().join(",")
}

/// The device of the disk with this serial number.
pub(crate) fn disk(serial: &str) -> io::Result<PathBuf> {
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        // Devices of other drivers have no such file.
        if fs::read_to_string(entry.path().join("serial")).is_ok_and(|found| found.trim() == serial) {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::other(format!("there is no disk {serial}")))
}
