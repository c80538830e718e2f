//! Families in the formats that a scraper may ask for.

mod escape;
mod text;

use crate::family::Family;

/// What can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// All of them, the one that suits everybody first.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// What the answer is declared as. All names are of the old alphabet, so no escaping changes them.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
        }
    }

    /// The exposition of `families`; those without samples are left out.
    pub fn encode<'a>(self, families: impl Iterator<Item = Family<'a>>) -> Vec<u8> {
        text::encode(self.syntax(), families).into_bytes()
    }

    const fn syntax(self) -> text::Syntax {
        match self {
            Self::Text => text::Syntax::Prometheus,
            Self::OpenMetrics => text::Syntax::OpenMetrics,
        }
    }
}
