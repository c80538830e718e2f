//! The types that the stages of `scoretap dialect` share: queries, their selectors, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use scoretap_dialect::Family;

/// One query of the input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// The file, or `-` for standard input.
    pub(crate) file: String,
    /// The place in the file, such as `panel "p95"`.
    pub(crate) place: String,
    /// The query as written.
    pub(crate) expr: String,
    /// The name under which a recording rule stores the result.
    pub(crate) records: Option<String>,
    /// Labels that a recording rule adds to its result.
    pub(crate) adds: BTreeSet<String>,
    /// Labels that a panel's legend names.
    pub(crate) legend: BTreeSet<String>,
    pub(crate) content: Content,
}

/// The selectors of a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// PromQL: its selectors, how they depend on each other, and the labels of the result.
    PromQl { uses: Vec<Use>, tree: Tree, labels: Labels },
    /// Something else, and why.
    Other(String),
}

/// Which selectors must have data so that the query has data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// The selector with this index.
    Use(usize),
    /// Two expressions whose series find each other by their labels.
    Pair(Box<Pair>),
    /// An expression whose series must have `le`.
    Bounded(Labels),
    /// All of these. An empty list needs no series, such as `vector(0)`.
    All(Vec<Tree>),
    /// One of these, as with `or`.
    Any(Vec<Tree>),
}

impl Tree {
    /// All pairs in it.
    pub(crate) fn pairs(&self) -> Vec<&Pair> {
        match self {
            Self::Pair(pair) => vec![pair],
            Self::All(trees) | Self::Any(trees) => trees.iter().flat_map(Self::pairs).collect(),
            Self::Use(_) | Self::Bounded(_) => Vec::new(),
        }
    }
}

/// The labels of the series that an expression yields, as far as the query tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Labels {
    /// The labels of the selector with this index.
    Of(usize),
    /// No others than these.
    Only(BTreeSet<String>, Box<Labels>),
    Without(BTreeSet<String>, Box<Labels>),
    With(BTreeSet<String>, Box<Labels>),
    /// One series without labels, such as `vector(0)`.
    Empty,
    /// A number, which matches every series.
    Scalar,
    Unknown,
}

/// Two sides of a binary operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) operator: String,
    pub(crate) sides: [Labels; 2],
    pub(crate) matching: Matching,
}

/// The labels by which the series of two sides find each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Matching {
    All,
    On(BTreeSet<String>),
    Ignoring(BTreeSet<String>),
}

/// One vector selector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Use {
    /// The name as written, with `_bucket`, `_sum` or `_count`. Empty if no known name matches the pattern.
    pub(crate) metric: String,
    /// Conditions on the name, if the query has a pattern instead.
    pub(crate) name_matchers: Vec<Matcher>,
    pub(crate) matchers: Vec<Matcher>,
    /// Labels that the query groups by, joins on or copies, without `le`.
    pub(crate) labels: BTreeSet<String>,
    pub(crate) role: Role,
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) op: Op,
    /// The value or pattern. A variable of the dashboard is [`ANY`].
    pub(crate) value: String,
}

/// Stands in a matcher's value for a variable that can have any value.
pub(crate) const ANY: &str = "\u{e000}";

impl Matcher {
    /// Whether a variable of the dashboard decides the value.
    pub(crate) fn is_open(&self) -> bool {
        self.value.contains(ANY)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
}

/// The type that a query takes a metric for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Counter,
    Gauge,
    /// `_bucket` of a classic histogram.
    Bucket,
    /// `_sum` of a histogram or summary.
    Sum,
    /// `_count` of a histogram or summary.
    Count,
    /// A quantile of a summary.
    Quantile,
    /// A native histogram: `histogram_quantile` of a name without `_bucket`.
    Native,
}

/// One family of an exposition of the app, as it was with its own instrumentation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exposed {
    pub(crate) file: String,
    /// Without `_bucket`, `_sum` and `_count`. Counters keep `_total`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Each label with the values that it had, without `le` and `quantile`.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
    /// The finite bounds of a histogram.
    pub(crate) bounds: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) queries: Vec<Query>,
    pub(crate) exposed: Vec<Exposed>,
    /// Files and queries that could not be read, each with its place and the reason.
    pub(crate) faults: Vec<String>,
}

/// The answer to one selector, best first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Has data once there was such a call.
    Works,
    /// As [`Verdict::Works`], with this configuration.
    WorksWith(String),
    /// Asks for the series of another exporter, or for none.
    NotOurs(String),
    /// Scoretap cannot fill it, for this reason.
    Empty(String),
}

/// A selector's verdict, and the measure that fills it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// The measure's name in a dialect.
    pub(crate) measure: Option<&'static str>,
    /// The labels that the dialect gives to the series. `None` if the series are another's.
    pub(crate) labels: Option<BTreeSet<String>>,
}

/// The dialect that the queries want.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) families: Vec<Planned>,
    pub(crate) needs: Needs,
    /// For each query, for each of its selectors.
    pub(crate) judgements: Vec<Vec<Judgement>>,
}

/// A family, the queries that want it, and what the user has to decide.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) family: Family,
    /// Files and places.
    pub(crate) wanted_by: Vec<String>,
    /// Choices, written as comments.
    pub(crate) questions: Vec<String>,
    /// Whether it is written as a comment, for the user to decide on.
    pub(crate) is_choice: bool,
}

/// The configuration that the dialect needs beside itself.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Needs {
    /// Bounds that the filter must have.
    pub(crate) bounds_seconds: Vec<f64>,
    /// Whether the pod must have Insight.
    pub(crate) insight: bool,
    /// Labels that the monitor must set, as `name=value`, or `name` alone where only the user knows the value.
    pub(crate) labels: BTreeSet<String>,
    /// Variables of the exporter's environment, as `NAME=value`.
    pub(crate) environment: BTreeSet<String>,
    /// Methods and templates that routes must have, such as `POST /score`.
    pub(crate) routes: BTreeSet<String>,
    /// Histograms for the filter's `extra`.
    pub(crate) extra: BTreeSet<&'static str>,
    /// Whether the filter must count durations by code.
    pub(crate) duration_codes: bool,
}

impl Needs {
    pub(crate) fn add(&mut self, other: Self) {
        let Self { bounds_seconds, insight, labels, environment, routes, extra, duration_codes } = other;
        self.bounds_seconds.extend(bounds_seconds);
        self.bounds_seconds.sort_by(f64::total_cmp);
        self.bounds_seconds.dedup();
        self.insight |= insight;
        self.labels.extend(labels);
        self.environment.extend(environment);
        self.routes.extend(routes);
        self.extra.extend(extra);
        self.duration_codes |= duration_codes;
    }
}
