//! How archives are read.

use erofs_tar::Options;

use crate::node::Timestamp;

/// How archives are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarOptions {
    /// What is accepted, and limits.
    pub format: Options,
    /// Whether names of whiteouts as AUFS and OCI layers have them (`.wh.NAME`, `.wh..wh..opq`) become those
    /// of overlayfs: character devices 0/0, and the attribute `trusted.overlay.opaque` with the value `y`.
    pub whiteouts: bool,
    /// Whether each name of a file with several becomes an inode of its own.
    pub hard_dereference: bool,
    /// Whether extended attributes of the archive are left out.
    pub no_xattrs: bool,
    /// The time of directories that no entry has, and of the root if none has it. They belong to root and
    /// have mode 0755.
    pub made: Timestamp,
}
