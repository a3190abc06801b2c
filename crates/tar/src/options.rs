//! What is read and how much of it.

/// How archives are read. All limits hold whatever an archive claims: memory is taken only for bytes that
/// came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Archives that [other programs read differently](crate::Error::Differs) are read by the rules of this
    /// crate, and a missing end marker and bytes behind it are no errors. Off by default.
    pub lenient: bool,
    /// Several archives in a row are read as one (`tar --ignore-zeros`): behind an end marker and any number
    /// of zero blocks another header may come. Off by default.
    pub concatenated: bool,
    /// The longest path and the longest target of a link, in bytes; 4096 by default (Linux's `PATH_MAX`).
    pub max_name: usize,
    /// The longest header of PAX records, and how much all global records may take, in bytes; 1 MiB by
    /// default.
    pub max_pax: usize,
    /// The most data segments of a sparse file; 1,048,576 by default. Each takes 16 bytes.
    pub max_segments: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { lenient: false, concatenated: false, max_name: 4096, max_pax: 1 << 20, max_segments: 1 << 20 }
    }
}
