//! Archives of every form, and hostile ones: what the parser says of them, and what other programs do.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod forms;
mod hostile;
mod make;
mod peers;
