//! Directories that files were opened in lately. Files are read directory by directory, and to open one by its name there spares the
//! kernel the way from the root.
//!
//! A directory stays the same one here if it is renamed meanwhile; whether a file is the one that the scan saw is asked of the file.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

/// So many stay open.
const OPEN_MAX: usize = 16;

/// Directories, each at the place that its number gives it. Nobody waits here, and what cannot be had is not had: then the
/// way is taken from the root.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: [Mutex<Option<Directory>>; OPEN_MAX],
}

#[derive(Debug)]
struct Directory {
    number: u32,
    /// Open from the second time on that it is asked for: many have one file only.
    fd: Option<Arc<OwnedFd>>,
}

impl Recent {
    /// The directory with this number, if it was asked for lately; `open` opens it.
    pub(super) fn get(
        &self,
        number: u32,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Option<Arc<OwnedFd>> {
        let mut place = self.places[number as usize % OPEN_MAX].try_lock().ok()?;
        match &mut *place {
            Some(known) if known.number == number => {
                if known.fd.is_none() {
                    known.fd = open().ok().map(Arc::new);
                }
                known.fd.clone()
            }
            other => {
                *other = Some(Directory { number, fd: None });
                None
            }
        }
    }

    /// Closes those that nobody uses now, where descriptors are short.
    pub(super) fn clear(&self) {
        self.places.iter().filter_map(|place| place.try_lock().ok()).for_each(|mut place| *place = None);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_directory_is_opened_once_where_it_is_asked_for_again() {
        let recent = Recent::default();
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            Ok(std::fs::File::open("/").unwrap().into())
        };
        // Number 21 has the place of number 5.
        for (number, is_open, want) in [
            (5, false, 0),
            (5, true, 1),
            (6, false, 1),
            (5, true, 1),
            (6, true, 2),
            (21, false, 2),
            (5, false, 2),
            (5, true, 3),
            (6, true, 3),
        ] {
            assert_eq!(recent.get(number, open).is_some(), is_open, "directory {number}, {want}");
            assert_eq!(opened.get(), want, "directory {number}");
        }
        let held = recent.get(6, open).unwrap();
        recent.clear();
        assert!(recent.get(6, open).is_none(), "forgotten");
        assert!(rustix::fs::fstat(&*held).is_ok(), "in use as long as it is wanted");
        assert!(recent.get(6, || Err(Errno::MFILE)).is_none());
        assert!(recent.get(6, open).is_some(), "what failed is tried again");
    }

    #[test]
    fn nobody_waits_for_a_place() {
        let recent = Recent::default();
        let within = || {
            assert!(recent.get(5, || Err(Errno::MFILE)).is_none());
            assert!(recent.get(21, || Err(Errno::MFILE)).is_none());
            Err(Errno::MFILE)
        };
        assert!(recent.get(5, within).is_none() && recent.get(5, within).is_none());
    }
}
