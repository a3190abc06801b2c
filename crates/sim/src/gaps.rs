//! Where readahead looks for the next page that is not in memory: `page_cache_next_miss` and
//! `page_cache_prev_miss` of `mm/filemap.c`, with the steps of the kernel's tree of pages (`xas_next` and
//! `xas_prev` of `lib/xarray.c`).
//!
//! A walk that begins inside of a large folio begins at the folio's first slot, while its index is that of
//! the page it was asked for. From there on it looks at pages before the one that its index names, until it
//! comes to another node of the tree. What it returns is its index, so both functions are wrong by a distance
//! that the model has to repeat.

use crate::cached::Cached;

/// Slots of a node, and the bits of an index that choose one (`XA_CHUNK_SIZE`, `XA_CHUNK_SHIFT`).
const SLOTS: u64 = 64;
const SLOT_BITS: u32 = 6;
/// Up to how many pages a walk goes from folio to folio: no window in use is longer.
const WALK_MAX: u64 = 1 << 16;
/// Above this, no node has more than one slot in use: an index is below 2^52.
const SHIFT_MAX: u32 = 54;

/// A place in the tree (`struct xa_state`).
#[derive(Debug, Clone, Copy)]
struct Walk<'a> {
    cached: &'a Cached,
    /// The page that it says it looks at.
    index: u64,
    /// The node: how many pages one of its slots stands for, as a power of two, and its first page.
    shift: u32,
    base: u64,
    /// The slot; 255 is the one before the first (it is a byte).
    slot: u8,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Gap,
    Folio,
    Node,
}

impl<'a> Walk<'a> {
    /// Goes to a page that is in memory (`xas_load`).
    fn begin(cached: &'a Cached, index: u64) -> Self {
        let folio = cached.folio(index);
        let shift = if folio.end - folio.start >= SLOTS { SLOT_BITS } else { 0 };
        let base = index >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        let walk = Self { cached, index, shift, base, slot: 0 };
        Self { slot: walk.slot_of(folio.start), ..walk }
    }

    /// The slot of a page in this node (`get_offset`).
    fn slot_of(&self, page: u64) -> u8 {
        u8::try_from((page >> self.shift) % SLOTS).unwrap_or(0)
    }

    fn entry(&self) -> Entry {
        let start = self.base.saturating_add(u64::from(self.slot) << self.shift);
        if self.shift == 0 {
            return if self.cached.resident().contains(start) { Entry::Folio } else { Entry::Gap };
        }
        let pages = start..start.saturating_add(1 << self.shift);
        let folio = self.cached.folio(start);
        if self.shift == SLOT_BITS && folio.end >= pages.end {
            Entry::Folio
        } else if self.cached.resident().touches(pages) {
            Entry::Node
        } else {
            Entry::Gap
        }
    }

    /// Goes to the node above, to the slot of this node; false if there is none.
    fn ascend(&mut self) -> bool {
        self.shift += SLOT_BITS;
        if self.shift > SHIFT_MAX {
            return false;
        }
        self.slot = self.slot_of(self.base);
        self.base = self.base >> (self.shift + SLOT_BITS) << (self.shift + SLOT_BITS);
        true
    }

    /// Goes down to the folio or gap of this slot; whether it is a folio.
    fn descend(&mut self) -> bool {
        loop {
            match self.entry() {
                Entry::Gap => return false,
                Entry::Folio => return true,
                Entry::Node => {
                    self.base = self.base.saturating_add(u64::from(self.slot) << self.shift);
                    self.shift -= SLOT_BITS;
                    self.slot = self.slot_of(self.index);
                }
            }
        }
    }

    /// One page on; whether a folio is there.
    fn next(&mut self) -> bool {
        self.index = self.index.wrapping_add(1);
        // Inside of a leaf both go on together, and are compared nowhere else.
        let inside = self.shift == 0 && u64::from(self.slot) < SLOTS - 1;
        if inside || self.slot != self.slot_of(self.index) {
            self.slot += 1;
        }
        while u64::from(self.slot) == SLOTS {
            if !self.ascend() {
                return false;
            }
            self.slot += 1;
        }
        self.descend()
    }

    /// One page back; whether a folio is there.
    fn previous(&mut self) -> bool {
        self.index = self.index.wrapping_sub(1);
        let inside = self.shift == 0 && self.slot > 0;
        if inside || self.slot != self.slot_of(self.index) {
            self.slot = self.slot.wrapping_sub(1);
        }
        while self.slot == u8::MAX {
            if !self.ascend() {
                return false;
            }
            self.slot = self.slot.wrapping_sub(1);
        }
        self.descend()
    }
}

/// The first page from `index` on that is not in memory, as the kernel finds it among so many pages; if it
/// finds none, the page behind them or another one that is further than they are. With it how many pages were
/// looked at.
pub(crate) fn next_miss(cached: &Cached, index: u64, most: u64) -> (u64, u64) {
    let Some(run) = cached.resident().run(index) else { return (index, 1) };
    if cached.folio(index).start == index {
        // The walk begins where its index is.
        let scanned = (run.end - index).min(most);
        return (index + scanned, 1);
    }
    let most = most.min(WALK_MAX);
    let mut walk = Walk::begin(cached, index);
    for scanned in 1..most {
        if !walk.next() {
            return (walk.index, scanned);
        }
    }
    (walk.index.wrapping_add(1), most)
}

/// How many pages before `index` are in memory without a gap, as the kernel counts them among so many pages,
/// and whether it takes them for all pages before it. With it how many pages were looked at.
pub(crate) fn history(cached: &Cached, index: u64, most: u64) -> (u64, bool, u64) {
    let before = index - 1;
    let Some(run) = cached.resident().run(before) else { return (0, false, 1) };
    let folio = cached.folio(before);
    if folio.end - folio.start == 1 {
        let count = (index - run.start).min(most);
        return (count, count == index, 1);
    }
    let most = most.min(WALK_MAX);
    let mut walk = Walk::begin(cached, before);
    let mut miss = None;
    let mut scanned = 1;
    while scanned < most && miss.is_none() {
        scanned += 1;
        if !walk.previous() || walk.index == u64::MAX {
            miss = Some(walk.index);
        }
    }
    let miss = miss.unwrap_or_else(|| walk.index.wrapping_sub(1));
    (index.wrapping_sub(miss).wrapping_sub(1), miss == u64::MAX, scanned)
}
