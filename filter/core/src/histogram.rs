//! Histograms and their cells.
//!
//! Values are integers, in nanoseconds or bytes, so that comparing one with a bound is exact. A cell names its own
//! upper bound, so a reader does not need the configuration that made it.

/// A quantity measured for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Histogram {
    /// First byte of the request in to last byte of the response out, in nanoseconds.
    Duration,
    /// First byte sent to the app to last byte received from it, in nanoseconds.
    BackendDuration,
    /// Bytes of the request's body.
    RequestBytes,
    /// Bytes of the response's body.
    ResponseBytes,
}

impl Histogram {
    /// Every histogram.
    pub const ALL: [Self; 4] =
        [Self::Duration, Self::BackendDuration, Self::RequestBytes, Self::ResponseBytes];

    /// The name in configurations and counter names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::BackendDuration => "backend_duration",
            Self::RequestBytes => "request_bytes",
            Self::ResponseBytes => "response_bytes",
        }
    }

    /// The histogram that [`as_str`](Self::as_str) calls `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|histogram| histogram.as_str() == text)
    }

    /// Whether the values are times in nanoseconds. Other values are bytes.
    pub const fn is_time(self) -> bool {
        match self {
            Self::Duration | Self::BackendDuration => true,
            Self::RequestBytes | Self::ResponseBytes => false,
        }
    }
}

/// The default bounds of latencies in nanoseconds: the union of the bounds that the dialects need.
pub const DEFAULT_TIME_BOUNDS: [u64; 15] = [
    1_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The default bounds of latencies in nanoseconds where every route is an LLM's: those of vLLM up to 10 minutes, with
/// finer ones below.
pub const LLM_TIME_BOUNDS: [u64; 22] = [
    50_000_000,
    100_000_000,
    200_000_000,
    300_000_000,
    500_000_000,
    800_000_000,
    1_000_000_000,
    1_500_000_000,
    2_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    15_000_000_000,
    20_000_000_000,
    30_000_000_000,
    40_000_000_000,
    50_000_000_000,
    60_000_000_000,
    120_000_000_000,
    240_000_000_000,
    480_000_000_000,
    600_000_000_000,
];

/// The maximum number of bounds of a histogram.
pub const MOST_BOUNDS: usize = 40;

/// The maximum bound of a time: a day, far longer than calls take.
pub const LONGEST_BOUND_SECONDS: u32 = 86_400;

/// Converts a bound from seconds to nanoseconds, if it is in the allowed range.
pub fn time_bound(seconds: f64) -> Option<u64> {
    let rounded = (seconds * 1e9).round();
    let allowed = rounded >= 1.0 && seconds <= f64::from(LONGEST_BOUND_SECONDS);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    allowed.then_some(rounded as u64)
}

/// The bounds of sizes: powers of four from 256 B to 64 MiB.
pub const SIZE_BOUNDS: [u64; 10] =
    [1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26];

/// One cell: the values above the bound before `le`, up to and including `le`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// The upper bound; `None` is +Inf.
    pub le: Option<u64>,
    /// The exponential bucket within the cell, if the resolution is native.
    pub native: Option<NativeBucket>,
}

/// A bucket of a Prometheus native histogram of [`NATIVE_SCHEMA`], over seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NativeBucket {
    /// Exactly 0.
    Zero,
    /// From 2^((i-1)/8) to 2^(i/8), the upper bound included.
    Index(i16),
}

/// Eight buckets for each doubling.
pub const NATIVE_SCHEMA: i32 = 3;

/// The index of the cell that contains `value`, in increasing bounds. The number of bounds is the index of +Inf.
pub fn cell_index(bounds: &[u64], value: u64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

impl NativeBucket {
    /// The bucket of a time in nanoseconds, computed as in Prometheus' client libraries.
    pub fn of_nanoseconds(nanoseconds: u64) -> Self {
        if nanoseconds == 0 {
            return Self::Zero;
        }
        #[expect(clippy::cast_precision_loss, reason = "Prometheus observes floats too")]
        let (fraction, exponent) = split(nanoseconds as f64 / 1e9);
        let above = FRACTION_BOUNDS.partition_point(|bound| *bound < fraction);
        let whole = exponent.saturating_sub(1).saturating_mul(8);
        Self::Index(whole.saturating_add(i16::try_from(above).unwrap_or(0)))
    }
}

/// 2^(i/8 - 1) for i in 0..8: the bounds between 0.5 and 1.
const FRACTION_BOUNDS: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    0.707_106_781_186_547_5,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_4,
    0.917_004_043_204_671_1,
];

/// C's `frexp` for a normal positive float: a fraction in [0.5, 1) and an exponent of two.
fn split(value: f64) -> (f64, i16) {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let fraction = f64::from_bits((bits & FRACTION) | (1022 << 52));
    let exponent = i16::try_from(bits >> 52).unwrap_or(0).saturating_sub(1022);
    (fraction, exponent)
}
