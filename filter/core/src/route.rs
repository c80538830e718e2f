//! Routes: which calls are inference calls, and where they name their model.

mod percent;
mod presets;
mod template;

use std::borrow::Cow;

pub use percent::{Encoding, percent_decoded};
pub use presets::{PRESETS, Preset};
pub use template::{Captures, Template, Variable};

/// Where a route finds the model or the version of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The path, if the template has the variable.
    #[default]
    Path,
    /// The request header of this name.
    Header(Box<str>),
    /// The body, if insight reads it.
    Body,
}

/// One method and one template of a route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The `route` label. Several templates may share it.
    pub name: Cow<'static, str>,
    /// The method, compared case-sensitively.
    pub method: Cow<'static, str>,
    /// The template of the path.
    pub path: Template,
    /// The source of the model's name.
    pub model: Source,
    /// The source of the model's version. A body that names the model names the version too.
    pub version: Source,
    /// See [`is_llm`](Self::is_llm).
    pub(crate) is_llm: bool,
}

impl Route {
    /// The routes of a preset.
    pub fn of_preset(preset: &Preset) -> impl Iterator<Item = Self> {
        // A test checks that the templates of all presets parse.
        let templates = preset.paths.iter().filter_map(|path| Template::parse(path).ok());
        let Preset { name, names_model_in_body, is_llm, .. } = *preset;
        templates.map(move |path| Self {
            name: Cow::Borrowed(name),
            method: Cow::Borrowed("POST"),
            path,
            model: if names_model_in_body { Source::Body } else { Source::Path },
            version: Source::Path,
            is_llm,
        })
    }

    /// Whether the answers are an LLM's, which have tokens and, as streams, an end of their own.
    pub const fn is_llm(&self) -> bool {
        self.is_llm
    }

    /// Whether the path alone determines the model and the version.
    pub(crate) fn is_told_by_path(&self) -> bool {
        self.model == Source::Path && self.version == Source::Path
    }
}

/// A request target without its query.
pub fn without_query(target: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'?', b'#', target);
    end.and_then(|end| target.get(..end)).unwrap_or(target)
}

/// The longest model name or version, in bytes, that becomes a label.
pub const LONGEST_LABEL: usize = 256;

/// A caller's name as a label; `None` if it is not UTF-8, too long, or contains NUL, at which Prometheus stops reading
/// a line.
pub fn label(name: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    if name.len() > LONGEST_LABEL || name.contains(&0) {
        return None;
    }
    match name {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}
