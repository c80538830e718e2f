//! Dialects: tables that say which families show what was measured, under which names, labels and bounds.
//!
//! They are data: `dialects/*.yaml` are compiled in, and `--dialect-file` reads one more of the same form.

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
    /// What it is chosen by.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// In the order in which they are written.
    pub families: Vec<Family>,
}

/// One family: what it shows of what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name to query.
    pub name: String,
    /// One sentence for people.
    pub help: String,
    /// What it shows.
    pub measure: Measure,
    /// Of calls that ended so; all, if empty.
    pub only: Vec<Status>,
    /// Of a histogram, in nanoseconds or bytes, increasing; `None` where all that the filter measures by are shown.
    pub bounds: Option<Vec<u64>>,
    /// In the order in which they are written.
    pub labels: Vec<Label>,
}

/// What a family shows, which decides its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How many calls ended: a counter.
    Calls,
    /// How values are distributed: a histogram.
    Distribution(Histogram),
    /// How many calls the app is working on: a gauge.
    InFlight,
    /// Which models there are: an info metric.
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

    /// What a name of this type ends with.
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

    /// What its labels can hold.
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
    /// What it holds.
    pub value: Dimension,
    /// Values that are called something else here.
    pub rename: Vec<(String, String)>,
    /// Of a code: the values that exist before the first such call.
    pub from_the_start: Vec<u16>,
}

impl Label {
    /// What `value` is called here.
    pub fn renamed<'a>(&'a self, value: &'a str) -> &'a str {
        self.rename.iter().find(|(from, _)| from == value).map_or(value, |(_, to)| to)
    }
}

/// What a label can hold.
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
    /// The template that the path matched: never the path itself.
    Template,
    /// success, failure or cancelled.
    Status,
    /// What kind of failure.
    ErrorType,
    /// The response's HTTP status.
    Code,
    /// The pod's deployment.
    Deployment,
    /// What the model was made with.
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

    /// Its values, where they are a closed set.
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
    /// Reads a file, or says everything that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<String>> {
        file::parse(file, text)
    }

    /// The dialect of this release with that name.
    pub fn built_in(name: &str) -> Option<Result<Self, Vec<String>>> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(name, text)| Self::parse(name, text))
    }
}

impl Family {
    /// Whether it shows calls that ended so.
    pub fn shows(&self, status: Status) -> bool {
        self.only.is_empty() || self.only.contains(&status)
    }

    /// Whether it has a label that holds this.
    pub fn has(&self, dimension: Dimension) -> bool {
        self.labels.iter().any(|label| label.value == dimension)
    }
}
