//! The fixed cells of the histograms that bodies fill.

/// The bounds of numeric predictions: 1, 2 and 5 in each decade from a thousandth to a million on both sides of zero,
/// and tenths between 0 and 1. A value that equals a bound is in the cell below it.
pub const VALUE_BOUNDS: [f64; 63] = [
    -1e6, -5e5, -2e5, -1e5, -5e4, -2e4, -1e4, -5e3, -2e3, -1e3, -500.0, -200.0, -100.0, -50.0, -20.0, -10.0,
    -5.0, -2.0, -1.0, -0.5, -0.2, -0.1, -0.05, -0.02, -0.01, -0.005, -0.002, -0.001, 0.0, 0.001, 0.002,
    0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0,
    100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6,
];

/// The number of cells of numeric predictions; the last has no bound.
pub const VALUE_CELLS: usize = VALUE_BOUNDS.len() + 1;

/// The bounds in eight rows of eight.
const ROWS: [[f64; 8]; 8] = rows();

/// The cell that a value is in.
///
/// Counts the rows below the value, then the bounds below it in the next row. No comparison waits for another, and none
/// is a branch that a processor has to guess, as in a binary search.
#[inline]
pub fn value_cell(value: f64) -> usize {
    let rows = ROWS.iter().filter(|[.., last]| *last < value).count();
    let row = ROWS.get(rows).map_or(0, |row| row.iter().filter(|bound| **bound < value).count());
    rows.saturating_mul(8).saturating_add(row)
}

const fn rows() -> [[f64; 8]; 8] {
    let mut rows = [[f64::INFINITY; 8]; 8];
    let mut position = 0;
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which rejects both"
    )]
    while position < VALUE_BOUNDS.len() {
        rows[position / 8][position % 8] = VALUE_BOUNDS[position];
        position += 1;
    }
    rows
}

/// The bounds of the time between two content events of a stream, in nanoseconds.
pub const GAP_BOUNDS: [u64; 15] = [
    1_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    150_000_000,
    200_000_000,
    300_000_000,
    400_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
];

/// The number of cells of times between events; the last has no bound.
pub const GAP_CELLS: usize = GAP_BOUNDS.len() + 1;

/// The cell that a time between events is in.
pub fn gap_cell(nanoseconds: u64) -> usize {
    GAP_BOUNDS.partition_point(|bound| *bound < nanoseconds)
}

/// The bounds of the rows in one answer: powers of two up to 65,536.
pub const ROW_BOUNDS: [u64; 17] = powers(2);

/// The bounds of the tokens of one call, as OpenTelemetry's `gen_ai.client.token.usage` has them: powers of four.
pub const TOKEN_BOUNDS: [u64; 14] = powers(4);

/// The bounds of the time to the first token, in nanoseconds: those of OpenTelemetry's
/// `gen_ai.server.time_to_first_token`, and Envoy AI Gateway's five above them.
pub const FIRST_TOKEN_BOUNDS: [u64; 21] = [
    1_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    40_000_000,
    60_000_000,
    80_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
    15_000_000_000,
    20_000_000_000,
    30_000_000_000,
    45_000_000_000,
    60_000_000_000,
];

/// The bounds of the time per output token, in nanoseconds: those of OpenTelemetry's
/// `gen_ai.server.time_per_output_token`.
pub const TOKEN_TIME_BOUNDS: [u64; 13] = [
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    150_000_000,
    200_000_000,
    300_000_000,
    400_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
];

const fn powers<const N: usize>(base: u64) -> [u64; N] {
    let mut powers = [1; N];
    let mut position = 1;
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which rejects both"
    )]
    while position < N {
        powers[position] = powers[position - 1] * base;
        position += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::{
        FIRST_TOKEN_BOUNDS, GAP_BOUNDS, ROW_BOUNDS, TOKEN_BOUNDS, TOKEN_TIME_BOUNDS, VALUE_BOUNDS, value_cell,
    };

    #[test]
    fn bounds_of_whole_numbers_increase() {
        for bounds in [&ROW_BOUNDS[..], &TOKEN_BOUNDS, &GAP_BOUNDS, &FIRST_TOKEN_BOUNDS, &TOKEN_TIME_BOUNDS] {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{bounds:?}");
        }
        assert_eq!((ROW_BOUNDS.last(), TOKEN_BOUNDS.last()), (Some(&65_536), Some(&67_108_864)));
    }

    #[test]
    fn value_bounds_increase() {
        assert!(VALUE_BOUNDS.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn value_on_a_bound_is_below_it() {
        for (index, bound) in VALUE_BOUNDS.iter().enumerate() {
            assert_eq!((value_cell(*bound), value_cell(bound.next_up())), (index, index + 1), "{bound}");
        }
        assert_eq!((value_cell(f64::NEG_INFINITY), value_cell(f64::INFINITY)), (0, VALUE_BOUNDS.len()));
    }
}
