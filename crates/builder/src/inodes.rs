//! Writing inodes whose data has its place: those of directories, links and special files, and, where contents come first,
//! those of files. Places are known, so the order is free: inodes are written in the order of their places, a stretch of
//! the area at a time, by several threads.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;

use erofs_format::map_header::MapHeader;
use erofs_tree::{InodeId, Kind};

use crate::compress::{Outcome, Spool};
use crate::content::Inodes;
use crate::error::BuildError;
use crate::layout::compose::Data;
use crate::layout::dirs;
use crate::layout::plan::Plan;
use crate::metabox::InodeArea;
use crate::pour::Pouring;

/// How much of the area a thread writes at a time, in bytes.
const STRETCH: u64 = 1 << 20;
/// Longer bodies are read from the spool one by one, so that a stretch does not need much memory.
const BODY_LONG: u64 = STRETCH / 4;
/// Bodies that are no farther from each other than this are read at once, as long as no more than a stretch is read in vain.
const BODY_GAP: u64 = 4096;

/// Writes everything that is not a regular file with content.
pub(crate) fn write_others(
    pouring: &Pouring<'_>,
    area: InodeArea<'_>,
    place: &(impl Fn(InodeId) -> u64 + Sync),
) -> Result<(), BuildError> {
    let is_other = |id: &InodeId| !has_content(pouring.plan, *id);
    let ids = pouring.plan.order.iter().copied().filter(is_other).collect();
    Writer::new(pouring, area, place).write(ids)
}

/// Writes all inodes of the tree; contents are placed already.
pub(crate) fn write_all(
    pouring: &Pouring<'_>,
    area: InodeArea<'_>,
    place: &(impl Fn(InodeId) -> u64 + Sync),
    outcome: &mut Outcome,
) -> Result<(), BuildError> {
    let mut writer = Writer::new(pouring, area, place);
    if let Some(packed) = &mut outcome.unpacked {
        writer.pack_directories(packed)?;
    }
    let ids = pouring.plan.order.clone();
    Writer { outcome: Some(outcome), ..writer }.write(ids)
}

fn has_content(plan: &Plan<'_>, id: InodeId) -> bool {
    matches!(plan.tree.inodes[id.index()].kind, Kind::File { size, .. } if size != 0)
}

/// What writing an inode may have to know.
struct Writer<'a, P> {
    pouring: &'a Pouring<'a>,
    area: InodeArea<'a>,
    place: &'a P,
    /// The parent of each directory.
    parents: HashMap<InodeId, InodeId>,
    /// Where directories start in the packed inode, if they are there.
    packed: BTreeMap<InodeId, u64>,
    /// Where contents are, if they are written with the inodes.
    outcome: Option<&'a Outcome>,
}

impl<'a, P: Fn(InodeId) -> u64 + Sync> Writer<'a, P> {
    fn new(pouring: &'a Pouring<'a>, area: InodeArea<'a>, place: &'a P) -> Self {
        let parents = parents(pouring.plan);
        Self { pouring, area, place, parents, packed: BTreeMap::new(), outcome: None }
    }

    /// Adds the bytes of all directories to the packed inode.
    fn pack_directories(&mut self, packed: &mut Spool) -> Result<(), BuildError> {
        let plan = self.pouring.plan;
        for &id in plan.order.iter().filter(|id| plan.tree.inodes[id.index()].is_directory()) {
            let offset = packed.push(&self.directory(id)?).map_err(BuildError::spool)?;
            self.packed.insert(id, offset);
        }
        Ok(())
    }

    /// Writes the inodes, and what they share.
    fn write(&self, mut ids: Vec<InodeId>) -> Result<(), BuildError> {
        let plan = self.pouring.plan;
        let place = |id: &InodeId| plan.placed[id.index()].at;
        ids.sort_unstable_by_key(place);
        let stretches: Vec<&[InodeId]> =
            ids.chunk_by(|a, b| place(a) / STRETCH == place(b) / STRETCH).collect();
        erofs_threads::each("inodes", crate::threads(self.pouring.options), &stretches, |ids, window| {
            self.stretch(ids, window)?;
            self.pouring.progress.advance(ids.len() as u64, 0);
            Ok::<_, BuildError>(())
        })?;
        // They stand between two inodes, where there may be zeros by now.
        self.area.write_at(plan.xattrs.shared_at(), plan.xattrs.shared_area())
    }

    /// Writes inodes in ascending order of their places.
    fn stretch(&self, ids: &[InodeId], window: &mut Window) -> Result<(), BuildError> {
        let plan = self.pouring.plan;
        // Where files were written before, there may be one between any two of the others.
        let mut out =
            if self.outcome.is_some() { Inodes::all(plan.block_bits) } else { Inodes::among_others() };
        if let Some(outcome) = self.outcome {
            let bodies = ids.iter().filter_map(|id| outcome.bodies[id.index()]);
            window.read(&outcome.spool, bodies.map(|body| body.range())).map_err(BuildError::spool)?;
        }
        for &id in ids {
            match &plan.tree.inodes[id.index()].kind {
                Kind::File { size, .. } if *size != 0 => self.file(id, window, &mut out)?,
                Kind::Directory { .. } => match self.packed.get(&id) {
                    Some(&offset) => self.packed_directory(id, offset, &mut out)?,
                    None => self.inode(id, &self.directory(id)?, &mut out)?,
                },
                Kind::Symlink { target } => self.inode(id, target, &mut out)?,
                Kind::File { .. }
                | Kind::CharDevice { .. }
                | Kind::BlockDevice { .. }
                | Kind::Fifo
                | Kind::Socket => self.inode(id, &[], &mut out)?,
            }
        }
        out.flush(self.area)
    }

    /// Adds the inode of a regular file whose content is placed already.
    fn file(&self, id: InodeId, window: &mut Window, out: &mut Inodes) -> Result<(), BuildError> {
        let plan = self.pouring.plan;
        let missing = |what: &str| {
            let path = crate::error::shown(&plan.tree.path_of(id));
            BuildError::Internal(format!("{path}: {what}"))
        };
        let Some((outcome, body)) =
            self.outcome.and_then(|outcome| Some((outcome, outcome.bodies[id.index()]?)))
        else {
            return Err(missing("its content was not stored"));
        };
        let bytes = window.get(&outcome.spool, body.range()).map_err(BuildError::spool)?;
        let stored = body.of(bytes)?;
        let fingerprint = Some(stored.fingerprint).filter(|value| !value.is_empty());
        if plan.wants_fingerprints() && fingerprint.is_none() {
            return Err(missing("no fingerprint was made"));
        }
        self.add(id, &stored.data, fingerprint, stored.tail, out)
    }

    /// Adds an inode whose data is metadata, and writes the whole blocks of that to where the plan put them; the rest
    /// comes behind the inode.
    fn inode(&self, id: InodeId, bytes: &[u8], out: &mut Inodes) -> Result<(), BuildError> {
        let Pouring { plan, image, .. } = *self.pouring;
        let placed = &plan.placed[id.index()];
        let tail = placed.reserved as usize;
        let (blocks, tail) = bytes.split_at(bytes.len() - tail.min(bytes.len()));
        if !blocks.is_empty() {
            if placed.blocks_at == 0 {
                let path = crate::error::shown(&plan.tree.path_of(id));
                return Err(BuildError::Internal(format!("{path}: no place was planned for its blocks")));
            }
            image.write_at(placed.blocks_at, blocks)?;
        }
        let data = Data::Flat { start: plan.block_bits.blocks_floor(placed.blocks_at) };
        self.add(id, &data, None, tail, out)
    }

    /// Adds the inode of a directory whose bytes are in the packed inode.
    fn packed_directory(&self, id: InodeId, offset: u64, out: &mut Inodes) -> Result<(), BuildError> {
        let plan = self.pouring.plan;
        let table = MapHeader::Fragment { offset }
            .encode(plan.block_bits)
            .map_err(|cause| BuildError::at(&plan.tree.path_of(id), cause))?;
        let layout = plan.placed[id.index()].layout;
        self.add(id, &Data::Compressed { layout, blocks: 0, table: table.to_vec() }, None, &[], out)
    }

    fn add(
        &self,
        id: InodeId,
        data: &Data,
        fingerprint: Option<&[u8]>,
        tail: &[u8],
        out: &mut Inodes,
    ) -> Result<(), BuildError> {
        let plan = self.pouring.plan;
        let placed = &plan.placed[id.index()];
        out.begin(self.area, placed.at)?;
        plan.encode_inode(id, placed, data, fingerprint, out.bytes())
            .map_err(|cause| BuildError::at(&plan.tree.path_of(id), cause))?;
        out.bytes().extend_from_slice(tail);
        Ok(())
    }

    /// The bytes of a directory.
    fn directory(&self, id: InodeId) -> Result<Vec<u8>, BuildError> {
        let plan = self.pouring.plan;
        let parent = self.parents.get(&id).copied().unwrap_or(id);
        let nid = |inode: InodeId| plan.nid((self.place)(inode));
        dirs::encode(plan, id, parent, nid).map_err(|cause| BuildError::at(&plan.tree.path_of(id), cause))
    }
}

/// Bytes of the spool, read for many inodes at once. Those of inodes that stand side by side are mostly side by side as well, but
/// some came to the spool long before or after their neighbours.
#[derive(Default)]
struct Window {
    /// What was read, in ascending order: where it stands in the spool, and where in `bytes`.
    pieces: Vec<(Range<u64>, usize)>,
    bytes: Vec<u8>,
    /// What is not among them.
    alone: Vec<u8>,
}

impl Window {
    /// Reads all but the longest of `ranges`, those near each other together.
    fn read(&mut self, spool: &Spool, ranges: impl Iterator<Item = Range<u64>>) -> io::Result<()> {
        let mut ranges: Vec<_> = ranges.filter(|range| range.end - range.start <= BODY_LONG).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        self.pieces.clear();
        self.bytes.clear();
        let mut in_vain = 0;
        for range in ranges {
            match self.pieces.last_mut() {
                Some((piece, _)) if range.start <= piece.end + BODY_GAP && in_vain <= STRETCH => {
                    in_vain += range.start.saturating_sub(piece.end);
                    piece.end = piece.end.max(range.end);
                }
                Some(_) | None => self.pieces.push((range, 0)),
            }
        }
        for (piece, at) in &mut self.pieces {
            *at = self.bytes.len();
            let length =
                usize::try_from(piece.end - piece.start).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            self.bytes.resize(*at + length, 0);
            spool.read(piece.start, &mut self.bytes[*at..])?;
        }
        Ok(())
    }

    /// The bytes of `range`.
    fn get(&mut self, spool: &Spool, range: Range<u64>) -> io::Result<&[u8]> {
        let behind = self.pieces.partition_point(|(piece, _)| piece.start <= range.start);
        if let Some((piece, at)) = behind.checked_sub(1).and_then(|last| self.pieces.get(last))
            && range.end <= piece.end
            && let Ok(offset) = usize::try_from(range.start - piece.start)
            && let Ok(length) = usize::try_from(range.end - range.start)
        {
            return Ok(&self.bytes[at + offset..][..length]);
        }
        spool.load(range, &mut self.alone)?;
        Ok(&self.alone)
    }
}

/// The parent of each directory.
fn parents(plan: &Plan<'_>) -> HashMap<InodeId, InodeId> {
    let is_directory = |id: InodeId| plan.tree.inodes[id.index()].is_directory();
    plan.tree
        .iter()
        .flat_map(|(id, inode)| inode.entries().iter().map(move |entry| (entry.inode, id)))
        .filter(|&(child, _)| is_directory(child))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_what_the_spool_has() {
        let mut spool = Spool::new(crate::image_file::Scratch::Temporary);
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
        spool.push(&bytes).unwrap();
        let near = (0..50).map(|n| 1000 + 60 * n..1000 + 60 * n + 55);
        let far = [1_500_000..1_500_003, 0..0, 700_000..700_000 + BODY_LONG, 800_000..800_001 + BODY_LONG];
        let ranges: Vec<Range<u64>> = near.chain(far).rev().collect();
        let mut window = Window::default();
        for _ in 0..2 {
            window.read(&spool, ranges.iter().cloned()).unwrap();
            // All but the longest: one far away, one of exactly `BODY_LONG`, one at the start with those near it.
            assert_eq!(window.pieces.len(), 3);
            for range in ranges.iter().cloned().chain([5..9, 1_999_990..2_000_000]) {
                let want = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                assert_eq!(window.get(&spool, range).unwrap(), &bytes[want]);
            }
        }
        assert!(window.get(&spool, 1_999_999..2_000_001).is_err());
        assert!(window.read(&spool, std::iter::once(1_999_999..2_000_001)).is_err());
    }
}
