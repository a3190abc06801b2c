//! The image that a verb looks at: its path, its extra devices, and where in the file it starts.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use erofs_image::{Image, ImageError, OpenOptions};
use rustix::fs::AtFlags;

use crate::exit::{WrongUse, one_line};
pub(super) use crate::files::shown;
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
        let options = OpenOptions::new().devices(&self.device).offset(self.offset);
        options.open(&self.image).map_err(|error| self.wrap(&error))
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
        // The flag is a matter of the program, so that the library's text does not name it.
        let hint = if error.is_device_absent() { "; see --device" } else { "" };
        anyhow!("{}: {error}{hint}", shown(&self.image))
    }

    /// Says on stderr that something in the image could not be read.
    pub(super) fn complain(&self, error: &ImageError) {
        output::complain(super::NAME, &one_line(&format!("{}: {error}", shown(&self.image))));
    }
}

/// The extra devices of each image, in the order of its device table: `META=ORIGINAL`, where META is one of
/// the images as it was given; of a single image the device alone will do.
///
/// # Errors
/// A value that begins with none of the images, where there are several.
pub(super) fn devices_of_each(images: &[&Path], values: &[PathBuf]) -> Result<Vec<Vec<PathBuf>>, WrongUse> {
    let mut devices = vec![Vec::new(); images.len()];
    for value in values {
        let bytes = value.as_os_str().as_bytes();
        let of = |image: &Path| bytes.strip_prefix(image.as_os_str().as_bytes())?.strip_prefix(b"=");
        let named = images.iter().enumerate().find_map(|(number, image)| Some((number, of(image)?)));
        let (number, device) = match named {
            Some((number, device)) => (number, PathBuf::from(OsStr::from_bytes(device))),
            None if images.len() == 1 => (0, value.clone()),
            None => {
                let want = "want META=ORIGINAL, where META is one of the images";
                return Err(WrongUse(format!("--device {}: {want}", shown(value))));
            }
        };
        if device.as_os_str().is_empty() {
            return Err(WrongUse(format!("--device {}: found no device, want one", shown(value))));
        }
        if let Some(devices) = devices.get_mut(number) {
            devices.push(device);
        }
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_to_their_images() {
        let images = ["a.img", "dir/b=c.img"].map(Path::new);
        let given = ["dir/b=c.img=x=y", "a.img=1", "a.img=2"].map(PathBuf::from);
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(devices_of_each(&images, &given).unwrap(), [paths(&["1", "2"]), paths(&["x=y"])]);
        assert_eq!(devices_of_each(&images[..1], &["x=y".into()]).unwrap(), [paths(&["x=y"])]);
        for (wrong, message) in [
            ("c.img=x", "--device c.img=x: want META=ORIGINAL, where META is one of the images"),
            ("a.img", "--device a.img: want META=ORIGINAL, where META is one of the images"),
            ("a.img=", "--device a.img=: found no device, want one"),
        ] {
            assert_eq!(devices_of_each(&images, &[wrong.into()]).unwrap_err().0, message);
        }
    }
}
