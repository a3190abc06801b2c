//! The same work on each of many things, by several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::BuildError;

/// Does `work` on all things with so many threads; the results are in the order of the things. Each thread has a state, a
/// buffer say, that its calls share.
pub(crate) fn each<T: Sync, S: Default, R: Send>(
    threads: usize,
    things: &[T],
    work: impl Fn(&T, &mut S) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<R, BuildError>)>> = Mutex::default();
    let run = || {
        let mut state = S::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(number) else { break };
            let result = work(thing, &mut state);
            if result.is_err() {
                next.store(things.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for number in 1..threads.min(things.len()) {
            let name = format!("work-{number}");
            // Where the system has no more threads, those that there are do the work.
            if std::thread::Builder::new().name(name).spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
