//! Decodes Envoy's lines: decodes names, resolves models to labels, and adds up series with equal labels.
//!
//! The only module that sees the name of a statistic. The grammar is in `scoretap_core::name`.

use std::time::Duration;

use hashbrown::hash_map::EntryRef;
use hashbrown::{Equivalent, HashMap};
use scoretap_core::name::{ConfigState, ENVOY_PREFIX, Endpoint, Model, Series, Stat};
use scoretap_core::route::PRESETS;

use crate::reading::identity::Identity;
use crate::reading::measured::{EnvoyRequests, Key, Measured, Reading};

/// A line that is not `name: value`, so the answer does not come from Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAStatistic {
    /// The beginning of the line.
    pub line: String,
}

/// Decodes Envoy's lines, in any order.
#[derive(Debug)]
pub struct Decoder<'a> {
    identity: &'a Identity,
    series: HashMap<Key, Measured>,
    reading: Reading,
    in_force: Option<ConfigState>,
    has_native_cells: bool,
    requests_begun: Option<u64>,
    requests_active: u64,
}

impl<'a> Decoder<'a> {
    /// A decoder without lines.
    pub fn new(identity: &'a Identity) -> Self {
        Self {
            identity,
            series: HashMap::new(),
            reading: Reading::default(),
            in_force: None,
            has_native_cells: false,
            requests_begun: None,
            requests_active: 0,
        }
    }

    /// Decodes one line, `name: value`.
    pub fn line(&mut self, line: &str) -> Result<(), NotAStatistic> {
        let parsed = line.rsplit_once(": ").and_then(|(name, value)| Some((name, value.parse().ok()?)));
        let Some((name, value)) = parsed else {
            return Err(NotAStatistic { line: line.chars().take(80).collect() });
        };
        match name.strip_prefix(ENVOY_PREFIX) {
            Some(name) => match Stat::decode(name) {
                Some(stat) => self.ours(stat, value),
                None => self.reading.unknown += 1,
            },
            None => self.envoys(name, value),
        }
        Ok(())
    }

    /// Ends the read. The pod's own model has a series on each of `expected_routes`, even before its first call.
    pub fn finish(mut self, expected_routes: &[String]) -> Reading {
        for route in expected_routes {
            let (model, version) = self.identity.own();
            let preset = PRESETS.iter().find(|preset| preset.name == *route);
            let template = preset.and_then(|preset| preset.paths.first());
            let (method, template) = template.map_or(("", ""), |template| ("POST", *template));
            self.entry(&KeyRef { model, version, route, method, template });
        }
        let mut reading = self.reading;
        reading.series = self.series.into_iter().collect();
        reading.series.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        reading.config_valid = self.in_force.map(|in_force| in_force != ConfigState::Invalid);
        // After a change from native to classic resolution, native buckets would show the old cells only. An invalid
        // configuration has no resolution, so the existing cells decide.
        reading.is_native = match self.in_force {
            Some(ConfigState::Native) => true,
            Some(ConfigState::Classic) => false,
            Some(ConfigState::Invalid) | None => self.has_native_cells,
        };
        reading.envoy_requests = self
            .requests_begun
            .map(|begun| EnvoyRequests { begun, finished: begun.saturating_sub(self.requests_active) });
        reading
    }

    fn ours(&mut self, stat: Stat<'_>, value: u64) {
        match stat {
            Stat::Call { series, endpoint, code, outcome } => {
                self.reading.matched = self.reading.matched.saturating_add(value);
                if series.model == Model::Other {
                    self.reading.overflow = self.reading.overflow.saturating_add(value);
                }
                self.measured(&series, &endpoint).count(outcome, code, value);
            }
            Stat::Cell { series, endpoint, histogram, ended, cell } => {
                self.has_native_cells |= cell.native.is_some();
                let measured = self.measured(&series, &endpoint);
                measured.distribution_mut(histogram, ended).cells.push((cell, value));
            }
            Stat::Sum { series, endpoint, histogram, ended } => {
                let distribution = self.measured(&series, &endpoint).distribution_mut(histogram, ended);
                distribution.sum = distribution.sum.saturating_add(value);
            }
            Stat::Read { series, reading } => {
                let (model, version) = self.identity.resolve(&series.model);
                let key = KeyRef { model, version, route: &series.route, method: "", template: "" };
                self.entry(&key).bodies.read(reading, value);
            }
            Stat::InsightSeen => self.reading.insight_seen = Some(value),
            Stat::InsightLost => self.reading.insight_lost = value,
            Stat::Unmatched => self.reading.unmatched = value,
            Stat::Config => self.in_force = Some(ConfigState::from_number(value)),
            Stat::Bounds { histogram, bounds } => self.reading.bounds.configured(histogram, value, &bounds),
        }
    }

    /// Decodes Envoy's own statistics, which the user's patterns select.
    fn envoys(&mut self, name: &str, value: u64) {
        // Envoy can count the requests of some user agents a second time.
        if name.contains(".user_agent.") {
            return;
        }
        if name == "server.uptime" {
            self.reading.uptime = Some(Duration::from_secs(value));
        } else if name.starts_with("cluster.") && name.ends_with(".upstream_rq_active") {
            add(&mut self.reading.in_flight, value);
        } else if name.starts_with("http.") && name.ends_with(".downstream_rq_total") {
            add(&mut self.requests_begun, value);
        } else if name.starts_with("http.") && name.ends_with(".downstream_rq_active") {
            self.requests_active = self.requests_active.saturating_add(value);
        } else if let Some((_, result)) = name.rsplit_once(".vm_reload_") {
            let reloads = self.reading.vm_reloads.get_or_insert_default();
            match result {
                "success" => reloads.success = reloads.success.saturating_add(value),
                "failure" => reloads.failure = reloads.failure.saturating_add(value),
                "backoff" => reloads.backoff = reloads.backoff.saturating_add(value),
                _ => {}
            }
        }
    }

    fn measured(&mut self, series: &Series<'_>, endpoint: &Endpoint<'_>) -> &mut Measured {
        let (model, version) = self.identity.resolve(&series.model);
        let Endpoint { method, template } = endpoint;
        self.entry(&KeyRef { model, version, route: &series.route, method, template })
    }

    fn entry(&mut self, key: &KeyRef<'_>) -> &mut Measured {
        match self.series.entry_ref(key) {
            EntryRef::Occupied(entry) => entry.into_mut(),
            EntryRef::Vacant(entry) => entry.insert_with_key(Key::from(key), Measured::default()),
        }
    }
}

fn add(total: &mut Option<u64>, value: u64) {
    *total = Some(total.unwrap_or(0).saturating_add(value));
}

/// A borrowed [`Key`]. The order of its fields is the same, and so is its hash.
#[derive(Hash)]
struct KeyRef<'a> {
    model: &'a str,
    version: &'a str,
    route: &'a str,
    method: &'a str,
    template: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let Key { model, version, route, method, template } = key;
        (self.model, self.version, self.route, self.method, self.template)
            == (model, version, route, method, template)
    }
}

impl From<&KeyRef<'_>> for Key {
    fn from(key: &KeyRef<'_>) -> Self {
        let KeyRef { model, version, route, method, template } = *key;
        Self {
            model: model.to_owned(),
            version: version.to_owned(),
            route: route.to_owned(),
            method: method.to_owned(),
            template: template.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, Histogram};
    use scoretap_core::outcome::Status;

    use super::*;
    use crate::reading::measured::Calls;

    fn reading(identity: &Identity, lines: &[&str]) -> Reading {
        let mut decoder = Decoder::new(identity);
        for line in lines {
            decoder.line(line).unwrap();
        }
        decoder.finish(&[])
    }

    fn pod() -> Identity {
        Identity { model: Some("iris".to_owned()), version: Some("3".to_owned()), ..Identity::default() }
    }

    /// Calls by key and outcome, and by key and response.
    #[track_caller]
    fn check_calls(lines: &[&str], expected: &[(&str, &[&str])]) {
        let reading = reading(&pod(), lines);
        let found: Vec<(String, Vec<String>)> = reading
            .series
            .iter()
            .map(|(Key { model, version, route, method, template }, measured)| {
                let calls = measured.calls.iter().map(|Calls { outcome, code, count, .. }| {
                    format!("{method} {template} {code} {} {count}", outcome.as_str())
                });
                (format!("{model}/{version}/{route}"), calls.collect())
            })
            .collect();
        let expected: Vec<(String, Vec<String>)> = expected
            .iter()
            .map(|(key, calls)| ((*key).to_owned(), calls.iter().map(|call| (*call).to_owned()).collect()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn calls_are_counted_by_outcome_and_response() {
        check_calls(
            &[
                "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 12",
                "wasmcustom.scoretap.call.score.~.~.POST./score.404.not_found: 2",
                "wasmcustom.scoretap.call.score.~.~.POST./score.0.cancelled: 1",
            ],
            &[(
                "iris/3/score",
                &["POST /score 200 success 12", "POST /score 404 not_found 2", "POST /score 0 cancelled 1"],
            )],
        );
    }

    #[test]
    fn series_with_equal_labels_are_added_up() {
        check_calls(
            &[
                "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 1",
                "wasmcustom.scoretap.call.score.iris.~.POST./score.200.success: 10",
                "wasmcustom.scoretap.call.score.iris.3.POST./score.200.success: 100",
                "wasmcustom.scoretap.call.score.%.%.POST./score.200.truncated: 1000",
            ],
            &[("iris/3/score", &["POST /score 200 success 111", "POST /score 200 truncated 1000"])],
        );
    }

    #[test]
    fn series_that_differ_in_a_label_stay_apart() {
        check_calls(
            &[
                "wasmcustom.scoretap.call.score.b.1.POST./score.200.success: 1",
                "wasmcustom.scoretap.call.score.a.2.POST./score.200.success: 2",
                "wasmcustom.scoretap.call.predict.a.1.POST./predict.200.success: 3",
                "wasmcustom.scoretap.call.score.a.1.POST./score.200.success: 4",
                "wasmcustom.scoretap.call.score.a.1.PUT./score.200.success: 5",
            ],
            &[
                ("a/1/predict", &["POST /predict 200 success 3"]),
                ("a/1/score", &["POST /score 200 success 4"]),
                ("a/1/score", &["PUT /score 200 success 5"]),
                ("a/2/score", &["POST /score 200 success 2"]),
                ("b/1/score", &["POST /score 200 success 1"]),
            ],
        );
    }

    #[test]
    fn names_are_decoded_as_the_caller_wrote_them() {
        check_calls(
            &["wasmcustom.scoretap.call.score.a%22%0A%2Eb%3A%20c.%C3%BC.POST./score.200.success: 1"],
            &[("a\"\n.b: c/ü/score", &["POST /score 200 success 1"])],
        );
    }

    #[test]
    fn matched_calls_are_the_sum_of_all_series() {
        let reading = reading(
            &pod(),
            &[
                "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 12",
                "wasmcustom.scoretap.call.score.*.*.POST./score.500.model_error: 3",
                "wasmcustom.scoretap.call.predict.*.*.POST./predict.200.success: 4",
                "wasmcustom.scoretap.unmatched: 7",
            ],
        );
        assert_eq!((reading.matched, reading.unmatched, reading.overflow), (19, 7, 7));
    }

    #[test]
    fn reading_without_lines_is_empty() {
        let reading = reading(&pod(), &[]);
        assert_eq!((reading.matched, reading.unmatched, reading.overflow), (0, 0, 0));
        assert_eq!((reading.config_valid, reading.envoy_requests, reading.in_flight), (None, None, None));
        assert!(reading.series.is_empty());
    }

    #[test]
    fn expected_route_has_one_series_throughout() {
        let identity = pod();
        let mut decoder = Decoder::new(&identity);
        decoder.line("wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 12").unwrap();
        let reading = decoder.finish(&["score".to_owned(), "predict".to_owned(), "mine".to_owned()]);
        let endpoint = |(key, _): &(Key, Measured)| format!("{} {} {}", key.route, key.method, key.template);
        let known: Vec<String> = reading.series.iter().map(endpoint).collect();
        assert_eq!(known, ["mine  ", "predict POST /predict", "score POST /score"]);
    }

    #[test]
    fn cells_and_sums_of_equal_series_add_up() {
        let reading = reading(
            &pod(),
            &[
                "wasmcustom.scoretap.cell.score.~.~.POST./score.duration.success.1000: 1",
                "wasmcustom.scoretap.cell.score.iris.3.POST./score.duration.success.1000: 2",
                "wasmcustom.scoretap.cell.score.~.~.POST./score.duration.success.inf: 4",
                "wasmcustom.scoretap.sum.score.~.~.POST./score.duration.success: 100",
                "wasmcustom.scoretap.sum.score.iris.~.POST./score.duration.success: 11",
                "wasmcustom.scoretap.sum.score.~.~.POST./score.duration.failure: 5",
            ],
        );
        let [(_, measured)] = reading.series.as_slice() else { panic!("one series: {reading:?}") };
        let of =
            |status| measured.distributions(Histogram::Duration, status).map(|(_, values)| values).next();
        let success = of(Status::Success).unwrap();
        assert_eq!(success.cells.iter().map(|(_, count)| count).sum::<u64>(), 7);
        assert_eq!(success.sum, 111);
        assert_eq!(of(Status::Failure).unwrap().sum, 5);
        assert_eq!(of(Status::Cancelled), None);
    }

    #[track_caller]
    fn check_bounds(lines: &[&str], expected: &[u64]) {
        assert_eq!(reading(&pod(), lines).bounds.of(Histogram::Duration), expected);
    }

    #[test]
    fn last_configured_bounds_are_in_force() {
        check_bounds(&[], &DEFAULT_TIME_BOUNDS);
        let [old, new] =
            ["wasmcustom.scoretap.bounds.duration.1_2_3: 100", "wasmcustom.scoretap.bounds.duration.5: 101"];
        check_bounds(&[old], &[1, 2, 3]);
        check_bounds(&[old, new], &[5]);
        check_bounds(&[new, old], &[5]);
        check_bounds(&["wasmcustom.scoretap.bounds.request_bytes.1: 1"], &DEFAULT_TIME_BOUNDS);
        let other = "wasmcustom.scoretap.bounds.duration.7: 101";
        check_bounds(&[new, other], &[7]);
        check_bounds(&[other, new], &[7]);
    }

    #[test]
    fn bounds_equal_as_floats_are_one() {
        check_bounds(
            &["wasmcustom.scoretap.bounds.duration.18446744073709551615_5_18446744073709551614_5: 1"],
            &[5, 18_446_744_073_709_551_614],
        );
    }

    #[test]
    fn statistics_add_up_over_listeners_and_clusters() {
        let reading = reading(
            &pod(),
            &[
                "cluster.inbound|8080||.upstream_rq_active: 2",
                "cluster.inbound|8081||.upstream_rq_active: 3",
                "http.inbound_0.0.0.0_8080.downstream_rq_active: 5",
                "http.inbound_0.0.0.0_8080.downstream_rq_total: 100",
                "http.inbound_0.0.0.0_8081.downstream_rq_total: 20",
                "http.inbound_0.0.0.0_8081.user_agent.ios.downstream_rq_total: 4000",
            ],
        );
        let envoy_requests = Some(EnvoyRequests { begun: 120, finished: 115 });
        assert_eq!((reading.in_flight, reading.envoy_requests), (Some(5), envoy_requests));
    }

    #[test]
    fn finished_requests_are_never_negative() {
        let lines = ["http.inbound.downstream_rq_active: 2", "http.inbound.downstream_rq_total: 1"];
        let envoy_requests = Some(EnvoyRequests { begun: 1, finished: 0 });
        assert_eq!(reading(&pod(), &lines).envoy_requests, envoy_requests);
    }

    #[test]
    fn config_gauge_decides_whether_configuration_is_valid() {
        assert_eq!(reading(&pod(), &["wasmcustom.scoretap.config: 0"]).config_valid, Some(false));
        assert_eq!(reading(&pod(), &["wasmcustom.scoretap.config: 1"]).config_valid, Some(true));
    }

    #[test]
    fn native_buckets_are_shown_while_calls_use_them() {
        let is_native = |config: &str| {
            let cell = "wasmcustom.scoretap.cell.r.~.~.POST./r.duration.success.5000000.-60: 1";
            reading(&pod(), &[cell, config]).is_native
        };
        assert!(is_native("wasmcustom.scoretap.config: 2"));
        assert!(!is_native("wasmcustom.scoretap.config: 1"), "new calls are in classic cells");
        assert!(is_native("wasmcustom.scoretap.config: 0"), "there are no new calls");
        assert!(reading(&pod(), &["wasmcustom.scoretap.config: 2"]).is_native, "before the first call, too");
    }

    #[test]
    fn statistics_of_another_release_are_skipped_and_counted() {
        let reading = reading(
            &pod(),
            &[
                "wasmcustom.scoretap.future.a.b: 1",
                "wasmcustom.scoretap.call.score.~.~.POST./score.200.splendid: 1",
            ],
        );
        assert_eq!((reading.unknown, reading.matched), (2, 0));
    }

    #[test]
    fn line_without_name_and_value_is_rejected() {
        for line in ["", "<html>", "a: b", "a: -1", "a:1", "a: ", "a: 18446744073709551616", "a: 1 "] {
            let refused = Decoder::new(&pod()).line(line).expect_err("must be refused");
            assert_eq!(refused.line, line);
        }
        let long = "ü".repeat(1000);
        assert_eq!(Decoder::new(&pod()).line(&long).expect_err("must be refused").line, "ü".repeat(80));
    }

    #[test]
    fn counts_saturate() {
        let lines = [
            "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 18446744073709551615",
            "wasmcustom.scoretap.call.score.iris.3.POST./score.200.success: 1",
            "wasmcustom.scoretap.call.score.iris.3.POST./score.500.model_error: 1",
        ];
        let reading = reading(&pod(), &lines);
        assert_eq!(reading.matched, u64::MAX);
        assert_eq!(reading.series[0].1.calls[0].count, u64::MAX);
    }
}
