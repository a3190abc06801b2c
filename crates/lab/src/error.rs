//! What can go wrong on the host's side of the lab.

use std::io;
use std::path::PathBuf;

/// A failure of the lab, as opposed to an event that the guest's kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The machine lacks something that the lab needs.
    #[error("{what}")]
    Absent {
        /// What, and how to get it.
        what: String,
    },
    /// A system call failed.
    #[error("cannot {what} {}: {cause}", path.display())]
    Io {
        /// What was being done, a verb such as `read`.
        what: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A scenario file is none.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why, in one line.
        reason: String,
    },
    /// A scenario cannot be carried out.
    #[error("scenario \"{title}\", event {event}: {reason}")]
    Event {
        /// The title of the scenario.
        title: String,
        /// The number of the event, from 1 on.
        event: usize,
        /// Why.
        reason: String,
    },
    /// More disks than a virtual machine has places for.
    #[error("the scenarios need {found} disks, and a virtual machine has {limit}: run fewer of them at once")]
    Disks {
        /// How many are needed.
        found: usize,
        /// How many there can be.
        limit: usize,
    },
    /// An image of the scenarios cannot be made.
    #[error("image {name}: {reason}")]
    Recipe {
        /// The image.
        name: String,
        /// Why.
        reason: String,
    },
    /// An image cannot be read.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The guest program cannot be built.
    #[error("cannot build the guest: {reason}")]
    Guest {
        /// The last lines of the compiler, in one line.
        reason: String,
    },
    /// The disk with images as files cannot be built.
    #[error("cannot build the disk of image files: {reason}")]
    Shelf {
        /// Why.
        reason: String,
    },
    /// A workload did not do what it should.
    #[error("run \"{run}\", mount {mount}: {reason}")]
    Workload {
        /// Which run of it.
        run: String,
        /// The mount.
        mount: String,
        /// Why, in one line.
        reason: String,
    },
    /// The virtual machine did not do what it was started for.
    #[error("the virtual machine {outcome}; the end of its console: {console}")]
    Machine {
        /// What it did.
        outcome: String,
        /// The last lines of its console, in one line.
        console: String,
    },
}

/// Adds what was being done and where to the error of a system call.
pub(crate) trait At<T> {
    /// Turns the error into [`LabError::Io`] with this verb and path.
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, LabError> {
        self.map_err(|error| LabError::Io { what, path: path.to_path_buf(), cause: error.into() })
    }
}
