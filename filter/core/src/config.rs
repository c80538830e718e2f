//! The filter's configuration: a [`Config`] is always valid.

mod columns;
mod insight;
mod json;
mod reader;

use std::fmt;

pub use insight::{ErrorBodies, Insight};

use crate::histogram::{Histogram, NativeBucket, SIZE_BOUNDS, cell_index};
use crate::name::ConfigState;
use crate::outcome::Overrides;
use crate::route::{Captures, Encoding, Route};

/// An error in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `routes[2].path`.
    pub at: String,
    /// The value found, the values allowed and how to fix it.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)
    }
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    routes: Vec<Route>,
    time_bounds: Vec<u64>,
    max_series: u32,
    overrides: Overrides,
    histograms: Vec<Histogram>,
    resolution: Resolution,
    duration_codes: bool,
    insight: Option<Insight>,
}

/// The resolution of latency cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// One cell for each classic bound.
    Classic,
    /// Classic cells, divided further by the exponential bounds of native histograms.
    Native,
}

/// The position of a route in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(usize);

/// The route of a call, and the values of the variables in its path.
#[derive(Clone, Debug)]
pub struct Match<'c, 'p> {
    /// The position of the route.
    pub id: RouteId,
    /// The route.
    pub route: &'c Route,
    /// The variables' values.
    pub captures: Captures<'p>,
}

/// The reason why no route matches a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No route has this path.
    Path,
    /// Routes have this path, but with other methods.
    Method,
}

impl Config {
    /// Reads a plugin's configuration. An empty one means the defaults, as `{}` does.
    pub fn parse(json: &[u8]) -> Result<Self, Vec<Fault>> {
        reader::parse(json)
    }

    /// The first route that matches. Reads the method only if a path matches.
    pub fn find<'c, 'p, 'm>(
        &'c self,
        path: &'p [u8],
        method: impl Fn() -> &'m [u8],
    ) -> Result<Match<'c, 'p>, NoMatch> {
        let encoding = Encoding::of(path);
        let mut why = NoMatch::Path;
        for (position, route) in self.routes.iter().enumerate() {
            let Some(captures) = route.path.captures(path, encoding) else { continue };
            if route.method.as_bytes() == method() {
                return Ok(Match { id: RouteId(position), route, captures });
            }
            why = NoMatch::Method;
        }
        Err(why)
    }

    /// The route at a position.
    pub(crate) fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.0)
    }

    /// The state that the filter announces.
    pub const fn state(&self) -> ConfigState {
        match self.resolution {
            Resolution::Classic => ConfigState::Classic,
            Resolution::Native => ConfigState::Native,
        }
    }

    /// The parts of bodies that the second module reads; `None` if it reads nothing.
    pub const fn insight(&self) -> Option<&Insight> {
        self.insight.as_ref()
    }

    /// The number of series that may have their own counters.
    pub const fn max_series(&self) -> u32 {
        self.max_series
    }

    /// The outcomes that the operator chose for certain statuses.
    pub const fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// The duration, and the histograms that `extra` asks for.
    pub fn histograms(&self) -> &[Histogram] {
        &self.histograms
    }

    /// Each histogram with its bounds.
    pub(crate) fn histogram_bounds(&self) -> impl Iterator<Item = (Histogram, &[u64])> {
        self.histograms.iter().map(|histogram| (*histogram, self.bounds(*histogram)))
    }

    /// Whether a histogram's cells tell the HTTP statuses of their calls apart.
    pub(crate) fn tells_code(&self, histogram: Histogram) -> bool {
        self.duration_codes && histogram == Histogram::Duration
    }

    /// The upper bounds of a histogram's cells, without +Inf.
    pub fn bounds(&self, histogram: Histogram) -> &[u64] {
        if histogram.is_time() { &self.time_bounds } else { &SIZE_BOUNDS }
    }

    /// The cell of a value: the position of its upper bound, and its native part.
    pub(crate) fn cell(&self, histogram: Histogram, value: u64) -> (u8, Option<NativeBucket>) {
        // There are at most `MOST_BOUNDS` bounds.
        let le = u8::try_from(cell_index(self.bounds(histogram), value)).unwrap_or(u8::MAX);
        let native = histogram.is_time() && self.resolution == Resolution::Native;
        (le, native.then(|| NativeBucket::of_nanoseconds(value)))
    }
}
