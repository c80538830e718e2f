//! Which calls are inference calls, and for which model: templates of paths, and the presets made of them.

use std::borrow::Cow;

/// One preset: the name of a route and the paths that a well-known server answers under it, all by POST.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name in a configuration, and the `route` label.
    pub name: &'static str,
    /// Its templates.
    pub paths: &'static [&'static str],
}

/// Every preset. The first route that matches a call has it, so `kserve-v1` comes before `tf-serving`, whose plain
/// `:predict` is the same.
pub const PRESETS: [Preset; 11] = [
    Preset { name: "score", paths: &["/score", "/score/"] },
    Preset { name: "predict", paths: &["/predict"] },
    Preset { name: "invocations", paths: &["/invocations"] },
    Preset { name: "kserve-v1", paths: &["/v1/models/{model}:predict", "/v1/models/{model}:explain"] },
    Preset {
        name: "kserve-v2",
        paths: &["/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"],
    },
    Preset {
        name: "tf-serving",
        paths: &[
            "/v1/models/{model}:predict",
            "/v1/models/{model}:classify",
            "/v1/models/{model}:regress",
            "/v1/models/{model}/versions/{version}:predict",
            "/v1/models/{model}/versions/{version}:classify",
            "/v1/models/{model}/versions/{version}:regress",
            "/v1/models/{model}/labels/{version}:predict",
            "/v1/models/{model}/labels/{version}:classify",
            "/v1/models/{model}/labels/{version}:regress",
        ],
    },
    Preset { name: "torchserve", paths: &["/predictions/{model}", "/predictions/{model}/{version}"] },
    Preset {
        name: "triton-generate",
        paths: &[
            "/v2/models/{model}/generate",
            "/v2/models/{model}/generate_stream",
            "/v2/models/{model}/versions/{version}/generate",
            "/v2/models/{model}/versions/{version}/generate_stream",
        ],
    },
    Preset { name: "openai", paths: &["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] },
    Preset { name: "seldon", paths: &["/api/v1.0/predictions"] },
    Preset { name: "kserve-grpc", paths: &["/inference.GRPCInferenceService/ModelInfer"] },
];

/// Where a route finds the model or the version of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// In the path, if the template has the variable; else nowhere.
    #[default]
    Path,
    /// In the request header of this name.
    Header(Box<str>),
}

/// One method and one template of a route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The `route` label. Several templates may share it.
    pub name: Cow<'static, str>,
    /// The method, to the letter.
    pub method: Cow<'static, str>,
    /// What the path must look like.
    pub path: Template,
    /// Where the model's name is.
    pub model: Source,
    /// Where the model's version is.
    pub version: Source,
}

impl Route {
    /// The routes of a preset.
    pub fn of_preset(preset: &Preset) -> impl Iterator<Item = Self> {
        // A preset is checked by this module's tests: its templates parse.
        let templates = preset.paths.iter().filter_map(|path| Template::parse(path).ok());
        let name = preset.name;
        templates.map(move |path| Self {
            name: Cow::Borrowed(name),
            method: Cow::Borrowed("POST"),
            path,
            model: Source::Path,
            version: Source::Path,
        })
    }

    /// Whether calls with the same path are for the same model and version.
    pub(crate) fn is_told_by_path(&self) -> bool {
        self.model == Source::Path && self.version == Source::Path
    }
}

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

    /// Its name, in a template and in a configuration.
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
    /// What comes before the first variable.
    head: Box<[u8]>,
    /// What comes behind the last variable, if there is one.
    tail: Option<Box<[u8]>>,
    segments: Box<[Segment]>,
}

/// What is between two slashes: a literal, or a variable with a literal before and behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    prefix: Box<[u8]>,
    variable: Option<(Variable, Box<[u8]>)>,
}

/// What a path holds where its template has variables, with percent-encoding undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures<'p> {
    /// `{model}`
    pub model: Option<Cow<'p, [u8]>>,
    /// `{version}`
    pub version: Option<Cow<'p, [u8]>>,
}

const LONGEST_TEMPLATE: usize = 1024;

impl Template {
    /// Reads a template. The error says what is wrong and what to write.
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

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has this variable.
    pub fn has(&self, variable: Variable) -> bool {
        self.segments.iter().any(|segment| segment.is(variable))
    }

    /// Whether gRPC can have such a path, which by its protocol is `/Service/Method`.
    pub(crate) fn may_be_grpc(&self) -> bool {
        // Before the first slash there is an empty one.
        self.segments.len() == 3
    }

    /// Matches a whole path, without its query. `%3A` is as good as `:`, as it is to the app.
    pub fn captures<'p>(&self, path: &'p [u8], encoding: Encoding) -> Option<Captures<'p>> {
        self.fits(path, encoding).then(|| self.read(path, encoding)).flatten()
    }

    /// Whether it begins and ends as one that matches does: few templates are left to try, however long the path is.
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

/// A part of a template as it is compared: percent-encoded or not is the same there, too.
fn literal(written: &str) -> Box<[u8]> {
    percent_decoded(written.as_bytes()).into()
}

fn split_at_slash(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let slash = memchr::memchr(b'/', path).and_then(|slash| path.split_at_checked(slash));
    slash.map_or((path, None), |(segment, rest)| (segment, rest.get(1..)))
}

/// What is too long for a label in any case is left as it was sent.
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

    /// What the variable stands for, or nothing where there is none, as it was sent; `None` where the segment does not
    /// match.
    fn value<'p>(&self, written: &'p [u8], encoding: Encoding) -> Option<&'p [u8]> {
        let rest = encoding.strip_prefix(written, &self.prefix)?;
        match &self.variable {
            None => Some(rest).filter(|rest| rest.is_empty()),
            Some((_, suffix)) => encoding.strip_suffix(rest, suffix).filter(|value| !value.is_empty()),
        }
    }
}

/// A request target without its query.
pub fn without_query(target: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'?', b'#', target);
    end.and_then(|end| target.get(..end)).unwrap_or(target)
}

/// The longest model name or version, in bytes, that becomes a label.
pub const LONGEST_LABEL: usize = 256;

/// What a caller named, as a label; `None` where it cannot be one: not UTF-8, too long, or with a NUL, which ends the
/// line in the lexer of Prometheus.
pub fn label(name: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    if name.len() > LONGEST_LABEL || name.contains(&0) {
        return None;
    }
    match name {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Undoes percent-encoding once; a `%` that is none stays.
pub fn percent_decoded(written: &[u8]) -> Cow<'_, [u8]> {
    match Encoding::of(written) {
        Encoding::None => Cow::Borrowed(written),
        Encoding::Percent => {
            let mut rest = written;
            let next = || {
                let (byte, after) = first_byte(rest)?;
                rest = after;
                Some(byte)
            };
            Cow::Owned(std::iter::from_fn(next).collect())
        }
    }
}

/// Whether a path has to be decoded to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// It is not.
    None,
    /// It holds a `%`.
    Percent,
}

impl Encoding {
    /// That of a path.
    pub fn of(path: &[u8]) -> Self {
        if memchr::memchr(b'%', path).is_some() { Self::Percent } else { Self::None }
    }

    /// What is written behind this beginning. No more is read than is as long as that.
    fn strip_prefix<'p>(self, written: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
        match self {
            Self::None => written.strip_prefix(prefix),
            Self::Percent => prefix.iter().try_fold(written, |rest, wanted| {
                first_byte(rest).filter(|(byte, _)| byte == wanted).map(|(_, rest)| rest)
            }),
        }
    }

    /// What is written before this end.
    fn strip_suffix<'p>(self, written: &'p [u8], suffix: &[u8]) -> Option<&'p [u8]> {
        match self {
            Self::None => written.strip_suffix(suffix),
            Self::Percent => suffix.iter().rev().try_fold(written, |rest, wanted| {
                last_byte(rest).filter(|(byte, _)| byte == wanted).map(|(_, rest)| rest)
            }),
        }
    }
}

fn first_byte(written: &[u8]) -> Option<(u8, &[u8])> {
    let escape = written.split_first_chunk().and_then(|(escape, rest)| Some((escaped(*escape)?, rest)));
    escape.or_else(|| written.split_first().map(|(byte, rest)| (*byte, rest)))
}

/// Escapes do not overlap, so that they are the same read from the end.
fn last_byte(written: &[u8]) -> Option<(u8, &[u8])> {
    let escape = written.split_last_chunk().and_then(|(rest, escape)| Some((escaped(*escape)?, rest)));
    escape.or_else(|| written.split_last().map(|(byte, rest)| (*byte, rest)))
}

fn escaped([percent, high, low]: [u8; 3]) -> Option<u8> {
    let (high, low) = (percent == b'%').then(|| digit(high).zip(digit(low))).flatten()?;
    Some(high.wrapping_shl(4) | low)
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
