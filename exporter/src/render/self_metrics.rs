//! Metrics about the exporter itself and about how far the filter's counts can be trusted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::baseline::{Baseline, BaselineCount, BaselineRatio};
use crate::envoy::errors::{Reason, ScrapeErrors};
use crate::process::Resources;
use scoretap_dialect::bodies::BodyCount;

use crate::reading::bodies::Count;
use crate::reading::measured::{Key, Reading, VmReloads};
use crate::render::encode::{Encoder, Heading, Kind, Value};
use scoretap_web::counts::Counts;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The labels of these families.
pub const LABELS: [&str; 10] =
    ["cell", "code", "model_name", "model_version", "of", "reason", "result", "route", "scanned", "version"];

/// A family, for tables and for headings.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its label and the label's values.
    pub label: Option<(&'static str, &'static str)>,
}

const UP: Family = Family {
    name: "scoretap_up",
    help: "1 where the last read of Envoy succeeded.",
    kind: Kind::Gauge,
    label: None,
};
const DURATION: Family = Family {
    name: "scoretap_scrape_duration_seconds",
    help: "How long this read of Envoy took.",
    kind: Kind::Gauge,
    label: None,
};
const ERRORS: Family = Family {
    name: "scoretap_scrape_errors_total",
    help: "Scrapes that could not read Envoy, by reason, since this exporter started.",
    kind: Kind::Counter,
    label: Some(("reason", "unreachable, timeout, refused, broken, garbage, too_large")),
};
const BUILD: Family = Family {
    name: "scoretap_build_info",
    help: "The build of this exporter.",
    kind: Kind::Info,
    label: Some(("version", "as `--version` says")),
};
const DIALECT: Family = Family {
    name: "scoretap_dialect_valid",
    help: "0 where the dialect of DIALECT_FILE cannot be served; only with such a dialect.",
    kind: Kind::Gauge,
    label: None,
};
const BASELINE: Family = Family {
    name: "scoretap_baseline_predictions",
    help: "Predictions in the baseline file, by model_name, route, cell or class; only with a baseline.",
    kind: Kind::Gauge,
    label: Some(("of", "value, class")),
};
const BASELINE_VALID: Family = Family {
    name: "scoretap_baseline_valid",
    help: "0 where the baseline of BASELINE_FILE cannot be served; only with such a baseline.",
    kind: Kind::Gauge,
    label: None,
};
const BASELINE_RATIO: Family = Family {
    name: "scoretap_baseline_value_ratio",
    help: "Share of the baseline file's numbers up to the cell, by model_name and route; only with a baseline.",
    kind: Kind::Gauge,
    label: Some(("cell", "upper bounds of cells")),
};
const VALID: Family = Family {
    name: "scoretap_config_valid",
    help: "0 where the filter runs without its configuration, which is not valid.",
    kind: Kind::Gauge,
    label: None,
};
const SEEN: Family = Family {
    name: "scoretap_calls_seen_total",
    help: "Calls that the filter saw, by whether a route matched.",
    kind: Kind::Counter,
    label: Some(("result", "matched, unmatched")),
};
const ENVOYS: Family = Family {
    name: "scoretap_envoy_requests_total",
    help: "Finished requests that Envoy itself counted where the filter should have seen them.",
    kind: Kind::Counter,
    label: None,
};
const OVERFLOW: Family = Family {
    name: "scoretap_series_overflow_total",
    help: "Calls whose model went into \"other\": there were too many models, its name cannot be a \
           label, or no call showed that it exists.",
    kind: Kind::Counter,
    label: None,
};

const RELOADS: Family = Family {
    name: "scoretap_vm_reloads_total",
    help: "Envoy's attempts to restart a crashed VM of the filter, by result.",
    kind: Kind::Counter,
    label: Some(("result", "success, failure, backoff")),
};

const INSIGHT: Family = Family {
    name: "scoretap_insight_calls_seen_total",
    help: "Calls on configured routes that the insight module saw; only with that module.",
    kind: Kind::Counter,
    label: None,
};
const LOST: Family = Family {
    name: "scoretap_insight_records_lost_total",
    help: "Calls whose record the insight module could not store in Envoy; only with that module.",
    kind: Kind::Counter,
    label: None,
};
const BODIES: Family = Family {
    name: "scoretap_bodies_total",
    help: "Bodies that the insight module read, by how much of each it could scan, by model_name, model_version and route; only with that module.",
    kind: Kind::Counter,
    label: Some(("scanned", "whole, partial, compressed, unreadable")),
};

const REQUESTS: Family = Family {
    name: "scoretap_http_requests_total",
    help: "HTTP requests that this exporter answered, on every path, by the status code of the answer.",
    kind: Kind::Counter,
    label: Some(("code", "200; others once sent")),
};
const IN_FLIGHT: Family = Family {
    name: "scoretap_http_requests_in_flight",
    help: "HTTP requests that this exporter is answering, this one included.",
    kind: Kind::Gauge,
    label: None,
};
const HANDSHAKES: Family = Family {
    name: "scoretap_tls_handshake_failures_total",
    help: "Failed TLS handshakes and refused client certificates; only with a web configuration.",
    kind: Kind::Counter,
    label: None,
};
const RELOADED: Family = Family {
    name: "scoretap_web_config_last_reload_successful",
    help: "0 if the last change of the web configuration was rejected; only with a web configuration.",
    kind: Kind::Gauge,
    label: None,
};
const RELOAD_TIME: Family = Family {
    name: "scoretap_web_config_last_reload_success_timestamp_seconds",
    help: "When the web configuration was last read successfully; only with a web configuration.",
    kind: Kind::Gauge,
    label: None,
};
const MEMORY: Family = Family {
    name: "scoretap_process_resident_memory_bytes",
    help: "Resident memory of this exporter.",
    kind: Kind::Gauge,
    label: None,
};
const CPU: Family = Family {
    name: "scoretap_process_cpu_seconds_total",
    help: "User and system CPU time of this exporter.",
    kind: Kind::Counter,
    label: None,
};
const OPEN_FDS: Family = Family {
    name: "scoretap_process_open_fds",
    help: "Open file descriptors of this exporter.",
    kind: Kind::Gauge,
    label: None,
};
const MAX_FDS: Family = Family {
    name: "scoretap_process_max_fds",
    help: "The most file descriptors that this exporter may open.",
    kind: Kind::Gauge,
    label: None,
};
const START: Family = Family {
    name: "scoretap_process_start_time_seconds",
    help: "When this exporter started, in seconds since the Unix epoch.",
    kind: Kind::Gauge,
    label: None,
};

/// All of them, in the order in which they are written.
pub const FAMILIES: [Family; 26] = [
    UP,
    DURATION,
    ERRORS,
    BUILD,
    REQUESTS,
    IN_FLIGHT,
    HANDSHAKES,
    RELOADED,
    RELOAD_TIME,
    MEMORY,
    CPU,
    OPEN_FDS,
    MAX_FDS,
    START,
    DIALECT,
    BASELINE_VALID,
    BASELINE,
    BASELINE_RATIO,
    VALID,
    SEEN,
    ENVOYS,
    OVERFLOW,
    RELOADS,
    INSIGHT,
    LOST,
    BODIES,
];

/// The state of the exporter at one scrape.
#[derive(Debug)]
pub struct SelfState<'a> {
    /// How long the read of Envoy took.
    pub took: Duration,
    /// Failed scrapes.
    pub errors: &'a ScrapeErrors,
    /// Answered requests.
    pub requests: &'a Counts,
    /// Memory, CPU time and files; `None` if they cannot be read.
    pub resources: Option<Resources>,
}

/// Writes these families with the labels that every series has.
#[derive(Debug)]
pub struct SelfMetrics<'a, E> {
    encoder: &'a mut E,
    constants: &'a [(String, String)],
    /// When the counters that follow were 0.
    created: Option<SystemTime>,
}

impl<'a, E: Encoder> SelfMetrics<'a, E> {
    /// Writes to `encoder`.
    pub const fn new(encoder: &'a mut E, constants: &'a [(String, String)]) -> Self {
        Self { encoder, constants, created: None }
    }

    /// Writes the families that exist even if Envoy could not be read.
    pub fn always(&mut self, is_up: bool, state: &SelfState<'_>) {
        let SelfState { took, errors, requests, resources } = state;
        let start = resources.and_then(|resources| Duration::try_from_secs_f64(resources.start_seconds).ok());
        self.created = start.map(|start| UNIX_EPOCH + start);
        self.one(UP, Value::Count(u64::from(is_up)));
        self.one(DURATION, Value::Float(took.as_secs_f64()));
        self.many(ERRORS, &Reason::ALL.map(|reason| (reason.as_str(), errors.of(reason))));
        self.many(BUILD, &[(VERSION, 1)]);
        let web = requests.snapshot();
        let by_code: Vec<(&str, u64)> =
            web.requests.iter().map(|(code, count)| (code.as_str(), *count)).collect();
        self.many(REQUESTS, &by_code);
        self.one(IN_FLIGHT, Value::Count(web.in_flight));
        if let Some(succeeded) = web.reloads.last_succeeded {
            self.one(HANDSHAKES, Value::Count(web.handshake_failures));
            self.one(RELOADED, Value::Count(u64::from(succeeded)));
        }
        if let Some(time) = web.reloads.last_success.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
            self.one(RELOAD_TIME, Value::Float(time.as_secs_f64()));
        }
        if let Some(resources) = resources {
            self.resources(resources);
        }
    }

    fn resources(&mut self, resources: &Resources) {
        let Resources { resident_bytes, cpu_seconds, open_fds, max_fds, start_seconds } = *resources;
        self.one(MEMORY, Value::Count(resident_bytes));
        self.one(CPU, Value::Float(cpu_seconds));
        self.one(OPEN_FDS, Value::Count(open_fds));
        if let Some(max_fds) = max_fds {
            self.one(MAX_FDS, Value::Count(max_fds));
        }
        self.one(START, Value::Float(start_seconds));
    }

    /// Writes whether the dialect and the baseline of the environment are served.
    pub fn files(&mut self, dialect_valid: Option<bool>, baseline_valid: Option<bool>) {
        for (family, is_valid) in [(DIALECT, dialect_valid), (BASELINE_VALID, baseline_valid)] {
            if let Some(is_valid) = is_valid {
                self.one(family, Value::Count(u64::from(is_valid)));
            }
        }
    }

    /// Writes the distribution of predictions to compare with.
    pub fn baseline(&mut self, Baseline { counts, ratios }: &Baseline) {
        self.created = None;
        self.head(BASELINE);
        for BaselineCount { model, route, of, cell, count } in counts {
            let own = [("model_name", model.as_str()), ("route", route), ("of", of.as_str()), ("cell", cell)];
            self.sample(own, Value::Float(*count));
        }
        self.head(BASELINE_RATIO);
        for BaselineRatio { model, route, cell, ratio } in ratios {
            let own = [("model_name", model.as_str()), ("route", route), ("cell", cell)];
            self.sample(own, Value::Float(*ratio));
        }
    }

    /// Writes the families that come from Envoy.
    pub fn of_reading(&mut self, reading: &Reading) {
        self.created = reading.started;
        if let Some(is_valid) = reading.config_valid {
            self.one(VALID, Value::Count(u64::from(is_valid)));
        }
        self.many(SEEN, &[("matched", reading.matched), ("unmatched", reading.unmatched)]);
        if let Some(requests) = reading.envoy_requests {
            self.one(ENVOYS, Value::Count(requests.finished));
        }
        self.one(OVERFLOW, Value::Count(reading.overflow));
        if let Some(VmReloads { success, failure, backoff }) = reading.vm_reloads {
            self.many(RELOADS, &[("success", success), ("failure", failure), ("backoff", backoff)]);
        }
        if let Some(calls) = reading.insight_seen {
            self.one(INSIGHT, Value::Count(calls));
            self.one(LOST, Value::Count(reading.insight_lost));
        }
        self.bodies(reading);
    }

    fn bodies(&mut self, reading: &Reading) {
        self.head(BODIES);
        for (Key { model, version, route, method: _, template: _ }, measured) in &reading.series {
            for (scanned, Count { count, created }) in
                measured.bodies.samples(BodyCount::Scanned, measured.created)
            {
                let own = [
                    ("model_name", model.as_str()),
                    ("model_version", version),
                    ("route", route),
                    ("scanned", scanned.value),
                ];
                self.created = created;
                self.sample(own, Value::Count(count));
            }
        }
    }

    fn one(&mut self, family: Family, value: Value) {
        self.head(family);
        self.sample([], value);
    }

    fn many(&mut self, family: Family, samples: &[(&str, u64)]) {
        self.head(family);
        for (value, count) in samples {
            let label = family.label.map(|(name, _)| (name, *value));
            self.sample(label, Value::Count(*count));
        }
    }

    fn head(&mut self, family: Family) {
        let Family { name, help, kind, label: _ } = family;
        let base = name.strip_suffix("_total").unwrap_or(name);
        let unit = ["seconds", "bytes"].into_iter().find(|unit| base.ends_with(unit));
        self.encoder.family(Heading { name, help, unit, kind }, &[]);
    }

    fn sample<'l>(&mut self, own: impl IntoIterator<Item = (&'l str, &'l str)>, value: Value) {
        let mut labels = Vec::new();
        for (name, value) in own {
            self.encoder.label(name, value, &mut labels);
        }
        for (name, value) in self.constants {
            self.encoder.label(name, value, &mut labels);
        }
        self.encoder.sample(&labels, value, self.created);
    }
}
