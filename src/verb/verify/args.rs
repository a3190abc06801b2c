//! What is typed.

use std::path::PathBuf;

use clap::ValueEnum;
use uuid::Uuid;

use super::verity::VerityArgs;
use crate::value;

/// Check images: their structure, and their fingerprints against their contents
///
/// Reads everything: every inode, name, attribute, extent and, of files with fingerprints and of compressed
/// files, every byte. What is wrong is printed with a name for its kind, the path, what was found and what
/// was wanted.
///
/// Exit status, as of fsck(8) and other than that of the other verbs: 0 everything is right, 4 something is
/// wrong, 8 something could not be read (12 for both), 16 wrong command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The images: regular files or block devices
    #[arg(required = true, value_name = "IMAGE")]
    pub(super) images: Vec<PathBuf>,

    /// An extra device of an image, in the order of its device table; give all of them or none. Of several
    /// images, META is the one that it belongs to
    #[arg(long, value_name = "[META=]FILE")]
    pub(super) device: Vec<PathBuf>,

    /// Where the image starts in its file, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(super) offset: u64,

    /// Hold the images against each other as well: equal fingerprints of different contents are wrong in one
    /// domain
    #[arg(long)]
    pub(super) domain: bool,

    /// What the images have to keep to beyond the format
    #[arg(long, value_name = "PROFILE", value_enum)]
    pub(super) profile: Option<Profiles>,

    /// The publisher's namespace, without which fingerprints of --ishare-digest=uuid can only be compared
    #[arg(long, value_name = "UUID", value_parser = value::namespace)]
    pub(super) ishare_namespace: Option<Uuid>,

    #[command(flatten)]
    pub(super) verity: VerityArgs,

    /// One JSON object
    #[arg(long, conflicts_with = "junit")]
    pub(super) json: bool,

    /// XML as test runners write it, with a test for each part of the check
    #[arg(long)]
    pub(super) junit: bool,
}

/// The profiles by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Profiles {
    /// Only flat and chunk-based files on one device, nothing compressed, 32-bit addresses
    Core,
    /// That in canonical form, with a checksum, and with a right fingerprint of every file with content
    Hardened,
}
