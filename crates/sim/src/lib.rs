//! Who shares pages in Linux's page cache, and what it saves.
//!
//! Linux 7.0 and newer keep one copy in memory of files that many mounted EROFS images contain. This crate says what
//! that comes to for given images and accesses, without mounting them: the rules of the kernel as functions over plain
//! values.
//!
//! Reading order: [`kernel`] (what differs between versions), [`facts`] (what is read from images), [`scenario`] (what
//! happens), [`pages`], [`cached`] and [`readahead`] (how pages come into memory), [`world`] (who shares them, event by event),
//! `run` (a scenario in the model), [`tally`] (what a set of images costs when everything is read), [`survey`] (why).
//! [`Simulation`] is the entry: it reads the facts of a set of images, runs the model, and gives a [`Simulated`], from
//! which [`advise`] says what could be done. Invariant: the model does no I/O; one kernel rule, one function.

#![forbid(unsafe_code)]

mod advice;
pub mod cached;
mod contents;
mod error;
pub mod facts;
mod gaps;
mod ground;
pub mod kernel;
mod keys;
mod member;
mod overheads;
pub mod pages;
pub mod readahead;
mod replay;
mod run;
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

pub use advice::{Advice, Topic, advise};
pub use contents::Contents;
pub use error::{AccessError, EventError, SimError, TraceError};
pub use facts::{FileFacts, ImageFacts, ImageFiles};
pub use ground::Ground;
pub use kernel::KernelModel;
pub use member::{Member, same_file};
pub use overheads::{Duplicates, EqualBy, Metadata, Overheads};
pub use replay::Access;
pub use run::Runner;
pub use scenario::{Backend, Event, Method, Scenario};
pub use setup::Setup;
pub use simulated::{EventCost, ImageCost, Simulated};
pub use simulation::Simulation;
pub use world::World;
