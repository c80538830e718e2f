//! The values that the labels of a sample show.

use scoretap_dialect::Dimension;

use super::Group;
use crate::reading::measured::Key;

/// The dimensions of a key, in its order.
pub(super) const OF_KEY: [Dimension; 5] =
    [Dimension::Model, Dimension::Version, Dimension::Route, Dimension::Method, Dimension::Template];

/// An HTTP status, or a dialect's name for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code<'a> {
    Number(u16),
    Named(&'a str),
}

impl Default for Code<'_> {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// How the calls of a sample ended: the values that tell the samples of one group apart.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End<'a> {
    pub(super) code: Code<'a>,
    pub(super) code_class: &'a str,
    pub(super) status: &'a str,
    pub(super) error_type: &'a str,
}

/// The values of a sample's dimensions; empty if there is none.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    pub(super) model: &'a str,
    pub(super) version: &'a str,
    pub(super) route: &'a str,
    pub(super) method: &'a str,
    pub(super) template: &'a str,
    pub(super) end: End<'a>,
    pub(super) deployment: &'a str,
    pub(super) framework: &'a str,
    pub(super) column: &'a str,
    /// Kind, class, bin, token type, reason, usage or end: a family has at most one of them.
    pub(super) value: &'a str,
}

impl<'a> Facts<'a> {
    pub(super) fn of_key(key: &'a Key) -> Self {
        let Key { model, version, route, method, template } = key;
        Self { model, version, route, method, template, ..Self::default() }
    }

    /// The labels that all series of a group share, among those of its first.
    pub(super) fn of_group(group: Group<'_, 'a>) -> Self {
        group.first().map(|(key, _)| Self::of_key(key)).unwrap_or_default()
    }

    /// The value of a dimension that is text. A code can be a number, and a fixed text is the label's.
    pub(super) const fn get(&self, dimension: Dimension) -> &'a str {
        match dimension {
            Dimension::Model => self.model,
            Dimension::Version => self.version,
            Dimension::Route => self.route,
            Dimension::Method => self.method,
            Dimension::Template => self.template,
            Dimension::Status => self.end.status,
            Dimension::ErrorType => self.end.error_type,
            Dimension::CodeClass => self.end.code_class,
            Dimension::Code | Dimension::Fixed => "",
            Dimension::Deployment => self.deployment,
            Dimension::Framework => self.framework,
            Dimension::Column => self.column,
            Dimension::ValueKind
            | Dimension::Class
            | Dimension::Bin
            | Dimension::TokenType
            | Dimension::Reason
            | Dimension::Usage
            | Dimension::End => self.value,
        }
    }
}
