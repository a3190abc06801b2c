//! From bytes to pclusters: where each begins and ends, and what it holds. Pure; knows no file and no address.
//!
//! Every pcluster is filled: the encoder takes as much content as fits into it, so only the last one of a file or
//! segment is cut to fewer blocks. Whatever would not become smaller is stored plain, block by block.

use std::ops::Range;

use erofs_encode::{EncodeError, Params, PrefixEncoder, is_noise};
use erofs_format::compression::Algorithm;

/// How much the last pcluster may exceed a block boundary, per block that it has, for the stronger encoder to be tried:
/// in most cases it then ends before the boundary, which saves a block.
const SQUEEZE_PER_BLOCK: usize = 200;

/// What is left of a file goes to the packed inode if it has at most as much content as so many pclusters: compressed, it
/// would mostly be shorter than one. Together with its neighbours it becomes smaller, and it is encoded only once.
const FRAGMENT_REACH: usize = 3;

/// DEFLATE pclusters that start and end anywhere take a multiple of so many bytes, zeros in front. Linux
/// (`z_erofs_deflate_decompress`) gives up when the output is complete and the page ends, although the mark of the end of the
/// stream, at most 22 bits with the filling, is on the next page. So no page boundary may lie within the last three bytes.
const DEFLATE_GRANULE: usize = 4;

/// A pcluster, or a block that is stored plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of content.
    pub(crate) length: u32,
    /// Bytes that it takes in the image, padding included.
    pub(crate) stored: u32,
    /// Whether the content stands there as it is.
    pub(crate) plain: bool,
}

/// What is left at the end of a file for another place than the data area.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Rest {
    /// Nothing.
    #[default]
    Nothing,
    /// A last pcluster that stands behind the inode.
    Inline {
        /// Bytes of content.
        length: u32,
        /// Whether the content stands there as it is.
        plain: bool,
        /// What stands there.
        bytes: Vec<u8>,
    },
    /// This many bytes of content belong to the packed inode.
    Fragment(u32),
}

/// An encoded file or segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Encoded {
    /// In the order of the content, without gaps.
    pub(crate) extents: Vec<Extent>,
    /// Where the unit's buffer has what the extents hold, one behind the other.
    pub(crate) bytes: Range<usize>,
    /// The content behind the extents.
    pub(crate) rest: Rest,
    /// Whether anything became smaller, so that it is worth being stored compressed.
    pub(crate) smaller: bool,
}

/// What may become of the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Blocks of the data area.
    Blocks,
    /// A place behind the inode, for up to this many bytes.
    Inline(usize),
    /// The packed inode.
    Fragment,
}

/// The sizes that rule a file's pclusters, all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) block: usize,
    /// The largest pcluster.
    pub(crate) pcluster: usize,
    /// The most content of one pcluster.
    pub(crate) input: usize,
    /// Pclusters start at any byte and have no padding.
    pub(crate) tight: bool,
    /// A last pcluster that exceeds a block boundary by little is tried again with more effort.
    pub(crate) squeeze: bool,
}

/// What is being encoded.
struct Output<'b> {
    encoded: Encoded,
    bytes: &'b mut Vec<u8>,
}

/// An encoder with what it needs to be used again and again.
pub(crate) struct Coder {
    sizes: Sizes,
    main: Box<dyn PrefixEncoder>,
    stronger: Option<Box<dyn PrefixEncoder>>,
    scratch: Vec<u8>,
    again: Vec<u8>,
    /// Pclusters without blocks take a multiple of so many bytes.
    granule: usize,
}

impl Coder {
    /// An encoder for `params` and the pclusters of `sizes`.
    pub(crate) fn new(params: &Params, sizes: Sizes) -> Result<Self, EncodeError> {
        let stronger = if sizes.squeeze { erofs_encode::encoder_stronger(params) } else { None };
        let main = erofs_encode::encoder(params)?;
        let (scratch, again) = (vec![0; sizes.pcluster], Vec::new());
        let is_deflate = params.algorithm.number == Algorithm::Deflate.number();
        let granule = if sizes.tight && is_deflate { DEFLATE_GRANULE } else { 1 };
        Ok(Self { sizes, main, stronger, scratch, again, granule })
    }

    /// The block size in bytes.
    pub(super) fn block(&self) -> usize {
        self.sizes.block
    }

    /// Encodes a file or a segment of one behind what is in `bytes`; `end` says what may become of its end, if that is
    /// the file's.
    pub(crate) fn encode(&mut self, source: &[u8], end: End, bytes: &mut Vec<u8>) -> Encoded {
        self.main.begin_segment();
        let start = bytes.len();
        let mut out = Output { encoded: Encoded::default(), bytes };
        self.fill(source, end, &mut out);
        let Output { mut encoded, bytes } = out;
        // What follows starts at a multiple of the granule as well.
        bytes.resize(start + (bytes.len() - start).next_multiple_of(self.granule), 0);
        encoded.bytes = start..bytes.len();
        encoded
    }

    fn fill(&mut self, source: &[u8], end: End, out: &mut Output<'_>) {
        let mut at = 0;
        let mut failed = false;
        while at < source.len() {
            let rest = &source[at..];
            if end == End::Fragment && rest.len() <= FRAGMENT_REACH * self.sizes.pcluster {
                out.encoded.rest = Rest::Fragment(narrow(rest.len()));
                out.encoded.smaller = true;
                break;
            }
            if failed && is_noise(rest, self.sizes.pcluster) {
                at += self.plain(rest, self.sizes.pcluster, out);
                continue;
            }
            let taken = self.step(rest, end, out);
            failed = taken == 0;
            at += if failed { self.fail(rest, end, out) } else { taken };
            if !matches!(out.encoded.rest, Rest::Nothing) {
                break;
            }
        }
    }

    /// Encodes the next pcluster; 0 if that would not make it smaller.
    fn step(&mut self, rest: &[u8], end: End, out: &mut Output<'_>) -> usize {
        let Sizes { block, pcluster, input, tight, .. } = self.sizes;
        if rest.len() <= block && !tight && !matches!(end, End::Inline(_)) {
            return 0;
        }
        let source = &rest[..rest.len().min(input)];
        let room = &mut self.scratch[..pcluster];
        // A pcluster that ends anywhere need not be full.
        let found =
            if tight { self.main.encode_loose(source, room) } else { self.main.encode_prefix(source, room) };
        // A first byte of zero would be taken for padding.
        if found.consumed == 0 || found.written == 0 || self.scratch[0] == 0 {
            return 0;
        }
        let (mut consumed, mut written) = (found.consumed, found.written);
        let is_end = consumed == rest.len();
        if is_end && let End::Inline(limit) = end {
            if written <= limit && written < consumed {
                let bytes = self.scratch[..written].to_vec();
                out.encoded.rest = Rest::Inline { length: narrow(consumed), plain: false, bytes };
                out.encoded.smaller = true;
                return consumed;
            }
            (consumed, written) = self.cut(rest, consumed, written);
        } else if is_end && end == End::Fragment {
            (consumed, written) = self.cut(rest, consumed, written);
        } else if is_end && !tight {
            written = self.squeeze(rest, written);
        }
        let is_end = consumed == rest.len();
        let stored = written.next_multiple_of(if tight { self.granule } else { block });
        let instead = if is_end && !tight { consumed.next_multiple_of(block) } else { consumed };
        if stored >= instead || (!tight && !is_end && consumed < block) {
            return 0;
        }
        out.encoded.smaller = true;
        out.bytes.resize(out.bytes.len() + stored - written, 0);
        out.bytes.extend_from_slice(&self.scratch[..written]);
        out.encoded.extents.push(Extent { length: narrow(consumed), stored: narrow(stored), plain: false });
        consumed
    }

    /// Cuts a last pcluster of more than a block at its last block boundary, so that what is left is short. Leaves the
    /// bytes in `scratch`.
    fn cut(&mut self, rest: &[u8], consumed: usize, written: usize) -> (usize, usize) {
        let whole = written / self.sizes.block * self.sizes.block;
        if whole == 0 || whole == written {
            return (consumed, written);
        }
        self.again.resize(whole, 0);
        let found = self.main.encode_prefix(&rest[..consumed], &mut self.again);
        if found.consumed < self.sizes.block || self.again[0] == 0 {
            return (consumed, written);
        }
        self.scratch[..found.written].copy_from_slice(&self.again[..found.written]);
        (found.consumed, found.written)
    }

    /// Tries harder where the last pcluster exceeds a block boundary by little. Leaves the bytes in `scratch`.
    fn squeeze(&mut self, rest: &[u8], written: usize) -> usize {
        let block = self.sizes.block;
        let (blocks, excess) = (written / block, written % block);
        if blocks == 0 || excess == 0 || excess > SQUEEZE_PER_BLOCK * blocks {
            return written;
        }
        let Some(stronger) = &mut self.stronger else { return written };
        self.again.resize(blocks * block, 0);
        let found = stronger.encode_prefix(rest, &mut self.again);
        if found.consumed != rest.len() || self.again[0] == 0 {
            return written;
        }
        self.scratch[..found.written].copy_from_slice(&self.again[..found.written]);
        found.written
    }

    /// Stores what did not become smaller.
    fn fail(&self, rest: &[u8], end: End, out: &mut Output<'_>) -> usize {
        if let End::Inline(limit) = end
            && rest.len() <= limit
        {
            out.encoded.rest = Rest::Inline { length: narrow(rest.len()), plain: true, bytes: rest.to_vec() };
            return rest.len();
        }
        let limit = if self.sizes.tight { self.sizes.pcluster } else { self.sizes.block };
        self.plain(rest, limit, out)
    }

    /// Stores up to `limit` bytes plain: in whole blocks, or at any byte where that is allowed.
    fn plain(&self, rest: &[u8], limit: usize, out: &mut Output<'_>) -> usize {
        let Sizes { block, tight, .. } = self.sizes;
        let content = &rest[..rest.len().min(limit)];
        for piece in content.chunks(if tight { limit } else { block }) {
            let stored = if tight { piece.len() } else { block };
            out.encoded.extents.push(Extent {
                length: narrow(piece.len()),
                stored: narrow(stored),
                plain: true,
            });
            out.bytes.extend_from_slice(piece);
            out.bytes.resize(out.bytes.len() + stored - piece.len(), 0);
        }
        content.len()
    }
}

/// Nothing here is longer than a segment.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with a number and pieces that hardly shrink.
    fn content() -> Vec<u8> {
        let mut state = 1_u32;
        let mut content = Vec::new();
        for number in 0..20_000 {
            content.extend_from_slice(format!("line {number}: {}\n", number * 7919 % 1009).as_bytes());
            if number % 1000 < 200 {
                for _ in 0..20 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    content.push(state.to_le_bytes()[3]);
                }
            }
        }
        content
    }

    #[test]
    fn deflate_without_blocks_keeps_the_ends_of_streams_off_page_boundaries() {
        let source = content();
        for (name, granule) in [("deflate", 4), ("libdeflate", 4), ("zstd", 1)] {
            let sizes = Sizes { block: 4096, pcluster: 4096, input: 8 << 20, tight: true, squeeze: false };
            let params = Params::new(erofs_encode::by_name(name).unwrap(), sizes.pcluster);
            let mut coder = Coder::new(&params, sizes).unwrap();
            let mut bytes = vec![1; 3];
            let encoded = coder.encode(&source, End::Blocks, &mut bytes);
            assert_eq!(encoded.bytes, 3..bytes.len());
            assert_eq!(encoded.bytes.len() % granule, 0, "{name}");
            let mut at = encoded.bytes.start;
            let mut content = 0;
            for extent in &encoded.extents {
                let stored = &bytes[at..at + extent.stored as usize];
                if !extent.plain {
                    assert_eq!(stored.len() % granule, 0, "{name}");
                    let zeros = stored.iter().take_while(|&&byte| byte == 0).count();
                    assert!(zeros < granule, "{name}: {zeros} zeros in front");
                }
                at += stored.len();
                content += extent.length as usize;
            }
            assert!(content == source.len() && bytes.len() - at < granule, "{name}");
            assert!(encoded.extents.len() > 20 && encoded.smaller, "{name}");
        }
    }
}
