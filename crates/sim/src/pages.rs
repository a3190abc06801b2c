//! Sets of pages: which pages of a file are in memory.

use std::ops::Range;

/// The size of a page in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// How many pages `bytes` need.
pub fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

/// A set of page numbers, kept as ranges that neither overlap nor touch, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageSet {
    ranges: Vec<Range<u64>>,
}

impl PageSet {
    /// How many pages are in the set.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether no page is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a page is in the set.
    pub fn contains(&self, page: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.end <= page);
        self.ranges.get(after).is_some_and(|range| range.contains(&page))
    }

    /// The run of pages without a gap that a page is in; nothing if the page is not in the set.
    pub fn run(&self, page: u64) -> Option<Range<u64>> {
        let after = self.ranges.partition_point(|range| range.end <= page);
        self.ranges.get(after).filter(|range| range.contains(&page)).cloned()
    }

    /// Whether any of these pages is in the set.
    pub fn touches(&self, pages: Range<u64>) -> bool {
        let after = self.ranges.partition_point(|range| range.end <= pages.start);
        !pages.is_empty() && self.ranges.get(after).is_some_and(|range| range.start < pages.end)
    }

    /// The pages, in ascending order.
    pub fn pages(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().cloned().flatten()
    }

    /// Adds pages, and returns how many of them were not there.
    pub fn insert(&mut self, pages: Range<u64>) -> u64 {
        if pages.is_empty() {
            return 0;
        }
        let before = self.len();
        let first = self.ranges.partition_point(|range| range.end < pages.start);
        let last = self.ranges.partition_point(|range| range.start <= pages.end);
        let touched = self.ranges.get(first..last).unwrap_or_default();
        let start = touched.first().map_or(pages.start, |range| range.start.min(pages.start));
        let end = touched.last().map_or(pages.end, |range| range.end.max(pages.end));
        self.ranges.splice(first..last, std::iter::once(start..end));
        self.len() - before
    }

    /// The ranges of this set that are not in `other`.
    pub fn without(&self, other: &Self) -> impl Iterator<Item = Range<u64>> {
        let mut holes = other.ranges.iter().peekable();
        let mut pieces = Vec::new();
        for range in &self.ranges {
            let mut at = range.start;
            while let Some(hole) = holes.peek().filter(|hole| hole.start < range.end) {
                if hole.start > at {
                    pieces.push(at..hole.start);
                }
                at = at.max(hole.end.min(range.end));
                if hole.end > range.end {
                    // It goes on in the next range.
                    break;
                }
                holes.next();
            }
            if at < range.end {
                pieces.push(at..range.end);
            }
        }
        pieces.into_iter()
    }

    /// Takes pages away, and returns how many of them were there.
    pub fn remove(&mut self, pages: Range<u64>) -> u64 {
        if pages.is_empty() {
            return 0;
        }
        let before = self.len();
        let cut = |range: Range<u64>| {
            let left = range.start..range.end.min(pages.start);
            let right = range.start.max(pages.end)..range.end;
            [left, right].into_iter().filter(|rest| !rest.is_empty())
        };
        self.ranges = std::mem::take(&mut self.ranges).into_iter().flat_map(cut).collect();
        before - self.len()
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
            let other = PageSet { ranges: vec![3..7, 20..21, 50..90] };
            let rest: Vec<u64> = set.without(&other).flatten().collect();
            let plain_rest: Vec<u64> = plain.iter().copied().filter(|page| !other.contains(*page)).collect();
            assert_eq!(rest, plain_rest, "step {step}");
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
            assert!(set.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
