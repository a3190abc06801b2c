//! Where an image comes from: its devices, which every thread opens for itself so that none waits for
//! another's cache.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use erofs_image::{Cached, FileSource, FrontView, Image, ImageError, OffsetView, OpenOptions, ReadAt};

/// The devices of an image.
#[derive(Clone)]
pub struct Source {
    primary: Arc<dyn ReadAt>,
    extra: Vec<Arc<dyn ReadAt>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("extra", &self.extra.len()).finish_non_exhaustive()
    }
}

impl Source {
    /// An image whose first byte is the first of `primary`, with its extra devices in the order of the device
    /// table.
    pub fn new(primary: Arc<dyn ReadAt>, extra: Vec<Arc<dyn ReadAt>>) -> Self {
        Self { primary, extra }
    }

    /// The image at `path`, `offset` bytes into the file.
    ///
    /// # Errors
    /// When one of the files cannot be opened.
    pub fn open_path(path: &Path, extra: &[impl AsRef<Path>], offset: u64) -> Result<Self, ImageError> {
        let primary = Arc::new(OffsetView::new(FileSource::open(path)?, offset));
        let mut devices: Vec<Arc<dyn ReadAt>> = Vec::new();
        for device in extra {
            devices.push(Arc::new(FileSource::open(device.as_ref())?));
        }
        Ok(Self::new(primary, devices))
    }

    /// The same image with no more than the first `length` bytes of its primary device.
    #[must_use]
    pub fn front(self, length: u64) -> Self {
        Self { primary: Arc::new(FrontView::new(self.primary, length)), extra: self.extra }
    }

    /// The primary device.
    pub(crate) fn primary(&self) -> &Arc<dyn ReadAt> {
        &self.primary
    }

    /// Opens the image. The checksum is not compared, so that what is behind a wrong one can be looked at.
    /// With it comes what it reads its primary device through.
    pub(crate) fn image(&self) -> Result<(Image, Arc<dyn ReadAt>), ImageError> {
        let primary: Arc<dyn ReadAt> = Arc::new(Cached::new(Arc::clone(&self.primary)));
        let options = OpenOptions::new().verify_checksum(false);
        Ok((Image::open(Arc::clone(&primary), self.extra.clone(), &options)?, primary))
    }
}
