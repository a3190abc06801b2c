//! Who shares pages in Linux's page cache, and what it saves.
//!
//! Linux 7.0 and newer keep one copy in memory of files that many mounted EROFS images contain. This crate
//! says what that comes to for given images and accesses, without mounting them: the rules of the kernel as
//! functions over plain values.
//!
//! Reading order: [`kernel`] (what differs between versions), [`facts`] (what is read from images),
//! [`scenario`] (what happens), [`pages`], [`cached`] and [`readahead`] (how pages come into memory),
//! [`world`] (who shares them, event by event), `run` (a scenario in the model), [`tally`] (what a set of
//! images costs when everything is read), [`survey`] (why). [`Simulation`] is the entry: it reads the facts
//! of a set of images, runs the model, and gives a [`Simulated`], from which [`advise`] says what could be
//! done. Invariant: the model does no I/O; one kernel rule, one function.
//!
//! # Example
//!
//! ```
//! use erofs_sim::facts;
//! use erofs_sim::kernel::KernelModel;
//! use erofs_sim::scenario::{Backend, Method};
//! use erofs_sim::tally::{Access, Tally};
//!
//! # use erofs_builder::options::{FingerprintOptions, FingerprintValue};
//! # use erofs_builder::{BuildOptions, ImageFile};
//! # use erofs_tree::{DirOptions, DirSource, Silent};
//! # let folder = tempfile::tempdir()?;
//! # let source = folder.path().join("source");
//! # std::fs::create_dir(&source)?;
//! # std::fs::write(source.join("hello"), "world\n")?;
//! # let kind = erofs_algo::fingerprint::by_name("sha256").expect("a row of the table");
//! # let value = FingerprintValue::Computed { kind, namespace: uuid::Uuid::nil() };
//! # let key = b"trusted.erofs.fingerprint".to_vec();
//! # let mut options = BuildOptions::default();
//! # options.content.fingerprint = Some(FingerprintOptions { key, value, strict: false });
//! # let (a, b) = (folder.path().join("a.img"), folder.path().join("b.img"));
//! # for path in [&a, &b] {
//! #     let mut source = DirSource::new(&source, DirOptions::default())?;
//! #     erofs_builder::build(&mut source, ImageFile::create(path, 0)?, &options, &Silent)?;
//! # }
//! # let no_devices: [&std::path::Path; 0] = [];
//! // Two images with fingerprints, each of one file of 6 bytes. Every file of both is read.
//! let access = Access { kernel: KernelModel::default(), backend: Backend::Block, method: Method::Read };
//! let mut tally = Tally::new(access);
//! for path in [&a, &b] {
//!     tally.add(&facts::read(path, &no_devices)?, Some("apps"));
//! }
//! let total = tally.total();
//! assert_eq!((total.all.bytes, total.added.bytes), (8192, 4096));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod advice;
pub mod cached;
mod contents;
mod error;
pub mod facts;
mod gaps;
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
mod totals;
pub mod trace;
mod whole;
pub mod world;

pub use advice::{Advice, Topic, advise};
pub use contents::Contents;
pub use error::{AccessError, EventError, SimError, TraceError};
pub use facts::{FileFacts, ImageFacts, ImageFiles};
pub use kernel::KernelModel;
pub use member::{Member, same_file};
pub use overheads::{Duplicates, EqualBy, Metadata, Overheads};
pub use replay::Access;
pub use run::Runner;
pub use scenario::{Backend, Event, Method, Scenario};
pub use setup::Setup;
pub use simulated::{EventCost, ImageCost, Simulated};
pub use simulation::Simulation;
pub use totals::ImageTotals;
pub use world::World;
