//! Path templates with variables, and how a path matches one.

use std::borrow::Cow;

use super::LONGEST_LABEL;
use super::percent::{Encoding, percent_decoded};

/// A variable of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `{model}`
    Model,
    /// `{version}`
    Version,
}

impl Variable {
    const ALL: [Self; 2] = [Self::Model, Self::Version];

    /// The name in templates and configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Version => "version",
        }
    }
}

/// A path with variables, such as `/v1/models/{model}:predict`. A variable stands for one or more bytes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    /// The literal before the first variable.
    head: Box<[u8]>,
    /// The literal after the last variable, if the template has variables.
    tail: Option<Box<[u8]>>,
    segments: Box<[Segment]>,
}

/// The part between two slashes: a literal, or a variable between two literals.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    prefix: Box<[u8]>,
    variable: Option<(Variable, Box<[u8]>)>,
}

/// The percent-decoded values of a template's variables in a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures<'p> {
    /// `{model}`
    pub model: Option<Cow<'p, [u8]>>,
    /// `{version}`
    pub version: Option<Cow<'p, [u8]>>,
}

const LONGEST_TEMPLATE: usize = 1024;

impl Template {
    /// Parses a template. The error says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_TEMPLATE {
            return Err(format!("has {} bytes; write at most {LONGEST_TEMPLATE}", text.len()));
        }
        if !text.starts_with('/') {
            return Err(format!("{text:?} has no leading slash; write {:?}", format!("/{text}")));
        }
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            return Err(format!(
                "{text:?} contains {found:?}; a path is matched as it is sent, without its query, so write only \
                 visible ASCII, percent-encoded where need be"
            ));
        }
        let segments = text.split('/').map(|segment| Segment::parse(segment, text));
        let segments = segments.collect::<Result<Box<[_]>, _>>()?;
        for variable in Variable::ALL {
            if segments.iter().filter(|segment| segment.is(variable)).count() > 1 {
                return Err(format!("{text:?} has {{{}}} twice; write it once", variable.as_str()));
            }
        }
        let head = literal(text.split('{').next().unwrap_or(text));
        let tail = text.rsplit_once('}').map(|(_, tail)| literal(tail));
        Ok(Self { text: text.into(), head, tail, segments })
    }

    /// The template as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the template has this variable.
    pub fn has(&self, variable: Variable) -> bool {
        self.segments.iter().any(|segment| segment.is(variable))
    }

    /// Whether the path has the form that gRPC requires, `/Service/Method`.
    pub(crate) fn may_be_grpc(&self) -> bool {
        // The segment before the first slash is empty.
        self.segments.len() == 3
    }

    /// Matches a whole path without its query. `%3A` equals `:`, as it does for the app.
    pub fn captures<'p>(&self, path: &'p [u8], encoding: Encoding) -> Option<Captures<'p>> {
        self.fits(path, encoding).then(|| self.read(path, encoding)).flatten()
    }

    /// Compares the start and end of the path, which rejects most templates quickly even for long paths.
    fn fits(&self, path: &[u8], encoding: Encoding) -> bool {
        encoding.strip_prefix(path, &self.head).is_some_and(|rest| match &self.tail {
            Some(tail) => encoding.strip_suffix(rest, tail).is_some(),
            None => rest.is_empty(),
        })
    }

    fn read<'p>(&self, path: &'p [u8], encoding: Encoding) -> Option<Captures<'p>> {
        let mut captures = Captures::default();
        let mut unread = Some(path);
        for segment in &self.segments {
            let (written, rest) = split_at_slash(unread?);
            unread = rest;
            let value = segment.value(written, encoding)?;
            match segment.variable {
                None => {}
                Some((Variable::Model, _)) => captures.model = Some(captured(value)),
                Some((Variable::Version, _)) => captures.version = Some(captured(value)),
            }
        }
        unread.is_none().then_some(captures)
    }
}

/// A literal of a template, percent-decoded for the comparison.
fn literal(written: &str) -> Box<[u8]> {
    percent_decoded(written.as_bytes()).into()
}

fn split_at_slash(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let slash = memchr::memchr(b'/', path).and_then(|slash| path.split_at_checked(slash));
    slash.map_or((path, None), |(segment, rest)| (segment, rest.get(1..)))
}

/// Decodes a value, unless it is so long that no label could hold it even when decoded.
fn captured(written: &[u8]) -> Cow<'_, [u8]> {
    const LONGEST_WRITTEN: usize = 3 * LONGEST_LABEL;
    if written.len() > LONGEST_WRITTEN { Cow::Borrowed(written) } else { percent_decoded(written) }
}

impl Segment {
    fn parse(segment: &str, template: &str) -> Result<Self, String> {
        let unmatched = |brace, other| {
            Err(format!("{template:?} has a {brace} without its {other}; write {{model}} or {{version}}"))
        };
        let Some((prefix, opened)) = segment.split_once('{') else {
            let prefix = literal(segment);
            return if segment.contains('}') {
                unmatched('}', '{')
            } else {
                Ok(Self { prefix, variable: None })
            };
        };
        let Some((name, suffix)) = opened.split_once('}') else { return unmatched('{', '}') };
        if suffix.contains('{') {
            return Err(format!(
                "{template:?} has two variables between two slashes; put a slash between them"
            ));
        }
        if prefix.contains('}') || suffix.contains('}') {
            return unmatched('}', '{');
        }
        let variable = Variable::ALL.into_iter().find(|variable| variable.as_str() == name);
        let variable = variable.ok_or_else(|| {
            format!("{template:?} has the variable {{{name}}}; write {{model}} or {{version}}")
        })?;
        Ok(Self { prefix: literal(prefix), variable: Some((variable, literal(suffix))) })
    }

    fn is(&self, variable: Variable) -> bool {
        self.variable.as_ref().is_some_and(|(own, _)| *own == variable)
    }

    /// The undecoded value of the variable, empty if there is none; `None` if the segment does not match.
    fn value<'p>(&self, written: &'p [u8], encoding: Encoding) -> Option<&'p [u8]> {
        let rest = encoding.strip_prefix(written, &self.prefix)?;
        match &self.variable {
            None => Some(rest).filter(|rest| rest.is_empty()),
            Some((_, suffix)) => encoding.strip_suffix(rest, suffix).filter(|value| !value.is_empty()),
        }
    }
}
