//! Reads a [`Config`] from JSON and reports every fault in it at once.

use std::borrow::Cow;

use super::json::{Fields, Json, short};
use super::{Config, Fault, Insight, Resolution};
use crate::histogram::{
    DEFAULT_TIME_BOUNDS, Histogram, LLM_TIME_BOUNDS, LONGEST_BOUND_SECONDS, MOST_BOUNDS, time_bound,
};
use crate::outcome::{Outcome, Overrides};
use crate::route::{PRESETS, Route, Source, Template, Variable};

const MOST_ROUTES: usize = 256;
const MOST_SERIES: u32 = 10_000;
const LONGEST_NAME: usize = 64;
const DEFAULT_MAX_SERIES: u32 = 200;

pub(super) fn parse(json: &[u8]) -> Result<Config, Vec<Fault>> {
    if json.trim_ascii().is_empty() {
        return Reader::default().read(&Fields::default());
    }
    let value = serde_json::from_slice(json).map_err(|error| {
        let problem = format!(
            "is not JSON: {error}; write an object such as {{\"max_series\": 200}}, in a StringValue"
        );
        vec![Fault { at: "configuration".into(), problem }]
    })?;
    match value {
        Json::Object(fields) => Reader::default().read(&fields),
        other => {
            let problem = format!("is {other}; write an object such as {{\"max_series\": 200}}");
            Err(vec![Fault { at: "configuration".into(), problem }])
        }
    }
}

/// Reads field by field and collects the faults.
#[derive(Default)]
pub(super) struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn read(mut self, fields: &Fields) -> Result<Config, Vec<Fault>> {
        const FIELDS: [&str; 8] = [
            "routes",
            "bounds_seconds",
            "max_series",
            "error_types",
            "extra",
            "latency_resolution",
            "duration_codes",
            "insight",
        ];
        self.refuse_unknown("", fields, &FIELDS);
        let routes = fields.get("routes").map_or_else(all_presets, |value| self.routes(value));
        let time_bounds = fields
            .get("bounds_seconds")
            .map_or_else(|| default_time_bounds(&routes).to_vec(), |value| self.bounds(value));
        let config = Config {
            routes,
            time_bounds,
            max_series: fields.get("max_series").map_or(DEFAULT_MAX_SERIES, |value| self.max_series(value)),
            overrides: Overrides::new(
                fields.get("error_types").map(|value| self.overrides(value)).unwrap_or_default(),
            ),
            histograms: self.histograms(fields.get("extra")),
            resolution: fields
                .get("latency_resolution")
                .map_or(Resolution::Classic, |value| self.resolution(value)),
            duration_codes: fields.get("duration_codes").is_some_and(|value| self.duration_codes(value)),
            insight: fields.get("insight").map(|value| Insight::read(value, &mut self)),
        };
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        Ok(if config.insight.is_some() { config } else { without_bodies(config) })
    }

    pub(super) fn fault(&mut self, at: impl Into<String>, problem: impl Into<String>) {
        // The name of an unknown field may hold control characters.
        let at = format!("{:?}", at.into());
        let at = at.strip_prefix('"').and_then(|at| at.strip_suffix('"')).unwrap_or(&at).to_owned();
        self.faults.push(Fault { at, problem: problem.into() });
    }

    pub(super) fn refuse_unknown(&mut self, at: &str, fields: &Fields, known: &[&str]) {
        for field in fields.iter().map(|(name, _)| name).filter(|name| !known.contains(name)) {
            let at = if at.is_empty() { short(field) } else { format!("{at}.{}", short(field)) };
            self.fault(at, format!("is not a field; allowed here are {}", known.join(", ")));
        }
    }

    fn routes(&mut self, value: &Json) -> Vec<Route> {
        let Some(entries) = value.as_list().filter(|entries| (1..=MOST_ROUTES).contains(&entries.len()))
        else {
            let problem = format!(
                "is {value}; write a list of 1 to {MOST_ROUTES} routes, or leave it out for all presets"
            );
            self.fault("routes", problem);
            return Vec::new();
        };
        let mut routes: Vec<Route> = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            let at = format!("routes[{position}]");
            match entry {
                Json::Object(fields) if fields.get("preset").is_some() => {
                    routes.extend(self.preset(&at, fields));
                }
                Json::Object(fields) => {
                    if let Some(route) = self.route(&at, fields) {
                        self.refuse_hidden(&at, &route, &routes);
                        routes.push(route);
                    }
                }
                other => self.fault(
                    at,
                    format!("is {other}; write {{\"preset\": \"score\"}} or {{\"name\": …, \"method\": …, \"path\": …}}"),
                ),
            }
        }
        routes
    }

    fn preset(&mut self, at: &str, fields: &Fields) -> Vec<Route> {
        self.refuse_unknown(at, fields, &["preset"]);
        let named = fields.get("preset").and_then(Json::as_text);
        let preset = PRESETS.iter().find(|preset| named == Some(preset.name));
        if preset.is_none() {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            let found = fields.get("preset").unwrap_or(&Json::Null);
            self.fault(
                format!("{at}.preset"),
                format!("is {found}, which is no preset; allowed are {}", names.join(", ")),
            );
        }
        preset.map(|preset| Route::of_preset(preset).collect()).unwrap_or_default()
    }

    fn route(&mut self, at: &str, fields: &Fields) -> Option<Route> {
        self.refuse_unknown(at, fields, &["name", "method", "path", "model", "version"]);
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
        let name = self.text(at, fields, "name", |text| {
            let allowed = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_name_byte);
            allowed.then(|| text.to_owned()).ok_or_else(|| {
                format!("is {:?}; write 1 to {LONGEST_NAME} letters, digits or any of _ . : / -", short(text))
            })
        });
        let method = self.text(at, fields, "method", |text| {
            let allowed =
                (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase());
            let problem = || format!("is {:?}; write a method in capitals, such as \"POST\"", short(text));
            allowed.then(|| text.to_owned()).ok_or_else(problem)
        });
        let path = self.text(at, fields, "path", Template::parse);
        let model = self.source(at, fields, Variable::Model, path.as_ref());
        let version = self.source(at, fields, Variable::Version, path.as_ref());
        let (name, method, path) = (name?, method?, path?);
        Some(Route {
            name: Cow::Owned(name),
            method: Cow::Owned(method),
            path,
            model,
            version,
            is_llm: false,
        })
    }

    fn text<T>(
        &mut self,
        at: &str,
        fields: &Fields,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let problem = match fields.get(field) {
            Some(Json::Text(text)) => match parse(text) {
                Ok(parsed) => return Some(parsed),
                Err(problem) => problem,
            },
            Some(other) => format!("is {other}; write a string"),
            None => "is missing; a route is a preset or has name, method and path".to_owned(),
        };
        self.fault(format!("{at}.{field}"), problem);
        None
    }

    fn source(&mut self, at: &str, fields: &Fields, variable: Variable, path: Option<&Template>) -> Source {
        let field = variable.as_str();
        let Some(value) = fields.get(field) else { return Source::Path };
        let at = format!("{at}.{field}");
        if path.is_some_and(|path| path.has(variable)) {
            self.fault(&at, format!("is given though the path has {{{field}}}; keep one of the two"));
        }
        let only = value.as_fields().filter(|object| object.iter().len() == 1);
        let has = |name: &str| only.and_then(|object| object.get(name));
        if variable == Variable::Model
            && (has("body").and_then(Json::as_text) == Some("model")
                || matches!(has("grpc"), Some(Json::Whole(1))))
        {
            return Source::Body;
        }
        let Some(header) = has("header") else {
            let body = match variable {
                Variable::Model => "; or {\"body\": \"model\"} for JSON, {\"grpc\": 1} for gRPC",
                Variable::Version => "",
            };
            let problem =
                format!("is {value}; write {{\"header\": \"x-model-name\"}}, or another header{body}");
            self.fault(at, problem);
            return Source::Path;
        };
        let is_header_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        match header.as_text() {
            // Envoy stores this header under its HTTP/2 name.
            Some(name) if name.eq_ignore_ascii_case("host") => Source::Header(":authority".into()),
            Some(name) if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_header_byte) => {
                Source::Header(name.to_ascii_lowercase().into())
            }
            _ => {
                let problem = format!(
                    "is {header}; write the name of a request header, such as \"x-model-name\": at most {LONGEST_NAME} letters, \
                     digits, \"_\", \".\" and \"-\""
                );
                self.fault(format!("{at}.header"), problem);
                Source::Path
            }
        }
    }

    fn refuse_hidden(&mut self, at: &str, route: &Route, earlier: &[Route]) {
        let hidden = |other: &&Route| other.method == route.method && other.path == route.path;
        if let Some(other) = earlier.iter().find(hidden) {
            let problem = format!(
                "can never match: an earlier route, {:?}, has the same method and path; drop one of them",
                other.name
            );
            self.fault(format!("{at}.path"), problem);
        }
    }

    fn bounds(&mut self, value: &Json) -> Vec<u64> {
        let Some(entries) = value.as_list().filter(|entries| (1..=MOST_BOUNDS).contains(&entries.len()))
        else {
            let problem = format!("is {value}; write a list of 1 to {MOST_BOUNDS} numbers of seconds");
            self.fault("bounds_seconds", problem);
            return Vec::new();
        };
        let mut bounds: Vec<u64> = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            let at = format!("bounds_seconds[{position}]");
            match entry.as_f64().and_then(time_bound) {
                None => {
                    let problem = format!(
                        "is {entry}; write a number of seconds from 0.000000001 to {LONGEST_BOUND_SECONDS}"
                    );
                    self.fault(at, problem);
                }
                Some(bound) if bounds.last().is_some_and(|last| *last >= bound) => {
                    let problem = format!(
                        "is {entry}, not above the bound before it; bounds increase, and differ by a nanosecond \
                         at least"
                    );
                    self.fault(at, problem);
                }
                Some(bound) => bounds.push(bound),
            }
        }
        bounds
    }

    fn max_series(&mut self, value: &Json) -> u32 {
        let number = if let Json::Whole(number) = value { u32::try_from(*number).ok() } else { None };
        number.filter(|number| (1..=MOST_SERIES).contains(number)).unwrap_or_else(|| {
            let problem = format!("is {value}; write a whole number from 1 to {MOST_SERIES}");
            self.fault("max_series", problem);
            DEFAULT_MAX_SERIES
        })
    }

    fn overrides(&mut self, value: &Json) -> Vec<(u16, Outcome)> {
        let Json::Object(pairs) = value else {
            let problem =
                format!("is {value}; write an object of HTTP statuses, such as {{\"404\": \"success\"}}");
            self.fault("error_types", problem);
            return Vec::new();
        };
        let mut overrides = Vec::new();
        for (status, outcome) in pairs.iter() {
            let at = format!("error_types.{}", short(status));
            let code =
                status.parse::<u16>().ok().filter(|code| (100..=999).contains(code) && status.len() == 3);
            if code.is_none() {
                self.fault(&at, "is no HTTP status; write one of 100 to 999, such as \"409\"");
            }
            let parsed = outcome.as_text().and_then(Outcome::parse);
            if parsed.is_none() {
                let names: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
                self.fault(&at, format!("is {}; allowed are {}", outcome, names.join(", ")));
            }
            overrides.extend(code.zip(parsed));
        }
        overrides
    }

    fn histograms(&mut self, value: Option<&Json>) -> Vec<Histogram> {
        let mut histograms = vec![Histogram::Duration];
        let Some(value) = value else { return histograms };
        let allowed = "backend_duration, request_bytes, response_bytes";
        let Json::List(entries) = value else {
            self.fault("extra", format!("is {value}; write a list of any of {allowed}"));
            return histograms;
        };
        for (position, entry) in entries.iter().enumerate() {
            match entry.as_text().and_then(Histogram::parse).filter(|found| *found != Histogram::Duration) {
                None => {
                    let problem = format!("is {entry}; allowed are {allowed}");
                    self.fault(format!("extra[{position}]"), problem);
                }
                Some(found) if histograms.contains(&found) => {
                    self.fault(format!("extra[{position}]"), format!("is {entry} again; write it once"));
                }
                Some(found) => histograms.push(found),
            }
        }
        histograms
    }

    fn duration_codes(&mut self, value: &Json) -> bool {
        let Json::Bool(flag) = value else {
            self.fault("duration_codes", format!("is {value}; allowed are true and false"));
            return false;
        };
        *flag
    }

    fn resolution(&mut self, value: &Json) -> Resolution {
        match value.as_text() {
            Some("classic") => Resolution::Classic,
            Some("native") => Resolution::Native,
            _ => {
                let problem = format!("is {value}; allowed are \"classic\" and \"native\"");
                self.fault("latency_resolution", problem);
                Resolution::Classic
            }
        }
    }
}

/// The same configuration, but no route waits for a name in a body that nobody reads.
fn without_bodies(mut config: Config) -> Config {
    for route in config.routes.iter_mut().filter(|route| route.model == Source::Body) {
        route.model = Source::Path;
    }
    config
}

/// One set for all routes: buckets with different `le` cannot be added.
fn default_time_bounds(routes: &[Route]) -> &'static [u64] {
    if routes.iter().all(|route| route.is_llm) { &LLM_TIME_BOUNDS } else { &DEFAULT_TIME_BOUNDS }
}

fn all_presets() -> Vec<Route> {
    PRESETS.iter().flat_map(Route::of_preset).collect()
}
