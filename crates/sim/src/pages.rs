//! Sets of pages: which pages of a file are in memory.

use std::collections::BTreeMap;
use std::ops::Range;

/// The size of a page in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// How many pages `bytes` need.
pub fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

/// How many bytes so many pages are. What an image or a trace claims may be more than fits: then it is the
/// largest number.
pub fn bytes_of(pages: u64) -> u64 {
    pages.saturating_mul(PAGE_SIZE)
}

/// The sum of what an image or a trace claims; the largest number if it is more than fits.
pub fn saturating_sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// A set of page numbers, kept as ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageSet {
    /// The end of each range, by its start.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl PageSet {
    /// How many pages are in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no page is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a page is in the set.
    pub fn contains(&self, page: u64) -> bool {
        self.run(page).is_some()
    }

    /// The run of pages without a gap that a page is in; nothing if the page is not in the set.
    pub fn run(&self, page: u64) -> Option<Range<u64>> {
        let (start, end) = self.ranges.range(..=page).next_back()?;
        (page < *end).then_some(*start..*end)
    }

    /// Whether any of these pages is in the set.
    pub fn touches(&self, pages: Range<u64>) -> bool {
        let before = self.ranges.range(..pages.end).next_back();
        !pages.is_empty() && before.is_some_and(|(_, end)| *end > pages.start)
    }

    /// The pages, in ascending order.
    pub fn pages(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().flat_map(|(start, end)| *start..*end)
    }

    /// The runs of these pages that are not in the set, in ascending order.
    pub fn gaps(&self, pages: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = self.run(pages.start).map_or(pages.start, |run| run.end);
        while at < pages.end {
            let next = self.ranges.range(at..pages.end).next();
            let (start, end) = next.map_or((pages.end, pages.end), |(start, end)| (*start, *end));
            gaps.push(at..start);
            at = end;
        }
        gaps
    }

    /// Adds pages, and returns how many of them were not there.
    pub fn insert(&mut self, pages: Range<u64>) -> u64 {
        if pages.is_empty() {
            return 0;
        }
        let before = self.len;
        let touching = |page: &u64| self.ranges.range(..=*page).next_back().filter(|(_, end)| **end >= *page);
        let start = touching(&pages.start).map_or(pages.start, |(start, _)| *start);
        let end = touching(&pages.end).map_or(pages.end, |(_, end)| (*end).max(pages.end));
        self.remove_runs(start..end);
        self.ranges.insert(start, end);
        self.len += end - start;
        self.len - before
    }

    /// Takes pages away, and returns how many of them were there.
    pub fn remove(&mut self, pages: Range<u64>) -> u64 {
        if pages.is_empty() {
            return 0;
        }
        let before = self.len;
        let (left, right) = (self.run(pages.start), self.run(pages.end));
        for run in left.iter().chain(&right) {
            self.remove_runs(run.clone());
        }
        self.remove_runs(pages.clone());
        let rests = [left.map(|run| run.start..pages.start), right.map(|run| pages.end..run.end)];
        for rest in rests.into_iter().flatten().filter(|rest| !rest.is_empty()) {
            self.len += rest.end - rest.start;
            self.ranges.insert(rest.start, rest.end);
        }
        before - self.len
    }

    /// Takes away all runs that begin within these pages.
    fn remove_runs(&mut self, pages: Range<u64>) {
        while let Some((start, end)) =
            self.ranges.range(pages.clone()).next().map(|(start, end)| (*start, *end))
        {
            self.ranges.remove(&start);
            self.len -= end - start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn sets_behave_like_the_plain_ones() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let (mut set, mut plain) = (PageSet::default(), BTreeSet::new());
        for step in 0..2000 {
            let start = random(100);
            let range = start..start + random(20);
            if random(3) == 0 {
                let gone = range.clone().filter(|page| plain.remove(page)).count();
                assert_eq!(set.remove(range), gone as u64, "step {step}");
            } else {
                let new = range.clone().filter(|page| plain.insert(*page)).count();
                assert_eq!(set.insert(range), new as u64, "step {step}");
            }
            assert_eq!(set.len(), plain.len() as u64);
            let gaps: Vec<u64> = set.gaps(start..start + 30).into_iter().flatten().collect();
            let plain_gaps: Vec<u64> = (start..start + 30).filter(|page| !plain.contains(page)).collect();
            assert_eq!(gaps, plain_gaps, "step {step}");
            assert!(set.pages().eq(plain.iter().copied()), "step {step}");
            assert!((0..130).all(|page| set.contains(page) == plain.contains(&page)), "step {step}");
            for page in 0..130 {
                let run = set.run(page).unwrap_or(page..page);
                let inside = |page: &u64| plain.contains(page);
                let back = (0..page).rev().take_while(inside).count() as u64;
                let on = (page..200).take_while(inside).count() as u64;
                let want = if plain.contains(&page) { page - back..page + on } else { page..page };
                assert_eq!(run, want, "step {step}");
                let touches = (page..page + 4).any(|page| plain.contains(&page));
                assert_eq!(set.touches(page..page + 4), touches, "step {step}");
                assert!(!set.touches(page..page));
            }
            let ranges: Vec<_> = set.ranges.iter().collect();
            assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
