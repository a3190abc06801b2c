//! Directories that were opened lately. Directories are read, and files opened, near those that came before
//! them, and to go on from an open directory spares the kernel the way from the root.
//!
//! A directory stays the same one here if it is renamed meanwhile; whether a file is the one that the scan
//! saw is asked of the file.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// So many stay open.
const OPEN_MAX: usize = 32;

/// Directories, each at the place that its number gives it. Nobody waits here, and what cannot be had is not
/// had: then the way is taken from further above.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: [Mutex<Option<Directory>>; OPEN_MAX],
    asked: [AtomicU32; OPEN_MAX],
}

#[derive(Debug)]
struct Directory {
    number: u32,
    fd: Arc<OwnedFd>,
}

/// Directories that are walked at regular distances must not all have the same place.
fn place(number: u32) -> usize {
    (number.wrapping_mul(0x9e37_79b1) >> 16) as usize % OPEN_MAX
}

impl Recent {
    /// The directory with this number, if it is open.
    pub(super) fn get(&self, number: u32) -> Option<Arc<OwnedFd>> {
        let place = self.places[place(number)].try_lock().ok()?;
        place.as_ref().filter(|known| known.number == number).map(|known| Arc::clone(&known.fd))
    }

    /// Keeps a directory open, in place of another one.
    pub(super) fn keep(&self, number: u32, fd: &Arc<OwnedFd>) {
        if let Ok(mut place) = self.places[place(number)].try_lock() {
            *place = Some(Directory { number, fd: Arc::clone(fd) });
        }
    }

    /// Whether the last question like this at the same place was for the same directory. Many directories
    /// have one file only, and it would be useless to open those.
    pub(super) fn is_repeated(&self, number: u32) -> bool {
        self.asked[place(number)].swap(number, Ordering::Relaxed) == number
    }

    /// Closes those that nobody uses now, where descriptors are short.
    pub(super) fn clear(&self) {
        self.places.iter().filter_map(|place| place.try_lock().ok()).for_each(|mut place| *place = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/").unwrap().into())
    }

    fn with_the_place_of(number: u32) -> u32 {
        assert_ne!(place(number), place(number + 1));
        (number + 1..number + 10_000).find(|&other| place(other) == place(number)).unwrap()
    }

    #[test]
    fn the_last_directory_of_a_place_stays_open() {
        let recent = Recent::default();
        assert!(recent.get(5).is_none());
        recent.keep(5, &open());
        recent.keep(6, &open());
        let other = with_the_place_of(5);
        assert!(recent.get(5).is_some() && recent.get(6).is_some() && recent.get(other).is_none());
        recent.keep(other, &open());
        assert!(recent.get(5).is_none() && recent.get(other).is_some());
        let held = recent.get(6).unwrap();
        recent.clear();
        assert!(recent.get(6).is_none() && recent.get(other).is_none(), "forgotten");
        assert!(rustix::fs::fstat(&*held).is_ok(), "in use as long as it is wanted");
    }

    #[test]
    fn a_second_question_is_known() {
        let recent = Recent::default();
        let other = with_the_place_of(5);
        for (number, repeated) in
            [(5, false), (5, true), (6, false), (5, true), (other, false), (5, false), (5, true)]
        {
            assert_eq!(recent.is_repeated(number), repeated, "{number}");
        }
    }

    #[test]
    fn nobody_waits_for_a_place() {
        let recent = Recent::default();
        recent.keep(5, &open());
        let _held = recent.places[place(5)].lock().unwrap();
        assert!(recent.get(5).is_none());
        recent.keep(5, &open());
        recent.clear();
    }
}
