//! Things that are made by several threads and taken in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};

use crate::guard::{OnPanic, lock, wait};
use crate::start::beside;

/// For each thread so many things may be under way or wait for their turn.
const AHEAD: usize = 2;

struct Making<R> {
    /// The number of the next thing that nobody makes yet.
    next: usize,
    /// The number of the thing whose turn it is.
    turn: usize,
    made: BTreeMap<usize, R>,
    /// Nothing more is to be made: an error, or a panic.
    over: bool,
}

struct Line<'a, T, R> {
    things: &'a [T],
    window: usize,
    making: Mutex<Making<R>>,
    changed: Condvar,
}

impl<T, R> Line<'_, T, R> {
    /// The next thing, if it may be begun now, with its number.
    fn begin(&self, making: &mut Making<R>) -> Option<(usize, &T)> {
        let number = making.next;
        let thing = self.things.get(number).filter(|_| number < making.turn.saturating_add(self.window))?;
        making.next += 1;
        Some((number, thing))
    }

    /// What other threads do: they work until all things are begun.
    fn help<S: Default>(&self, work: &impl Fn(&T, &mut S) -> R) {
        let _guard = OnPanic(|| self.end());
        let mut state = S::default();
        let mut making = lock(&self.making);
        while !making.over && making.next < self.things.len() {
            making = if let Some((number, thing)) = self.begin(&mut making) {
                drop(making);
                let result = work(thing, &mut state);
                let mut making = lock(&self.making);
                making.made.insert(number, result);
                self.changed.notify_all();
                making
            } else {
                wait(&self.changed, making)
            };
        }
    }

    /// What came of the thing whose turn it is; while others work on it, this thread works on those behind
    /// it. `None` if it will not come.
    fn result<S: Default>(&self, state: &mut S, work: &impl Fn(&T, &mut S) -> R) -> Option<R> {
        let mut making = lock(&self.making);
        loop {
            let turn = making.turn;
            if making.over {
                return None;
            }
            if let Some(result) = making.made.remove(&turn) {
                making.turn += 1;
                drop(making);
                self.changed.notify_all();
                return Some(result);
            }
            making = if let Some((number, thing)) = self.begin(&mut making) {
                drop(making);
                let result = work(thing, state);
                let mut making = lock(&self.making);
                making.made.insert(number, result);
                making
            } else {
                wait(&self.changed, making)
            };
        }
    }

    fn end(&self) {
        lock(&self.making).over = true;
        self.changed.notify_all();
    }
}

/// Does `work` on all things with so many threads, and hands what came of each, with its number, to `take`:
/// on the calling thread and in order. At most two results per thread and one more are there or under way at
/// any time. Each thread has a state, a buffer say, that its calls share.
///
/// # Errors
/// The first of `take`, after which no more things are begun.
pub fn in_order<T: Sync, S: Default, R: Send, E>(
    name: &str,
    threads: usize,
    things: &[T],
    work: impl Fn(&T, &mut S) -> R + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.min(things.len()).max(1);
    let making = Making { next: 0, turn: 0, made: BTreeMap::new(), over: false };
    let window = threads.saturating_mul(AHEAD).saturating_add(1);
    let line = Line { things, window, making: Mutex::new(making), changed: Condvar::new() };
    let main = |_| {
        let _guard = OnPanic(|| line.end());
        let mut state = S::default();
        for number in 0..things.len() {
            // The thread that should have it has panicked, and so will this one when it waits for the end of
            // the others.
            let Some(result) = line.result(&mut state, &work) else { break };
            take(number, result).inspect_err(|_| line.end())?;
        }
        Ok(())
    };
    beside(name, threads - 1, || line.help(&work), main).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_few_at_a_time() {
        for (threads, count) in [(1, 0), (1, 5), (3, 1), (4, 1000), (300, 20)] {
            let things: Vec<usize> = (0..count).collect();
            let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut got = Vec::new();
            let work = |&thing: &usize, (): &mut ()| {
                let begun = begun.fetch_add(1, Ordering::SeqCst) + 1;
                // One more was taken by now than is counted at worst.
                let there = begun - taken.load(Ordering::SeqCst).min(begun);
                assert!(there <= 2 * threads + 2, "{there} of {threads} threads");
                thing * 3
            };
            let done = in_order("test", threads, &things, work, |number, result| {
                taken.fetch_add(1, Ordering::SeqCst);
                got.push((number, result));
                Ok::<_, ()>(())
            });
            assert_eq!(done, Ok(()));
            assert_eq!(got, (0..count).map(|number| (number, number * 3)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let things = vec![(); 100_000];
        for (threads, stop) in [(1, 0), (4, 0), (4, 50), (2, 999)] {
            let begun = AtomicUsize::new(0);
            let work = |(): &(), (): &mut ()| begun.fetch_add(1, Ordering::SeqCst);
            let take = |number, _| if number == stop { Err(number) } else { Ok(()) };
            assert_eq!(in_order("test", threads, &things, work, take), Err(stop));
            assert!(begun.into_inner() <= stop + 2 * threads + 2);
        }
    }

    #[test]
    fn a_panic_ends_everything() {
        let things: Vec<usize> = (0..1000).collect();
        for panics in [0, 1, 500] {
            let panic = |number: usize| assert!(number != panics, "as the test wants");
            let at_work =
                || in_order("test", 4, &things, |&thing, (): &mut ()| panic(thing), |_, ()| Ok::<_, ()>(()));
            assert!(std::panic::catch_unwind(at_work).is_err());
            let taking = || {
                in_order(
                    "test",
                    4,
                    &things,
                    |_, (): &mut ()| (),
                    |number, ()| {
                        panic(number);
                        Ok::<_, ()>(())
                    },
                )
            };
            assert!(std::panic::catch_unwind(taking).is_err());
        }
    }
}
