//! Counts finished calls in the host's counters.
//!
//! A call adds 1 to exactly one counter of calls. For each histogram that the host has a value for, it adds 1 to one
//! cell and the value to one sum. Host calls are expensive, so most calls are counted with only a few.

mod bodies;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::borrow::Cow;
use std::cell::OnceCell;

use scoretap_scan::record::{Finding, Generation, Record};

use self::bodies::{BodyCounter, BodyCounters};
use crate::config::{Config, ErrorBodies, Insight, Match, NoMatch, RouteId};
use crate::histogram::{Cell, Histogram, NativeBucket};
use crate::name::{ConfigState, Ended, Endpoint, Model, Series, Stat};
use crate::outcome::{Ending, Outcome};
use crate::route::{Route, Source, label, without_query};
use crate::route_cache::RouteCache;
use crate::series::{Admission, Evidence, SeriesTable, SharedData};

/// A finished call, as the host describes it. Every value may be missing.
pub trait Call {
    /// A request header, or pseudo-header, by its lower-case name.
    fn request_header(&self, name: &str) -> Option<&[u8]>;
    /// The response's content type.
    fn response_type(&self) -> Option<&[u8]>;
    /// The HTTP status that was sent to the caller.
    fn code(&self) -> Option<u64>;
    /// Envoy's response flags.
    fn flags(&self) -> Option<u64>;
    /// Envoy's response code details.
    fn code_details(&self) -> Option<&[u8]>;
    /// Envoy's gRPC status, which Envoy derives for calls that are not gRPC too.
    fn grpc_status(&self) -> Option<u64>;
    /// The call's value for a histogram, in nanoseconds or bytes.
    fn measure(&self, histogram: Histogram) -> Option<u64>;
    /// The record of the call's bodies. Asked for at most once, and only if the configuration has `insight`.
    fn record(&self) -> Option<Record> {
        None
    }
}

/// The host's statistics. Names are those of [`Stat`].
pub trait Stats: SharedData {
    /// A counter by its name, created if it does not exist.
    fn counter(&self, name: &str) -> Option<CounterId>;
    /// Adds to a counter.
    fn add(&self, counter: CounterId, amount: u64);
    /// A gauge by its name, created if it does not exist. Envoy never frees the handle.
    fn gauge(&self, name: &str) -> Option<GaugeId>;
    /// Sets a gauge.
    fn set_gauge(&self, gauge: GaugeId, value: u64);
}

/// The host's handle of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterId(pub u32);

/// The host's handle of a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeId(pub u32);

/// Counts calls under one configuration.
#[derive(Debug)]
pub struct Observer {
    config: Option<Config>,
    /// Each series with its position in `counted`, once one of its calls was counted.
    series: SeriesTable<Option<usize>>,
    /// The series whose models only bodies name.
    named_in_bodies: SeriesTable<Option<usize>>,
    /// The series whose input columns are counted.
    with_columns: SeriesTable<Option<usize>>,
    counted: Vec<SeriesCounters>,
    cache: RouteCache<Option<Target>>,
    unmatched: Option<CounterId>,
    /// The gauges of [`Observer::announce`], in its order.
    gauges: Vec<Option<GaugeId>>,
    /// Reused, so that a call of a known series allocates nothing.
    name: String,
}

/// Servers exist that answer for any name and repeat it, so a caller could use up `max_series`.
const MOST_NAMED_IN_BODIES: u32 = 20;

/// Each column takes up to 71 series of a scrape.
const MOST_WITH_COLUMNS: u32 = 4;

/// Where a call is counted: its route, and a position in [`Observer::counted`].
#[derive(Clone, Copy, Debug)]
struct Target {
    route: RouteId,
    series: usize,
}

/// One series with its counters, which are defined at first use.
#[derive(Debug)]
struct SeriesCounters {
    series: Series<'static>,
    counters: HashMap<(RouteId, CounterKey), CounterId, FxBuildHasher>,
    /// The counters of what insight read, once it has read something.
    bodies: Option<Box<BodyCounters>>,
}

/// Identifies a counter of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CounterKey {
    Calls { code: u16, outcome: Outcome },
    Cell { histogram: Histogram, ended: Ended, le: u8, native: Option<NativeBucket> },
    Sum { histogram: Histogram, ended: Ended },
}

impl Observer {
    /// Counts under a configuration. If it is invalid, pass `None`: every call then counts as unmatched.
    pub fn new(config: Option<Config>) -> Self {
        let limit = config.as_ref().map_or(0, Config::max_series);
        Self {
            config,
            series: SeriesTable::new(limit),
            named_in_bodies: SeriesTable::with_key(
                Cow::Borrowed("scoretap.named_in_bodies"),
                MOST_NAMED_IN_BODIES,
            ),
            with_columns: SeriesTable::with_key(Cow::Borrowed("scoretap.columns"), MOST_WITH_COLUMNS),
            counted: Vec::new(),
            cache: RouteCache::new(),
            unmatched: None,
            gauges: Vec::new(),
            name: String::new(),
        }
    }

    /// Sets the gauges that say which configuration is in force. `now` grows from one announcement to the next.
    pub fn announce(&mut self, stats: &impl Stats, now: u64) {
        let Self { config, gauges, name, .. } = self;
        let bounds = config
            .iter()
            .flat_map(Config::histogram_bounds)
            .map(|(histogram, bounds)| (Stat::Bounds { histogram, bounds: Cow::Borrowed(bounds) }, now));
        let state = config.as_ref().map_or(ConfigState::Invalid, Config::state);
        for (position, (stat, value)) in bounds.chain([(Stat::Config, state.number())]).enumerate() {
            let known = gauges.get(position).copied().flatten();
            let gauge = known.or_else(|| stats.gauge(encoded(name, &stat)));
            match gauges.get_mut(position) {
                Some(slot) => *slot = gauge,
                None => gauges.push(gauge),
            }
            gauge.into_iter().for_each(|gauge| stats.set_gauge(gauge, value));
        }
    }

    /// Counts a call.
    pub fn observe(&mut self, call: &impl Call, stats: &impl Stats) {
        let path = without_query(call.request_header(":path").unwrap_or_default());
        let answer = OnceCell::new();
        let method = || *answer.get_or_init(|| call.request_header(":method").unwrap_or_default());
        let is_read = self.config.as_ref().is_some_and(|config| config.insight().is_some());
        let bodies = OnceCell::new();
        // A record has hundreds of bytes, so even moving none takes time.
        let record = || if is_read { bodies.get_or_init(|| call.record()).as_ref() } else { None };
        let (target, end) = match self.cache.get(path, method) {
            Some(target) => (target, None),
            None => self.find(path, method, call, record, stats),
        };
        let Self { config, counted, unmatched, name, with_columns, .. } = self;
        let known =
            target.and_then(|target| Some((config.as_ref()?, target, counted.get_mut(target.series)?)));
        if let Some((config, Target { route, .. }, counted)) = known {
            return Recorder { config, route, counted, with_columns, name, stats }.record(
                call,
                end,
                record(),
            );
        }
        *unmatched = unmatched.or_else(|| stats.counter(encoded(name, &Stat::Unmatched)));
        unmatched.iter().for_each(|counter| stats.add(*counter, 1));
    }

    /// The target of a call, or `None` if no route matches. Also returns the call's end, if admission needed it.
    fn find<'m>(
        &mut self,
        path: &[u8],
        method: impl Fn() -> &'m [u8],
        call: &impl Call,
        record: impl Fn() -> Option<&'m Record>,
        data: &impl SharedData,
    ) -> (Option<Target>, Option<End>) {
        let Self { config, series: table, named_in_bodies, counted, cache, name, .. } = self;
        let Some(config) = config else { return (None, None) };
        let matched = match config.find(path, &method) {
            Ok(matched) => matched,
            Err(why) => {
                cache.put(path, (why == NoMatch::Method).then(method), None);
                return (None, None);
            }
        };
        let body = if matched.route.model == Source::Body { record() } else { None };
        if let Some(series) = body.and_then(|record| asked_for(counted, &matched.route.name, record)) {
            return (Some(Target { route: matched.id, series }), None);
        }
        let mut series =
            Series { route: Cow::Borrowed(&matched.route.name), model: model(&matched, call, body) };
        if let Some(asked) = body.and_then(asked_model) {
            let asked = Series { route: series.route.clone(), model: asked };
            name.clear();
            asked.encode(name);
            // A rejected call admits no name, so the name is known only if an answer on any worker has shown it.
            if table.admit(name, Evidence::Refused, data) == Admission::Admitted {
                series = asked;
            }
        }
        name.clear();
        series.encode(name);
        let mut end = None;
        let admission = match &series.model {
            // Callers cannot add such series: each route has one of either kind. The limit does not concern them.
            Model::Other | Model::Named { model: None, version: None } => Admission::Admitted,
            Model::Named { .. } if table.contains(name) => Admission::Admitted,
            Model::Named { .. } => {
                let evidence = end.insert(End::of(call, matched.route, config, record())).evidence();
                let admission = match body {
                    Some(_) => named_in_bodies.admit(name, evidence, data),
                    None => Admission::Admitted,
                };
                if admission == Admission::Admitted { table.admit(name, evidence, data) } else { admission }
            }
        };
        if admission != Admission::Admitted {
            series.model = Model::Other;
            name.clear();
            series.encode(name);
        }
        let position = *table.get(name).get_or_insert_with(|| {
            counted.push(SeriesCounters {
                series: series.into_owned(),
                counters: HashMap::default(),
                bodies: None,
            });
            counted.len().saturating_sub(1)
        });
        let target = Some(Target { route: matched.id, series: position });
        if admission != Admission::NotYet && matched.route.is_told_by_path() {
            cache.put(path, Some(method()), target);
        }
        (target, end)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
struct End {
    code: u16,
    outcome: Outcome,
}

impl End {
    fn of(call: &impl Call, route: &Route, config: &Config, record: Option<&Record>) -> Self {
        let ending = ending(call, route.path.may_be_grpc());
        let overrides = config.overrides();
        let code = ending.code;
        // Envoy reports this duration only if the app's answer has ended.
        let is_whole =
            || record.is_some_and(has_own_end) || call.measure(Histogram::BackendDuration).is_some();
        let outcome = match ending.outcome(overrides, || call.flags().unwrap_or(0)) {
            Outcome::Cancelled if is_whole() => {
                ending.outcome_of_whole_answer(overrides).unwrap_or(Outcome::Cancelled)
            }
            outcome => outcome,
        };
        let fails = || {
            let fails =
                |insight: &Insight| insight.error_bodies == ErrorBodies::Failure && insight.reads(route);
            config.insight().is_some_and(fails)
                && is_2xx(code)
                && record.is_some_and(|record| record.error == Finding::Structured)
        };
        let outcome = if outcome == Outcome::Success && fails() { Outcome::ReportedError } else { outcome };
        Self { code, outcome }
    }

    fn evidence(self) -> Evidence {
        match self.outcome {
            // A redirect does not prove that the model exists, and neither does an override.
            Outcome::Success if self.code < 300 => Evidence::Shown,
            Outcome::Success
            | Outcome::ModelError
            | Outcome::Timeout
            | Outcome::Unavailable
            | Outcome::Truncated
            | Outcome::ReportedError
            | Outcome::Cancelled => Evidence::Unclear,
            Outcome::InvalidInput
            | Outcome::Unauthorized
            | Outcome::NotFound
            | Outcome::RateLimited
            | Outcome::Overloaded => Evidence::Refused,
        }
    }
}

/// Counts one call of a known series.
struct Recorder<'a, S> {
    config: &'a Config,
    route: RouteId,
    counted: &'a mut SeriesCounters,
    with_columns: &'a mut SeriesTable<Option<usize>>,
    name: &'a mut String,
    stats: &'a S,
}

impl<S: Stats> Recorder<'_, S> {
    fn record(mut self, call: &impl Call, end: Option<End>, record: Option<&Record>) {
        let Some(route) = self.config.route(self.route) else { return };
        let end = end.unwrap_or_else(|| End::of(call, route, self.config, record));
        let End { code, outcome } = end;
        self.add(CounterKey::Calls { code, outcome }, 1);
        for histogram in self.config.histograms().iter().copied() {
            // Without a value, the histogram counts fewer calls than the counter of calls.
            let Some(value) = call.measure(histogram) else { continue };
            let (le, native) = self.config.cell(histogram, value);
            let ended =
                Ended { status: outcome.status(), code: self.config.tells_code(histogram).then_some(code) };
            self.add(CounterKey::Cell { histogram, ended, le, native }, 1);
            self.add(CounterKey::Sum { histogram, ended }, value);
        }
        if let Some((insight, record)) = self.config.insight().zip(record)
            && is_2xx(code)
        {
            let SeriesCounters { series, bodies, .. } = self.counted;
            let counters = bodies.get_or_insert_with(|| Box::new(BodyCounters::new(series, insight)));
            let Self { with_columns, name, stats, .. } = self;
            BodyCounter { insight, series, counters, with_columns, name, stats }
                .count(record, route, outcome);
        }
    }

    fn add(&mut self, count: CounterKey, amount: u64) {
        let key = (self.route, count);
        let known = self.counted.counters.get(&key).copied();
        if let Some(counter) = known.or_else(|| self.define(key)) {
            self.stats.add(counter, amount);
        }
    }

    fn define(&mut self, key: (RouteId, CounterKey)) -> Option<CounterId> {
        let (id, count) = key;
        let Route { method, path, .. } = self.config.route(id)?;
        let endpoint = Endpoint { method: Cow::Borrowed(method), template: Cow::Borrowed(path.as_str()) };
        let series = self.counted.series.clone();
        let stat = match count {
            CounterKey::Calls { code, outcome } => Stat::Call { series, endpoint, code, outcome },
            CounterKey::Cell { histogram, ended, le, native } => {
                let le = self.config.bounds(histogram).get(usize::from(le)).copied();
                Stat::Cell { series, endpoint, histogram, ended, cell: Cell { le, native } }
            }
            CounterKey::Sum { histogram, ended } => Stat::Sum { series, endpoint, histogram, ended },
        };
        let counter = self.stats.counter(encoded(self.name, &stat))?;
        self.counted.counters.insert(key, counter);
        Some(counter)
    }
}

/// The series of the model that the request asks for, if an answer has named that model before.
fn asked_for(counted: &[SeriesCounters], route: &str, record: &Record) -> Option<usize> {
    let asked = record.request_model.head();
    if !record.model.is_empty() || asked.is_empty() {
        return None;
    }
    counted.iter().rposition(|SeriesCounters { series, .. }| match &series.model {
        Model::Named { model: Some(model), .. } => model.as_bytes() == asked && series.route == route,
        Model::Named { model: None, .. } | Model::Other => false,
    })
}

/// The model that the request asks for, if the answer names none.
fn asked_model(record: &Record) -> Option<Model<'_>> {
    let asked = not_empty(record.request_model.head()).filter(|_| record.model.is_empty())?;
    Some(Model::Named { model: Some(label(asked)?), version: None })
}

/// Whether the answer's own end was seen. Clients leave at an event that reports an error, too.
fn has_own_end(record: &Record) -> bool {
    let is_ended = |generation: &Generation| generation.is_ended || record.error == Finding::Structured;
    record.generation.as_ref().is_some_and(is_ended)
}

const fn is_2xx(code: u16) -> bool {
    matches!(code, 200..=299)
}

/// `body` is the record if the body names the model.
fn model<'a>(matched: &Match<'a, 'a>, call: &'a impl Call, body: Option<&'a Record>) -> Model<'a> {
    let Route { model, version, .. } = matched.route;
    let written = |source: &'a Source, captured: &Option<Cow<'a, [u8]>>| match source {
        Source::Path => captured.clone(),
        Source::Header(name) => call.request_header(name).and_then(not_empty),
        Source::Body => body.map(|record| record.model.head()).and_then(not_empty),
    };
    // `Err` is a name that cannot be a label.
    let read = |written: Option<Cow<'a, [u8]>>| written.map(|bytes| label(bytes).ok_or(())).transpose();
    let model = read(written(model, &matched.captures.model));
    let version = written(version, &matched.captures.version)
        .or_else(|| body.map(|record| record.version.head()).and_then(not_empty));
    let version = read(version);
    model.and_then(|model| version.map(|version| Model::Named { model, version })).unwrap_or(Model::Other)
}

fn not_empty(written: &[u8]) -> Option<Cow<'_, [u8]>> {
    (!written.is_empty()).then_some(Cow::Borrowed(written))
}

fn ending(call: &impl Call, may_be_grpc: bool) -> Ending<'_> {
    let code = call.code().map_or(0, |code| u16::try_from(code).unwrap_or(u16::MAX));
    let is_grpc = |content_type: Option<&[u8]>| content_type.is_some_and(is_grpc_type);
    // gRPC servers always answer with 200, so another status does not come from one. A caller can label any request as
    // gRPC, so the answer decides.
    let grpc = may_be_grpc
        && code == 200
        && is_grpc(call.request_header("content-type"))
        && is_grpc(call.response_type());
    Ending {
        code,
        details: call.code_details(),
        // A call that ended without a gRPC status failed: 2 is gRPC's "unknown".
        grpc: grpc.then(|| call.grpc_status().unwrap_or(2)),
    }
}

/// `application/grpc`, alone or with a suffix or parameters; `application/grpc-web` carries its status in the body.
fn is_grpc_type(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

fn encoded<'n>(name: &'n mut String, stat: &Stat<'_>) -> &'n str {
    name.clear();
    stat.encode(name);
    name
}
