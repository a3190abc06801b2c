//! libzstd, for the levels whose parsers are its own, for whole inputs, and for squeezing.

use zstd_safe::{CCtx, CParameter};

use crate::error::EncodeError;
use crate::mixed::Whole;

/// A context of libzstd that is used again and again: one call does not depend on another.
pub(super) struct Library(CCtx<'static>);

impl Library {
    /// A context for `level` with a window of `window` bytes, a power of two.
    ///
    /// # Errors
    ///
    /// When libzstd has no memory for it or refuses a parameter.
    pub(super) fn new(level: i32, window: u32) -> Result<Self, EncodeError> {
        Self::with(level, window, &[])
    }

    /// The same with other parameters than the level's.
    ///
    /// # Errors
    ///
    /// Those of [`Library::new`].
    pub(super) fn with(level: i32, window: u32, more: &[CParameter]) -> Result<Self, EncodeError> {
        context(level, window, more).map(Self)
    }
}

/// A context for `level` with a window of `window` bytes, a power of two, and other parameters than the level's.
///
/// # Errors
///
/// When libzstd has no memory for it or refuses a parameter.
pub(super) fn context(level: i32, window: u32, more: &[CParameter]) -> Result<CCtx<'static>, EncodeError> {
    let refused = |code| EncodeError::Library {
        algorithm: "zstd",
        reason: zstd_safe::get_error_name(code).to_lowercase(),
    };
    let mut context = CCtx::try_create()
        .ok_or(EncodeError::Library { algorithm: "zstd", reason: "no memory for a context".to_owned() })?;
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(refused)?;
    context.set_parameter(CParameter::WindowLog(window.ilog2())).map_err(refused)?;
    for &parameter in more {
        context.set_parameter(parameter).map_err(refused)?;
    }
    Ok(context)
}

impl Whole for Library {
    /// One frame of all of `src`.
    fn encode(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.0.compress2(dst, src).ok()
    }
}
