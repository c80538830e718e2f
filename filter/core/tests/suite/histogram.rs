use scoretap_core::config::Config;
use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, Histogram, NativeBucket, cell_index};

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn value_equal_to_bound_is_in_its_cell() {
    for (position, bound) in DEFAULT_TIME_BOUNDS.into_iter().enumerate() {
        assert_eq!(cell_index(&DEFAULT_TIME_BOUNDS, bound - 1), position);
        assert_eq!(cell_index(&DEFAULT_TIME_BOUNDS, bound), position);
        assert_eq!(cell_index(&DEFAULT_TIME_BOUNDS, bound + 1), position + 1);
    }
    assert_eq!(cell_index(&DEFAULT_TIME_BOUNDS, 0), 0);
    assert_eq!(cell_index(&DEFAULT_TIME_BOUNDS, u64::MAX), DEFAULT_TIME_BOUNDS.len());
    assert_eq!(cell_index(&[], 7), 0);
}

#[test]
fn sizes_have_bounds_of_their_own() {
    let config = Config::parse(b"{}").unwrap();
    let sizes: Vec<u64> = (4..14).map(|power| 4_u64.pow(power)).collect();
    for histogram in Histogram::ALL {
        let expected = if histogram.is_time() { &DEFAULT_TIME_BOUNDS[..] } else { &sizes };
        assert_eq!(config.bounds(histogram), expected, "{histogram:?}");
        assert_eq!(histogram.is_time(), histogram.as_str().ends_with("duration"), "{histogram:?}");
    }
}

/// The bucket that contains a value, by the definition: 2^((i-1)/8) < seconds <= 2^(i/8).
fn by_definition(nanoseconds: u64) -> i16 {
    let seconds = nanoseconds as f64 / 1e9;
    let mut index = (seconds.log2() * 8.0).floor() as i16 - 2;
    while seconds > (f64::from(index) / 8.0).exp2() {
        index += 1;
    }
    index
}

#[test]
fn native_buckets_match_their_definition() {
    assert_eq!(NativeBucket::of_nanoseconds(0), NativeBucket::Zero);
    assert_eq!(NativeBucket::of_nanoseconds(1_000_000_000), NativeBucket::Index(0));
    assert_eq!(NativeBucket::of_nanoseconds(1_000_000_001), NativeBucket::Index(1));
    assert_eq!(NativeBucket::of_nanoseconds(2_000_000_000), NativeBucket::Index(8));
    assert_eq!(NativeBucket::of_nanoseconds(500_000_000), NativeBucket::Index(-8));
    let mut nanoseconds = 1_u64;
    while nanoseconds < 1 << 50 {
        for value in [nanoseconds, nanoseconds + 1, nanoseconds * 3 / 2] {
            assert_eq!(
                NativeBucket::of_nanoseconds(value),
                NativeBucket::Index(by_definition(value)),
                "{value}"
            );
        }
        nanoseconds = nanoseconds * 11 / 10 + 1;
    }
}

#[test]
fn names_round_trip() {
    for histogram in Histogram::ALL {
        assert_eq!(Histogram::parse(histogram.as_str()), Some(histogram));
    }
}
