//! The first module counts what the second one reads, as an access logger or as a filter behind it.

use scoretap_tests::apps::Part;
use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::http::Call;
use scoretap_tests::stack::{StackBuilder, WayIn};
use scoretap_tests::tools::EnvoyVersion;

use crate::records::{Recorded, SCORE, builder, response};

/// Streams that end without a last piece of body: the record is written when the call is over.
fn broken(_: &str) -> Vec<Part> {
    let mut bytes = response("content-type: application/json\r\n", b"{\"predictions\": [1, 2, 3]}");
    bytes.truncate(bytes.len() - 1);
    vec![Part::now(bytes)]
}

fn bodies(builder: StackBuilder) -> u64 {
    let mut recorded = Recorded::start(builder);
    let (_, record) = recorded.call(Call::post(SCORE, "{}"));
    assert!(record.is_some(), "an access logger of Envoy sees the record");
    let stats = recorded.stack.envoy_stats("scoretap\\.read\\..*\\.scanned\\.");
    stats.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn broken_call_is_read_in_both_ways_in() {
    for version in EnvoyVersion::ALL {
        for way_in in WayIn::ALL {
            let name = format!("order-{}", way_in.as_str());
            assert_eq!(bodies(builder(&name, version, broken).way_in(way_in)), 1, "{version:?}, {way_in:?}");
        }
    }
}

#[test]
fn filter_before_insight_misses_broken_calls() {
    let swapped = |listener: &mut Bootstrap| {
        listener.manager()["http_filters"].as_array_mut().unwrap().swap(0, 1);
    };
    let builder = builder("order-swapped", EnvoyVersion::Newest, broken).way_in(WayIn::HttpFilter);
    assert_eq!(bodies(builder.edit_listener(swapped)), 0);
}
