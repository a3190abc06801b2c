//! What each file's inode needs, put together in the order of the plan once all places are known.

use erofs_algo::fingerprint::FingerprintKind;
use erofs_format::Nid;
use erofs_format::datalayout::DataLayout;
use erofs_image::{FileData, Image};
use erofs_tree::{InodeId, Progress};

use super::encoded::{Encoded, Starts};
use super::fingerprint::{self, File};
use super::refer::{PACKED, Piece, Pieces, Place, Referral, Referrals, named};
use crate::compress::{Body, Outcome, Spool};
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::key;
use crate::layout::compose::{HOLE, block_32};
use crate::layout::plan::{Plan, Shape};
use crate::options::{FingerprintOptions, FingerprintValue};
use crate::summary::Sums;

/// Contents are copied in pieces of this many bytes, a multiple of every block size.
const COPY_BYTES: usize = 1 << 20;

/// Everything that is known when places are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) original: &'a Image,
    pub(super) nids: &'a [Nid],
    pub(super) referrals: &'a Referrals,
    /// The block of the unified address space at which the original starts.
    pub(super) start: u32,
}

impl Work<'_> {
    /// Computes fingerprints, writes the blocks that the companion has of its own, and gathers what inodes need.
    pub(super) fn run(
        &self,
        image: &ImageFile,
        fingerprint: Option<&FingerprintOptions>,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<Outcome, BuildError> {
        let list = &self.referrals.list;
        let order: Vec<InodeId> =
            self.plan.order.iter().copied().filter(|id| list[id.index()].is_some()).collect();
        let values = match fingerprint.map(|wanted| wanted.value) {
            Some(FingerprintValue::Computed { kind, namespace }) => {
                self.fingerprints(&order, kind, namespace, threads, progress)?
            }
            Some(FingerprintValue::Source) | None => vec![Vec::new(); order.len()],
        };
        let bits = self.plan.block_bits;
        let gap = |block: &u64| (self.plan.data_at + block * bits.size(), bits.size());
        let mut outcome = Outcome {
            bodies: vec![None; list.len()],
            spool: Spool::new(image.scratch()),
            packed: None,
            unpacked: None,
            end: self.plan.data_at + self.referrals.room.own_blocks * bits.size(),
            gaps: self.referrals.room.gaps.iter().map(gap).collect(),
            key: 0,
            sums: Sums::default(),
        };
        let mut hash = key::Running::new();
        hash.add(&self.original.superblock().uuid);
        hash.add(&self.start.to_le_bytes());
        let mut keep = |referral: &Referral, value: &[u8], data: &FileData, outcome: &mut Outcome| {
            let (bytes, body) = self.body(referral, value, data, &mut outcome.sums, image)?;
            hash.add(&body.i_u.to_le_bytes());
            hash.add(&bytes);
            let at = outcome.spool.push(&bytes).map_err(BuildError::spool)?;
            Ok::<_, BuildError>(Body { at, ..body })
        };
        for (&id, value) in order.iter().zip(&values) {
            let Some(referral) = &list[id.index()] else { continue };
            let data = self.original.data(&self.original.inode(self.nids[id.index()])?)?;
            let body = keep(referral, value, &data, &mut outcome);
            outcome.bodies[id.index()] =
                Some(body.map_err(|error| named(error, &self.plan.tree.path_of(id)))?);
            outcome.sums.fingerprints += u64::from(!value.is_empty());
        }
        if let (Some((referral, size)), Some(data)) = (&self.referrals.packed, self.original.packed()) {
            let body = keep(referral, &[], data, &mut outcome).map_err(|error| named(error, PACKED))?;
            outcome.packed = Some((body, *size));
        }
        outcome.key = hash.finish();
        Ok(outcome)
    }

    fn fingerprints(
        &self,
        order: &[InodeId],
        kind: FingerprintKind,
        namespace: uuid::Uuid,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<u8>>, BuildError> {
        let files = order.iter().map(|id| {
            let size = self.plan.size_of(&self.plan.tree.inodes[id.index()]);
            File { nid: self.nids[id.index()], size }
        });
        fingerprint::all(self.original, &files.collect::<Vec<_>>(), kind, namespace, threads, progress)
    }

    /// The bytes of a body: fingerprint, table, tail. Its place in the spool is still to be told.
    fn body(
        &self,
        referral: &Referral,
        value: &[u8],
        data: &FileData,
        sums: &mut Sums,
        image: &ImageFile,
    ) -> Result<(Vec<u8>, Body), BuildError> {
        let shape = referral.shape(self.plan.block_bits);
        let mut bytes = value.to_vec();
        let i_u = match referral {
            Referral::Plain(pieces) => self.pieces(pieces, data, &mut bytes, sums, image)?,
            Referral::Encoded(encoded) => self.encoded(encoded, data, &mut bytes, sums, image)?,
        };
        let narrow = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let Shape { layout, table, tail } = shape;
        let body = Body { layout, i_u, at: 0, fingerprint: narrow(value.len()), table, tail };
        // What the spool holds of chunks has no devices yet, so that it may be shorter than the table.
        let table = narrow(bytes.len()) - body.fingerprint - tail;
        Ok((bytes, Body { table, ..body }))
    }

    /// Appends table and tail of a file that is not compressed; tells the union of its inode.
    fn pieces(
        &self,
        pieces: &Pieces,
        data: &FileData,
        bytes: &mut Vec<u8>,
        sums: &mut Sums,
        image: &ImageFile,
    ) -> Result<u32, BuildError> {
        let bits = self.plan.block_bits;
        let is_chunked = pieces.layout == DataLayout::ChunkBased;
        let mut i_u = 0;
        // The spool has blocks of the unified address space; devices come in when the inode is written.
        if is_chunked {
            i_u = pieces.chunk_format(bits).encode();
            self.table(pieces, bytes)?;
        }
        for piece in &pieces.list {
            match piece.place {
                Place::Hole => sums.hole_bytes += piece.length,
                Place::Original(block) if !is_chunked => i_u = block_32(block + u64::from(self.start))?,
                Place::Original(_) => {}
                Place::Own(block) => self.copy(data, piece, block, sums, image)?,
                Place::Inline => {
                    let tail_at = bytes.len();
                    bytes.resize(tail_at + usize::try_from(piece.length).unwrap_or(usize::MAX), 0);
                    data.read_range(piece.start, &mut bytes[tail_at..])?;
                    sums.stored_bytes += piece.length;
                }
            }
        }
        Ok(i_u)
    }

    /// Copies a piece to the blocks of the companion from `block` on.
    fn copy(
        &self,
        data: &FileData,
        piece: &Piece,
        mut block: u64,
        sums: &mut Sums,
        image: &ImageFile,
    ) -> Result<(), BuildError> {
        let bits = self.plan.block_bits;
        let (mut at, end) = (piece.start, piece.start + piece.length);
        while at < end {
            let length = usize::try_from(end - at).map_or(COPY_BYTES, |rest| rest.min(COPY_BYTES));
            let mut bytes = vec![0; length];
            data.read_range(at, &mut bytes)?;
            bytes.resize(length.next_multiple_of(bits.bytes()), 0);
            self.write_own(block, &bytes, sums, image)?;
            block += bits.blocks_floor(bytes.len() as u64);
            at += length as u64;
        }
        Ok(())
    }

    /// Appends map header, index and tail of a compressed file; tells the union of its inode.
    fn encoded(
        &self,
        encoded: &Encoded,
        data: &FileData,
        bytes: &mut Vec<u8>,
        sums: &mut Sums,
        image: &ImageFile,
    ) -> Result<u32, BuildError> {
        let starts = Starts { original: u64::from(self.start), own: self.first_own() };
        let (table, tail) = encoded.bytes(data, &self.referrals.room, starts)?;
        bytes.extend_from_slice(&table);
        if let Some(block) = encoded.own() {
            self.write_own(block, &tail, sums, image)?;
        } else {
            bytes.extend_from_slice(&tail);
            sums.stored_bytes += tail.len() as u64;
        }
        Ok(encoded.blocks)
    }

    /// The first block of the companion that holds contents.
    fn first_own(&self) -> u64 {
        self.plan.block_bits.blocks_floor(self.plan.data_at)
    }

    fn write_own(
        &self,
        block: u64,
        bytes: &[u8],
        sums: &mut Sums,
        image: &ImageFile,
    ) -> Result<(), BuildError> {
        let bits = self.plan.block_bits;
        image.write_at((self.first_own() + block) * bits.size(), bytes)?;
        sums.stored_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Appends the first block of each chunk.
    fn table(&self, referral: &Pieces, out: &mut Vec<u8>) -> Result<(), BuildError> {
        let bits = self.plan.block_bits;
        let mut pieces = referral.list.iter().peekable();
        for chunk in 0..referral.chunks() {
            let at = chunk << referral.chunk_bits;
            while pieces.peek().is_some_and(|piece| piece.start + piece.length <= at) {
                pieces.next();
            }
            let Some(piece) = pieces.peek() else {
                return Err(BuildError::Internal("a chunk behind the end of its file".into()));
            };
            let skip = bits.blocks_floor(at - piece.start);
            let block = match piece.place {
                Place::Hole => HOLE,
                Place::Original(block) => block_32(block + skip + u64::from(self.start))?,
                Place::Own(block) => block_32(self.first_own() + block + skip)?,
                Place::Inline => return Err(BuildError::Internal("a chunk behind its inode".into())),
            };
            out.extend_from_slice(&block.to_le_bytes());
        }
        Ok(())
    }
}
