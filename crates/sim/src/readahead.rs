//! How many pages a read or a fault brings into the page cache: the readahead of Linux 7.2 (`mm/readahead.c`,
//! and `filemap_read`, `filemap_splice_read` and `filemap_fault` of `mm/filemap.c`), for mappings of single
//! pages and for those with large folios.
//!
//! Not modelled: a mapping that faults on more than a hundred pages that are not in memory loses its
//! readahead (`MMAP_LOTSAMISS`), and `khugepaged`, which collects the pages of mappings that stay.

use std::ops::Range;

use crate::cached::Cached;
use crate::gaps;
use crate::pages::{PAGE_SIZE, pages_of};
use crate::scenario::Method;

/// By how much the order of folios grows whenever the window moves on (`page_cache_async_ra`).
const ORDER_STEP: u32 = 2;
/// The largest order of folios (`mapping_max_folio_order` on x86-64).
const ORDER_MAX: u32 = 9;
/// How many pages that a search looks at count as a step.
const STEP_PAGES: u64 = 64;
/// In what parts an overlay copies a file up (`OVL_COPY_UP_CHUNK_SIZE`), in bytes.
const COPY_UP: u64 = 1 << 20;
/// How many pages a pipe takes, and so how many one round of `splice` moves (`PIPE_DEF_BUFFERS`).
const PIPE_PAGES: u64 = 16;

/// The fixed sizes of one file.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Length of the file in bytes.
    pub size: u64,
    /// Whether it may have folios of several pages (`mapping_set_large_folios`).
    pub large: bool,
    /// The most pages of one request to its device (`io_pages`): up to these, a request may be longer than
    /// the window.
    pub request: u64,
}

/// The readahead state of one open file (`struct file_ra_state`).
#[derive(Debug, Clone)]
pub struct Readahead {
    /// The window in pages, as it was set when the file was opened (`ra_pages`); 0 turns readahead off.
    window: u64,
    start: u64,
    size: u64,
    async_size: u64,
    /// Of the folios of the last readahead.
    order: u32,
    /// The page in which the last read ended, if there was one (`prev_pos`).
    previous: Option<u64>,
    /// How many calls there were, and how often it was decided what to fetch.
    steps: u64,
    /// Up to how many steps an access goes on.
    limit: u64,
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAccess {
    /// How.
    pub method: Method,
    /// First byte.
    pub offset: u64,
    /// How many bytes; to the end of the file where nothing is said.
    pub length: Option<u64>,
    /// The length of each call in bytes, for calls that read.
    pub call: u64,
    /// For accesses through a mapping: of what kind it is.
    pub mapped: Mapped,
}

/// Of what kind a mapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// It is not executable.
    Data,
    /// It is executable, and of the whole file (`VM_EXEC`).
    Executable,
}

impl FileAccess {
    /// A whole file, in calls of 64 KiB.
    pub fn whole(method: Method) -> Self {
        Self { method, offset: 0, length: None, call: 64 << 10, mapped: Mapped::Data }
    }

    /// The bytes that are asked for, of a file of `size` bytes.
    fn bytes(&self, size: u64) -> Range<u64> {
        let end = self.length.map_or(size, |length| self.offset.saturating_add(length));
        self.offset..end.min(size)
    }

    /// The pages that are asked for, which may be past the end of the file; a length of 0 is none
    /// (`generic_fadvise`).
    fn pages(&self) -> Range<u64> {
        let length = self.length.filter(|length| *length != 0);
        let end = length.and_then(|length| self.offset.checked_add(length)).unwrap_or(u64::MAX);
        self.offset / PAGE_SIZE..pages_of(end)
    }
}

impl Readahead {
    /// A file that was just opened, on a device with a window of so many pages, which the kernel counts in 32
    /// bits.
    pub fn new(window: u64) -> Self {
        let window = window.min(u64::from(u32::MAX));
        Self { window, start: 0, size: 0, async_size: 0, order: 0, previous: None, steps: 0, limit: u64::MAX }
    }

    /// How many steps the accesses so far took, calls, windows and folios: what they cost the model.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Asks for bytes as an [`FileAccess`] says; returns how many pages were fetched. Ends before its end
    /// when it has taken so many steps.
    pub fn access(&mut self, cached: &mut Cached, file: Geometry, access: &FileAccess, steps: u64) -> u64 {
        self.limit = self.steps.saturating_add(steps);
        let bytes = access.bytes(file.size);
        let pages = bytes.start / PAGE_SIZE..pages_of(bytes.end);
        match access.method {
            Method::Willneed => self.willneed(cached, file, access.pages()),
            Method::Mmap | Method::Exec if bytes.is_empty() => 0,
            Method::Mmap | Method::Exec => self.touch(cached, file, pages, access.mapped),
            // The whole file is copied, whatever is asked for.
            Method::CopyUp => {
                self.calls(0..file.size, COPY_UP, |state, at, length| state.splice(cached, file, at, length))
            }
            Method::Sendfile | Method::Splice => {
                self.calls(bytes, access.call, |state, at, length| state.splice(cached, file, at, length))
            }
            Method::Read => {
                self.calls(bytes, access.call, |state, at, length| state.read(cached, file, at, length))
            }
        }
    }

    /// Lets bytes be asked for in calls of a length, and adds up what each fetched.
    fn calls(
        &mut self,
        bytes: Range<u64>,
        length: u64,
        mut call: impl FnMut(&mut Self, u64, u64) -> u64,
    ) -> u64 {
        let (mut at, mut fetched) = (bytes.start, 0);
        while at < bytes.end && self.steps < self.limit {
            let length = length.max(1).min(bytes.end - at);
            self.steps += 1;
            fetched += call(self, at, length);
            at += length;
        }
        fetched
    }

    /// Reads `length` bytes from `offset` on in one call; returns how many pages were fetched. Nothing is
    /// read past the end of the file.
    pub fn read(&mut self, cached: &mut Cached, file: Geometry, offset: u64, length: u64) -> u64 {
        let stop = offset.saturating_add(length).min(file.size);
        if stop <= offset {
            return 0;
        }
        let pages = offset / PAGE_SIZE..pages_of(stop);
        let fetched = self.batches(cached, file, pages.clone(), pages.end, false);
        self.previous = Some(stop / PAGE_SIZE);
        fetched
    }

    /// Moves `length` bytes from `offset` on to a pipe in one call of `splice` or `sendfile`, in rounds of
    /// what the pipe holds; returns how many pages were fetched.
    pub fn splice(&mut self, cached: &mut Cached, file: Geometry, offset: u64, length: u64) -> u64 {
        let stop = offset.saturating_add(length).min(file.size);
        let (mut at, mut fetched) = (offset, 0);
        while at < stop && self.steps < self.limit {
            self.steps += 1;
            let first = at / PAGE_SIZE;
            // A round asks for as many bytes as the pipe holds at most, and ends when each of its places has
            // a page or a part of one.
            let asked = stop.min(at.saturating_add(PIPE_PAGES * PAGE_SIZE));
            let filled = first.saturating_add(PIPE_PAGES).min(pages_of(asked));
            fetched += self.batches(cached, file, first..filled, pages_of(asked), true);
            at = asked.min(filled.saturating_mul(PAGE_SIZE));
            self.previous = Some(at / PAGE_SIZE);
        }
        fetched
    }

    /// Lets pages be used in order by one call that asks for those before `end` (`filemap_get_pages`, once
    /// for each batch of folios that are in memory). A splice notes after each folio how far it came, a read
    /// only at its end.
    fn batches(
        &mut self,
        cached: &mut Cached,
        file: Geometry,
        pages: Range<u64>,
        end: u64,
        splices: bool,
    ) -> u64 {
        let mut fetched = 0;
        let mut page = cached.next_stop(pages.start, pages.end);
        while page < pages.end && self.steps < self.limit {
            if !cached.resident().contains(page) {
                if splices && page > pages.start {
                    self.previous = Some(page);
                }
                fetched += self.miss(cached, file, page, end - page);
                // What readahead leaves out is read on its own (`filemap_create_folio`).
                fetched += cached.insert(page..page + 1);
            }
            if self.window > 0
                && let Some(folio) = cached.take_mark(page)
            {
                fetched +=
                    self.advance(cached, file, folio.start, end - folio.start, folio.end - folio.start);
            }
            page = cached.next_stop(page + 1, pages.end);
        }
        fetched
    }

    /// Touches pages through a mapping, in order (`filemap_fault`); returns how many were fetched.
    pub fn touch(&mut self, cached: &mut Cached, file: Geometry, pages: Range<u64>, by: Mapped) -> u64 {
        let end = pages.end.min(pages_of(file.size));
        let mut fetched = 0;
        let mut page = cached.next_stop(pages.start, end);
        while page < end && self.steps < self.limit {
            fetched += self.fault(cached, file, page, by);
            page = cached.next_stop(page + 1, end);
        }
        fetched
    }

    fn fault(&mut self, cached: &mut Cached, file: Geometry, page: u64, by: Mapped) -> u64 {
        if self.window == 0 {
            self.steps += 1;
            return cached.insert(page..page + 1);
        }
        if cached.resident().contains(page) {
            // A folio with a mark is never mapped by the fault of a neighbour, so its first use is a fault of
            // its own (`next_uptodate_folio`, `do_async_mmap_readahead`).
            let Some(folio) = cached.take_mark(page) else { return 0 };
            return self.advance(cached, file, page, self.window, folio.end - folio.start);
        }
        self.steps += 1;
        self.order = 0;
        (self.start, self.size, self.async_size) = match by {
            // From this page on, and not past the end of the mapping.
            Mapped::Executable => (page, self.window.min(pages_of(file.size) - page), 0),
            Mapped::Data => (page.saturating_sub(self.window / 2), self.window, self.window / 4),
        };
        let fetched = self.submit(cached, file);
        fetched + cached.insert(page..page + 1)
    }

    /// What is brought in ahead of any use (`force_page_cache_ra`): pages from `first` to `end`, and no more
    /// than a window or a request.
    pub fn willneed(&mut self, cached: &mut Cached, file: Geometry, pages: Range<u64>) -> u64 {
        self.steps += 1;
        let most = pages.start.saturating_add(self.window.max(file.request));
        cached.insert(pages.start..pages.end.min(most).min(pages_of(file.size)))
    }

    /// The window for a request of so many pages (`ractl_max_pages`).
    fn window_for(&self, file: Geometry, wanted: u64) -> u64 {
        if wanted > self.window { self.window.max(wanted.min(file.request)) } else { self.window }
    }

    /// A page that is not there (`page_cache_sync_ra`).
    fn miss(&mut self, cached: &mut Cached, file: Geometry, page: u64, wanted: u64) -> u64 {
        self.steps += 1;
        if self.window == 0 {
            return cached.insert(page..page + 1);
        }
        let window = self.window_for(file, wanted);
        let follows = self.previous.is_some_and(|previous| page.wrapping_sub(previous) <= 1);
        if page == 0 || wanted > window || follows {
            self.start = page;
            self.size = initial_size(wanted, window);
            self.async_size = if self.size > wanted { self.size - wanted } else { self.size >> 1 };
            self.order = 0;
            return self.submit(cached, file);
        }
        let (history, from_start, scanned) = gaps::history(cached, page, window);
        self.steps += scanned / STEP_PAGES;
        if history <= wanted {
            // A read on its own: it is served as it is, and the state stays as it was.
            return fetch(cached, file, page..page + wanted, None);
        }
        // Cached from the start of the file: a long stream, most likely.
        let history = if from_start { history.saturating_mul(2) } else { history };
        self.start = page;
        self.size = history.saturating_add(wanted).min(window);
        self.async_size = 1;
        self.order = 0;
        self.submit(cached, file)
    }

    /// A folio with a mark is used, which has `len` pages (`page_cache_async_ra`).
    fn advance(&mut self, cached: &mut Cached, file: Geometry, page: u64, wanted: u64, len: u64) -> u64 {
        self.steps += 1;
        let window = self.window_for(file, wanted);
        let expected = (self.start + self.size).saturating_sub(self.async_size);
        if page == expected - expected % len {
            self.start += self.size;
            self.size = self.size.max(next_size(self.size, window));
        } else {
            let (next, scanned) = gaps::next_miss(cached, page + 1, window);
            self.steps += scanned / STEP_PAGES;
            if next <= page || next - page > window {
                return 0;
            }
            self.start = next;
            self.size = next_size(next - page + wanted, window);
        }
        let end = self.start + self.size;
        self.order += ORDER_STEP;
        // `ffs(max_pages) - 1`: the window's own alignment.
        let alignment = self.order.min(window.trailing_zeros());
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
        let last = pages_of(file.size);
        // A window that reaches the end of the file has no mark.
        let mark = (end < last).then(|| end - self.async_size);
        if !file.large {
            self.order = 0;
            return fetch(cached, file, self.start..end, mark);
        }
        self.order = self.order.min(ORDER_MAX).min(self.size.checked_ilog2().unwrap_or(0));
        let mut fetched = 0;
        let mut at = self.start;
        while at < end.min(last) && self.steps < self.limit {
            self.steps += 1;
            let mut order = self.order.min(at.trailing_zeros());
            while order > 0 && at + (1 << order) > end.min(last) {
                order -= 1;
            }
            let folio = at..at + (1 << order);
            if cached.resident().touches(folio.clone()) {
                // What is there already leaves gaps, which single pages fill.
                return fetched + fetch(cached, file, at..end, mark);
            }
            if mark.is_some_and(|mark| mark - mark % (1 << order) == at) {
                cached.mark(at);
            }
            if order > 0 {
                cached.add_large(at, 1 << order);
            }
            fetched += cached.insert(folio);
            at += 1 << order;
        }
        fetched
    }
}

/// Fetches what is not there of `pages`, and marks a page of it (`page_cache_ra_unbounded`).
fn fetch(cached: &mut Cached, file: Geometry, pages: Range<u64>, mark: Option<u64>) -> u64 {
    let pages = pages.start..pages.end.min(pages_of(file.size));
    if let Some(mark) = mark.filter(|mark| pages.contains(mark) && !cached.resident().contains(*mark)) {
        cached.mark(mark);
    }
    cached.insert(pages)
}

/// The first window of a stream that begins with a call for `wanted` pages (`get_init_ra_size`).
fn initial_size(wanted: u64, window: u64) -> u64 {
    let rounded = wanted.checked_next_power_of_two().unwrap_or(u64::MAX);
    if rounded <= window / 32 {
        rounded * 4
    } else if rounded <= window / 4 {
        rounded * 2
    } else {
        window
    }
}

/// The window after one of `size` pages (`get_next_ra_size`).
fn next_size(size: u64, window: u64) -> u64 {
    if size < window / 16 {
        4 * size
    } else if size <= window / 2 {
        2 * size
    } else {
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 32;
    const SIZE: u64 = 8 << 20;
    /// A shared file of Linux 7.2, and a file of its own on a disk with `max_sectors_kb` 4096.
    const SHARED: Geometry = Geometry { size: SIZE, large: false, request: 32 };
    const PRIVATE: Geometry = Geometry { size: SIZE, large: true, request: 1024 };

    /// Pages that are in memory after a read in calls of `call` bytes.
    fn in_calls(file: Geometry, call: u64, offset: u64, length: u64) -> u64 {
        let (mut cached, mut state) = (Cached::default(), Readahead::new(WINDOW));
        let mut fetched = 0;
        let mut at = offset;
        while at < offset + length {
            let now = call.min(offset + length - at);
            fetched += state.read(&mut cached, file, at, now);
            at += now;
        }
        assert_eq!(fetched, cached.resident().len());
        fetched
    }

    /// Pages that are in memory after pages were touched in order.
    fn touched(file: Geometry, offset: u64, length: u64, by: Mapped) -> u64 {
        let (mut cached, mut state) = (Cached::default(), Readahead::new(WINDOW));
        state.touch(&mut cached, file, offset / PAGE_SIZE..pages_of(offset + length), by)
    }

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    #[test]
    fn reads_bring_in_what_was_measured_on_linux_7_2() {
        for (call, offset, length, shared, private) in [
            (64 * KIB, 0, 1, 4, 4),
            (64 * KIB, 0, 4096, 4, 4),
            (64 * KIB, 0, 64 * KIB, 32, 32),
            (64 * KIB, 0, 128 * KIB, 64, 64),
            (64 * KIB, 0, 128 * KIB + 1, 96, 96),
            (64 * KIB, 0, MIB, 288, 288),
            (64 * KIB, 4 * MIB, 1, 1, 1),
            (64 * KIB, 4 * MIB, 64 * KIB, 16, 16),
            (64 * KIB, 4 * KIB, MIB, 303, 319),
            (64 * KIB, 100 * KIB, MIB, 303, 295),
            (64 * KIB, 4 * MIB, MIB, 304, 288),
            (4 * KIB, 0, 64 * KIB, 60, 24),
            (4 * KIB, 4 * KIB, MIB, 303, 319),
            (4 * KIB, 4 * MIB, 64 * KIB, 48, 24),
            (16 * KIB, 4 * KIB, MIB, 311, 319),
            (MIB, 0, MIB, 288, 512),
            (MIB, 4 * KIB, MIB, 319, 256),
            (256 * KIB, 0, 3 * MIB, 800, 832),
            (256 * KIB, 4 * KIB, 3 * MIB, 831, 895),
            (MIB, 4 * KIB, 4 * MIB, 1087, 1535),
            (MIB, 4 * MIB, 4 * MIB, 1024, 1024),
        ] {
            let found = [SHARED, PRIVATE].map(|file| in_calls(file, call, offset, length));
            assert_eq!(found, [shared, private], "{length} bytes from {offset} in calls of {call}");
        }
        for file in [SHARED, PRIVATE] {
            assert_eq!(in_calls(file, 8 * MIB, 0, 8 * MIB), 2048);
            assert_eq!(in_calls(file, 4096, 0, 8 * MIB), 2048);
        }
    }

    #[test]
    fn faults_bring_in_what_was_measured_on_linux_7_2() {
        for (offset, length, shared, private) in [
            (0, 1, 32, 32),
            (4 * MIB, 1, 32, 32),
            (8 * MIB - 1, 1, 17, 17),
            (0, 100 * KIB, 64, 64),
            (0, MIB, 288, 288),
            (0, 3 * MIB, 800, 800),
            (4 * MIB, 256 * KIB, 128, 112),
            (4 * MIB, MIB, 320, 304),
            (4100 * KIB, MIB, 319, 335),
            (4100 * KIB, 3 * MIB, 831, 847),
        ] {
            let found = [SHARED, PRIVATE].map(|file| touched(file, offset, length, Mapped::Data));
            assert_eq!(found, [shared, private], "{length} bytes from {offset}");
        }
        let file = Geometry { size: 6 * MIB, ..SHARED };
        assert_eq!(touched(file, MIB, 96 * KIB, Mapped::Data), 96, "a mark on a page in memory");
        for (offset, length, want) in [(0, 100 * KIB, 32), (4 * MIB, MIB, 256), (8 * MIB - 1, 1, 1)] {
            assert_eq!(touched(SHARED, offset, length, Mapped::Executable), want, "{length} from {offset}");
        }
    }

    #[test]
    fn folios_are_dropped_as_a_whole() {
        let (mut cached, mut state) = (Cached::default(), Readahead::new(WINDOW));
        let fetched: u64 =
            (0..16).map(|call| state.read(&mut cached, PRIVATE, call * 64 * KIB, 64 * KIB)).sum();
        assert_eq!(fetched, 288);
        // Both lie inside of a folio of 16 pages.
        assert_eq!((cached.drop_pages(64..65), cached.drop_pages(75..80)), (0, 0));
        assert_eq!(cached.drop_pages(0..1), 1, "the first folios are single pages");
        assert_eq!(cached.drop_pages(1..u64::MAX), 287);
        assert_eq!(cached, Cached::default());
    }

    #[test]
    fn a_request_longer_than_the_window_is_read_at_once() {
        assert_eq!(in_calls(PRIVATE, 256 * KIB, 0, 256 * KIB), 128);
        let mut cached = Cached::default();
        assert_eq!(Readahead::new(16).willneed(&mut cached, SHARED, 0..256), 32);
        assert_eq!(Readahead::new(WINDOW).willneed(&mut cached, PRIVATE, 0..512), 480);
    }

    #[test]
    fn nothing_lies_past_the_end() {
        for size in [1, 4095, 4096, 4097, 100_000] {
            for file in [Geometry { size, ..SHARED }, Geometry { size, ..PRIVATE }] {
                for window in [0, 1, 2, 3, 32, 100, 1 << 40] {
                    let (mut cached, mut state) = (Cached::default(), Readahead::new(window));
                    state.read(&mut cached, file, 0, u64::MAX);
                    assert_eq!(cached.resident().len(), pages_of(size), "{size}, window {window}");
                    assert_eq!(state.read(&mut cached, file, size, 10), 0);
                    let mut cached = Cached::default();
                    state.touch(&mut cached, file, 0..u64::MAX, Mapped::Data);
                    assert_eq!(cached.resident().len(), pages_of(size), "{size}, window {window}");
                }
            }
        }
    }

    /// Whatever is done in whatever order: what is said to be fetched or dropped is what the set of pages
    /// shows, and every page that was asked for is in memory.
    #[test]
    fn counts_agree_with_the_pages() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for round in 0..200 {
            let base = if round % 2 == 0 { SHARED } else { PRIVATE };
            let file = Geometry { size: 1 + random(4 * MIB), ..base };
            let window = [0, 1, 5, 32, 128, 2048][usize::try_from(random(6)).unwrap_or(0)];
            let (mut cached, mut state) = (Cached::default(), Readahead::new(window));
            for step in 0..60 {
                let before = cached.resident().len();
                let (offset, length) = (random(file.size), 1 + random(MIB));
                let pages = offset / PAGE_SIZE..pages_of((offset + length).min(file.size));
                let fetched = match random(5) {
                    0 => state.read(&mut cached, file, offset, length),
                    1 => state.splice(&mut cached, file, offset, length),
                    2 => state.touch(&mut cached, file, pages.clone(), Mapped::Data),
                    3 => state.touch(&mut cached, file, pages.clone(), Mapped::Executable),
                    _ => {
                        let dropped = cached.drop_pages(pages);
                        assert_eq!(cached.resident().len(), before - dropped, "round {round}, step {step}");
                        continue;
                    }
                };
                assert_eq!(cached.resident().len(), before + fetched, "round {round}, step {step}");
                assert!(pages.clone().all(|page| cached.resident().contains(page)), "round {round}");
            }
            cached.drop_pages(0..u64::MAX);
            assert_eq!(cached, Cached::default(), "round {round}");
        }
    }
}
