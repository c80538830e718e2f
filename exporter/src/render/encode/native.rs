//! Native histograms: the filter's finer cells as Prometheus' sparse exponential buckets.
//!
//! <https://prometheus.io/docs/specs/native_histograms/>

use scoretap_core::histogram::{Cell, NativeBucket};

/// The bucket for values above the largest float: 8 buckets for each of 1024 doublings, and one more.
const BEYOND: i16 = 8193;

/// A distribution over exponential buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Native {
    zero: u64,
    /// Increasing, without empty ones.
    buckets: Vec<(i16, u64)>,
}

/// Neighbouring buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The gap to the previous span; for the first span, its index.
    pub(super) offset: i32,
    /// The number of buckets.
    pub(super) length: u32,
}

impl Native {
    /// Adds the values of one cell.
    ///
    /// A cell from before the resolution became native counts for the bucket of its upper bound, so that no value is shown
    /// as smaller than it was.
    pub fn add(&mut self, cell: Cell, count: u64) {
        let bucket = match (cell.native, cell.le) {
            (Some(bucket), _) => bucket,
            (None, Some(bound)) => NativeBucket::of_nanoseconds(bound),
            (None, None) => NativeBucket::Index(BEYOND),
        };
        match bucket {
            NativeBucket::Zero => self.zero = self.zero.saturating_add(count),
            NativeBucket::Index(index) => self.add_to(index, count),
        }
    }

    fn add_to(&mut self, index: i16, count: u64) {
        if count == 0 {
            return;
        }
        match self.buckets.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(position) => {
                if let Some((_, sum)) = self.buckets.get_mut(position) {
                    *sum = sum.saturating_add(count);
                }
            }
            Err(position) => self.buckets.insert(position, (index, count)),
        }
    }

    /// The number of values that are 0.
    pub(super) const fn zero(&self) -> u64 {
        self.zero
    }

    /// The spans of buckets. Never empty: an empty span marks a native histogram without values.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for index in self.buckets.iter().map(|(index, _)| i32::from(*index)) {
            match spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                Some(_) | None => spans.push(Span { offset: index - next, length: 1 }),
            }
            next = index + 1;
        }
        if spans.is_empty() {
            spans.push(Span { offset: 0, length: 0 });
        }
        spans
    }

    /// The counts of the buckets, each as the difference to the previous one.
    pub(super) fn deltas(&self) -> impl Iterator<Item = i64> {
        let mut before = 0;
        self.buckets.iter().map(move |(_, count)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let delta = count.saturating_sub(before);
            before = count;
            delta
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(cells: &[(Option<u64>, Option<NativeBucket>, u64)]) -> Native {
        let mut native = Native::default();
        for (le, part, count) in cells {
            native.add(Cell { le: *le, native: *part }, *count);
        }
        native
    }

    #[track_caller]
    fn check(cells: &[(Option<u64>, Option<NativeBucket>, u64)], spans: &[(i32, u32)], deltas: &[i64]) {
        let native = native(cells);
        let found: Vec<(i32, u32)> =
            native.spans().iter().map(|Span { offset, length }| (*offset, *length)).collect();
        assert_eq!((found.as_slice(), native.deltas().collect::<Vec<_>>().as_slice()), (spans, deltas));
    }

    #[test]
    fn neighbours_share_a_span_and_gaps_begin_one() {
        let at = |index, count| (Some(10), Some(NativeBucket::Index(index)), count);
        check(&[at(4, 1), at(-3, 5), at(5, 2), at(-2, 7), at(4, 1)], &[(-3, 2), (5, 2)], &[5, 2, -5, 0]);
    }

    #[test]
    fn empty_native_histogram_has_an_empty_span() {
        check(&[], &[(0, 0)], &[]);
    }

    #[test]
    fn zeros_have_a_bucket_of_their_own() {
        let cells = [(Some(10), Some(NativeBucket::Zero), 3)];
        check(&cells, &[(0, 0)], &[]);
        assert_eq!(native(&cells).zero(), 3);
    }

    #[test]
    fn classic_cell_counts_for_its_bounds_bucket() {
        check(&[(Some(1_000_000_000), None, 2), (None, None, 1)], &[(0, 1), (8192, 1)], &[2, -1]);
    }
}
