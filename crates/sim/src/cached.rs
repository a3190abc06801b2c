//! The pages of one file that are in memory, and the folios that they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::pages::PageSet;

/// The pages of a file that are in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cached {
    resident: PageSet,
    /// Folios of more than one page: the first page, and the number of pages. All other pages are folios of
    /// their own.
    large: BTreeMap<u64, u64>,
    /// The first pages of the folios whose use starts the next readahead (`PG_readahead`).
    marked: BTreeSet<u64>,
    /// What came in since this was last asked for, if it is written down.
    fresh: Option<Vec<Range<u64>>>,
}

impl Cached {
    /// Nothing, and what comes in is written down for [`Self::take_fresh`].
    pub(crate) fn noted() -> Self {
        Self { fresh: Some(Vec::new()), ..Self::default() }
    }

    /// Which pages are in memory.
    pub fn resident(&self) -> &PageSet {
        &self.resident
    }

    /// Brings in exactly these pages, each as a folio of its own; returns how many were not there.
    pub fn insert(&mut self, pages: Range<u64>) -> u64 {
        if let Some(fresh) = &mut self.fresh {
            fresh.extend(self.resident.gaps(pages.clone()));
        }
        self.resident.insert(pages)
    }

    /// Pages that came in since this was last called, where they are written down.
    pub(crate) fn take_fresh(&mut self) -> Vec<Range<u64>> {
        self.fresh.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Drops the folios that are wholly within a range of pages, and returns how many pages were dropped. A
    /// folio of which a part is outside stays (`find_lock_entries`).
    pub fn drop_pages(&mut self, pages: Range<u64>) -> u64 {
        if pages.is_empty() {
            return 0;
        }
        let (first, last) = (self.folio(pages.start), self.folio(pages.end - 1));
        let start = if first.start < pages.start { first.end } else { pages.start };
        let end = if last.end > pages.end { last.start } else { pages.end };
        if start >= end {
            return 0;
        }
        for folio in self.large.range(start..end).map(|(first, _)| *first).collect::<Vec<_>>() {
            self.large.remove(&folio);
        }
        for mark in self.marked.range(start..end).copied().collect::<Vec<_>>() {
            self.marked.remove(&mark);
        }
        self.resident.remove(start..end)
    }

    /// The folio that a page is in; the page itself if it is not in memory.
    pub(crate) fn folio(&self, page: u64) -> Range<u64> {
        let before = self.large.range(..=page).next_back();
        let large = before.map(|(first, len)| *first..first + len);
        large.filter(|folio| folio.contains(&page)).unwrap_or(page..page.saturating_add(1))
    }

    /// Takes the mark away from the folio of this page; that folio, if it had one.
    pub(crate) fn take_mark(&mut self, page: u64) -> Option<Range<u64>> {
        let folio = self.folio(page);
        self.marked.remove(&folio.start).then_some(folio)
    }

    /// The first page from `page` on, before `end`, that is not in memory or whose folio has a mark: up to
    /// there, an access changes nothing.
    pub(crate) fn next_stop(&self, page: u64, end: u64) -> u64 {
        let Some(run) = self.resident.run(page) else { return page };
        if self.marked.contains(&self.folio(page).start) {
            return page;
        }
        self.marked.range(page..run.end.max(page)).next().copied().unwrap_or(run.end).min(end)
    }

    /// Makes the use of a page start the next readahead.
    pub(crate) fn mark(&mut self, page: u64) {
        self.marked.insert(page);
    }

    /// Makes `pages` pages from `first` on one folio.
    pub(crate) fn add_large(&mut self, first: u64, pages: u64) {
        self.large.insert(first, pages);
    }
}
