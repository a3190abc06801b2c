//! How far the work is, for whoever wants to show it.

/// A stage of making an image, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The source is walked. Entries are names found; bytes are not counted.
    Scan,
    /// The contents of files are read for the first time of two, to find equal parts. Entries are files;
    /// bytes are the bytes of their contents.
    Compare,
    /// The contents of files are read. Entries are files; bytes are the bytes of their contents.
    Content,
    /// Metadata is written. Entries are inodes; bytes are bytes written.
    Write,
}

/// Hears how the work goes on. Every method does nothing unless it is implemented.
///
/// Methods are called from any thread, `advance` from several at once; they should return quickly.
pub trait Progress: Sync {
    /// A stage begins. Totals are 0 where they are not known beforehand, as for [`Stage::Scan`].
    fn begin(&self, stage: Stage, total_entries: u64, total_bytes: u64) {
        let _ = (stage, total_entries, total_bytes);
    }

    /// So many more entries and bytes of the current stage are done.
    fn advance(&self, entries: u64, bytes: u64) {
        let _ = (entries, bytes);
    }

    /// The stage is over, whether it succeeded or not.
    fn end(&self, stage: Stage) {
        let _ = stage;
    }
}

/// Progress that nobody sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
