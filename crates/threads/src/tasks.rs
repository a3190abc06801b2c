//! A list of tasks that grows while it is worked on, such as the directories of a tree.

use std::sync::{Condvar, Mutex};

use crate::guard::{OnPanic, lock, wait};
use crate::start::workers;

#[derive(Debug)]
struct List<T> {
    tasks: Vec<T>,
    /// Tasks that somebody works on, which may add others.
    running: usize,
    /// A thread has panicked: nobody takes another task.
    over: bool,
}

/// Tasks that wait for a thread.
#[derive(Debug)]
pub struct Tasks<T> {
    list: Mutex<List<T>>,
    changed: Condvar,
}

impl<T> Tasks<T> {
    /// Adds a task. The one that was added last is taken first, so that a walk over a tree goes into the
    /// depth and the list stays short.
    pub fn add(&self, task: T) {
        lock(&self.list).tasks.push(task);
        self.changed.notify_one();
    }

    /// The next task; waits for one as long as others may still add some.
    fn take(&self) -> Option<T> {
        let mut list = lock(&self.list);
        loop {
            if list.over {
                return None;
            }
            if let Some(task) = list.tasks.pop() {
                list.running += 1;
                return Some(task);
            }
            if list.running == 0 {
                return None;
            }
            list = wait(&self.changed, list);
        }
    }

    fn done(&self) {
        let mut list = lock(&self.list);
        list.running -= 1;
        let is_last = list.running == 0 && list.tasks.is_empty();
        drop(list);
        if is_last {
            self.changed.notify_all();
        }
    }
}

/// Runs `run` on the first task and on all that it adds, with so many threads, until none is left.
pub fn until_done<T: Send>(name: &str, threads: usize, first: T, run: impl Fn(T, &Tasks<T>) + Sync) {
    let list = List { tasks: vec![first], running: 0, over: false };
    let tasks = Tasks { list: Mutex::new(list), changed: Condvar::new() };
    workers(name, threads, || {
        let _guard = OnPanic(|| {
            lock(&tasks.list).over = true;
            tasks.changed.notify_all();
        });
        while let Some(task) = tasks.take() {
            run(task, &tasks);
            tasks.done();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn every_task_is_done_once() {
        for threads in [1, 2, 7] {
            let (count, sum) = (AtomicU64::new(0), AtomicU64::new(0));
            // A binary tree of numbers: N has 2N and 2N + 1 below it.
            until_done("test", threads, 1_u64, |number, tasks| {
                count.fetch_add(1, Ordering::Relaxed);
                sum.fetch_add(number, Ordering::Relaxed);
                if number < 5000 {
                    tasks.add(2 * number);
                    tasks.add(2 * number + 1);
                }
            });
            assert_eq!((count.into_inner(), sum.into_inner()), (9999, 9999 * 10_000 / 2), "{threads}");
        }
    }

    #[test]
    fn a_panic_ends_everything() {
        let run = |number: u64, tasks: &Tasks<u64>| {
            assert!(number < 1000, "as the test wants");
            tasks.add(number + 1);
            tasks.add(number + 1);
        };
        assert!(std::panic::catch_unwind(|| until_done("test", 4, 1, run)).is_err());
    }
}
