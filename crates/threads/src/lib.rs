//! Threads for one piece of work: as many as are wanted, and fewer where the system gives no more.
//!
//! A thread cannot be started where a limit on processes (`RLIMIT_NPROC`, `pids.max` of a control group) or
//! on the address space is reached, or where a seccomp filter refuses `clone3` with `EPERM`: glibc then does
//! not fall back to `clone`. None of this is an error here: the calling thread takes part in all work, and
//! does it alone if need be. What is made does not depend on the number of threads; only the time that it
//! takes does.
//!
//! - [`count`]: how many threads work;
//! - [`workers`]: the same function on each of them;
//! - [`beside`]: one function on the calling thread, another on the others;
//! - [`each`]: a function of each of many things;
//! - [`in_order`]: the same, the results handed over in order while others are made;
//! - [`until_done`]: a list of tasks that grows while it is worked on;
//! - [`memory`]: how much memory can still be had, which limits how many threads are of use.
//!
//! Invariant: a thread that panics ends all others at their next step, so that nobody waits for it for ever;
//! the panic then goes on in the calling thread.
//!
//! # Example
//!
//! ```
//! let squares = erofs_threads::each("square", erofs_threads::count(0), &[1, 2, 3], |number, _: &mut ()| {
//!     Ok::<_, std::convert::Infallible>(number * number)
//! });
//! assert_eq!(squares, Ok(vec![1, 4, 9]));
//! ```

#![forbid(unsafe_code)]

mod each;
mod guard;
pub mod memory;
mod order;
mod start;
mod tasks;

pub use each::each;
pub use order::in_order;
pub use start::{MAX, beside, count, workers};
pub use tasks::{Tasks, until_done};
