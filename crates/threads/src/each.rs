//! A function of each of many things.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::guard::lock;
use crate::start::workers;

/// Does `work` on all things with so many threads; the results are in the order of the things. Each thread
/// has a state, a buffer say, that its calls share.
///
/// # Errors
/// Of those that `work` returns, the one of the first thing. After an error no more things are begun.
pub fn each<T: Sync, S: Default, R: Send, E: Send>(
    name: &str,
    threads: usize,
    things: &[T],
    work: impl Fn(&T, &mut S) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<R, E>)>> = Mutex::default();
    workers(name, threads.min(things.len()), || {
        let mut state = S::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(number) else { break };
            let result = work(thing, &mut state);
            if result.is_err() {
                next.store(things.len(), Ordering::Relaxed);
            }
            lock(&results).push((number, result));
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_things() {
        let things: Vec<u32> = (0..1000).collect();
        for threads in [1, 2, 9, 1000] {
            let doubled = each("test", threads, &things, |thing, calls: &mut u32| {
                *calls += 1;
                Ok::<_, ()>((thing * 2, *calls > 0))
            });
            assert_eq!(doubled, Ok(things.iter().map(|thing| (thing * 2, true)).collect()), "{threads}");
        }
        let nothing: &[u32] = &[];
        assert_eq!(each("test", 4, nothing, |_, (): &mut ()| Err::<(), ()>(())), Ok(Vec::new()));
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let things: Vec<usize> = (0..100_000).collect();
        for threads in [1, 4] {
            let calls = AtomicUsize::new(0);
            let outcome = each("test", threads, &things, |&thing, (): &mut ()| {
                calls.fetch_add(1, Ordering::Relaxed);
                if thing >= 10 { Err(thing) } else { Ok(()) }
            });
            assert!(outcome.is_err_and(|thing| (10..20).contains(&thing)), "{threads}");
            assert!(calls.into_inner() < 50_000, "{threads}");
        }
    }
}
