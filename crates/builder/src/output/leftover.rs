//! What a run that ends early takes back: temporary names, and files that are half written in place.
//!
//! A run that fails takes them back by dropping [`Leftover`]. For a run that is ended by SIGINT, SIGTERM or
//! SIGHUP, a thread does so and then lets the signal end the process. The table is locked while names change
//! hands, so that this thread never sees half of a change.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockReadGuard, mpsc};

use rustix::fs::AtFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How something is taken back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// Remove the name from the folder.
    Remove { folder: Arc<OwnedFd>, name: OsString },
    /// Give the file this length, in bytes.
    Cut { file: File, length: u64 },
}

impl Undo {
    /// Does it. Nothing can be done about a failure: the run has failed already.
    fn run(&self) {
        match self {
            Self::Remove { folder, name } => {
                let _ = rustix::fs::unlinkat(folder, name.as_os_str(), AtFlags::empty());
            }
            Self::Cut { file, length } => drop(file.set_len(*length)),
        }
    }
}

/// Everything that would have to be taken back now.
#[derive(Debug)]
pub(crate) struct Table {
    next: u64,
    rows: BTreeMap<u64, Undo>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { next: 0, rows: BTreeMap::new() });
/// Held while something is written in place, so that no write follows the cut of a run that a signal ends.
static WRITING: RwLock<()> = RwLock::new(());
static WANTED: AtomicBool = AtomicBool::new(false);
static WATCH: Once = Once::new();

/// Makes SIGINT, SIGTERM and SIGHUP remove temporary files, and cut files that are written in place, before
/// they end the process. A second signal ends it at once. Signals that are ignored stay ignored. For
/// programs: a library leaves signals to its caller.
pub fn take_back_on_signals() {
    WANTED.store(true, Ordering::Relaxed);
}

/// The table, for a change that a signal must not see half of.
pub(crate) fn lock() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be held during a write in place.
pub(crate) fn writing() -> RwLockReadGuard<'static, ()> {
    WRITING.read().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Notes what has to be taken back.
    pub(crate) fn add(&mut self, undo: Undo) -> Leftover {
        let key = self.next;
        self.next += 1;
        self.rows.insert(key, undo);
        Leftover { key }
    }

    /// Nothing has to be taken back any more.
    pub(crate) fn forget(&mut self, leftover: &Leftover) {
        self.rows.remove(&leftover.key);
    }
}

/// Something that is taken back when this is dropped, unless the table has forgotten it. Not to be dropped
/// while the table is locked.
#[derive(Debug)]
pub(crate) struct Leftover {
    key: u64,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let mut table = lock();
        if let Some(undo) = table.rows.remove(&self.key) {
            undo.run();
        }
    }
}

/// Starts the thread that waits for signals, if the program wants it and it does not run yet. Called before
/// the first row is added, so that runs that leave nothing behind have no such thread. Where no thread can be
/// started, signals end the process as they always do.
pub(crate) fn watch() {
    if !WANTED.load(Ordering::Relaxed) {
        return;
    }
    WATCH.call_once(|| {
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new().name("signals".to_owned());
        if thread.spawn(move || wait(ready)).is_ok() {
            // Answers when signals are caught, or not at all if they cannot be.
            let _ = started.recv();
        }
    });
}

fn wait(ready: mpsc::Sender<()>) {
    let ignored = ignored_signals();
    let wanted: Vec<i32> =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0).collect();
    let ending = Arc::new(AtomicBool::new(false));
    for &signal in &wanted {
        // In this order: the first signal sets the flag, a second one finds it set.
        let second = signal_hook::flag::register_conditional_default(signal, Arc::clone(&ending));
        if second.is_err() || signal_hook::flag::register(signal, Arc::clone(&ending)).is_err() {
            return;
        }
    }
    let Ok(mut signals) = Signals::new(&wanted) else { return };
    let _ = ready.send(());
    drop(ready);
    for signal in signals.forever() {
        // Locked until the end: nothing must come into being after the table was read.
        let _no_writes = WRITING.write().unwrap_or_else(PoisonError::into_inner);
        let table = lock();
        table.rows.values().for_each(Undo::run);
        drop(signal_hook::low_level::emulate_default_handler(signal));
    }
}

/// The signals that the process ignores, such as SIGHUP below nohup(1): bit n-1 for signal n; none where
/// `/proc` does not say so.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_taken_back_unless_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let folder: Arc<OwnedFd> = Arc::new(File::open(dir.path()).unwrap().into());
        for forgotten in [false, true] {
            std::fs::write(dir.path().join("name"), "content").unwrap();
            let file = File::options().write(true).open(dir.path().join("name")).unwrap();
            let cut = lock().add(Undo::Cut { file: file.try_clone().unwrap(), length: 3 });
            let name = lock().add(Undo::Remove { folder: Arc::clone(&folder), name: "name".into() });
            if forgotten {
                lock().forget(&cut);
                lock().forget(&name);
            }
            drop((cut, name));
            assert_eq!(file.metadata().unwrap().len(), if forgotten { 7 } else { 3 });
            assert_eq!(dir.path().join("name").exists(), forgotten);
        }
    }
}
