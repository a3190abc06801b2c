//! Options that cannot be met, by their fields: whoever gives options knows which flag or key sets a field.

use std::fmt::{self, Display};

/// What an option is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// [`LayoutOptions::volume_label`](crate::options::LayoutOptions::volume_label).
    VolumeLabel,
    /// [`ContentOptions::chunks`](crate::options::ContentOptions::chunks).
    ChunkSize,
    /// [`CompressionOptions::head2`](crate::options::CompressionOptions::head2).
    SecondAlgorithm,
    /// [`CompressionOptions::pcluster_size`](crate::options::CompressionOptions::pcluster_size), that of a
    /// hint, or that of fragments.
    PclusterSize,
    /// An encoder of [`CompressionOptions::algorithms`](crate::options::CompressionOptions::algorithms).
    Encoder,
    /// [`CompressionOptions::dedupe`](crate::options::CompressionOptions::dedupe).
    Dedupe,
    /// [`LayoutOptions::pack_directories`](crate::options::LayoutOptions::pack_directories).
    PackedDirectories,
    /// [`MetaboxOptions::pcluster_size`](crate::options::MetaboxOptions::pcluster_size).
    MetadataPclusterSize,
    /// [`FingerprintOptions::value`](crate::options::FingerprintOptions::value).
    Fingerprint,
    /// The namespace of fingerprints.
    FingerprintNamespace,
}

impl Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VolumeLabel => "volume label",
            Self::ChunkSize => "chunk size",
            Self::SecondAlgorithm => "second algorithm",
            Self::PclusterSize => "pcluster size",
            Self::Encoder => "encoder",
            Self::Dedupe => "equal parts of files",
            Self::PackedDirectories => "compressed directories",
            Self::MetadataPclusterSize => "pcluster size of the metadata",
            Self::Fingerprint => "fingerprints",
            Self::FingerprintNamespace => "namespace of fingerprints",
        })
    }
}

/// A value that a field cannot have, alone or beside the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct OptionError {
    /// The field.
    pub field: Field,
    /// What was found and what was wanted, in one line.
    pub rule: String,
}

impl OptionError {
    pub(crate) fn new(field: Field, found: impl Display, want: impl Display) -> Self {
        Self { field, rule: format!("found {found}, want {want}") }
    }
}
