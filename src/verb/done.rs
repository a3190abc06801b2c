//! The program's name, and what a verb came to: what every verb needs of the program.

/// The program's name in messages.
pub const NAME: &str = "erofs-ishare";

/// Whether all that was asked for was done. What was not has been said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Everything.
    Whole,
    /// Not everything.
    Partly,
    /// Everything, but the result is not what was asked for.
    Gate,
    /// What a verb with exit codes of its own says.
    Code(u8),
}

impl Done {
    pub(super) fn unless(failed: bool) -> Self {
        if failed { Self::Partly } else { Self::Whole }
    }
}
