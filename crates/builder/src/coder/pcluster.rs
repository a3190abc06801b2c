//! From bytes to pclusters: where each begins and ends, and what it holds. Pure; knows no file and no
//! address.
//!
//! Every pcluster is filled: the encoder takes as much content as fits into it, so only the last one of a
//! file or segment is cut to fewer blocks. Whatever would not become smaller is stored plain, block by block.
//! Where there is a second algorithm, each pcluster is tried with both.

use std::ops::Range;

use erofs_encode::{EncodeError, Params, PrefixEncoder, is_noise};
use erofs_format::compression::Algorithm;

/// How much the last pcluster may exceed a block boundary, per block that it has, for the stronger encoder to
/// be tried: in most cases it then ends before the boundary, which saves a block.
const SQUEEZE_PER_BLOCK: usize = 200;

/// What is left of a file goes to the packed inode if it has at most as much content as so many pclusters:
/// compressed, it would mostly be shorter than one. Together with its neighbours it becomes smaller, and it
/// is encoded only once.
const FRAGMENT_REACH: usize = 3;

/// DEFLATE pclusters that start and end anywhere take a multiple of so many bytes, zeros in front. Linux
/// (`z_erofs_deflate_decompress`) gives up when the output is complete and the page ends, although the mark
/// of the end of the stream, at most 22 bits with the filling, is on the next page. So no page boundary may
/// lie within the last three bytes.
const DEFLATE_GRANULE: u8 = 4;

/// A pcluster, or a block that is stored plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of content.
    pub(crate) length: u32,
    /// Bytes that it takes in the image, padding included.
    pub(crate) stored: u32,
    /// What encoded it; `None` where the content stands there as it is.
    pub(crate) algorithm: Option<Algorithm>,
}

/// What is left at the end of a file for another place than the data area.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Rest {
    /// Nothing.
    #[default]
    Nothing,
    /// A last pcluster that follows the inode.
    Inline {
        /// Bytes of content.
        length: u32,
        /// What encoded it; `None` where the content stands there as it is.
        algorithm: Option<Algorithm>,
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
    /// Without blocks, they start in the image at a multiple of so many bytes; 0 for any.
    pub(crate) granule: u8,
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
    pub(crate) unaligned: bool,
    /// The most content that is stored plain in one piece.
    pub(crate) plain: usize,
    /// A last pcluster that exceeds a block boundary by little is tried again with more effort.
    pub(crate) squeeze: bool,
    /// Plain blocks are interlaced (`Z_EROFS_COMPRESSION_INTERLACED`): each byte is at the same offset of its
    /// block as in the file.
    pub(crate) interlaced: bool,
}

/// What is being encoded.
struct Output<'b> {
    encoded: Encoded,
    bytes: &'b mut Vec<u8>,
}

/// A pcluster that could be the next one; its bytes are in the `scratch` of who tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    /// Bytes of content.
    consumed: usize,
    /// Bytes without padding.
    written: usize,
    /// Bytes with padding, where it does not follow the inode.
    stored: usize,
    /// It ends with the file.
    is_end: bool,
    /// It follows the inode.
    inline: bool,
}

/// One algorithm, with what it needs to be used again and again.
struct Encoder {
    algorithm: Algorithm,
    main: Box<dyn PrefixEncoder>,
    stronger: Option<Box<dyn PrefixEncoder>>,
    scratch: Vec<u8>,
    again: Vec<u8>,
}

/// The second algorithm of files that may have two.
struct Alternative {
    encoder: Encoder,
    /// It is taken if it costs at most so many percent more.
    percent: u8,
}

/// The encoders of a file.
pub(crate) struct Coder {
    sizes: Sizes,
    encoder: Encoder,
    alternative: Option<Alternative>,
    /// Pclusters without blocks take a multiple of so many bytes.
    granule: u8,
}

impl Coder {
    /// An encoder for `params` and the pclusters of `sizes`.
    pub(crate) fn new(params: &Params, sizes: Sizes) -> Result<Self, EncodeError> {
        let encoder = Encoder::new(params, sizes)?;
        let granule = encoder.granule(sizes);
        Ok(Self { sizes, encoder, alternative: None, granule })
    }

    /// The same with a second algorithm, whose pclusters are taken where they cost at most `percent` percent
    /// more.
    pub(crate) fn with_alternative(self, params: &Params, percent: u8) -> Result<Self, EncodeError> {
        let encoder = Encoder::new(params, self.sizes)?;
        let granule = self.granule.max(encoder.granule(self.sizes));
        Ok(Self { alternative: Some(Alternative { encoder, percent }), granule, ..self })
    }

    /// As [`PrefixEncoder::failure`]: what was encoded since this was asked last must not be used then.
    pub(crate) fn failure(&mut self) -> Option<EncodeError> {
        let second = self.alternative.as_mut().map(|alternative| &mut alternative.encoder);
        let encoders = [Some(&mut self.encoder), second].into_iter().flatten();
        let failed = encoders.flat_map(|encoder| [Some(&mut encoder.main), encoder.stronger.as_mut()]);
        failed.flatten().filter_map(|encoder| encoder.failure()).last()
    }

    /// The block size in bytes.
    pub(crate) fn block(&self) -> usize {
        self.sizes.block
    }

    /// Encodes a file or a segment of one behind what is in `bytes`; `end` says what may become of its end,
    /// if that is the file's. `source` starts at a block of the file where plain blocks are interlaced.
    pub(crate) fn encode(&mut self, source: &[u8], end: End, bytes: &mut Vec<u8>) -> Encoded {
        self.encoder.main.begin_segment();
        if let Some(alternative) = &mut self.alternative {
            alternative.encoder.main.begin_segment();
        }
        let start = bytes.len();
        let mut out = Output { encoded: Encoded::default(), bytes };
        self.fill(source, end, &mut out);
        let Output { mut encoded, bytes } = out;
        // What follows starts at a multiple of the granule as well.
        bytes.resize(start + (bytes.len() - start).next_multiple_of(self.granule.into()), 0);
        encoded.bytes = start..bytes.len();
        encoded.granule = self.granule;
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
            // Where in a block of the file the rest starts.
            let within = if self.sizes.interlaced { at % self.sizes.block } else { 0 };
            if failed && is_noise(rest, self.sizes.pcluster) {
                at += self.plain(rest, within, self.sizes.pcluster, out);
                continue;
            }
            let taken = self.step(rest, end, out);
            failed = taken == 0;
            at += if failed { self.fail(rest, within, end, out) } else { taken };
            if !matches!(out.encoded.rest, Rest::Nothing) {
                break;
            }
        }
    }

    /// Encodes the next pcluster; 0 if that would not make it smaller.
    fn step(&mut self, rest: &[u8], end: End, out: &mut Output<'_>) -> usize {
        let Self { sizes, encoder, alternative, granule } = self;
        if rest.len() <= sizes.block && !sizes.unaligned && !matches!(end, End::Inline(_)) {
            return 0;
        }
        let first = encoder.attempt(rest, end, *sizes, *granule);
        let mut chosen = first.map(|attempt| (attempt, &*encoder));
        if let Some(Alternative { encoder, percent }) = alternative
            && let Some(second) = match first {
                Some(first) if sizes.unaligned => encoder.attempt_same(rest, first, *granule),
                Some(_) | None => encoder.attempt(rest, end, *sizes, *granule),
            }
            && first.is_none_or(|first| first.yields_to(second, *percent))
        {
            chosen = Some((second, encoder));
        }
        let Some((attempt, encoder)) = chosen else { return 0 };
        let Attempt { consumed, written, stored, inline, .. } = attempt;
        let (bytes, algorithm) = (&encoder.scratch[..written], Some(encoder.algorithm));
        out.encoded.smaller = true;
        if inline {
            out.encoded.rest = Rest::Inline { length: narrow(consumed), algorithm, bytes: bytes.to_vec() };
        } else {
            out.bytes.resize(out.bytes.len() + stored - written, 0);
            out.bytes.extend_from_slice(bytes);
            let extent = Extent { length: narrow(consumed), stored: narrow(stored), algorithm };
            out.encoded.extents.push(extent);
        }
        consumed
    }

    /// Stores what did not become smaller.
    fn fail(&self, rest: &[u8], within: usize, end: End, out: &mut Output<'_>) -> usize {
        if let End::Inline(limit) = end
            && rest.len() <= limit
        {
            out.encoded.rest =
                Rest::Inline { length: narrow(rest.len()), algorithm: None, bytes: rest.to_vec() };
            return rest.len();
        }
        self.plain(rest, within, self.sizes.plain, out)
    }

    /// Stores up to `limit` bytes plain: in whole blocks, or at any byte where that is allowed. With `within`
    /// above 0 the blocks are interlaced: rotated by so many bytes.
    fn plain(&self, rest: &[u8], within: usize, limit: usize, out: &mut Output<'_>) -> usize {
        let Sizes { block, unaligned, plain, .. } = self.sizes;
        let content = &rest[..rest.len().min(limit)];
        for piece in content.chunks(plain) {
            let stored = if unaligned { piece.len() } else { block };
            out.encoded.extents.push(Extent {
                length: narrow(piece.len()),
                stored: narrow(stored),
                algorithm: None,
            });
            let padded = out.bytes.len() + stored;
            if within == 0 {
                out.bytes.extend_from_slice(piece);
            } else {
                // What lies in the file's next block comes first.
                let (here, next) = piece.split_at(piece.len().min(block - within));
                let head = out.bytes.len() + within;
                out.bytes.extend_from_slice(next);
                out.bytes.resize(head, 0);
                out.bytes.extend_from_slice(here);
            }
            out.bytes.resize(padded, 0);
        }
        content.len()
    }
}

impl Encoder {
    fn new(params: &Params, sizes: Sizes) -> Result<Self, EncodeError> {
        let stronger = if sizes.squeeze { erofs_encode::encoder_stronger(params)? } else { None };
        let main = erofs_encode::encoder(params)?;
        let algorithm = Algorithm::from_number(params.algorithm.number).unwrap_or(Algorithm::Lz4);
        let (mut scratch, mut again) = (Vec::new(), Vec::new());
        let reserved = [&mut scratch, &mut again].map(|buffer| buffer.try_reserve_exact(sizes.pcluster));
        if reserved.iter().any(Result::is_err) {
            return Err(EncodeError::Memory { algorithm: params.algorithm.name });
        }
        scratch.resize(sizes.pcluster, 0);
        Ok(Self { algorithm, main, stronger, scratch, again })
    }

    fn granule(&self, sizes: Sizes) -> u8 {
        if sizes.unaligned && self.algorithm == Algorithm::Deflate { DEFLATE_GRANULE } else { 1 }
    }

    /// Tries the next pcluster; `None` if that would not make it smaller.
    fn attempt(&mut self, rest: &[u8], end: End, sizes: Sizes, granule: u8) -> Option<Attempt> {
        let Sizes { block, pcluster, input, unaligned, .. } = sizes;
        let source = &rest[..rest.len().min(input)];
        let room = &mut self.scratch[..pcluster];
        // A pcluster that ends anywhere need not be full.
        let found = if unaligned {
            self.main.encode_loose(source, room)
        } else {
            self.main.encode_prefix(source, room)
        };
        // A first byte of zero would be taken for padding.
        if found.consumed == 0 || found.written == 0 || self.scratch[0] == 0 {
            return None;
        }
        let (mut consumed, mut written) = (found.consumed, found.written);
        let is_end = consumed == rest.len();
        if is_end && let End::Inline(limit) = end {
            if written <= limit && written < consumed {
                return Some(Attempt { consumed, written, stored: written, is_end, inline: true });
            }
            (consumed, written) = self.cut(rest, consumed, written, block);
        } else if is_end && end == End::Fragment {
            (consumed, written) = self.cut(rest, consumed, written, block);
        } else if is_end && !unaligned {
            written = self.squeeze(rest, written, block);
        }
        let is_end = consumed == rest.len();
        let stored = written.next_multiple_of(if unaligned { granule.into() } else { block });
        let instead = if is_end && !unaligned { consumed.next_multiple_of(block) } else { consumed };
        let pays = stored < instead && (unaligned || is_end || consumed >= block);
        pays.then_some(Attempt { consumed, written, stored, is_end, inline: false })
    }

    /// Tries the content of another attempt, where a pcluster need not be full: nothing is fairer to compare.
    fn attempt_same(&mut self, rest: &[u8], other: Attempt, granule: u8) -> Option<Attempt> {
        let written = self.main.encode_whole(&rest[..other.consumed], &mut self.scratch)?;
        let stored = written.next_multiple_of(granule.into());
        let pays = written > 0 && self.scratch[0] != 0 && stored < other.consumed;
        pays.then_some(Attempt { written, stored, ..other })
    }

    /// Cuts a last pcluster of more than a block at its last block boundary, so that what is left is short.
    /// Leaves the bytes in `scratch`.
    fn cut(&mut self, rest: &[u8], consumed: usize, written: usize, block: usize) -> (usize, usize) {
        let whole = written / block * block;
        if whole == 0 || whole == written {
            return (consumed, written);
        }
        self.again.resize(whole, 0);
        let found = self.main.encode_prefix(&rest[..consumed], &mut self.again);
        if found.consumed < block || self.again[0] == 0 {
            return (consumed, written);
        }
        self.scratch[..found.written].copy_from_slice(&self.again[..found.written]);
        (found.consumed, found.written)
    }

    /// Tries harder where the last pcluster exceeds a block boundary by little. Leaves the bytes in
    /// `scratch`.
    fn squeeze(&mut self, rest: &[u8], written: usize, block: usize) -> usize {
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
}

impl Attempt {
    /// Whether the alternative costs at most `percent` percent more stored bytes per byte of content. One
    /// that leaves a rest of what this one ends would take another block, so it has to end with the file too;
    /// and what follows the inode takes no block at all.
    fn yields_to(self, other: Self, percent: u8) -> bool {
        if self.is_end && !other.is_end || self.inline && !other.inline {
            return false;
        }
        // At most 1 MiB times 8 MiB times 200.
        let cost = |stored: usize, consumed: usize, percent: u64| stored as u64 * consumed as u64 * percent;
        cost(other.stored, self.consumed, 100) <= cost(self.stored, other.consumed, 100 + u64::from(percent))
    }
}

/// Nothing here is longer than a segment.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use erofs_testkit::content::{gaps, noise, text};

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
            let sizes = Sizes {
                block: 4096,
                pcluster: 4096,
                input: 8 << 20,
                unaligned: true,
                plain: 4096,
                squeeze: false,
                interlaced: false,
            };
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
                if extent.algorithm.is_some() {
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

    #[test]
    fn an_alternative_is_taken_if_it_costs_little_more() {
        let full =
            |consumed, stored| Attempt { consumed, written: stored, stored, is_end: false, inline: false };
        let last = |stored| Attempt { is_end: true, ..full(100_000, stored) };
        let inline = |stored| Attempt { is_end: true, inline: true, ..full(9000, stored) };
        for (name, first, second, percent, taken) in [
            ("as much content", full(100_000, 65_536), full(100_000, 65_536), 0, true),
            ("more content", full(100_000, 65_536), full(100_001, 65_536), 0, true),
            ("a byte less", full(100_000, 65_536), full(99_999, 65_536), 0, false),
            ("five percent less", full(105_000, 65_536), full(100_000, 65_536), 5, true),
            ("a byte less than that", full(105_001, 65_536), full(100_000, 65_536), 5, false),
            ("twice the bytes", full(100_000, 4096), full(100_000, 8192), 100, true),
            ("more than twice", full(100_000, 4096), full(100_000, 12_288), 100, false),
            ("as many last blocks", last(40_960), last(40_960), 0, true),
            ("a tenth more last blocks", last(40_960), last(45_056), 10, true),
            ("a tenth more where nine percent may be", last(40_960), last(45_056), 9, false),
            ("the end left to another pcluster", last(65_536), full(99_000, 65_536), 10, false),
            ("the end that the first does not reach", full(99_000, 65_536), last(65_536), 0, true),
            ("both behind the inode", inline(1000), inline(1050), 5, true),
            ("both, one longer", inline(1000), inline(1051), 5, false),
            (
                "a block instead of nothing",
                inline(4000),
                Attempt { inline: false, ..inline(4096) },
                100,
                false,
            ),
            ("nothing instead of a block", Attempt { inline: false, ..inline(4096) }, inline(4000), 0, true),
            ("the largest", full(8 << 20, 1 << 20), full(8 << 20, 1 << 20), 100, true),
        ] {
            assert_eq!(first.yields_to(second, percent), taken, "{name}");
        }
    }

    fn params(name: &str, sizes: Sizes) -> Params {
        Params::new(erofs_encode::by_name(name).unwrap(), sizes.pcluster)
    }

    #[test]
    fn content_decides_between_two_algorithms() {
        let source = [text(1, 300_000), gaps(2, 300_000), text(3, 200_000), noise(4, 100_000)].concat();
        let blocks = Sizes {
            block: 4096,
            pcluster: 4096,
            input: 8 << 20,
            unaligned: false,
            plain: 4096,
            squeeze: false,
            interlaced: false,
        };
        for (first, second) in [("zstd", "lz4"), ("deflate", "lz4"), ("lzma", "lz4hc")] {
            for (sizes, end) in [
                (blocks, End::Blocks),
                (Sizes { pcluster: 65_536, ..blocks }, End::Blocks),
                (Sizes { pcluster: 65_536, ..blocks }, End::Inline(4064)),
                (Sizes { unaligned: true, ..blocks }, End::Blocks),
                (Sizes { unaligned: true, pcluster: 65_536, plain: 65_536, ..blocks }, End::Fragment),
            ] {
                let case = format!("{first} {second} {sizes:?} {end:?}");
                let one = || Coder::new(&params(first, sizes), sizes).unwrap();
                let mut alone = Vec::new();
                one().encode(&source, end, &mut alone);
                for percent in [0, 5] {
                    let mut coder = one().with_alternative(&params(second, sizes), percent).unwrap();
                    let mut bytes = Vec::new();
                    let encoded = coder.encode(&source, end, &mut bytes);
                    let sum = |algorithm: &str| -> u32 {
                        let number = erofs_encode::by_name(algorithm).unwrap().number;
                        let of = |extent: &&Extent| {
                            extent.algorithm.is_some_and(|algorithm| algorithm.number() == number)
                        };
                        encoded.extents.iter().filter(of).map(|extent| extent.length).sum()
                    };
                    assert!(sum(first) > 300_000, "{case} {percent}: {}", sum(first));
                    assert!(percent == 0 || sum(second) > 100_000, "{case} {percent}: {}", sum(second));
                    assert!(percent > 0 || bytes.len() <= alone.len(), "{case}");
                    let rest = match &encoded.rest {
                        Rest::Nothing => 0,
                        Rest::Inline { length, .. } | Rest::Fragment(length) => *length,
                    };
                    let all: u32 = encoded.extents.iter().map(|extent| extent.length).sum();
                    assert_eq!((all + rest) as usize, source.len(), "{case}");
                    let stored: u32 = encoded.extents.iter().map(|extent| extent.stored).sum();
                    assert!(bytes.len() - (stored as usize) < encoded.granule.into(), "{case}");
                }
            }
        }
    }

    #[test]
    fn interlaced_blocks_have_each_byte_at_its_place() {
        let sizes = Sizes {
            block: 4096,
            pcluster: 8192,
            input: 8 << 20,
            unaligned: false,
            plain: 4096,
            squeeze: false,
            interlaced: true,
        };
        let source = [text(1, 70_001), noise(2, 60_000)].concat();
        let mut coder = Coder::new(&params("lz4", sizes), sizes).unwrap();
        let mut bytes = Vec::new();
        let encoded = coder.encode(&source, End::Blocks, &mut bytes);
        let (mut at, mut start, mut rotated) = (0, 0, 0);
        for Extent { length, stored, algorithm } in encoded.extents {
            let end = start + length as usize;
            if algorithm.is_none() {
                rotated += usize::from(start % 4096 != 0);
                let mut block = vec![0; 4096];
                for byte in start..end {
                    block[byte % 4096] = source[byte];
                }
                assert!(block == bytes[at..at + 4096], "{start} to {end}");
            }
            (at, start) = (at + stored as usize, end);
        }
        assert!(rotated > 5 && at == bytes.len() && start == source.len());
    }
}
