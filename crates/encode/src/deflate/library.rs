//! libdeflate: its optimal parse for the highest levels, and whole inputs for the others.

use crate::codec::{Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::mixed::Whole;
use crate::sample::is_noise;
use crate::search::Search;

use super::ffi::Compressor;

/// libdeflate for whole inputs.
pub(super) struct All(Compressor);

impl All {
    /// An encoder of a level of libdeflate.
    ///
    /// # Errors
    ///
    /// When there is not enough memory.
    pub(super) fn new(params: &Params, level: i32) -> Result<Self, EncodeError> {
        let compressor = Compressor::new(level);
        compressor.map(Self).ok_or(EncodeError::Memory { algorithm: params.algorithm.name })
    }
}

impl Whole for All {
    fn encode(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if is_noise(src, dst.len()) {
            return None;
        }
        encode_all(&mut self.0, src, dst).filter(|&written| written < src.len())
    }
}

/// `deflate` and `libdeflate` from level 10 on.
pub(super) struct Library {
    all: All,
    search: Search,
    max_input: usize,
}

impl Library {
    pub(super) fn new(params: &Params, level: i32) -> Result<Self, EncodeError> {
        Ok(Self { all: All::new(params, level)?, search: Search::default(), max_input: params.max_input })
    }
}

/// Encodes all of `src`; its length when that is at most `dst.len()`.
fn encode_all(compressor: &mut Compressor, src: &[u8], dst: &mut [u8]) -> Option<usize> {
    let written = compressor.compress(src, dst)?;
    // A stored block that is not the last begins with a zero, which EROFS takes for padding. The bits behind
    // the three of its header have no meaning.
    if let Some(first @ 0) = dst.first_mut() {
        *first = 1 << 3;
    }
    Some(written)
}

impl PrefixEncoder for Library {
    fn begin_segment(&mut self) {
        self.search.begin_segment();
    }

    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        if is_noise(src, dst.len()) {
            return Prefix::default();
        }
        let src = src.get(..self.max_input).unwrap_or(src);
        let compressor = &mut self.all.0;
        let prefix = self.search.fit(src, dst, &mut |src, dst| encode_all(compressor, src, dst));
        if prefix.written < prefix.consumed { prefix } else { Prefix::default() }
    }

    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        encode_all(&mut self.all.0, src, dst).filter(|&written| written < src.len())
    }
}
