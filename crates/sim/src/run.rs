//! Runs a scenario in the model: each event becomes calls of the world.

use std::collections::BTreeMap;

use crate::facts::ImageFacts;
use crate::kernel::KernelModel;
use crate::pages::pages_of;
use crate::scenario::Event;
use crate::world::{Effect, MountOptions, World, WorldError};

/// A scenario that is being run.
#[derive(Debug)]
pub struct Runner<'f> {
    world: World<'f>,
    images: &'f BTreeMap<String, ImageFacts>,
    /// The image of each mount.
    mounted: BTreeMap<String, &'f ImageFacts>,
    /// The mount that each overlay shows.
    overlays: BTreeMap<String, String>,
}

impl<'f> Runner<'f> {
    /// A machine that has just started, and the images that events can name.
    pub fn new(kernel: KernelModel, images: &'f BTreeMap<String, ImageFacts>) -> Self {
        Self { world: World::new(kernel), images, mounted: BTreeMap::new(), overlays: BTreeMap::new() }
    }

    /// The machine as it is now.
    pub fn world(&self) -> &World<'f> {
        &self.world
    }

    /// The mount whose files a name stands for: an overlay shows those of another one.
    pub fn resolve<'a>(&'a self, mount: &'a str) -> &'a str {
        self.overlays.get(mount).map_or(mount, String::as_str)
    }

    /// Looks every file with content of a mount up, as a listing of it would.
    ///
    /// # Errors
    /// As for [`World::lookup`].
    pub fn look_at_all(&mut self, mount: &str) -> Result<(), WorldError> {
        let mount = self.resolve(mount).to_owned();
        for file in 0..self.facts(&mount)?.files.len() {
            self.world.lookup(&mount, file)?;
        }
        Ok(())
    }

    /// The number of the file at `path` of a mount.
    ///
    /// # Errors
    /// A mount or file that is not there.
    pub fn file(&self, mount: &str, path: &str) -> Result<usize, WorldError> {
        let found = self.facts(mount)?.files.iter().position(|file| file.path == path.as_bytes());
        found.ok_or_else(|| WorldError::Name { what: "file", name: path.into(), problem: "is not there" })
    }

    fn facts(&self, mount: &str) -> Result<&'f ImageFacts, WorldError> {
        let unknown = || WorldError::Name { what: "mount", name: mount.into(), problem: "is not there" };
        self.mounted.get(self.resolve(mount)).copied().ok_or_else(unknown)
    }

    /// The mount and the number of the file that a name and a path stand for.
    fn named(&self, mount: &str, path: &str) -> Result<(String, usize), WorldError> {
        Ok((self.resolve(mount).to_owned(), self.file(mount, path)?))
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
        for below in [Some(lower), over].into_iter().flatten() {
            self.facts(below)?;
        }
        if self.mounted.contains_key(mount) || self.overlays.contains_key(mount) {
            return Err(WorldError::Name { what: "mount", name: mount.into(), problem: "is there already" });
        }
        self.overlays.insert(mount.into(), self.resolve(lower).to_owned());
        Ok(())
    }

    fn umount(&mut self, mount: &str, lazy: bool) -> Result<Effect, WorldError> {
        if self.overlays.remove(mount).is_some() {
            return Ok(Effect::default());
        }
        let effect = if lazy { self.world.umount_lazily(mount) } else { self.world.umount(mount) };
        if effect.is_ok() {
            self.mounted.remove(mount);
        }
        effect
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
            Event::List { mount } => drop(self.facts(mount)?),
            Event::Stat { mount, path } => {
                let (mount, file) = self.named(mount, path)?;
                self.world.lookup(&mount, file)?;
            }
            Event::StatAll { mount } => self.look_at_all(mount)?,
            Event::Open { mount, path } => {
                let (mount, file) = self.named(mount, path)?;
                self.world.open(&mount, file)?;
            }
            Event::Close { mount, path } => {
                let (mount, file) = self.named(mount, path)?;
                self.world.close(&mount, file)?;
            }
            Event::Map { mount, path } => {
                let (mount, file) = self.named(mount, path)?;
                return self.world.map(&mount, file);
            }
            Event::Unmap { mount, path } => {
                let (mount, file) = self.named(mount, path)?;
                self.world.unmap(&mount, file)?;
            }
            Event::Read { mount, path, offset, length, method, call, syscall: _ } => {
                let (mount, file) = self.named(mount, path)?;
                let range = *offset..length.map_or(u64::MAX, |length| offset.saturating_add(length));
                return self.world.access(&mount, file, *method, range, *call);
            }
            Event::ReadAll { mount, method } => {
                let (files, mount) = (self.facts(mount)?.files.len(), self.resolve(mount).to_owned());
                let mut sum = Effect::default();
                for file in 0..files {
                    sum.added += self.world.access(&mount, file, *method, 0..u64::MAX, 64 << 10)?.added;
                }
                return Ok(sum);
            }
            Event::Dontneed { mount, path, offset, length } => {
                let (mount, file) = self.named(mount, path)?;
                let range = *offset..length.map_or(u64::MAX, |length| offset.saturating_add(length));
                return self.world.dontneed(&mount, file, range);
            }
            Event::Window { kib } => self.world.set_window(pages_of(kib.saturating_mul(1024))),
            Event::DropCaches { value } => return Ok(self.world.drop_caches(*value)),
        }
        Ok(Effect::default())
    }
}
