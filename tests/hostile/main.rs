//! What the reader does with bytes that nobody should trust: every byte of small images changed one at a
//! time, and images that were made to do harm. An error or an answer, never a panic, and never more work than
//! the size of the image allows.
//!
//! Work is counted in bytes and calls that the reader asks for, not in time, so that the verdict is the same
//! on every machine.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../../crates/image/tests/common/mod.rs"]
mod common;
mod crafted;
mod flips;
mod meter;
mod read_all;
