//! How many pages a read brings in: Linux's readahead (`mm/readahead.c`, `filemap_get_pages` of `mm/filemap.c`), for
//! files whose folios are single pages, as those of shared files are, and for those with larger ones.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::pages::{PAGE_SIZE, PageSet, pages_of};

/// By how much the order of folios grows whenever the window moves on (`page_cache_async_ra`).
const ORDER_STEP: u32 = 2;
/// The largest order of folios (`mapping_max_folio_order` on x86-64).
const ORDER_MAX: u32 = 9;

/// The pages of a file that are in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cached {
    /// Which they are.
    pub resident: PageSet,
    /// The folios whose use starts the next readahead (`PG_readahead`): first page and number of pages.
    marked: BTreeMap<u64, u64>,
}

impl Cached {
    /// Drops pages, and returns how many were there.
    pub fn drop_pages(&mut self, pages: Range<u64>) -> u64 {
        self.marked.retain(|page, _| !pages.contains(page));
        self.resident.remove(pages)
    }

    /// Takes the mark of the folio with this page away; its first page, if there was one.
    fn take_mark(&mut self, page: u64) -> Option<u64> {
        let (first, len) = self.marked.range(..=page).next_back()?;
        let first = (page - first < *len).then_some(*first)?;
        self.marked.remove(&first).map(|_| first)
    }
}

/// The readahead state of one open file (`struct file_ra_state`).
#[derive(Debug, Clone, Default)]
pub struct Readahead {
    start: u64,
    size: u64,
    async_size: u64,
    /// Of the folios of the last readahead.
    order: u32,
    /// The page in which the last read ended, if there was one (`prev_pos`).
    previous: Option<u64>,
}

/// The fixed sizes of one file.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Length of the file in bytes.
    pub size: u64,
    /// The readahead window in pages.
    pub window: u64,
    /// Whether it may have folios of several pages, as files outside the hidden superblock do.
    pub large: bool,
}

impl Readahead {
    /// Reads `length` bytes from `offset` on in one call; returns how many pages were fetched. Nothing is read past the
    /// end of the file.
    pub fn read(&mut self, cached: &mut Cached, file: Geometry, offset: u64, length: u64) -> u64 {
        let stop = offset.saturating_add(length).min(file.size);
        if stop <= offset {
            return 0;
        }
        let end = pages_of(stop);
        let mut fetched = 0;
        for page in offset / PAGE_SIZE..end {
            if !cached.resident.contains(page) {
                fetched += self.miss(cached, file, page, end - page);
            }
            if let Some(first) = cached.take_mark(page) {
                fetched += self.advance(cached, file, first, end - first);
            }
        }
        self.previous = Some(stop / PAGE_SIZE);
        fetched
    }

    /// A page that is not there (`page_cache_sync_ra`).
    fn miss(&mut self, cached: &mut Cached, file: Geometry, page: u64, wanted: u64) -> u64 {
        let follows = self.previous.is_some_and(|previous| page.wrapping_sub(previous) <= 1);
        if page == 0 || wanted > file.window || follows {
            self.start = page;
            self.size = initial_size(wanted, file.window);
            self.async_size = if self.size > wanted { self.size - wanted } else { self.size >> 1 };
            self.order = 0;
            return self.submit(cached, file);
        }
        let back = page.min(file.window);
        let history = (1..=back).take_while(|back| cached.resident.contains(page - back)).count() as u64;
        if history <= wanted {
            // A read on its own: it is served as it is, and the state stays as it was.
            return fetch(cached, file, page..page + wanted, None);
        }
        // Cached from the start of the file: a long stream, most likely.
        let history = if history == page { 2 * history } else { history };
        self.start = page;
        self.size = (history + wanted).min(file.window);
        self.async_size = 1;
        self.order = 0;
        self.submit(cached, file)
    }

    /// A marked page is used (`page_cache_async_ra`).
    fn advance(&mut self, cached: &mut Cached, file: Geometry, page: u64, wanted: u64) -> u64 {
        let expected = self.start + self.size - self.async_size;
        if page == expected - expected % (1 << self.order) {
            self.start += self.size;
            self.size = self.size.max(next_size(self.size, file.window));
        } else {
            let after = (page + 1..=page + file.window).find(|next| !cached.resident.contains(*next));
            let Some(next) = after else { return 0 };
            self.start = next;
            self.size = next_size(next - page + wanted, file.window);
        }
        let end = self.start + self.size;
        self.order += ORDER_STEP;
        // `ffs(max_pages) - 1`: the window's own alignment.
        let alignment = self.order.min(file.window.trailing_zeros());
        let aligned = end - end % (1 << alignment);
        if aligned > self.start {
            self.size = aligned - self.start;
        }
        self.async_size = self.size;
        self.submit(cached, file)
    }

    /// Brings the window in (`page_cache_ra_order`).
    fn submit(&mut self, cached: &mut Cached, file: Geometry) -> u64 {
        let end = self.start + self.size;
        if !file.large {
            self.order = 0;
            return fetch(cached, file, self.start..end, Some(end - self.async_size));
        }
        self.order = self.order.min(ORDER_MAX).min(self.size.checked_ilog2().unwrap_or(0));
        let last = pages_of(file.size);
        let mark = (end < last).then_some(end - self.async_size);
        let mut fetched = 0;
        let mut at = self.start;
        while at < end.min(last) {
            let mut order = self.order.min(at.trailing_zeros());
            while order > 0 && at + (1 << order) > end.min(last) {
                order -= 1;
            }
            let folio = at..at + (1 << order);
            if folio.clone().any(|page| cached.resident.contains(page)) {
                // What is there already leaves gaps, which single pages fill.
                return fetched + fetch(cached, file, at..end, mark);
            }
            if mark.is_some_and(|mark| mark - mark % (1 << order) == at) {
                cached.marked.insert(at, 1 << order);
            }
            fetched += cached.resident.insert(folio);
            at += 1 << order;
        }
        fetched
    }
}

/// Fetches what is not there of `pages`, and marks a page of it.
fn fetch(cached: &mut Cached, file: Geometry, pages: Range<u64>, mark: Option<u64>) -> u64 {
    let pages = pages.start..pages.end.min(pages_of(file.size));
    if let Some(mark) = mark.filter(|mark| pages.contains(mark) && !cached.resident.contains(*mark)) {
        cached.marked.insert(mark, 1);
    }
    cached.resident.insert(pages)
}

/// `get_init_ra_size`.
fn initial_size(wanted: u64, window: u64) -> u64 {
    let rounded = wanted.next_power_of_two();
    if rounded <= window / 32 {
        rounded * 4
    } else if rounded <= window / 4 {
        rounded * 2
    } else {
        window
    }
}

/// `get_next_ra_size`.
fn next_size(size: u64, window: u64) -> u64 {
    if size < window / 16 {
        4 * size
    } else if size <= window / 2 {
        2 * size
    } else {
        window
    }
}

/// A fault on `page` through a mapping (`do_sync_mmap_readahead`): a window around it, if it is not there. Returns how
/// many pages were fetched.
pub fn fault(cached: &mut Cached, file: Geometry, page: u64) -> u64 {
    if cached.resident.contains(page) {
        return 0;
    }
    let start = page.saturating_sub(file.window / 2);
    let size = file.window;
    // The marker stands where the last quarter begins.
    fetch(cached, file, start..start + size, Some(start + size - size / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Geometry = Geometry { size: 8 << 20, window: 32, large: false };

    fn in_calls(call: u64, offset: u64, length: u64) -> u64 {
        let (mut cached, mut state) = (Cached::default(), Readahead::default());
        let mut at = offset;
        while at < offset + length {
            let now = call.min(offset + length - at);
            state.read(&mut cached, FILE, at, now);
            at += now;
        }
        cached.resident.len() * PAGE_SIZE / 1024
    }

    #[test]
    fn reads_bring_in_what_was_measured_on_linux_7_2() {
        // KiB in the page cache after reads of an 8 MiB file, in calls of 64 KiB where they are longer.
        for (offset, length, want) in [
            (0, 1, 16),
            (0, 4096, 16),
            (0, 64 << 10, 128),
            (0, 128 << 10, 256),
            (0, (128 << 10) + 1, 384),
            (0, 256 << 10, 384),
            (0, 1 << 20, 1152),
            (4 << 20, 1, 4),
            (4 << 20, 4096, 4),
            (4 << 20, 64 << 10, 64),
        ] {
            assert_eq!(in_calls(64 << 10, offset, length), want, "{length} bytes from {offset}");
        }
        assert_eq!(in_calls(8 << 20, 0, 8 << 20), 8192);
        assert_eq!(in_calls(4096, 0, 8 << 20), 8192);
    }

    #[test]
    fn faults_bring_in_a_window_around_them() {
        for (page, want) in [(0, 128), (1024, 128), (2047, 68)] {
            let mut cached = Cached::default();
            assert_eq!(fault(&mut cached, FILE, page) * 4, want, "page {page}");
            assert_eq!(fault(&mut cached, FILE, page), 0);
        }
    }

    #[test]
    fn nothing_lies_past_the_end() {
        for size in [1, 4095, 4096, 4097, 100_000] {
            let file = Geometry { size, window: 32, large: false };
            let (mut cached, mut state) = (Cached::default(), Readahead::default());
            state.read(&mut cached, file, 0, u64::MAX);
            assert_eq!(cached.resident.len(), pages_of(size), "{size}");
            assert_eq!(state.read(&mut cached, file, size, 10), 0);
        }
    }
}
