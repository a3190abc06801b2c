//! Who shares pages in Linux's page cache, and what it saves.
//!
//! Linux 7.0 and newer keep one copy in memory of files that many mounted EROFS images contain. This crate says what
//! that comes to for given images and accesses, without mounting them: the rules of the kernel as functions over plain
//! values.
//!
//! Reading order: [`kernel`] (what differs between versions), [`facts`] (what is read from images), [`scenario`] (what
//! happens), [`pages`], [`cached`] and [`readahead`] (how pages come into memory), [`world`] (who shares them, event by event),
//! [`run`] (a scenario in the model), [`tally`] (what a set of images costs when everything is read). Invariant: after
//! [`facts`] no I/O; one kernel rule, one function.

pub mod advice;
mod cached;
pub mod contents;
pub mod error;
pub mod facts;
mod gaps;
pub mod ground;
pub mod kernel;
mod keys;
mod member;
mod overheads;
pub mod pages;
pub mod readahead;
mod replay;
pub mod run;
pub mod scenario;
mod setup;
mod simulated;
mod simulation;
pub mod strace;
pub mod survey;
pub mod tally;
mod timeline;
pub mod trace;
mod whole;
pub mod world;
