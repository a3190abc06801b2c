//! What lies under an EROFS mount: a block device, a loop device and its file, or the image file itself.

use std::collections::BTreeMap;

use erofs_sim::scenario::Backend;

use crate::mountinfo::{DeviceNumber, MountEntry};
use crate::system::BlockDevice;

/// What the kernel appends to the name of a loop device's file that has been deleted.
const DELETED: &[u8] = b" (deleted)";

/// What lies under a mount, and where its image can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// The kind.
    pub backend: Backend,
    /// The image file or block device, or why it is not known, in a few words.
    pub image: Result<Vec<u8>, &'static str>,
    /// Where in it the image starts, in bytes.
    pub offset: u64,
}

impl Backing {
    /// Finds out what lies under `mount`. Extra devices of the image (`device=`) are shown nowhere.
    pub fn of(mount: &MountEntry, devices: &BTreeMap<DeviceNumber, BlockDevice>) -> Self {
        let given = mount.value("fsoffset").and_then(|offset| offset.parse().ok()).unwrap_or(0_u64);
        if mount.is_file_backed() {
            let backend = if mount.has("directio") { Backend::FileDirectio } else { Backend::File };
            return Self { backend, image: absolute(&mount.source), offset: given };
        }
        match devices.get(&mount.device) {
            Some(BlockDevice::Loop { file, direct, offset }) => Self {
                backend: if *direct { Backend::Loop } else { Backend::LoopBuffered },
                image: absolute(file),
                offset: given.saturating_add(*offset),
            },
            Some(BlockDevice::Verity) => {
                Self { backend: Backend::Verity, image: absolute(&mount.source), offset: given }
            }
            Some(BlockDevice::Other) | None => {
                Self { backend: Backend::Block, image: absolute(&mount.source), offset: given }
            }
        }
    }

    /// Whether the bytes of the image file are in memory a second time, besides what the mount shows of them.
    pub fn caches_twice(&self) -> bool {
        matches!(self.backend, Backend::LoopBuffered | Backend::File)
    }

    /// The kind in a few words.
    pub fn words(&self) -> &'static str {
        match self.backend {
            Backend::Block => "block device",
            Backend::Loop => "loop device, direct I/O",
            Backend::LoopBuffered => "loop device, buffered",
            Backend::Verity => "dm-verity device",
            Backend::File => "image file, buffered",
            Backend::FileDirectio => "image file, directio",
        }
    }
}

fn absolute(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    match path {
        [] => Err("the kernel does not show it"),
        path if path.ends_with(DELETED) => Err("the file has been deleted"),
        path if !path.starts_with(b"/") => Err("the mount was made with a relative path"),
        path => Ok(path.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo::parse;

    #[test]
    fn the_image_is_found_where_the_kernel_shows_it() {
        let loop_of = |file: &[u8], direct| BlockDevice::Loop { file: file.to_vec(), direct, offset: 512 };
        let devices: BTreeMap<_, _> = [
            ((7, 0), loop_of(b"/i/a.img", false)),
            ((7, 1), loop_of(b"/i/b.img (deleted)", true)),
            ((253, 0), BlockDevice::Verity),
        ]
        .into();
        for (device, source, options, backend, image, offset) in [
            ("7:0", "/dev/loop0", "ro", Backend::LoopBuffered, Ok("/i/a.img"), 512),
            ("7:1", "/dev/loop1", "ro", Backend::Loop, Err("the file has been deleted"), 512),
            ("253:0", "/dev/mapper/v", "ro", Backend::Verity, Ok("/dev/mapper/v"), 0),
            ("8:1", "/dev/sda1", "ro,fsoffset=4096", Backend::Block, Ok("/dev/sda1"), 4096),
            ("0:40", "/i/c.img", "ro", Backend::File, Ok("/i/c.img"), 0),
            (
                "0:41",
                "c.img",
                "ro,directio",
                Backend::FileDirectio,
                Err("the mount was made with a relative path"),
                0,
            ),
        ] {
            let line = format!("1 2 {device} / /m ro - erofs {source} {options}");
            let found = Backing::of(&parse(line.as_bytes()).unwrap()[0], &devices);
            let image = image.map(|path| path.as_bytes().to_vec());
            assert_eq!(found, Backing { backend, image, offset }, "{line}");
        }
    }
}
