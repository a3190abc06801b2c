//! libdeflate's optimal parse, for the highest levels.

use libdeflater::{CompressionLvl, Compressor};

use crate::codec::{Params, Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::sample::is_noise;
use crate::search::Search;

/// `deflate` and `libdeflate` from level 10 on.
pub(super) struct Library {
    compressor: Compressor,
    search: Search,
    max_input: usize,
}

impl Library {
    pub(super) fn new(params: &Params, level: i32) -> Result<Self, EncodeError> {
        let level = CompressionLvl::new(level).map_err(|error| EncodeError::Library {
            algorithm: params.algorithm.name,
            reason: format!("{error:?}"),
        })?;
        Ok(Self {
            compressor: Compressor::new(level),
            search: Search::default(),
            max_input: params.max_input,
        })
    }
}

/// Encodes all of `src`; its length when that is at most `dst.len()`.
fn encode_all(compressor: &mut Compressor, src: &[u8], dst: &mut [u8]) -> Option<usize> {
    let written = compressor.deflate_compress(src, dst).ok()?;
    // A stored block that is not the last begins with a zero, which EROFS takes for padding. The bits behind the three of
    // its header have no meaning.
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
        let compressor = &mut self.compressor;
        let prefix = self.search.fit(src, dst, &mut |src, dst| encode_all(compressor, src, dst));
        if prefix.written < prefix.consumed { prefix } else { Prefix::default() }
    }

    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let written = encode_all(&mut self.compressor, src, dst)?;
        (written < src.len()).then_some(written)
    }
}
