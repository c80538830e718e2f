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
    /// What comes before the first variable; rejects most paths at once.
    head: Box<[u8]>,
    /// Each variable with the literal that follows it.
    variables: Box<[(Variable, Box<[u8]>)]>,
}

const LONGEST_TEMPLATE: usize = 1024;

/// What a path holds where its template has variables, as the caller wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures<'p> {
    /// `{model}`
    pub model: Option<&'p [u8]>,
    /// `{version}`
    pub version: Option<&'p [u8]>,
}

impl Template {
    /// Reads a template. The error says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_TEMPLATE {
            return Err(format!("has {} bytes; write at most {LONGEST_TEMPLATE}", text.len()));
        }
        if !text.starts_with('/') {
            return Err(format!("{text:?} has no leading slash; write \"/{text}\""));
        }
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            return Err(format!(
                "{text:?} contains {found:?}; a path is matched as it is sent, without its query, so write only \
                 visible ASCII, percent-encoded where need be"
            ));
        }
        let (head, mut rest) = text.split_once('{').map_or((text, None), |(head, rest)| (head, Some(rest)));
        let mut variables: Vec<(Variable, Box<[u8]>)> = Vec::new();
        while let Some(opened) = rest {
            let (name, after) = opened
                .split_once('}')
                .ok_or_else(|| format!("{text:?} has a {{ without its }}; write {{model}} or {{version}}"))?;
            let variable = Variable::ALL.into_iter().find(|v| v.as_str() == name).ok_or_else(|| {
                format!("{text:?} has the variable {{{name}}}; write {{model}} or {{version}}")
            })?;
            if variables.iter().any(|(earlier, _)| *earlier == variable) {
                return Err(format!("{text:?} has {{{name}}} twice; write it once"));
            }
            let (literal, next) =
                after.split_once('{').map_or((after, None), |(lit, next)| (lit, Some(next)));
            if next.is_some() && !literal.contains('/') {
                return Err(format!(
                    "{text:?} has two variables between two slashes; put a slash between them"
                ));
            }
            variables.push((variable, literal.as_bytes().into()));
            rest = next;
        }
        let literals = variables.iter().map(|(_, literal)| literal.as_ref());
        if std::iter::once(head.as_bytes()).chain(literals).any(|literal| literal.contains(&b'}')) {
            return Err(format!("{text:?} has a }} without its {{; write {{model}} or {{version}}"));
        }
        Ok(Self { text: text.into(), head: head.as_bytes().into(), variables: variables.into() })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has this variable.
    pub fn has(&self, variable: Variable) -> bool {
        self.variables.iter().any(|(own, _)| *own == variable)
    }

    /// Matches a whole path, without its query.
    pub fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        let mut rest = path.strip_prefix(self.head.as_ref())?;
        let mut captures = Captures::default();
        for (variable, literal) in &self.variables {
            let segment_end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let in_segment = literal.iter().position(|byte| *byte == b'/').unwrap_or(literal.len());
            // The literal's part in this segment ends the segment, so that in `a:b:predict` the model is `a:b`.
            let value = rest.get(..segment_end.checked_sub(in_segment)?)?;
            rest = rest.get(value.len()..)?.strip_prefix(literal.as_ref())?;
            let captured = match variable {
                Variable::Model => &mut captures.model,
                Variable::Version => &mut captures.version,
            };
            *captured = Some(value).filter(|value| !value.is_empty());
            (*captured)?;
        }
        rest.is_empty().then_some(captures)
    }
}

/// A request target without its query.
pub fn without_query(target: &[u8]) -> &[u8] {
    target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(target)
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
    if !written.contains(&b'%') {
        return Cow::Borrowed(written);
    }
    let mut decoded = Vec::with_capacity(written.len());
    let mut rest = written;
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, after @ ..] if *first == b'%' => {
                digit(*high).zip(digit(*low)).map(|hex| (hex, after))
            }
            _ => None,
        };
        let (byte, after) =
            escape.map_or((*first, tail), |((high, low), after)| (high.wrapping_shl(4) | low, after));
        decoded.push(byte);
        rest = after;
    }
    Cow::Owned(decoded)
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
