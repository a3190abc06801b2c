//! Directories that files were opened in lately. Files are read directory by directory, and to open one by its name there spares the
//! kernel the way from the root.
//!
//! A directory stays the same one here if it is renamed meanwhile; whether a file is the one that the scan saw is asked of the file.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

/// So many stay open; threads that work side by side are mostly in neighbouring directories.
const OPEN_MAX: usize = 16;

/// Open directories, each at the place that its number gives it.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: [Mutex<Option<Directory>>; OPEN_MAX],
}

#[derive(Debug)]
struct Directory {
    number: u32,
    fd: Arc<OwnedFd>,
}

impl Recent {
    /// The directory with this number; `open` opens it if it is not open.
    pub(super) fn get(
        &self,
        number: u32,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<Arc<OwnedFd>, Errno> {
        let place = &self.places[number as usize % OPEN_MAX];
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = place.as_ref().filter(|known| known.number == number) {
            return Ok(Arc::clone(&known.fd));
        }
        // The former one goes first, so that there are never more than the limit.
        *place = None;
        let fd = Arc::new(open()?);
        *place = Some(Directory { number, fd: Arc::clone(&fd) });
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_directory_is_opened_again_only_if_another_took_its_place() {
        let recent = Recent::default();
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            Ok(std::fs::File::open("/").unwrap().into())
        };
        let mut last = None;
        for (dir, want) in [(5, 1), (5, 1), (6, 2), (5, 2), (5 + 16, 3), (5, 4), (6, 4)] {
            last = Some(recent.get(dir, open).unwrap());
            assert_eq!(opened.get(), want, "directory {dir}");
        }
        // What failed is not kept, nor what it was to replace.
        assert_eq!(recent.get(6 + 16, || Err(Errno::MFILE)).unwrap_err(), Errno::MFILE);
        recent.get(6, open).unwrap();
        assert_eq!(opened.get(), 5);
        assert!(last.is_some_and(|fd| rustix::fs::fstat(&*fd).is_ok()), "in use as long as it is wanted");
    }
}
