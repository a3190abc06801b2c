//! The one place where threads are started.

use std::num::NonZero;
use std::thread::{self, Builder, available_parallelism};

use crate::memory;

/// The most threads that work at the same time. More would only wait for each other, and each has buffers of
/// its own.
pub const MAX: usize = 256;

/// Address space that a thread takes, in bytes: a stack of 2 MiB (the default of Rust's `std`) and the 64 MiB
/// that glibc reserves for what the thread allocates (`HEAP_MAX_SIZE` of `malloc/arena.c`). Both count for
/// `RLIMIT_AS`.
const ADDRESS_SPACE: u64 = 72 << 20;

/// How many threads work where `wanted` are asked for; 0 asks for one per processor that this process may
/// use. At least 1 and at most [`MAX`].
pub fn count(wanted: usize) -> usize {
    let found = if wanted == 0 { available_parallelism().map_or(1, NonZero::get) } else { wanted };
    found.clamp(1, MAX)
}

/// Runs `work` on so many threads, one of which is the calling one, and returns what came of each that could
/// be started. Their names are `name`, at most 10 bytes, and a number.
pub fn workers<R: Send>(name: &str, threads: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    let (own, mut results) = beside(name, threads.saturating_sub(1), &work, |_| work());
    results.push(own);
    results
}

/// Runs `help` on up to `others` other threads, and `main` on this one, which is told how many others there
/// are: with none, nobody helps. Returns when all have ended.
///
/// # Panics
/// When one of them does.
pub fn beside<H: Send, M>(
    name: &str,
    others: usize,
    help: impl Fn() -> H + Sync,
    main: impl FnOnce(usize) -> M,
) -> (M, Vec<H>) {
    thread::scope(|scope| {
        let mut started = Vec::new();
        for number in 1..=room(others) {
            // The first that is refused is the last that is tried: what there is goes to the work.
            match Builder::new().name(format!("{name}-{number}")).spawn_scoped(scope, &help) {
                Ok(handle) => started.push(handle),
                Err(_) => break,
            }
        }
        let done = main(started.len());
        let join = |handle: thread::ScopedJoinHandle<'_, H>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        (done, started.into_iter().map(join).collect())
    })
}

/// As many of so many threads as half of the address space that is left has room for.
fn room(others: usize) -> usize {
    let most = others.min(MAX - 1);
    match memory::address_space() {
        Some(free) if most != 0 => most.min(usize::try_from(free / 2 / ADDRESS_SPACE).unwrap_or(most)),
        Some(_) | None => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn numbers_of_threads_are_bounded() {
        assert_eq!((count(1), count(7), count(MAX), count(usize::MAX)), (1, 7, MAX, MAX));
        assert!((1..=MAX).contains(&count(0)));
    }

    #[test]
    fn all_that_are_asked_for_work_at_the_same_time() {
        let met = Barrier::new(4);
        let results = workers("test", 4, || met.wait().is_leader());
        assert_eq!((results.len(), results.into_iter().filter(|leader| *leader).count()), (4, 1));
        assert_eq!(workers("test", 0, || 7), [7]);
    }

    #[test]
    fn the_calling_thread_is_told_who_helps() {
        let helped = AtomicUsize::new(0);
        let (told, results) = beside("test", 3, || helped.fetch_add(1, Ordering::Relaxed), |others| others);
        assert_eq!((told, results.len(), helped.into_inner()), (3, 3, 3));
        assert_eq!(beside("test", 0, || (), |others| others), (0, Vec::new()));
    }
}
