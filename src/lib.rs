//! The face of the project: the two commands `mkfs-erofs` and `erofs-ishare`. Words, no rules: what an image
//! is, how it is read and how it is built stand in the crates below.
//!
//! Files in reading order: `exit` (exit codes), `signals` (signals and limits of the system), `value` (values
//! on the command line), `words` (numbers for people), `progress` (bars), `output` (the only place that
//! prints), `files` (outputs that are inputs), `mkfs` (the builder's command line), `verb` (the verbs of the
//! companion).

#![forbid(unsafe_code)]

pub mod exit;
pub mod files;
pub mod mkfs;
pub mod output;
pub mod progress;
pub mod signals;
pub mod value;
pub mod verb;
pub mod words;
