//! One part of a file on its own: what stands between references, before a cut or behind one.

use super::pcluster::{Coder, Encoded, End, Extent};

/// Encodes a part of a file that starts at an lcluster, behind what is in `bytes`. If something else starts
/// at its end (`inner`), its last extent is no shorter than a block: an index tells of one start in each
/// lcluster, and whoever refers to this part may have its lclusters elsewhere.
///
/// Pclusters of three blocks are allowed for inner parts, and one that ends within an lcluster has at least
/// two blocks.
pub(crate) fn encode(
    coder: &mut Coder,
    source: &[u8],
    end: End,
    inner: bool,
    bytes: &mut Vec<u8>,
) -> Encoded {
    if inner { attempt(coder, source, ATTEMPTS, bytes) } else { coder.encode(source, end, bytes) }
}

/// How often the end of a part is moved until nothing in it is short.
const ATTEMPTS: u32 = 6;

/// Encodes an inner part. If its last extent gets too short, the last blocks become a part of their own.
fn attempt(coder: &mut Coder, source: &[u8], attempts: u32, bytes: &mut Vec<u8>) -> Encoded {
    let block = coder.block();
    let start = bytes.len();
    let mut encoded = coder.encode(source, End::Blocks, bytes);
    if encoded.extents.last().is_none_or(|last| last.length as usize >= block) || merge(&mut encoded, block) {
        return encoded;
    }
    bytes.truncate(start);
    let edge = source.len() / block * block;
    let (body, rest) = source.split_at(edge.saturating_sub(2 * block));
    let mut encoded = match attempts {
        0 => plain(body, block, bytes),
        _ => attempt(coder, body, attempts - 1, bytes),
    };
    let middle = bytes.len();
    let mut last = coder.encode(rest, End::Blocks, bytes);
    if last.extents.len() != 1 {
        bytes.truncate(middle);
        last = plain(rest, block, bytes);
    }
    encoded.extents.append(&mut last.extents);
    encoded.bytes = start..bytes.len();
    encoded.smaller |= last.smaller;
    encoded
}

/// Makes a short last block and the two before it one extent, if all of them are plain.
fn merge(encoded: &mut Encoded, block: usize) -> bool {
    let [.., first, second, last] = encoded.extents[..] else { return false };
    let whole =
        [first, second].iter().all(|extent| extent.algorithm.is_none() && extent.length as usize == block);
    if !whole || last.algorithm.is_some() {
        return false;
    }
    let length = first.length + second.length + last.length;
    let stored = first.stored + second.stored + last.stored;
    encoded.extents.truncate(encoded.extents.len() - 3);
    encoded.extents.push(Extent { length, stored, algorithm: None });
    true
}

/// Stores blocks as they are; in one extent if the last one is not whole.
fn plain(content: &[u8], block: usize, bytes: &mut Vec<u8>) -> Encoded {
    let stored = content.len().next_multiple_of(block);
    let piece = if stored == content.len() { block } else { stored };
    let narrow = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let extents = content
        .chunks(piece)
        .map(|bytes| Extent { length: narrow(bytes.len()), stored: narrow(piece), algorithm: None })
        .collect();
    let padded = bytes.len() + stored;
    bytes.extend_from_slice(content);
    bytes.resize(padded, 0);
    Encoded { extents, ..Encoded::default() }
}

#[cfg(test)]
mod tests {
    use super::super::pcluster::Sizes;
    use super::*;
    use erofs_testkit::content::{noise, text};

    fn coder(algorithm: &str, pcluster: usize) -> Coder {
        let sizes = Sizes {
            block: 4096,
            pcluster,
            input: erofs_encode::MAX_INPUT,
            unaligned: false,
            plain: 4096,
            squeeze: false,
            interlaced: false,
        };
        let row = erofs_encode::by_name(algorithm).unwrap();
        Coder::new(&erofs_encode::Params::new(row, pcluster), sizes).unwrap()
    }

    #[test]
    fn no_extent_of_an_inner_part_is_shorter_than_a_block() {
        let mixed = [noise(1, 70_000), text(2, 300_000), noise(3, 50_000)].concat();
        // Every extent of this one is as long as the others, and the last one is short again and again.
        let even: Vec<u8> = text(6, 3000).into_iter().cycle().take(400_000).collect();
        for (name, content) in
            [("noise", noise(4, 400_000)), ("text", text(5, 400_000)), ("mixed", mixed), ("even", even)]
        {
            for (algorithm, pcluster) in [("lz4", 12_288), ("lz4", 65_536), ("zstd", 65_536)] {
                let mut coder = coder(algorithm, pcluster);
                for length in [4096, 8192, 8193, 12_288, 12_289, 20_000, 20_480, 65_537, 300_001, 389_120] {
                    let mut bytes = vec![1; 10];
                    let encoded = encode(&mut coder, &content[..length], End::Blocks, true, &mut bytes);
                    let case = format!("{name} {algorithm} {pcluster} {length}");
                    let sum: u32 = encoded.extents.iter().map(|extent| extent.length).sum();
                    assert_eq!(sum as usize, length, "{case}");
                    let stored: u32 = encoded.extents.iter().map(|extent| extent.stored).sum();
                    assert_eq!(encoded.bytes, 10..10 + stored as usize, "{case}");
                    assert_eq!(bytes.len(), encoded.bytes.end, "{case}");
                    for extent in &encoded.extents {
                        let Extent { length, stored, .. } = *extent;
                        assert!(length >= 4096 && (stored == 4096 || length >= 8192), "{case}: {extent:?}");
                        assert!(stored as usize <= pcluster, "{case}: {extent:?}");
                    }
                }
            }
        }
    }
}
