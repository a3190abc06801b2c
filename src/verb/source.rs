//! The image that a verb looks at: its path, its extra devices, and where in the file it starts.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use erofs_image::{Image, ImageError, printable};
use rustix::fs::AtFlags;

use crate::exit::one_line;
use crate::files::{self, Item};
use crate::output;

/// The arguments that say which image.
#[derive(Debug, clap::Args)]
pub(super) struct ImageArgs {
    /// The image: a regular file or a block device
    pub(super) image: PathBuf,

    /// An extra device of the image, in the order of its device table; give all of them or none
    #[arg(long, value_name = "DEV")]
    device: Vec<PathBuf>,

    /// Where the image starts in its file, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(super) offset: u64,
}

impl ImageArgs {
    /// Opens the image. The error names its path. What is printed must not go to the image itself.
    pub(super) fn open(&self) -> anyhow::Result<Image> {
        files::keep_apart(&self.items(), &[Item::stdout()])?;
        Image::open_path(&self.image, &self.device, self.offset).map_err(|error| self.wrap(&error))
    }

    /// The files that are read.
    pub(super) fn items(&self) -> Vec<Item> {
        let devices = self.device.iter().map(|device| Item::new("--device", device));
        std::iter::once(Item::new("IMAGE", &self.image)).chain(devices).collect()
    }

    /// Whether a name in an open directory is that of one of these files.
    pub(super) fn is_file_at(&self, directory: BorrowedFd<'_>, name: &[u8]) -> bool {
        let is = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let same = |path: &PathBuf| match (&is, rustix::fs::stat(path)) {
            (Ok(is), Ok(read)) => (is.st_dev, is.st_ino) == (read.st_dev, read.st_ino),
            _ => false,
        };
        same(&self.image) || self.device.iter().any(same)
    }

    /// An error that begins with the image's path.
    pub(super) fn wrap(&self, error: &ImageError) -> anyhow::Error {
        anyhow!("{}: {error}", shown(&self.image))
    }

    /// Says on stderr that something in the image could not be read.
    pub(super) fn complain(&self, error: &ImageError) {
        output::complain(super::NAME, &one_line(&format!("{}: {error}", shown(&self.image))));
    }
}

/// A path of the host for messages.
pub(super) fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}
