//! Dialects: tables of the families to serve, with their names, labels and bounds.
//!
//! `dialects/*.yaml` are compiled in. `--dialect-file` reads another one of the same form.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod bodies;
mod file;
mod merge;
pub mod names;

use scoretap_core::histogram::Histogram;
use scoretap_core::outcome::{Outcome, Status};
use scoretap_core::reading::{ColumnKind, StreamEnd, TokenType, Usage};
use scoretap_scan::record::{Finish, Kind as ValueKind};

pub use merge::{merge, sample_names};

use crate::bodies::{BodyCount, BodyHistogram};

/// A dialect of this release: its name and its file.
pub const BUILT_IN: [(&str, &str); 22] = [
    ("prediction", include_str!("../dialects/prediction.yaml")),
    ("model", include_str!("../dialects/model.yaml")),
    ("fastapi", include_str!("../dialects/fastapi.yaml")),
    ("mlflow", include_str!("../dialects/mlflow.yaml")),
    ("api", include_str!("../dialects/api.yaml")),
    ("gen_ai", include_str!("../dialects/gen_ai.yaml")),
    ("vllm", include_str!("../dialects/vllm.yaml")),
    ("inference_objective", include_str!("../dialects/inference_objective.yaml")),
    ("prometheus-fastapi-instrumentator", include_str!("../dialects/prometheus-fastapi-instrumentator.yaml")),
    ("starlette_exporter", include_str!("../dialects/starlette_exporter.yaml")),
    ("prometheus_flask_exporter", include_str!("../dialects/prometheus_flask_exporter.yaml")),
    ("mlflow_expose_prometheus", include_str!("../dialects/mlflow_expose_prometheus.yaml")),
    ("mlflow-tracking", include_str!("../dialects/mlflow-tracking.yaml")),
    ("fastapi-observability", include_str!("../dialects/fastapi-observability.yaml")),
    ("mlserver", include_str!("../dialects/mlserver.yaml")),
    ("triton", include_str!("../dialects/triton.yaml")),
    ("torchserve", include_str!("../dialects/torchserve.yaml")),
    ("tf-serving", include_str!("../dialects/tf-serving.yaml")),
    ("kserve", include_str!("../dialects/kserve.yaml")),
    ("seldon", include_str!("../dialects/seldon.yaml")),
    ("bentoml", include_str!("../dialects/bentoml.yaml")),
    ("tutorial", include_str!("../dialects/tutorial.yaml")),
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
    /// Its type.
    pub kind: Kind,
    /// The unit of its times.
    pub unit: Unit,
    /// Counts only calls with these statuses; all calls, if empty.
    pub only: Vec<Status>,
    /// Counts only calls to routes with these templates; to all routes, if empty.
    pub templates: Vec<String>,
    /// Counts only these values of the label that the measure has beside the series; all values, if empty.
    pub values: Vec<String>,
    /// The bounds of a histogram, in nanoseconds or bytes, increasing; `None` shows all bounds of the filter.
    pub bounds: Option<Vec<u64>>,
    /// In the order in which they are written.
    pub labels: Vec<Label>,
}

/// The measurement that a family shows. It decides which types the family can have.
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
    /// A count of what bodies hold: a counter.
    Bodies(BodyCount),
    /// The distribution of what bodies hold: a histogram.
    BodyDistribution(BodyHistogram),
    /// The numeric predictions in each cell, not cumulated: a counter.
    ValueCells,
}

impl Measure {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Calls];
        all.extend(Histogram::ALL.map(Self::Distribution));
        all.extend([Self::InFlight, Self::Models]);
        all.extend(BodyCount::ALL.map(Self::Bodies));
        all.extend(BodyHistogram::ALL.map(Self::BodyDistribution));
        all.push(Self::ValueCells);
        all
    }

    /// Its name in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Distribution(histogram) => histogram.as_str(),
            Self::InFlight => "in_flight",
            Self::Models => "models",
            Self::Bodies(count) => count.as_str(),
            Self::BodyDistribution(histogram) => histogram.as_str(),
            Self::ValueCells => "value_cells",
        }
    }

    /// The types that a family can have, the usual one first.
    ///
    /// A summary has sum and count only. The counter of a distribution is its sum.
    pub const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Calls | Self::Bodies(_) | Self::ValueCells => &[Kind::Counter],
            Self::Distribution(_) => &[Kind::Histogram, Kind::Summary, Kind::Counter],
            Self::BodyDistribution(histogram) if histogram.has_sum() => {
                &[Kind::Histogram, Kind::Summary, Kind::Counter]
            }
            Self::BodyDistribution(_) => &[Kind::Histogram],
            Self::InFlight => &[Kind::Gauge],
            Self::Models => &[Kind::Info, Kind::Gauge],
        }
    }

    /// Whether the values are times.
    pub const fn is_time(self) -> bool {
        match self {
            Self::Distribution(histogram) => histogram.is_time(),
            Self::BodyDistribution(histogram) => histogram.is_time(),
            Self::Calls | Self::InFlight | Self::Models | Self::Bodies(_) | Self::ValueCells => false,
        }
    }

    /// Whether it is about bodies.
    pub const fn is_of_bodies(self) -> bool {
        match self {
            Self::Bodies(_) | Self::BodyDistribution(_) | Self::ValueCells => true,
            Self::Calls | Self::Distribution(_) | Self::InFlight | Self::Models => false,
        }
    }

    /// The label whose values it counts, if it is about bodies.
    pub fn body_dimension(self) -> Option<Dimension> {
        let is_of_body = |dimension: &Dimension| dimension.is_of_body();
        self.dimensions().iter().copied().find(is_of_body)
    }

    /// The values of that label, if they are a closed set. Only input and output tokens have a distribution.
    pub fn body_values(self) -> Vec<&'static str> {
        match self {
            Self::BodyDistribution(BodyHistogram::CallTokens) => {
                [TokenType::Input, TokenType::Output].map(TokenType::as_str).to_vec()
            }
            Self::Bodies(BodyCount::ColumnValues) => ColumnKind::ALL.map(ColumnKind::as_str).to_vec(),
            _ => self.body_dimension().map(Dimension::values).unwrap_or_default(),
        }
    }

    /// The possible values of its labels.
    pub const fn dimensions(self) -> &'static [Dimension] {
        use Dimension::{
            Bin, Class, Code, CodeClass, Column, Deployment, End, ErrorType, Fixed, Framework, Method, Model,
            Reason, Route, Status, Template, TokenType, Usage, ValueKind, Version,
        };
        match self {
            Self::Calls => {
                &[Fixed, Model, Version, Route, Method, Template, Status, ErrorType, Code, CodeClass]
            }
            Self::Distribution(Histogram::Duration) => {
                &[Fixed, Model, Version, Route, Method, Template, Status, Code, CodeClass]
            }
            Self::Distribution(_) => &[Fixed, Model, Version, Route, Method, Template, Status],
            Self::InFlight => &[Fixed],
            Self::Models => &[Fixed, Model, Version, Deployment, Framework],
            Self::Bodies(BodyCount::Values) => &[Fixed, Model, Version, Route, ValueKind],
            Self::Bodies(BodyCount::ColumnValues) => &[Fixed, Model, Version, Route, ValueKind, Column],
            Self::BodyDistribution(BodyHistogram::ColumnValue) => &[Fixed, Model, Version, Route, Column],
            Self::Bodies(BodyCount::Classes) => &[Fixed, Model, Version, Route, Class],
            Self::Bodies(BodyCount::Finishes) => &[Fixed, Model, Version, Route, Reason],
            Self::Bodies(BodyCount::Usage) => &[Fixed, Model, Version, Route, Usage],
            Self::Bodies(BodyCount::Streams) => &[Fixed, Model, Version, Route, End],
            Self::Bodies(BodyCount::Tokens) | Self::BodyDistribution(BodyHistogram::CallTokens) => {
                &[Fixed, Model, Version, Route, TokenType]
            }
            Self::Bodies(
                BodyCount::Repeats
                | BodyCount::ErrorBodies
                | BodyCount::Cut
                | BodyCount::StreamEvents
                | BodyCount::Scanned,
            )
            | Self::BodyDistribution(
                BodyHistogram::Rows
                | BodyHistogram::Value
                | BodyHistogram::Gap
                | BodyHistogram::FirstToken
                | BodyHistogram::TokenTime,
            ) => &[Fixed, Model, Version, Route],
            Self::ValueCells => &[Fixed, Model, Version, Route, Bin],
        }
    }
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A count that grows until Envoy restarts.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Labels with the value 1.
    Info,
    /// Distributions over the same bounds.
    Histogram,
    /// Sums and counts of values.
    Summary,
}

impl Kind {
    /// Its name in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// A unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// 1 s
    #[default]
    Seconds,
    /// 1 ms
    Milliseconds,
    /// 1 µs
    Microseconds,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Milliseconds, Self::Microseconds];

    /// Its name in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
        }
    }

    /// One of this unit in nanoseconds.
    pub const fn nanoseconds(self) -> f64 {
        match self {
            Self::Seconds => 1e9,
            Self::Milliseconds => 1e6,
            Self::Microseconds => 1e3,
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
    /// For a fixed label: its value.
    pub text: String,
    /// For a code or its class: the codes that have a series before their first call.
    pub from_the_start: Vec<u16>,
}

impl Label {
    /// The name of `value` in this dialect.
    pub fn renamed<'a>(&'a self, value: &'a str) -> &'a str {
        self.new_name(value).unwrap_or(value)
    }

    /// The name of a code in this dialect, if it has one of its own or its class has one.
    pub fn renamed_code(&self, code: u16) -> Option<&str> {
        let class = code_class(code);
        let exact = || self.new_name(&code.to_string());
        match self.value {
            Dimension::CodeClass => Some(self.renamed(class)),
            _ if self.rename.is_empty() => None,
            _ => exact().or_else(|| self.new_name(class)),
        }
    }

    fn new_name(&self, value: &str) -> Option<&str> {
        self.rename.iter().find(|(from, _)| from == value).map(|(_, to)| to.as_str())
    }
}

/// The class of an HTTP status; 0 if none was sent.
const fn code_class(code: u16) -> &'static str {
    match code {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500.. => "5xx",
        0..=99 => "0",
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
    /// The class of the response's HTTP status.
    CodeClass,
    /// The pod's deployment.
    Deployment,
    /// The model's framework.
    Framework,
    /// The kind of a predicted value.
    ValueKind,
    /// A predicted class.
    Class,
    /// The upper bound of a cell, as in `le`.
    Bin,
    /// input, output, cached or reasoning.
    TokenType,
    /// Why an LLM stopped.
    Reason,
    /// Whether an answer has a usage.
    Usage,
    /// How a stream ended.
    End,
    /// The name or the position of an input column.
    Column,
    /// The same text in every sample.
    Fixed,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Model,
        Self::Version,
        Self::Route,
        Self::Method,
        Self::Template,
        Self::Status,
        Self::ErrorType,
        Self::Code,
        Self::CodeClass,
        Self::Deployment,
        Self::Framework,
        Self::ValueKind,
        Self::Class,
        Self::Bin,
        Self::TokenType,
        Self::Reason,
        Self::Usage,
        Self::End,
        Self::Column,
        Self::Fixed,
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
            Self::CodeClass => "code_class",
            Self::Deployment => "deployment",
            Self::Framework => "framework",
            Self::ValueKind => "kind",
            Self::Class => "class",
            Self::Bin => "bin",
            Self::TokenType => "token_type",
            Self::Reason => "reason",
            Self::Usage => "usage",
            Self::End => "end",
            Self::Column => "column",
            Self::Fixed => "fixed",
        }
    }

    /// Whether it is the HTTP status or its class.
    pub const fn is_code(self) -> bool {
        matches!(self, Self::Code | Self::CodeClass)
    }

    /// Whether only families about bodies have it.
    pub const fn is_of_body(self) -> bool {
        match self {
            Self::ValueKind
            | Self::Class
            | Self::Bin
            | Self::TokenType
            | Self::Reason
            | Self::Usage
            | Self::End
            | Self::Column => true,
            Self::Model
            | Self::Version
            | Self::Route
            | Self::Method
            | Self::Template
            | Self::Status
            | Self::ErrorType
            | Self::Code
            | Self::CodeClass
            | Self::Deployment
            | Self::Framework
            | Self::Fixed => false,
        }
    }

    /// Its values, if they are a closed set.
    pub fn values(self) -> Vec<&'static str> {
        match self {
            Self::Status => Status::ALL.map(Status::as_str).to_vec(),
            Self::ErrorType => Outcome::ALL.into_iter().filter_map(Outcome::error_type).collect(),
            Self::CodeClass => vec!["1xx", "2xx", "3xx", "4xx", "5xx", "0"],
            Self::ValueKind => ValueKind::ALL.map(ValueKind::as_str).to_vec(),
            Self::TokenType => TokenType::ALL.map(TokenType::as_str).to_vec(),
            Self::Reason => Finish::ALL.map(Finish::as_str).to_vec(),
            Self::Usage => Usage::ALL.map(Usage::as_str).to_vec(),
            Self::End => StreamEnd::ALL.map(StreamEnd::as_str).to_vec(),
            Self::Model
            | Self::Version
            | Self::Route
            | Self::Method
            | Self::Template
            | Self::Code
            | Self::Deployment
            | Self::Framework
            | Self::Class
            | Self::Bin
            | Self::Column
            | Self::Fixed => Vec::new(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
pub(crate) const fn as_float(value: u64) -> f64 {
    value as f64
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

    /// Whether it counts calls to a route with this template.
    pub fn is_of_template(&self, template: &str) -> bool {
        self.templates.is_empty() || self.templates.iter().any(|known| known == template)
    }

    /// Whether a label shows the code or its class.
    pub fn is_by_code(&self) -> bool {
        self.labels.iter().any(|label| label.value.is_code())
    }

    /// Whether it has a label for this dimension.
    pub fn has(&self, dimension: Dimension) -> bool {
        self.labels.iter().any(|label| label.value == dimension)
    }
}
