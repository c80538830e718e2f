//! `rate_limit`: a token bucket for all callers together. It holds up to `burst` tokens and gains one each `interval`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit. Neither field is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

/// The tokens that are left.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket will be full again, and under which limit. A changed limit begins with a full bucket.
    full: Mutex<Option<(RateLimit, Instant)>>,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(super) fn take(&self, limit: RateLimit, now: Instant) -> bool {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let at = full.filter(|(of, _)| *of == limit).map_or(now, |(_, at)| at.max(now));
        let longest = limit.interval.saturating_mul(limit.burst);
        let at = at.checked_add(limit.interval).filter(|at| at.duration_since(now) <= longest);
        if let Some(at) = at {
            *full = Some((limit, at));
        }
        at.is_some()
    }
}

/// Parses a duration as Go writes it: `1s`, `1m30s`, `1.5h`, and `0`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    match text {
        "" => return None,
        "0" => return Some(Duration::ZERO),
        _ => {}
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (value, more) = rest.split_at_checked(number)?;
        let end = more.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(more.len());
        let (unit, more) = more.split_at_checked(end)?;
        seconds += value.parse::<f64>().ok()? * unit_seconds(unit)?;
        rest = more;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn burst_passes_then_one_each_interval() {
        let (bucket, begun) = (Bucket::default(), Instant::now());
        let limit = RateLimit { interval: SECOND, burst: 3 };
        let mut take = |milliseconds| bucket.take(limit, begun + Duration::from_millis(milliseconds));
        let taken = [0, 0, 0, 0, 900, 1000, 1001, 1900, 2000, 2001].map(&mut take);
        assert_eq!(taken, [true, true, true, false, false, true, false, false, true, false]);
        // After a long pause the bucket still holds no more than the burst.
        let taken = [100_000; 4].map(&mut take);
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn rejected_requests_delay_no_later_one() {
        let (bucket, begun) = (Bucket::default(), Instant::now());
        let limit = RateLimit { interval: SECOND, burst: 1 };
        assert!(bucket.take(limit, begun));
        assert!(
            (0..1000).all(|milliseconds| !bucket.take(limit, begun + Duration::from_millis(milliseconds)))
        );
        assert!(bucket.take(limit, begun + SECOND));
    }

    #[test]
    fn changed_limit_applies_at_once() {
        let (bucket, now) = (Bucket::default(), Instant::now());
        let limit = RateLimit { interval: SECOND, burst: 1 };
        let other = RateLimit { burst: 2, ..limit };
        assert_eq!(
            [limit, limit, other, other, other].map(|limit| bucket.take(limit, now)),
            [true, false, true, true, false]
        );
        let endless = RateLimit { interval: Duration::MAX, burst: u32::MAX };
        assert!(!bucket.take(endless, now), "there is no such time");
    }

    #[track_caller]
    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(duration(text), expected, "{text:?}");
    }

    #[test]
    fn durations_are_written_as_in_go() {
        check("0", Some(Duration::ZERO));
        check("0s", Some(Duration::ZERO));
        check("1s", Some(SECOND));
        check("1m30s", Some(SECOND * 90));
        check("1.5h", Some(SECOND * 5400));
        check("250ms", Some(SECOND / 4));
        check("10us1ns", Some(Duration::from_nanos(10_001)));
        check("3\u{b5}s", Some(Duration::from_micros(3)));
        for wrong in ["", "1", "s", "-1s", "1 s", "1d", "1.2.3s", ".s", "1s2", "\u{661}s", "1e3s", "infs"] {
            check(wrong, None);
        }
        check(&format!("{}h", "9".repeat(40)), None);
    }
}
