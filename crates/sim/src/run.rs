//! Runs a scenario in the model: each event becomes calls of the world.

use std::collections::BTreeMap;

use crate::facts::ImageFacts;
use crate::kernel::KernelModel;
use crate::scenario::Event;
use crate::world::{Effect, MountOptions, World, WorldError};

/// A scenario that is being run.
#[derive(Debug)]
pub struct Runner<'f> {
    world: World<'f>,
    images: &'f BTreeMap<String, ImageFacts>,
    /// The image of each mount.
    mounted: BTreeMap<String, &'f ImageFacts>,
}

impl<'f> Runner<'f> {
    /// A machine that has just started, and the images that events can name.
    pub fn new(kernel: KernelModel, images: &'f BTreeMap<String, ImageFacts>) -> Self {
        Self { world: World::new(kernel), images, mounted: BTreeMap::new() }
    }

    /// The machine as it is now.
    pub fn world(&self) -> &World<'f> {
        &self.world
    }

    /// Looks every file with content of a mount up, as a listing of it would.
    ///
    /// # Errors
    /// As for [`World::lookup`].
    pub fn look_at_all(&mut self, mount: &str) -> Result<(), WorldError> {
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
        let found = self.facts(mount)?.files.iter().position(|file| file.path == path.as_bytes());
        found.ok_or_else(|| WorldError::Name { what: "file", name: path.into(), problem: "is not there" })
    }

    fn facts(&self, mount: &str) -> Result<&'f ImageFacts, WorldError> {
        let unknown = || WorldError::Name { what: "mount", name: mount.into(), problem: "is not there" };
        self.mounted.get(mount).copied().ok_or_else(unknown)
    }

    /// Lets an event happen.
    ///
    /// # Errors
    /// What the kernel refuses, and names of nothing.
    pub fn event(&mut self, event: &Event) -> Result<Effect, WorldError> {
        match event {
            Event::Mount { mount, image, backend, device, inode_share, domain } => {
                let unknown =
                    || WorldError::Name { what: "image", name: image.clone(), problem: "is not there" };
                let facts = self.images.get(image).ok_or_else(unknown)?;
                let options = MountOptions {
                    backend: *backend,
                    device: device.clone(),
                    inode_share: inode_share.unwrap_or(domain.is_some()),
                    domain: domain.clone(),
                };
                self.world.mount(mount, facts, &options)?;
                self.mounted.insert(mount.clone(), facts);
            }
            Event::Remount { mount, inode_share, domain: _ } => self.world.remount(mount, *inode_share)?,
            Event::Umount { mount } => {
                self.mounted.remove(mount);
                return self.world.umount(mount);
            }
            Event::Stat { mount, path } => {
                let file = self.file(mount, path)?;
                self.world.lookup(mount, file)?;
            }
            Event::StatAll { mount } => self.look_at_all(mount)?,
            Event::Open { mount, path } => {
                let file = self.file(mount, path)?;
                self.world.open(mount, file)?;
            }
            Event::Close { mount, path } => {
                let file = self.file(mount, path)?;
                self.world.close(mount, file)?;
            }
            Event::Read { mount, path, offset, length, method, call } => {
                let file = self.file(mount, path)?;
                let range = *offset..length.map_or(u64::MAX, |length| offset.saturating_add(length));
                return self.world.access(mount, file, *method, range, *call);
            }
            Event::ReadAll { mount, method } => {
                let mut sum = Effect::default();
                for file in 0..self.facts(mount)?.files.len() {
                    sum.added += self.world.access(mount, file, *method, 0..u64::MAX, 64 << 10)?.added;
                }
                return Ok(sum);
            }
            Event::Dontneed { mount, path, offset, length } => {
                let file = self.file(mount, path)?;
                let range = *offset..length.map_or(u64::MAX, |length| offset.saturating_add(length));
                return self.world.dontneed(mount, file, range);
            }
            Event::DropCaches { value } => return Ok(self.world.drop_caches(*value)),
        }
        Ok(Effect::default())
    }
}
