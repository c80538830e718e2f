//! Dialects: tables of the families to serve, with their names, labels and bounds.
//!
//! `dialects/*.yaml` are compiled in. `--dialect-file` reads another one of the same form.

mod file;
mod merge;
pub(crate) mod names;

use scoretap_core::histogram::Histogram;
use scoretap_core::outcome::{Outcome, Status};

pub use merge::merge;

/// A dialect of this release: its name and its file.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("prediction", include_str!("../dialects/prediction.yaml")),
    ("model", include_str!("../dialects/model.yaml")),
    ("fastapi", include_str!("../dialects/fastapi.yaml")),
    ("mlflow", include_str!("../dialects/mlflow.yaml")),
    ("api", include_str!("../dialects/api.yaml")),
];

/// A set of families that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Dialect {
    /// The name that selects it.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// In the order in which they are written.
    pub families: Vec<Family>,
}

/// One family of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name to query.
    pub name: String,
    /// One sentence for people.
    pub help: String,
    /// The measurement that it shows.
    pub measure: Measure,
    /// Counts only calls with these statuses; all calls, if empty.
    pub only: Vec<Status>,
    /// The bounds of a histogram, in nanoseconds or bytes, increasing; `None` shows all bounds of the filter.
    pub bounds: Option<Vec<u64>>,
    /// In the order in which they are written.
    pub labels: Vec<Label>,
}

/// The measurement that a family shows. It decides the family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Finished calls: a counter.
    Calls,
    /// The distribution of values: a histogram.
    Distribution(Histogram),
    /// Calls that the app is working on: a gauge.
    InFlight,
    /// The models: an info metric.
    Models,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Calls,
        Self::Distribution(Histogram::Duration),
        Self::Distribution(Histogram::BackendDuration),
        Self::Distribution(Histogram::RequestBytes),
        Self::Distribution(Histogram::ResponseBytes),
        Self::InFlight,
        Self::Models,
    ];

    /// Its name in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Distribution(histogram) => histogram.as_str(),
            Self::InFlight => "in_flight",
            Self::Models => "models",
        }
    }

    /// The suffix of a family's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Calls => "_total",
            Self::Distribution(histogram) if histogram.is_time() => "_seconds",
            Self::Distribution(_) => "_bytes",
            Self::InFlight => "",
            Self::Models => "_info",
        }
    }

    /// The type, as Prometheus calls it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Calls => "counter",
            Self::Distribution(_) => "histogram",
            Self::InFlight => "gauge",
            Self::Models => "info",
        }
    }

    /// The possible values of its labels.
    pub const fn dimensions(self) -> &'static [Dimension] {
        use Dimension::{
            Code, Deployment, ErrorType, Framework, Method, Model, Route, Status, Template, Version,
        };
        match self {
            Self::Calls => &[Model, Version, Route, Method, Template, Status, ErrorType, Code],
            Self::Distribution(_) => &[Model, Version, Route, Method, Template, Status],
            Self::InFlight => &[],
            Self::Models => &[Model, Version, Deployment, Framework],
        }
    }
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// The dimension that it shows.
    pub value: Dimension,
    /// Values with another name in this dialect.
    pub rename: Vec<(String, String)>,
    /// For a code: the values that have a series before their first call.
    pub from_the_start: Vec<u16>,
}

impl Label {
    /// The name of `value` in this dialect.
    pub fn renamed<'a>(&'a self, value: &'a str) -> &'a str {
        self.rename.iter().find(|(from, _)| from == value).map_or(value, |(_, to)| to)
    }
}

/// A dimension that a label can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The model's name.
    Model,
    /// The model's version.
    Version,
    /// The route's name.
    Route,
    /// The request's method.
    Method,
    /// The template that the path matched, never the path itself.
    Template,
    /// success, failure or cancelled.
    Status,
    /// The kind of failure.
    ErrorType,
    /// The response's HTTP status.
    Code,
    /// The pod's deployment.
    Deployment,
    /// The model's framework.
    Framework,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Model,
        Self::Version,
        Self::Route,
        Self::Method,
        Self::Template,
        Self::Status,
        Self::ErrorType,
        Self::Code,
        Self::Deployment,
        Self::Framework,
    ];

    /// Its name in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Version => "version",
            Self::Route => "route",
            Self::Method => "method",
            Self::Template => "template",
            Self::Status => "status",
            Self::ErrorType => "error_type",
            Self::Code => "code",
            Self::Deployment => "deployment",
            Self::Framework => "framework",
        }
    }

    /// Its values, if they are a closed set.
    pub fn values(self) -> Vec<&'static str> {
        match self {
            Self::Status => Status::ALL.map(Status::as_str).to_vec(),
            Self::ErrorType => Outcome::ALL.into_iter().filter_map(Outcome::error_type).collect(),
            Self::Model
            | Self::Version
            | Self::Route
            | Self::Method
            | Self::Template
            | Self::Code
            | Self::Deployment
            | Self::Framework => Vec::new(),
        }
    }
}

impl Dialect {
    /// Parses a file, or reports all its faults.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<String>> {
        file::parse(file, text)
    }

    /// The dialect of this release with that name.
    pub fn built_in(name: &str) -> Option<Result<Self, Vec<String>>> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(name, text)| Self::parse(name, text))
    }
}

impl Family {
    /// Whether it counts calls with this status.
    pub fn shows(&self, status: Status) -> bool {
        self.only.is_empty() || self.only.contains(&status)
    }

    /// Whether it has a label for this dimension.
    pub fn has(&self, dimension: Dimension) -> bool {
        self.labels.iter().any(|label| label.value == dimension)
    }
}
