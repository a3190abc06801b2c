//! What exists while a scenario runs: mounts, loop devices, open files. Events are carried out here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use erofs_lab::protocol::{Place, SHELF_SERIAL, Step};
use erofs_sim::scenario::{Backend, Event};
use rustix::fs::Advice;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::access::{self, Range};
use crate::mapper::{self, Verity};
use crate::sys::{self, Mapping};
use crate::walk;

/// Where images lie as files.
pub(crate) const SHELF: &str = "/shelf";
/// How often caches are dropped for one event: names and inodes that were used recently survive a sweep, and
/// the kernel sweeps again by itself only if the sweep freed several others (`drop_slab`), as it does on a
/// machine in use.
const DROPS: usize = 4;
/// The readahead window of devices of which a scenario says nothing, and of shared pages, in KiB.
const WINDOW_KIB: u64 = 128;
/// Where that of shared pages is set.
const SHARED_WINDOW: &str = "/sys/class/bdi/pseudo_erofs-1/read_ahead_kb";
/// How long requests may take, and how often it is looked whether they have ended.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);
const ARRIVAL_PAUSE: Duration = Duration::from_millis(5);
/// How often an unmount is tried, and how long it waits in between.
const UNMOUNT_TRIES: usize = 25;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// A mount.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) name: String,
    pub(crate) point: PathBuf,
    /// Of an overlay: the mount point whose files it shows.
    pub(crate) lower: Option<PathBuf>,
    /// Of an overlay: the file system in memory with its upper directory.
    upper: Option<PathBuf>,
}

/// Mount, path, and the name of an open file where it has one.
type OpenName = (String, String, Option<String>);

/// What exists.
#[derive(Debug, Default)]
pub(crate) struct World {
    mounts: Vec<Mounted>,
    /// Loop devices, by the name that the scenario gives them.
    loops: BTreeMap<String, PathBuf>,
    /// Devices of the device mapper, likewise; the names that it knows them by.
    mapped: BTreeMap<String, (String, PathBuf)>,
    /// Mappings that are kept, by mount and path.
    maps: Vec<((String, String), Mapping)>,
    /// Files that are held open, by mount, path and name.
    open: Vec<(OpenName, File)>,
    /// Where the kernel says how many requests each device in use is working on.
    in_flight: BTreeSet<PathBuf>,
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
            Event::Mount { .. } => self.mount(step),
            Event::Overlay { mount, lower, over } => self.overlay(mount, lower, over.as_deref()),
            Event::Remount { mount, inode_share, domain } => {
                let options = options(*inode_share, domain.as_deref(), Backend::Block).join(",");
                let options = CString::new(options)?;
                Ok(rustix::mount::mount_remount(self.point(mount)?, MountFlags::RDONLY, options)?)
            }
            Event::Umount { mount, lazy } => self.umount(mount, *lazy),
            Event::List { mount } => walk::walk(self.point(mount)?, &mut |_, _| Ok(())),
            Event::Map { mount, path } => {
                let mapping = access::map(&self.path(mount, path)?)?;
                self.maps.push(((mount.clone(), path.clone()), mapping));
                Ok(())
            }
            Event::Unmap { mount, path } => {
                let at = self.maps.iter().position(|((of, at), _)| of == mount && at == path);
                at.map(|at| drop(self.maps.remove(at))).ok_or_else(|| Errno::INVAL.into())
            }
            Event::Window { kib } => fs::write(SHARED_WINDOW, kib.to_string()),
            Event::Stat { mount, path } => fs::symlink_metadata(self.path(mount, path)?).map(drop),
            Event::StatAll { mount } => {
                walk::walk(self.point(mount)?, &mut |path, _| fs::symlink_metadata(path).map(drop))
            }
            Event::Open { mount, path, stream } => {
                let file = File::open(self.path(mount, path)?)?;
                self.open.push(((mount.clone(), path.clone(), stream.clone()), file));
                Ok(())
            }
            Event::Close { mount, path, stream } => {
                let at = self.opened(mount, path, stream.as_ref());
                at.map(|at| drop(self.open.remove(at))).ok_or_else(|| Errno::BADF.into())
            }
            Event::Read { mount, path, offset, length, method, call, syscall, stream } => {
                let range = Range { offset: *offset, length: *length, call: *call, syscall: *syscall };
                if stream.is_none() {
                    return access::access(self.point(mount)?, &self.path(mount, path)?, *method, range);
                }
                let at = self.opened(mount, path, stream.as_ref());
                let (_, file) = at.and_then(|at| self.open.get(at)).ok_or(Errno::BADF)?;
                access::through(file, *method, range)
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
            Event::DropCaches { value } => drop_until_idle(*value),
        }
    }

    /// Where the list has a file that is held open.
    fn opened(&self, mount: &str, path: &str, stream: Option<&String>) -> Option<usize> {
        self.open.iter().position(|((of, at, name), _)| of == mount && at == path && name.as_ref() == stream)
    }

    fn mount(&mut self, step: &Step) -> io::Result<()> {
        let Event::Mount { mount, backend, inode_share, domain, options: further, window_kib, .. } =
            &step.event
        else {
            return Ok(());
        };
        let nowhere = || io::Error::other("the plan says nowhere where the image is");
        let source = self.source(step.place.as_ref().ok_or_else(nowhere)?, *backend)?;
        let mut words = options(inode_share.unwrap_or(domain.is_some()), domain.as_deref(), *backend);
        for place in &step.devices {
            words.push(format!("device={}", self.source(place, *backend)?.display()));
        }
        words.extend(further.iter().cloned());
        if let Some(device) = source.file_name().filter(|_| source.starts_with("/dev")) {
            let device = Path::new("/sys/block").join(device);
            fs::write(device.join("queue/read_ahead_kb"), window_kib.unwrap_or(WINDOW_KIB).to_string())?;
            self.in_flight.insert(device.join("inflight"));
        } else if let Some(device) = disk(SHELF_SERIAL)?.file_name() {
            self.in_flight.insert(Path::new("/sys/block").join(device).join("inflight"));
        }
        let point = self.new_point()?;
        let options = CString::new(words.join(","))?;
        rustix::mount::mount(&source, &point, "erofs", MountFlags::RDONLY, options.as_c_str())?;
        self.mounts.push(Mounted { name: mount.clone(), point, lower: None, upper: None });
        Ok(())
    }

    /// Waits until what was asked for ahead has arrived: a page on its way can be neither seen nor dropped.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let begin = Instant::now();
        let busy = |path: &PathBuf| -> io::Result<bool> {
            Ok(fs::read_to_string(path)?.split_whitespace().any(|count| count != "0"))
        };
        while self.in_flight.iter().map(busy).collect::<io::Result<Vec<_>>>()?.contains(&true) {
            if begin.elapsed() > ARRIVAL_MAX {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(ARRIVAL_PAUSE);
        }
        // Between the end of a request and that of its pages stands a short piece of work of the kernel.
        std::thread::sleep(ARRIVAL_PAUSE);
        Ok(())
    }

    /// A new directory to mount something on.
    fn new_point(&mut self) -> io::Result<PathBuf> {
        self.count += 1;
        let point = PathBuf::from(format!("/mnt/{}", self.count));
        fs::create_dir_all(&point)?;
        Ok(point)
    }

    /// What is mounted for an image that is there.
    fn source(&mut self, place: &Place, backend: Backend) -> io::Result<PathBuf> {
        match place {
            Place::Disk(serial) => disk(serial),
            Place::File(file) => Ok(Path::new(SHELF).join(file)),
            Place::Loop { file, device } => {
                self.loop_device(device, &Path::new(SHELF).join(file), backend == Backend::Loop)
            }
            Place::Verity { data, hashes, blocks, root, device } => {
                if let Some((_, path)) = self.mapped.get(device) {
                    return Ok(path.clone());
                }
                let name = format!("lab{}", self.mapped.len());
                let (data, hashes) = (disk(data)?, disk(hashes)?);
                let verity = Verity { data: &data, hashes: &hashes, blocks: *blocks, root };
                let path = mapper::create(&name, &verity)?;
                self.mapped.insert(device.clone(), (name, path.clone()));
                Ok(path)
            }
        }
    }

    fn overlay(&mut self, name: &str, lower: &str, over: Option<&str>) -> io::Result<()> {
        let lower = self.point(lower)?.to_path_buf();
        let lowers = match over {
            Some(over) => format!("metacopy=on,redirect_dir=on,lowerdir={}::", self.point(over)?.display()),
            None => "lowerdir=".to_owned(),
        };
        let (memory, point) = (self.new_point()?, self.new_point()?);
        rustix::mount::mount("none", &memory, "tmpfs", MountFlags::empty(), None)?;
        let (upper, work) = (memory.join("upper"), memory.join("work"));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let options =
            format!("{lowers}{},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let options = CString::new(options)?;
        let mounted =
            rustix::mount::mount("none", &point, "overlay", MountFlags::empty(), options.as_c_str());
        if let Err(errno) = mounted {
            unmount(&memory)?;
            return Err(errno.into());
        }
        self.mounts.push(Mounted { name: name.to_owned(), point, lower: Some(lower), upper: Some(memory) });
        Ok(())
    }

    fn umount(&mut self, mount: &str, lazy: bool) -> io::Result<()> {
        let point = self.point(mount)?;
        if lazy {
            rustix::mount::unmount(point, UnmountFlags::DETACH)?;
        } else {
            unmount(point)?;
        }
        if let Some(at) = self.mounts.iter().position(|mounted| mounted.name == mount)
            && let Some(upper) = self.mounts.remove(at).upper
        {
            unmount(&upper)?;
        }
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

    /// Where something is mounted.
    pub(crate) fn point(&self, mount: &str) -> io::Result<&Path> {
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
        self.maps.clear();
        self.in_flight.clear();
        while let Some(mounted) = self.mounts.pop() {
            unmount(&mounted.point)?;
            if let Some(upper) = mounted.upper {
                unmount(&upper)?;
            }
        }
        for device in std::mem::take(&mut self.loops).into_values() {
            sys::loop_clear(&File::open(device)?)?;
        }
        for (name, _) in std::mem::take(&mut self.mapped).into_values() {
            mapper::remove(&name)?;
        }
        // The hidden device appears with the first mount that shares.
        if Path::new(SHARED_WINDOW).exists() {
            fs::write(SHARED_WINDOW, WINDOW_KIB.to_string())?;
        }
        drop_until_idle(3)
    }
}

/// Unmounts. A mount that does not share is busy for a moment after its files were mapped, for an unknown
/// reason; one that is really in use stays so.
pub(crate) fn unmount(point: &Path) -> io::Result<()> {
    for _ in 0..UNMOUNT_TRIES {
        match rustix::mount::unmount(point, UnmountFlags::empty()) {
            Err(Errno::BUSY) => std::thread::sleep(UNMOUNT_PAUSE),
            other => return Ok(other?),
        }
    }
    Err(Errno::BUSY.into())
}

fn drop_until_idle(value: u8) -> io::Result<()> {
    (0..DROPS).try_for_each(|_| fs::write("/proc/sys/vm/drop_caches", value.to_string()))
}

/// The mount options that an event stands for.
fn options(inode_share: bool, domain: Option<&str>, backend: Backend) -> Vec<String> {
    let directio = (backend == Backend::FileDirectio).then(|| "directio".to_owned());
    let share = inode_share.then(|| "inode_share".to_owned());
    let domain = domain.map(|domain| format!("domain_id={domain}"));
    [directio, share, domain].into_iter().flatten().collect()
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
