//! What can be wrong with a list of accesses, and with what is to be simulated.

use std::io;
use std::path::{Path, PathBuf};

use erofs_format::words::{self, noun};
use erofs_image::{ImageError, printable};

use crate::world::WorldError;

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Reading failed.
    #[error("line {line}: {cause}")]
    Io {
        /// The line, from 1 on.
        line: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// A line is longer than any that is written.
    #[error("line {line}: found more than {limit} bytes, want a shorter line")]
    Long {
        /// The line, from 1 on.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A line has another number of fields.
    #[error(
        "line {line}: found {found} {}, want 5 or 6: image, path, offset, length, method, bytes per call",
        noun(*found, "field", "fields")
    )]
    Fields {
        /// The line, from 1 on.
        line: u64,
        /// How many there are.
        found: usize,
    },
    /// A field is not what it should be.
    #[error("line {line}: {field}: found {found:?}, want {want}")]
    Field {
        /// The line, from 1 on.
        line: u64,
        /// Which field.
        field: &'static str,
        /// What stands there, as text.
        found: String,
        /// What should.
        want: &'static str,
    },
}

/// Why a set of images cannot be simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// An image cannot be read.
    #[error("{}: {cause}", printable(path.as_os_str().as_encoded_bytes()))]
    Image {
        /// The image.
        path: PathBuf,
        /// What the reader says.
        cause: ImageError,
    },
    /// An image announces no fingerprints, and it was not allowed that it shares nothing.
    #[error(
        "{}: found no fingerprints, want an image whose files share",
        printable(path.as_os_str().as_encoded_bytes())
    )]
    NotShared {
        /// The image.
        path: PathBuf,
    },
    /// The kernel of the model refuses an access or a mount.
    #[error(transparent)]
    World(#[from] WorldError),
    /// An access is not one of the set.
    #[error("line {line}: {problem}")]
    Access {
        /// The line of the list of accesses, from 1 on.
        line: u64,
        /// What is wrong with it.
        problem: AccessError,
    },
    /// An event of a scenario is about something that is not there.
    #[error("event {}: {problem}", event + 1)]
    Event {
        /// The number of the event, from 0 on.
        event: usize,
        /// What is wrong with it.
        problem: EventError,
    },
}

impl SimError {
    pub(crate) fn image(path: &Path, cause: ImageError) -> Self {
        Self::Image { path: path.to_path_buf(), cause }
    }
}

/// What is wrong with an access of a list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// No image has the name.
    #[error("image: found {}, want one of the command line", printable(name))]
    Image {
        /// The name.
        name: Vec<u8>,
    },
    /// The image has no such file.
    #[error("path: found {}, want a regular file of the image", printable(path))]
    Path {
        /// The path.
        path: Vec<u8>,
    },
    /// The range is not in the file.
    #[error("range: found bytes {from} to {end}, want an end within the {} of {}", words::bytes(*size), printable(path))]
    Range {
        /// The path.
        path: Vec<u8>,
        /// First byte.
        from: u64,
        /// The byte behind the last one.
        end: u64,
        /// Length of the file in bytes.
        size: u64,
    },
}

/// What is wrong with an event of a scenario.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The scenario has no image of this name.
    #[error("found no image {name:?}, want one of [images]")]
    Image {
        /// The name.
        name: String,
    },
    /// Nothing was mounted under this name before.
    #[error("found no mount {name:?}, want one of an earlier event")]
    Mount {
        /// The name.
        name: String,
    },
    /// The image has no such file.
    #[error("found no regular file {path:?} in image {image}")]
    File {
        /// The path.
        path: String,
        /// The image.
        image: String,
    },
    /// The file was not opened under this name before.
    #[error("found no open file {stream:?}, want the stream of an earlier open of {path}")]
    Stream {
        /// The name.
        stream: String,
        /// The path.
        path: String,
    },
    /// The range is not in the file.
    #[error("found bytes {from} to {end}, want an end within the {} of {path}", words::bytes(*size))]
    Range {
        /// The path.
        path: String,
        /// First byte.
        from: u64,
        /// The byte behind the last one.
        end: u64,
        /// Length of the file in bytes.
        size: u64,
    },
    /// A name is taken.
    #[error(transparent)]
    World(WorldError),
}
