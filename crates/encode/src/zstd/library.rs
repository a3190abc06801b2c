//! libzstd, for the levels whose parsers are its own, for whole inputs, and for squeezing.

use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{CCtx, CParameter, ErrorCode};

use crate::error::EncodeError;
use crate::mixed::Whole;

/// The name of the algorithm in errors.
pub(super) const NAME: &str = "zstd";

/// A context of libzstd that is used again and again: one call does not depend on another.
pub(super) struct Library {
    context: CCtx<'static>,
    failure: Option<EncodeError>,
}

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
        Ok(Self { context: context(level, window, more)?, failure: None })
    }
}

/// A context for `level` with a window of `window` bytes, a power of two, and other parameters than the
/// level's.
///
/// # Errors
///
/// When libzstd has no memory for it or refuses a parameter.
pub(super) fn context(level: i32, window: u32, more: &[CParameter]) -> Result<CCtx<'static>, EncodeError> {
    let refused = |code| failure(code).unwrap_or(EncodeError::Memory { algorithm: NAME });
    let mut context = CCtx::try_create().ok_or(EncodeError::Memory { algorithm: NAME })?;
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
        match self.context.compress2(dst, src) {
            Ok(written) => Some(written),
            Err(code) => {
                self.failure = self.failure.take().or_else(|| failure(code));
                None
            }
        }
    }

    fn failure(&mut self) -> Option<EncodeError> {
        self.failure.take()
    }
}

/// What a code of libzstd means: nothing where only the output was too short.
pub(super) fn failure(code: ErrorCode) -> Option<EncodeError> {
    let is = |known: ZSTD_ErrorCode| code.wrapping_neg() == known as usize;
    if is(ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) {
        None
    } else if is(ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
        Some(EncodeError::Memory { algorithm: NAME })
    } else {
        Some(EncodeError::Library { algorithm: NAME, reason: zstd_safe::get_error_name(code).to_lowercase() })
    }
}
