//! Squeezing: a whole input into an output that it only just does not fit into.

use super::frame::FrameEncoder;
use super::library::Library;
use crate::codec::{Prefix, PrefixEncoder};
use crate::error::EncodeError;
use crate::mixed::Whole as _;

/// libzstd's best parser, which is slow, is tried when the parser before it left at most this share of the
/// input out.
const WITHIN_REACH: usize = 64;

/// First the single-pass encoder at its best, then libzstd. It is all of the input or nothing.
pub(super) struct Stronger {
    chain: Option<FrameEncoder>,
    library: Library,
}

impl Stronger {
    pub(super) fn new(chain: Option<FrameEncoder>, library: Library) -> Self {
        Self { chain, library }
    }
}

impl PrefixEncoder for Stronger {
    fn encode_prefix(&mut self, src: &[u8], dst: &mut [u8]) -> Prefix {
        if let Some(chain) = &mut self.chain {
            chain.begin_segment();
            let prefix = chain.encode_prefix(src, dst);
            if prefix.consumed == src.len() {
                return prefix;
            }
            if src.len() - prefix.consumed > src.len() / WITHIN_REACH {
                return Prefix::default();
            }
        }
        let written = self.encode_whole(src, dst);
        written.map_or(Prefix::default(), |written| Prefix { consumed: src.len(), written })
    }

    fn encode_whole(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if src.is_empty() { None } else { self.library.encode(src, dst) }
    }

    fn failure(&mut self) -> Option<EncodeError> {
        self.library.failure()
    }
}
