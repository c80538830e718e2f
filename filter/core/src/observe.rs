//! One finished call, from what the host says of it to the counters that it adds to.
//!
//! A call adds 1 to exactly one counter of calls; of each histogram it adds 1 to exactly one cell and its value to one
//! sum. Questions to the host cost time, so they are asked in the order that settles most calls soonest.

use hashbrown::HashMap;
use std::borrow::Cow;
use std::cell::OnceCell;

use crate::config::{Config, Match, NoMatch, RouteId};
use crate::histogram::{Cell, Histogram, NativeBucket};
use crate::name::{Endpoint, InForce, Model, Series, Stat};
use crate::outcome::{Ending, Outcome, Status};
use crate::recent::Recent;
use crate::route::{Route, Source, label, without_query};
use crate::series::{Ledger, SeriesTable};

/// A call that is over, as the host tells of it. Every answer may be missing.
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
    /// Envoy's idea of the gRPC status.
    fn grpc_status(&self) -> Option<u64>;
    /// What a histogram is of, in nanoseconds or bytes.
    fn measure(&self, histogram: Histogram) -> Option<u64>;
}

/// The host's statistics. Names are those of [`Stat`].
pub trait Stats: Ledger {
    /// A counter by its name, made if need be.
    fn counter(&self, name: &str) -> Option<CounterId>;
    /// Adds to a counter.
    fn add(&self, counter: CounterId, amount: u64);
    /// Sets a gauge, made if need be.
    fn set_gauge(&self, name: &str, value: u64);
}

/// The host's handle of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterId(pub u32);

/// Counts calls as one configuration says.
#[derive(Debug)]
pub struct Observer {
    config: Option<Config>,
    /// Each with its position in `counted`, once a call was counted there.
    series: SeriesTable<Option<usize>>,
    counted: Vec<Counted>,
    recent: Recent<Option<Target>>,
    unmatched: Option<CounterId>,
    /// Reused, so that a call of a known series allocates nothing.
    name: String,
}

/// Where a call is counted: its route, and a position in [`Observer::counted`].
#[derive(Clone, Copy, Debug)]
struct Target {
    route: RouteId,
    series: usize,
}

/// One series with its counters, made when they are first needed.
#[derive(Debug)]
struct Counted {
    series: Series<'static>,
    counters: HashMap<(RouteId, Count), CounterId>,
}

/// What one counter of a series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Count {
    Calls { code: u16, outcome: Outcome },
    Cell { histogram: Histogram, status: Status, le: u8, native: Option<NativeBucket> },
    Sum { histogram: Histogram, status: Status },
}

impl Observer {
    /// Counts as this configuration says; without one, as that given is invalid, every call is seen and none matched.
    pub fn new(config: Option<Config>) -> Self {
        let limit = config.as_ref().map_or(0, Config::max_series);
        Self {
            config,
            series: SeriesTable::new(limit),
            counted: Vec::new(),
            recent: Recent::new(),
            unmatched: None,
            name: String::new(),
        }
    }

    /// Says which configuration is in force. `now` is any time that grows from one announcement to the next.
    pub fn announce(&mut self, stats: &impl Stats, now: u64) {
        let Self { config, name, .. } = self;
        for (histogram, bounds) in config.iter().flat_map(Config::histogram_bounds) {
            let bounds = Stat::Bounds { histogram, bounds: Cow::Borrowed(bounds) };
            stats.set_gauge(encoded(name, &bounds), now);
        }
        let in_force = config.as_ref().map_or(InForce::Nothing, Config::kind);
        stats.set_gauge(encoded(name, &Stat::Config), in_force.number());
    }

    /// Counts a call.
    pub fn observe(&mut self, call: &impl Call, stats: &impl Stats) {
        let path = without_query(call.request_header(":path").unwrap_or_default());
        let answer = OnceCell::new();
        let method = || *answer.get_or_init(|| call.request_header(":method").unwrap_or_default());
        let target = self.recent.get(path, method).unwrap_or_else(|| self.find(path, method, call, stats));
        let Self { config, counted, unmatched, name, .. } = self;
        let known =
            target.and_then(|target| Some((config.as_ref()?, target, counted.get_mut(target.series)?)));
        if let Some((config, Target { route, .. }, counted)) = known {
            return Recorder { config, route, counted, name, stats }.record(call);
        }
        *unmatched = unmatched.or_else(|| stats.counter(encoded(name, &Stat::Unmatched)));
        unmatched.iter().for_each(|counter| stats.add(*counter, 1));
    }

    /// Where a call is counted; `None` where no route matches.
    fn find<'m>(
        &mut self,
        path: &[u8],
        method: impl Fn() -> &'m [u8],
        call: &impl Call,
        ledger: &impl Ledger,
    ) -> Option<Target> {
        let Self { config, series: table, counted, recent, name, .. } = self;
        let found = config.as_ref().map_or(Err(NoMatch::Path), |config| config.find(path, &method));
        let matched = match found {
            Ok(matched) => matched,
            Err(why) => {
                recent.put(path, (why == NoMatch::Method).then(method), None);
                return None;
            }
        };
        let mut series = Series { route: Cow::Borrowed(&matched.route.name), model: model(&matched, call) };
        name.clear();
        series.encode(name);
        let admission = admission(&series, name, table, ledger);
        if !admission.granted {
            series.model = Model::Other;
            name.clear();
            series.encode(name);
        }
        let position = *table.get(name).get_or_insert_with(|| {
            counted.push(Counted { series: series.into_owned(), counters: HashMap::new() });
            counted.len().saturating_sub(1)
        });
        let target = Some(Target { route: matched.id, series: position });
        if admission.lasts && matched.route.is_told_by_path() {
            recent.put(path, Some(method()), target);
        }
        target
    }
}

/// One call of a known series on its way into the counters.
struct Recorder<'a, S> {
    config: &'a Config,
    route: RouteId,
    counted: &'a mut Counted,
    name: &'a mut String,
    stats: &'a S,
}

impl<S: Stats> Recorder<'_, S> {
    fn record(mut self, call: &impl Call) {
        let may_be_grpc = self.config.route(self.route).is_some_and(|route| route.path.may_be_grpc());
        let ending = ending(call, may_be_grpc);
        let outcome = ending.outcome(self.config.overrides(), || call.flags().unwrap_or(0));
        self.add(Count::Calls { code: ending.code, outcome }, 1);
        let status = outcome.status();
        for histogram in self.config.histograms().iter().copied() {
            // What the host cannot tell is in no cell: the histogram then counts fewer calls than there were.
            let Some(value) = call.measure(histogram) else { continue };
            let (le, native) = self.config.cell(histogram, value);
            self.add(Count::Cell { histogram, status, le, native }, 1);
            self.add(Count::Sum { histogram, status }, value);
        }
    }

    fn add(&mut self, count: Count, amount: u64) {
        let key = (self.route, count);
        let known = self.counted.counters.get(&key).copied();
        if let Some(counter) = known.or_else(|| self.define(key)) {
            self.stats.add(counter, amount);
        }
    }

    fn define(&mut self, key: (RouteId, Count)) -> Option<CounterId> {
        let (id, count) = key;
        let Route { method, path, .. } = self.config.route(id)?;
        let endpoint = Endpoint { method: Cow::Borrowed(method), template: Cow::Borrowed(path.as_str()) };
        let series = self.counted.series.clone();
        let stat = match count {
            Count::Calls { code, outcome } => Stat::Call { series, endpoint, code, outcome },
            Count::Cell { histogram, status, le, native } => {
                let le = self.config.bounds(histogram).get(usize::from(le)).copied();
                Stat::Cell { series, endpoint, histogram, status, cell: Cell { le, native } }
            }
            Count::Sum { histogram, status } => Stat::Sum { series, endpoint, histogram, status },
        };
        let counter = self.stats.counter(encoded(self.name, &stat))?;
        self.counted.counters.insert(key, counter);
        Some(counter)
    }
}

/// Whether a series may have counters of its own.
struct Admission {
    granted: bool,
    /// Whether it will be so for the next call, too.
    lasts: bool,
}

/// Series that a caller names are limited; the pod's own, one for each route, are not.
fn admission<T: Default>(
    series: &Series<'_>,
    name: &str,
    table: &mut SeriesTable<T>,
    ledger: &impl Ledger,
) -> Admission {
    let (limited, admitted) = match &series.model {
        Model::Other => return Admission { granted: true, lasts: true },
        Model::Named { model: None, version: None } => (false, table.admit(name, ledger)),
        Model::Named { .. } => (true, table.admit(name, ledger)),
    };
    Admission { granted: admitted || !limited, lasts: admitted || table.is_full() }
}

fn model<'a>(matched: &Match<'a, 'a>, call: &'a impl Call) -> Model<'a> {
    let Route { model, version, .. } = matched.route;
    let written = |source: &'a Source, captured: &Option<Cow<'a, [u8]>>| match source {
        Source::Path => captured.clone(),
        Source::Header(name) => {
            call.request_header(name).filter(|value| !value.is_empty()).map(Cow::Borrowed)
        }
    };
    // `Err` is a name that cannot be a label.
    let read = |written: Option<Cow<'a, [u8]>>| written.map(|bytes| label(bytes).ok_or(())).transpose();
    let model = read(written(model, &matched.captures.model));
    let version = read(written(version, &matched.captures.version));
    model.and_then(|model| version.map(|version| Model::Named { model, version })).unwrap_or(Model::Other)
}

fn ending(call: &impl Call, may_be_grpc: bool) -> Ending<'_> {
    let code = call.code().map_or(0, |code| u16::try_from(code).unwrap_or(u16::MAX));
    let is_grpc = |content_type: Option<&[u8]>| content_type.is_some_and(is_grpc_type);
    // gRPC answers with 200 whatever happened: another status is not of its making. And a caller may call anything
    // gRPC: it is if the answer is.
    let grpc = may_be_grpc
        && code == 200
        && is_grpc(call.request_header("content-type"))
        && is_grpc(call.response_type());
    Ending {
        code,
        details: call.code_details(),
        // A call that ended without a gRPC status is one that failed: 2 is gRPC's "unknown".
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
