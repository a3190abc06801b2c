//! Runs a scenario in the model: each event becomes calls of the world.

use std::collections::BTreeMap;

use crate::facts::ImageFacts;
use crate::kernel::KernelModel;
use crate::pages::pages_of;
use crate::readahead::{FileAccess, Mapped};
use crate::scenario::{Event, Method, Syscall};
use crate::world::{Effect, MountOptions, Stream, World, WorldError};

/// A scenario that is being run.
#[derive(Debug)]
pub struct Runner<'f> {
    world: World<'f>,
    images: &'f BTreeMap<String, ImageFacts>,
    /// The image of each mount, and of each overlay that of its lower mount.
    mounted: BTreeMap<String, &'f ImageFacts>,
    /// The mount that each overlay shows.
    overlays: BTreeMap<String, String>,
    /// Files that are open, by mount, path and name.
    streams: BTreeMap<StreamName, Stream>,
}

/// Mount, path, and the name of an open file where it has one.
type StreamName = (String, String, Option<String>);

impl<'f> Runner<'f> {
    /// A machine that has just started, and the images that events can name.
    pub fn new(kernel: KernelModel, images: &'f BTreeMap<String, ImageFacts>) -> Self {
        let world = World::new(kernel);
        let (mounted, overlays, streams) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { world, images, mounted, overlays, streams }
    }

    /// Sets how many more steps of readahead the accesses may take.
    pub fn set_steps(&mut self, steps: u64) {
        self.world.set_steps(steps);
    }

    /// The machine as it is now.
    pub fn world(&self) -> &World<'f> {
        &self.world
    }

    /// The mount whose files a name stands for, which may have ended: an overlay shows those of another one.
    pub fn resolve<'a>(&'a self, mount: &'a str) -> &'a str {
        self.overlays.get(mount).map_or(mount, String::as_str)
    }

    /// Looks every file with content of a mount up, as a listing of it would.
    ///
    /// # Errors
    /// As for [`World::lookup`].
    pub fn look_at_all(&mut self, mount: &str) -> Result<(), WorldError> {
        self.world.list(mount)?;
        for file in 0..self.facts(mount)?.files.len() {
            self.world.lookup(mount, file)?;
        }
        Ok(())
    }

    /// The number of the file at `path` of a mount.
    ///
    /// # Errors
    /// A mount or file that is not there.
    pub fn file(&self, mount: &str, path: &str) -> Result<usize, WorldError> {
        let found = self.facts(mount)?.file_at(path.as_bytes());
        found.ok_or_else(|| WorldError::Name { what: "file", name: path.into(), problem: "is not there" })
    }

    fn facts(&self, mount: &str) -> Result<&'f ImageFacts, WorldError> {
        let unknown = || WorldError::Name { what: "mount", name: mount.into(), problem: "is not there" };
        self.mounted.get(mount).copied().ok_or_else(unknown)
    }

    fn mount(&mut self, event: &Event) -> Result<(), WorldError> {
        let Event::Mount { mount, image, backend, device, inode_share, domain, options, window_kib, .. } =
            event
        else {
            return Ok(());
        };
        let unknown = || WorldError::Name { what: "image", name: image.clone(), problem: "is not there" };
        let facts = self.images.get(image).ok_or_else(unknown)?;
        let options = MountOptions {
            backend: *backend,
            device: device.clone(),
            inode_share: inode_share.unwrap_or(domain.is_some()),
            domain: domain.clone(),
            dax: options.iter().any(|option| option == "dax" || option == "dax=always"),
            window_pages: window_kib.map(|kib| pages_of(kib.saturating_mul(1024))),
        };
        self.world.mount(mount, facts, &options)?;
        self.mounted.insert(mount.clone(), facts);
        Ok(())
    }

    fn overlay(&mut self, mount: &str, lower: &str, over: Option<&str>) -> Result<(), WorldError> {
        let facts = self.facts(lower)?;
        self.world.overlay(mount, lower, over)?;
        self.overlays.insert(mount.into(), self.resolve(lower).to_owned());
        self.mounted.insert(mount.into(), facts);
        Ok(())
    }

    fn umount(&mut self, mount: &str, lazy: bool) -> Result<Effect, WorldError> {
        let effect = if lazy { self.world.umount_lazily(mount)? } else { self.world.umount(mount)? };
        self.mounted.remove(mount);
        self.overlays.remove(mount);
        self.streams.retain(|(of, ..), _| of != mount);
        Ok(effect)
    }

    fn open(&mut self, mount: &str, path: &str, name: Option<&String>) -> Result<(), WorldError> {
        let stream = self.world.open(mount, self.file(mount, path)?)?;
        self.streams.insert((mount.into(), path.into(), name.cloned()), stream);
        Ok(())
    }

    fn read(&mut self, event: &Event) -> Result<Effect, WorldError> {
        let Event::Read { mount, path, offset, length, method, call, syscall, stream } = event else {
            return Ok(Effect::default());
        };
        let executable = *syscall == Some(Syscall::MapExec);
        let mapped = if executable { Mapped::Executable } else { Mapped::Data };
        let access = FileAccess { method: *method, offset: *offset, length: *length, call: *call, mapped };
        let file = self.file(mount, path)?;
        let unknown =
            |name: &str| WorldError::Name { what: "open file", name: name.into(), problem: "is not there" };
        let name = stream.as_ref().map(|name| (mount.clone(), path.clone(), Some(name.clone())));
        let state = match (&name, stream) {
            (Some(key), Some(name)) => Some(self.streams.get_mut(key).ok_or_else(|| unknown(name))?),
            _ => None,
        };
        self.world.access(mount, file, &access, state)
    }

    fn read_all(&mut self, mount: &str, method: Method) -> Result<Effect, WorldError> {
        self.world.list(mount)?;
        let mut sum = Effect::default();
        for file in 0..self.facts(mount)?.files.len() {
            let effect = self.world.access(mount, file, &FileAccess::whole(method), None)?;
            sum.added = sum.added.saturating_add(effect.added);
        }
        Ok(sum)
    }

    /// Lets an event happen.
    ///
    /// # Errors
    /// What the kernel refuses, and names of nothing.
    pub fn event(&mut self, event: &Event) -> Result<Effect, WorldError> {
        match event {
            Event::Mount { .. } => self.mount(event)?,
            Event::Overlay { mount, lower, over } => self.overlay(mount, lower, over.as_deref())?,
            Event::Remount { mount, inode_share, domain: _ } => self.world.remount(mount, *inode_share)?,
            Event::Umount { mount, lazy } => return self.umount(mount, *lazy),
            Event::List { mount } => self.world.list(mount)?,
            Event::Stat { mount, path } => {
                self.world.lookup(mount, self.file(mount, path)?)?;
            }
            Event::StatAll { mount } => self.look_at_all(mount)?,
            Event::Open { mount, path, stream } => self.open(mount, path, stream.as_ref())?,
            Event::Close { mount, path, stream } => {
                self.world.close(mount, self.file(mount, path)?)?;
                self.streams.remove(&(mount.clone(), path.clone(), stream.clone()));
            }
            Event::Map { mount, path } => return self.world.map(mount, self.file(mount, path)?),
            Event::Unmap { mount, path } => self.world.unmap(mount, self.file(mount, path)?)?,
            Event::Read { .. } => return self.read(event),
            Event::ReadAll { mount, method } => return self.read_all(mount, *method),
            Event::Dontneed { mount, path, offset, length } => {
                return self.world.dontneed(mount, self.file(mount, path)?, *offset, *length);
            }
            Event::Window { kib } => self.world.set_window(pages_of(kib.saturating_mul(1024))),
            Event::DropCaches { value } => return Ok(self.world.drop_caches(*value)),
        }
        Ok(Effect::default())
    }
}
