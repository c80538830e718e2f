//! Checks flags and environment. A [`Config`] is valid; all faults are reported at once.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use scoretap_web::listen::Listen;

use crate::cli::args::Args;
use crate::cli::{baseline, labels};
use crate::envoy::admin::Endpoint;
use crate::envoy::query;
use crate::http::pages;
use crate::reading::identity::Identity;
use crate::render::RenderConfig;
use scoretap_dialect::{self as dialect, Dialect, Family};

/// Everything that is fixed when the process starts.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) listen: Vec<Listen>,
    /// Sockets come from systemd instead.
    pub(crate) systemd_socket: bool,
    /// Concurrent scrapes; `None` means no limit.
    pub(crate) max_requests: Option<NonZeroUsize>,
    pub(crate) telemetry_path: String,
    /// TLS, users, headers: read again when it changes.
    pub(crate) web_config: Option<PathBuf>,
    pub(crate) admin: Endpoint,
    /// The path and query of a read of Envoy.
    pub(crate) stats: String,
    pub(crate) render: RenderConfig,
    /// The reasons not to serve files of the environment; empty if the exporter serves them, or if it has none.
    pub(crate) file_faults: Vec<String>,
    pub(crate) expected_routes: Vec<String>,
}

/// The variables that name a tenant's dialect and baseline. A fault in these files never keeps the exporter from
/// starting, because a container that ends makes its pod unready.
const DIALECT_FILE: &str = "DIALECT_FILE";
const BASELINE_FILE: &str = "BASELINE_FILE";

impl Config {
    /// The configuration, or every fault in it: where, what was found, what is allowed.
    pub fn new(args: &Args, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<String>> {
        let mut faults = Faults::default();
        let listen = faults.take_all(Listen::parse_all(&args.listen_addresses)).unwrap_or_default();
        let telemetry_path = faults.take(telemetry_path(&args.telemetry_path));
        if let Some(Err(more)) = args.web_config.as_deref().map(scoretap_web::config::check) {
            faults.0.extend(more);
        }
        let admin =
            faults.take(Endpoint::parse(&args.admin).map_err(|fault| format!("--envoy.admin {fault}")));
        faults.take(regex("--envoy.stat-prefix", &args.stat_prefix));
        faults.take(regex("--envoy.app-cluster", &args.app_cluster));
        let dialects = faults.take_all(dialects(args)).unwrap_or_default();
        let mut families = faults.take_all(dialect::merge(&dialects)).unwrap_or_default();
        for route in &args.expected_routes {
            faults.take(route_name(route));
        }
        let mut variable = |name: &str| faults.take(text(name, environment(name))).flatten();
        let identity = Identity {
            model: variable("MODEL_NAME"),
            version: variable("MODEL_VERSION"),
            deployment: variable("DEPLOYMENT_NAME"),
            framework: variable("MODEL_FRAMEWORK"),
        };
        let tenant = variable("TENANT");
        let own = variable(DIALECT_FILE);
        let own_baseline = variable(BASELINE_FILE)
            .map(|path| baseline::read("environment BASELINE_FILE=", Path::new(&path), &identity));
        let baseline = args.baseline.as_deref().map(|path| baseline::read("--baseline ", path, &identity));
        let mut baseline = baseline.and_then(|read| faults.take_all(read)).unwrap_or_default();
        let constants = labels::constants(&args.labels, tenant.as_deref(), &families);
        let constants = faults.take_all(constants).unwrap_or_default();
        let with_own = own.as_deref().map(|path| with_own(dialects, path, &args.labels, tenant.as_deref()));
        let mut of_files = Faults::default();
        let dialect_valid = with_own.as_ref().map(Result::is_ok);
        families = with_own.and_then(|read| of_files.take_all(read)).unwrap_or(families);
        let baseline_valid = own_baseline.as_ref().map(Result::is_ok);
        baseline = own_baseline.and_then(|read| of_files.take_all(read)).unwrap_or(baseline);
        match (telemetry_path, admin, faults.0) {
            (Some(telemetry_path), Some(admin), faults) if faults.is_empty() => Ok(Self {
                listen,
                systemd_socket: args.systemd_socket,
                max_requests: NonZeroUsize::new(args.max_requests),
                telemetry_path,
                web_config: args.web_config.clone(),
                admin,
                stats: query::everything(&args.stat_prefix, &args.app_cluster),
                render: RenderConfig {
                    families,
                    baseline,
                    identity,
                    constants,
                    created_samples: args.created_samples,
                    dialect_valid,
                    baseline_valid,
                },
                file_faults: of_files.0,
                expected_routes: args.expected_routes.clone(),
            }),
            (_, _, faults) => Err(faults),
        }
    }
}

impl Config {
    /// The settings for rendering.
    pub const fn render(&self) -> &RenderConfig {
        &self.render
    }

    /// The reasons not to serve files of the environment.
    pub fn file_faults(&self) -> &[String] {
        &self.file_faults
    }

    /// The identity of this pod.
    pub const fn identity(&self) -> &Identity {
        &self.render.identity
    }

    /// The routes whose series exist before their first call.
    pub fn expected_routes(&self) -> &[String] {
        &self.expected_routes
    }
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn take<T>(&mut self, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }

    fn take_all<T>(&mut self, checked: Result<T, Vec<String>>) -> Option<T> {
        checked.map_err(|faults| self.0.extend(faults)).ok()
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let fault = if !text.starts_with('/') {
        "has no leading slash".to_owned()
    } else if pages::FIXED.contains(&text) {
        format!("is taken by another page ({})", pages::FIXED.join(", "))
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)) {
        "has characters other than letters, digits and \"/-._~\"".to_owned()
    } else {
        return Ok(text.to_owned());
    };
    Err(format!("--web.telemetry-path {text:?}: {fault}; write a path as \"/metrics\""))
}

/// Envoy uses RE2, whose syntax is almost the same. Envoy reports a pattern that only RE2 rejects.
fn regex(flag: &str, text: &str) -> Result<(), String> {
    match regex_lite::Regex::new(text) {
        _ if text.is_empty() => Err(format!(
            "{flag} \"\": an empty expression matches no name; leave the flag out for its default"
        )),
        Err(fault) => {
            Err(format!("{flag} {text:?}: {fault}; write an RE2 regular expression, as \"app|model\""))
        }
        Ok(_) => Ok(()),
    }
}

/// The dialect that is served if none is chosen.
const DEFAULT_DIALECT: &str = "prediction";

/// The selected dialects. Those from files come last.
fn dialects(args: &Args) -> Result<Vec<Dialect>, Vec<String>> {
    let mut faults = Faults::default();
    let files = args.dialect_files.iter();
    let files: Vec<Dialect> =
        files.filter_map(|path| faults.take_all(dialect_file("--dialect-file ", path))).collect();
    let is_default = args.dialects.is_empty();
    let default = [DEFAULT_DIALECT.to_owned()];
    let names = if is_default { &default[..] } else { &args.dialects };
    let mut dialects: Vec<Dialect> = Vec::new();
    for name in names {
        match Dialect::built_in(name) {
            Some(dialect) => dialects.extend(faults.take_all(dialect)),
            None => faults.0.push(format!(
                "--dialect {name:?}: there is none of that name; choose from {}",
                dialect::BUILT_IN.map(|(name, _)| name).join(", ")
            )),
        }
    }
    if is_default {
        dialects.iter_mut().for_each(|dialect| give_way(dialect, &files));
    }
    dialects.extend(files);
    if faults.0.is_empty() { Ok(dialects) } else { Err(faults.0) }
}

/// The exporter's container has memory for the expositions of so many families.
const MOST_OWN_FAMILIES: usize = 200;

/// The families with those of a tenant's dialect, which replace others of their names.
fn with_own(
    mut dialects: Vec<Dialect>,
    path: &str,
    labels: &[String],
    tenant: Option<&str>,
) -> Result<Vec<Family>, Vec<String>> {
    const ORIGIN: &str = "environment DIALECT_FILE=";
    let own = dialect_file(ORIGIN, Path::new(path))?;
    if own.families.len() > MOST_OWN_FAMILIES {
        let found = own.families.len();
        return Err(vec![format!("{ORIGIN}{path}: has {found} families; write at most {MOST_OWN_FAMILIES}")]);
    }
    dialects.iter_mut().for_each(|dialect| give_way(dialect, std::slice::from_ref(&own)));
    dialects.push(own);
    let families = dialect::merge(&dialects)?;
    labels::constants(labels, tenant, &families)?;
    Ok(families)
}

/// Removes the families that a file defines in another way.
fn give_way(dialect: &mut Dialect, files: &[Dialect]) {
    let (name, about) = (dialect.name.clone(), dialect.about.clone());
    dialect.families.retain(|family| {
        let one = Dialect { name: name.clone(), about: about.clone(), families: vec![family.clone()] };
        files.iter().all(|file| dialect::merge(&[one.clone(), file.clone()]).is_ok())
    });
}

/// `origin` begins each fault.
fn dialect_file(origin: &str, path: &Path) -> Result<Dialect, Vec<String>> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|cause| {
        vec![format!("{origin}{file}: cannot be read: {cause}; give the path of a YAML file")]
    })?;
    Dialect::parse(&format!("{origin}{file}"), &text)
}

fn route_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(
            "--expect-route \"\": is empty; give the name of a route or a preset, as \"score\"".to_owned()
        );
    }
    Ok(())
}

/// An empty variable counts as unset, because templates leave empty ones behind.
fn text(name: &str, value: Option<OsString>) -> Result<Option<String>, String> {
    match value.map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(raw)) => {
            Err(format!("environment {name}={raw:?}: is not UTF-8, as labels must be; set it to text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::Parser;

    use super::*;

    fn config(flags: &[&str], environment: &[(&str, &[u8])]) -> Result<Config, Vec<String>> {
        let args = Args::try_parse_from([&["scoretap-exporter"], flags].concat()).unwrap();
        Config::new(&args, |name| {
            let (_, value) = environment.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from_vec(value.to_vec()))
        })
    }

    #[track_caller]
    fn check_fault(flags: &[&str], expected: &str) {
        let faults = config(flags, &[]).expect_err("must be refused");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(flags[0]), "{faults:?} does not say where");
        assert!(faults[0].contains(expected), "{faults:?}");
    }

    #[test]
    fn missing_flags_have_defaults() {
        let config = config(&[], &[]).unwrap();
        assert_eq!(config.listen, [Listen::All(15190)]);
        assert_eq!(config.telemetry_path, "/metrics");
        assert_eq!(config.admin, Endpoint::parse("unix:///run/scoretap/admin.sock").unwrap());
        assert_eq!(config.stats, query::everything("inbound.*", r"app|inbound\|.*"));
        assert_eq!(config.render.identity, Identity::default());
        assert_eq!(config.render.constants, []);
        assert_eq!(config.render.families, Dialect::built_in("prediction").unwrap().unwrap().families);
        assert_eq!(config.web_config, None);
        assert_eq!(config.expected_routes, ["score"]);
    }

    #[test]
    fn listen_addresses_are_parsed() {
        let two = ["--web.listen-address", ":80", "--web.listen-address=[::1]:81"];
        let listen = config(&two, &[]).unwrap().listen;
        assert_eq!(listen, [Listen::All(80), Listen::Ip("[::1]:81".parse().unwrap())]);
        for wrong in ["80", "1.2.3:80", ":", "0.0.0.0:65536", ""] {
            check_fault(&["--web.listen-address", wrong], "write HOST:PORT or :PORT");
        }
    }

    #[test]
    fn overlapping_addresses_are_rejected() {
        let flag = "--web.listen-address";
        check_fault(&[flag, ":80", flag, ":81", flag, ":80"], "\":80\": overlaps \":80\"");
        check_fault(&[flag, "127.0.0.1:80", flag, "0.0.0.0:80"], "overlaps \"127.0.0.1:80\"; remove one");
    }

    #[test]
    fn telemetry_path_must_be_valid_and_free() {
        check_fault(&["--web.telemetry-path", "metrics"], "no leading slash");
        check_fault(&["--web.telemetry-path", "/"], "taken");
        check_fault(&["--web.telemetry-path", "/-/ready"], "taken");
        check_fault(&["--web.telemetry-path", "/a b"], "characters");
    }

    #[test]
    fn invalid_pattern_is_rejected() {
        check_fault(&["--envoy.stat-prefix", "a)|(b"], "write an RE2 regular expression");
        check_fault(&["--envoy.app-cluster", "["], "write an RE2 regular expression");
        check_fault(&["--envoy.app-cluster", ""], "empty");
    }

    #[test]
    fn unknown_dialects_and_files_are_rejected() {
        check_fault(&["--dialect", "prediction,klingon"], "\"klingon\": there is none");
        check_fault(&["--expect-route", ""], "is empty");
        check_fault(&["--dialect-file", "/nonexistent.yaml"], "/nonexistent.yaml: cannot be read");
    }

    #[test]
    fn default_dialect_gives_way_to_files() {
        let text = "{dialect: mine, families: [{name: prediction_requests_total, help: A., measure: calls}]}";
        let file = Dialect::parse("mine.yaml", text).unwrap();
        let mut default = Dialect::built_in(DEFAULT_DIALECT).unwrap().unwrap();
        assert!(dialect::merge(&[default.clone(), file.clone()]).is_err());
        let before = default.families.len();
        give_way(&mut default, std::slice::from_ref(&file));
        assert_eq!(default.families.len(), before - 1);
        assert!(dialect::merge(&[default, file]).is_ok());
    }

    /// A dialect of the environment with these families.
    fn with_dialect(name: &str, families: &str) -> Config {
        let file = std::env::temp_dir().join(format!("scoretap-{}-{name}.yaml", std::process::id()));
        std::fs::write(&file, format!("{{dialect: mine, families: [{families}]}}")).unwrap();
        let path = file.display().to_string();
        let environment = [(DIALECT_FILE, path.as_bytes()), ("TENANT", b"acme")];
        let config = config(&["--dialect", "prediction,fastapi"], &environment).unwrap();
        std::fs::remove_file(&file).unwrap();
        config
    }

    #[test]
    fn dialect_of_the_environment_replaces_families() {
        let config = with_dialect("own", "{name: http_requests_total, help: A., measure: calls}");
        assert_eq!((config.file_faults.as_slice(), config.render.dialect_valid), (&[][..], Some(true)));
        let named = config.render.families.iter().filter(|family| family.name == "http_requests_total");
        assert_eq!(named.map(|family| family.labels.len()).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn invalid_dialect_of_the_environment_changes_nothing() {
        let families = |config: &Config| config.render.families.clone();
        let without = config(&["--dialect", "prediction,fastapi"], &[("TENANT", b"acme")]).unwrap();
        assert_eq!(without.render.dialect_valid, None);
        let tenant = "{name: a_total, help: A., measure: calls, labels: [{name: tenant, value: model}]}";
        let many: Vec<String> =
            (0..201).map(|number| format!("{{name: a{number}_total, help: A., measure: calls}}")).collect();
        for (name, written, fault) in [
            ("many", many.join(", ").as_str(), "has 201 families; write at most 200"),
            ("no-help", "{name: a_total, measure: calls}", "families[0]: has no help"),
            ("tenant", tenant, "a dialect has a label \"tenant\" of its own"),
        ] {
            let config = with_dialect(name, written);
            assert!(config.file_faults[0].contains(fault), "{:?}", config.file_faults);
            assert_eq!((families(&config), config.render.dialect_valid), (families(&without), Some(false)));
        }
        let absent = config(&[], &[(DIALECT_FILE, b"/nonexistent.yaml")]).unwrap();
        assert!(
            absent.file_faults[0].starts_with("environment DIALECT_FILE=/nonexistent.yaml: cannot be read")
        );
    }

    #[test]
    fn baseline_of_the_environment_replaces_the_flags() {
        let file = |name: &str, text: &str| {
            let file = format!("scoretap-{}-baseline-{name}.yaml", std::process::id());
            let file = std::env::temp_dir().join(file);
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let entry = |class| format!("{{models: [{{route: score, classes: {{{class}: 1}}}}]}}");
        let (flag, own, wrong) =
            (file("flag", &entry("flag")), file("own", &entry("own")), file("wrong", "{models: 1}"));
        for (own, served, valid, faults) in
            [("", "flag", None, 0), (&own, "own", Some(true), 0), (&wrong, "flag", Some(false), 1)]
        {
            let config = config(&["--baseline", &flag], &[(BASELINE_FILE, own.as_bytes())]).unwrap();
            let cells: Vec<_> = config.render.baseline.counts.iter().map(|one| one.cell.as_str()).collect();
            assert_eq!((&cells[..], config.render.baseline_valid), (&[served][..], valid), "{own}");
            assert_eq!(config.file_faults.len(), faults, "{:?}", config.file_faults);
        }
        for file in [flag, own, wrong] {
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn environment_gives_identity_and_tenant() {
        let environment: [(&str, &[u8]); 4] = [
            ("MODEL_NAME", b"iris"),
            ("MODEL_VERSION", b""),
            ("DEPLOYMENT_NAME", b"iris-blue"),
            ("TENANT", b"acme"),
        ];
        let config = config(&["--label", "env=prod"], &environment).unwrap();
        assert_eq!(config.identity().own(), ("iris", "unknown"));
        assert_eq!(config.identity().deployment(), "iris-blue");
        assert_eq!(config.identity().framework(), "unknown");
        let labels = [("tenant", "acme"), ("env", "prod")];
        assert_eq!(config.render.constants, labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn variable_that_is_not_utf8_is_rejected() {
        let faults = config(&[], &[("MODEL_NAME", b"\xff")]).expect_err("must be refused");
        assert!(faults[0].contains("environment MODEL_NAME=") && faults[0].contains("UTF-8"), "{faults:?}");
    }

    #[test]
    fn all_faults_of_flags_are_reported() {
        let flags =
            ["--web.listen-address", "x", "--envoy.admin", "x", "--label", "x", "--envoy.stat-prefix", "("];
        assert_eq!(config(&flags, &[]).expect_err("must be refused").len(), 4);
    }
}
