//! Whole builds from sources in memory, read back by the reader.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod attributes;
mod contents;
mod faults;
mod golden;
mod layers;
mod memory;
mod stream;
