//! Metric families as plain data: what every format encodes, and all that a format knows of what it encodes.

/// One metric family. Its name is the one to query: with `_total` where it counts, with `_info` where it informs.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'a> {
    /// Unique in an exposition.
    pub name: &'a str,
    /// One sentence for people.
    pub help: &'a str,
    /// The unit that the name ends with (before `_total`).
    pub unit: Option<Unit>,
    /// Type and samples.
    pub points: Points<'a>,
}

/// What is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time.
    Seconds,
    /// Size.
    Bytes,
}

impl Unit {
    /// As it stands at the end of names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

/// A family's samples, which are all of its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Points<'a> {
    /// What only grows, until Envoy restarts.
    Counter(Vec<Sample<'a, u64>>),
    /// What goes up and down.
    Gauge(Vec<Sample<'a, f64>>),
    /// What is said by labels alone.
    Info(Vec<Labels<'a>>),
    /// Distributions over the same bounds.
    Histogram {
        /// Increasing, without +Inf.
        bounds: Vec<f64>,
        /// One distribution for each set of labels.
        samples: Vec<Sample<'a, Buckets>>,
    },
}

/// Names and values, in the order in which they are written.
pub type Labels<'a> = Vec<(&'a str, &'a str)>;

/// One value and what it is the value of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<'a, V> {
    /// Unique in the family.
    pub labels: Labels<'a>,
    /// The value.
    pub value: V,
}

/// One distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// How many values are at most each of the family's bounds.
    pub cumulative: Vec<u64>,
    /// How many there are: the +Inf bucket.
    pub count: u64,
    /// What they add up to.
    pub sum: f64,
}

impl Points<'_> {
    /// Whether there is nothing to say, so that the family is better left out.
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Counter(samples) => samples.is_empty(),
            Self::Gauge(samples) => samples.is_empty(),
            Self::Info(samples) => samples.is_empty(),
            Self::Histogram { bounds: _, samples } => samples.is_empty(),
        }
    }
}
