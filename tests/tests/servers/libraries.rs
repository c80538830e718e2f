//! Dialects against the libraries that they are named after: the library in the app and the sidecar count the same calls,
//! and their expositions differ only as `docs/dialects.md` says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::exposition::{Exposition, Labels};
use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{tools, workspace};
use serde_json::json;

/// Crashes, the time that each takes, and the length of Starlette's `Internal Server Error`.
const CRASHES: u32 = 3;
const CRASH_SECONDS: f64 = 0.51;
const CRASH_BYTES: u32 = 21;
/// The successes of a route that is no prediction.
const SHOWN: u32 = 3;
/// The buckets of the client library, and those of the instrumentator's histogram with many buckets.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const MANY_BOUNDS: [f64; 21] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0,
    30.0, 60.0,
];

const INSTRUMENTATOR: &str = "prometheus-fastapi-instrumentator";
const STARLETTE: &str = "starlette_exporter";
const FLASK: &str = "prometheus_flask_exporter";
const MLFLOW: &str = "mlflow_expose_prometheus";
const OBSERVABILITY: &str = "fastapi-observability";
const FASTAPI: &str = "fastapi";
const API: &str = "api";
const TUTORIAL: &str = "tutorial";
const ALL: &[&str] = &[INSTRUMENTATOR, STARLETTE, FLASK, MLFLOW, OBSERVABILITY, FASTAPI, API, TUTORIAL];
/// prometheus_client has no created timestamps in its mode for several processes.
const WITHOUT_MLFLOW: &[&str] = &[INSTRUMENTATOR, STARLETTE, FLASK, OBSERVABILITY, FASTAPI, API, TUTORIAL];

/// A change that makes the library's samples equal to the sidecar's.
#[derive(Debug, PartialEq)]
enum Effect {
    /// Calls without a route are not counted.
    Unrouted,
    /// The sums of durations are larger.
    Longer,
    /// No names with this suffix.
    NoSamples(&'static str),
    NoLabel(&'static str),
    /// A label with another value for one of the library's.
    Renamed(&'static str, &'static str, &'static str),
    /// These samples are larger by so much.
    More(&'static str, u32),
    /// A histogram that the library leaves out when the app raises.
    Crashes(&'static str),
    /// A gauge of requests in progress without labels, as the library's for POST.
    Unlabelled,
}

use Effect::{Crashes, Longer, More, NoLabel, NoSamples, Renamed, Unlabelled, Unrouted};

const LEFT_OUT: &str = "`app_name` and `mlflow_version` are left out";

/// The rows of the table in `docs/dialects.md`, with the dialects in which they show. Rows of one text are one row there.
const DIFFERENCES: [(&str, &[&str], &[Effect]); 13] = [
    (
        "Calls without a route are not counted, such as those of a path that the router does not know (404), of \
         another method (405), or of the library's own `/metrics`",
        &[INSTRUMENTATOR, STARLETTE, FLASK, MLFLOW, OBSERVABILITY, FASTAPI, API],
        &[Unrouted],
    ),
    ("Durations include the network between Envoy and the app", ALL, &[Longer]),
    ("`…_created` samples are in OpenMetrics only", WITHOUT_MLFLOW, &[NoSamples("_created")]),
    ("Requests in progress have no labels", &[STARLETTE, OBSERVABILITY], &[Unlabelled]),
    (LEFT_OUT, &[STARLETTE, OBSERVABILITY], &[NoLabel("app_name")]),
    (LEFT_OUT, &[MLFLOW], &[NoLabel("mlflow_version")]),
    ("`path` is the route's template", &[FLASK], &[Renamed("path", "/models/iris", "/models/{model}")]),
    (
        "A template has `{model}` where Flask writes `<model>`",
        &[API],
        &[Renamed("endpoint", "/models/<model>", "/models/{model}")],
    ),
    (
        "`http_response_size_bytes` counts the body of an unhandled exception",
        &[INSTRUMENTATOR],
        &[More("http_response_size_bytes_sum", CRASHES * CRASH_BYTES)],
    ),
    (
        "`fastapi_requests_duration_seconds` counts unhandled exceptions",
        &[OBSERVABILITY],
        &[Crashes("fastapi_requests_duration_seconds")],
    ),
    (
        "Counts of exceptions (`flask_http_request_exceptions_total`, `mlflow_http_request_exceptions_total`, \
         `fastapi_exceptions_total`) do not exist",
        &[FLASK, MLFLOW, OBSERVABILITY],
        &[NoSamples("_exceptions_total")],
    ),
    (
        "`flask_exporter_info` and `mlflow_exporter_info` do not exist",
        &[FLASK, MLFLOW],
        &[NoSamples("_exporter_info")],
    ),
    (
        "`api_prediction_total` counts the successes of all routes",
        &[API],
        &[More("api_prediction_total", SHOWN)],
    ),
];

/// Samples by name and labels. The type of a family is a sample with the label `# TYPE`.
#[derive(Clone, Debug)]
struct Samples(BTreeMap<(String, Labels), f64>);

impl Samples {
    /// Families with one of these prefixes are not about calls.
    fn parse(text: &str, others: &[&str]) -> Self {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let types = types.map(|(name, kind)| {
            ((name.to_owned(), Labels::from([("# TYPE".to_owned(), kind.to_owned())])), 1.0)
        });
        let exposition = Exposition::parse(text).unwrap();
        let samples = exposition.iter().map(|(name, labels, value)| {
            let mut labels = labels.clone();
            labels.entry("le".to_owned()).and_modify(|bound| *bound = as_bound(bound).to_string());
            ((name.to_owned(), labels), value)
        });
        let is_about_calls = |name: &str| !others.iter().any(|prefix| name.starts_with(prefix));
        Self(types.chain(samples).filter(|((name, _), _)| is_about_calls(name)).collect())
    }

    /// A series at 0 is the same as none.
    fn without_empty(self) -> Self {
        let count = |name: &str, labels: &Labels| {
            let base = name.rsplit_once('_').filter(|(_, end)| ["bucket", "sum", "count"].contains(end))?.0;
            let mut labels = labels.clone();
            labels.remove("le");
            self.0.get(&(format!("{base}_count"), labels)).copied()
        };
        let is_used = |name: &str, labels: &Labels, value| count(name, labels).unwrap_or(value) != 0.0;
        let used = self.0.iter().filter(|((name, labels), value)| is_used(name, labels, **value));
        Self(used.map(|(key, value)| (key.clone(), *value)).collect())
    }

    /// Changes names and labels. Samples that become equal are added.
    fn map(&mut self, change: impl Fn(&str, Labels) -> Option<Labels>) {
        for ((name, labels), value) in std::mem::take(&mut self.0) {
            if let Some(labels) = change(&name, labels) {
                *self.0.entry((name, labels)).or_default() += value;
            }
        }
    }

    fn apply(&mut self, effect: &Effect) {
        match *effect {
            Longer => {}
            Unrouted => {
                self.map(|_, labels| labels.values().all(|value| value != "/metrics").then_some(labels));
            }
            NoSamples(suffix) => self.map(|name, labels| (!name.ends_with(suffix)).then_some(labels)),
            NoLabel(label) => self.map(|_, mut labels| {
                labels.remove(label);
                Some(labels)
            }),
            Renamed(label, from, to) => self.map(|_, mut labels| {
                labels.entry(label.to_owned()).and_modify(|value| *value = value.replace(from, to));
                Some(labels)
            }),
            More(wanted, by) => {
                let some = self.0.iter_mut().filter(|((name, labels), _)| {
                    name == wanted && labels.values().all(|value| value == "/predict")
                });
                some.for_each(|(_, value)| *value += f64::from(by));
            }
            Crashes(family) => self.add_crashes(family),
            Unlabelled => self.map(|name, labels| match labels.get("method").map(String::as_str) {
                None => Some(labels),
                _ if !is_in_progress(name) => Some(labels),
                Some("POST") => Some(Labels::new()),
                Some(_) => None,
            }),
        }
    }

    fn add_crashes(&mut self, family: &str) {
        for ((name, labels), value) in &mut self.0 {
            let bound = labels.get("le").map_or(f64::INFINITY, |bound| as_bound(bound));
            if labels.get("path").is_some_and(|path| path == "/predict") && bound > CRASH_SECONDS {
                *value += match name.strip_prefix(family) {
                    Some("_count" | "_bucket") => f64::from(CRASHES),
                    Some("_sum") => f64::from(CRASHES) * CRASH_SECONDS,
                    _ => 0.0,
                };
            }
        }
    }
}

fn as_bound(text: &str) -> f64 {
    text.parse().unwrap()
}

fn is_in_progress(name: &str) -> bool {
    name.ends_with("_in_progress")
}

/// Both expositions after all calls, and the library's before the calls without a route.
struct Counted {
    routed: Samples,
    library: Samples,
    sidecar: Samples,
}

impl Counted {
    /// Samples that differ after these effects.
    fn differences(&self, effects: &[&Effect]) -> Vec<String> {
        let mut library = if effects.contains(&&Unrouted) { &self.routed } else { &self.library }.clone();
        effects.iter().for_each(|effect| library.apply(effect));
        let (library, sidecar) = (library.without_empty(), self.sidecar.clone().without_empty());
        let keys: BTreeSet<_> = library.0.keys().chain(sidecar.0.keys()).collect();
        let values = |key: &(String, Labels)| [&library, &sidecar].map(|samples| samples.0.get(key).copied());
        let is_time = |name: &str| name.ends_with("_seconds_sum") && effects.contains(&&Longer);
        let differ = |key: &&&(String, Labels)| match values(key) {
            // The calls are few, and a machine can be busy.
            [Some(one), Some(other)] if is_time(&key.0) => !(one..one + 2.0).contains(&other),
            [one, other] => one != other,
        };
        keys.iter().filter(differ).map(|key| format!("{key:?}: {:?}", values(key))).collect()
    }
}

fn predict(status: u16, seconds: f64) -> Call {
    Call::post("/predict", json!({"status": status, "seconds": seconds}).to_string())
}

/// Each delay is far below the next bound, because Envoy measures a little longer than the app.
fn routed() -> Vec<(Call, u16, u32)> {
    vec![
        (predict(200, 0.26), 200, 4),
        (predict(200, 0.51), 200, 3),
        (predict(200, 1.01), 200, 2),
        (predict(422, 0.51), 422, 2),
        (predict(500, CRASH_SECONDS), 500, CRASHES),
        (Call::get("/models/iris"), 200, SHOWN),
        (Call { method: "DELETE".to_owned(), ..Call::get("/cache") }, 403, 2),
    ]
}

#[track_caller]
fn make(stack: &Stack, calls: &[(Call, u16, u32)]) {
    let repeated = calls.iter().flat_map(|(call, status, times)| (0..*times).map(move |_| (call, *status)));
    let (calls, expected): (Vec<Call>, Vec<u16>) =
        repeated.map(|(call, status)| (call.clone(), status)).unzip();
    let answers = stack.load(Protocol::Http1, 4).run(calls);
    assert_eq!(answers.into_iter().map(|answer| answer.unwrap().status).collect::<Vec<_>>(), expected);
    stack.settle();
}

fn start(library: &str, file: &str, folders: &Folders) -> (Child, SocketAddr) {
    let address = local(ports::free());
    let mut command = Command::new(tools::libraries_python().unwrap());
    command.arg(workspace::python_file("libraries").join(file)).args([library, &address.port().to_string()]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    if library == MLFLOW {
        command.env("PROMETHEUS_MULTIPROC_DIR", &folders.run);
    }
    let mut app = Child::spawn(library, &command, &folders.logs.join("app.log")).unwrap();
    app.wait_ready(STARTUP, || TcpStream::connect(address).is_ok()).unwrap();
    (app, address)
}

fn stack(library: &str, app: SocketAddr) -> Stack {
    let mut routes = vec![json!({"name": "predict", "method": "POST", "path": "/predict"})];
    if library != TUTORIAL {
        routes.push(json!({"name": "show", "method": "GET", "path": "/models/{model}"}));
        routes.push(json!({"name": "clear", "method": "DELETE", "path": "/cache"}));
    }
    let bounds = if library == INSTRUMENTATOR { &MANY_BOUNDS[..] } else { &BOUNDS };
    let config = json!({
        "routes": routes, "bounds_seconds": bounds, "duration_codes": true,
        "extra": ["request_bytes", "response_bytes"],
    });
    Stack::builder(&format!("library-{library}"))
        .upstream(Upstream::Http1(app))
        // uvicorn closes a connection after a crash of the app, maybe under Envoy's next call.
        .edit_cluster(|bootstrap| {
            let options = &mut bootstrap.cluster()["typed_extension_protocol_options"];
            let options = &mut options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
            options["common_http_protocol_options"]["max_requests_per_connection"] = 1.into();
        })
        .filter_config(&config.to_string())
        .exporter_args(&["--dialect", library])
        .exporter_env("MODEL_VERSION", "3")
        .start()
        .unwrap()
}

fn count(library: &str, file: &str) -> Counted {
    let folders = Folders::create(&format!("library-{library}-app")).unwrap();
    let (_app, address) = start(library, file, &folders);
    let stack = stack(library, address);
    let of_library =
        || Samples::parse(&http::get(&Endpoint::Tcp(address), "/metrics").unwrap(), &["python_", "process_"]);
    let of_sidecar = || Samples::parse(&stack.scrape("text/plain").1, &["scoretap_"]);
    make(&stack, &routed());
    let routed = of_library();
    make(&stack, &[(Call::get("/nothing"), 404, 2), (Call::get("/predict"), 405, 1)]);
    let mut counted = Counted { routed, library: of_library(), sidecar: of_sidecar() };
    let is_gauge = |name: &str, labels: &Labels| is_in_progress(name) && labels.is_empty();
    if let Some(gauge) = counted.sidecar.0.keys().find(|(name, labels)| is_gauge(name, labels)).cloned() {
        std::thread::scope(|scope| {
            scope.spawn(|| stack.call(predict(200, 1.0)).unwrap());
            wait_until("a call is in progress", STARTUP, || of_sidecar().0[&gauge] == 1.0);
            let during = of_library().0;
            let gauges = || during.clone().into_iter().filter(|((name, _), _)| is_in_progress(name));
            counted.routed.0.extend(gauges());
            counted.library.0.extend(gauges());
            counted.sidecar.0.insert(gauge, 1.0);
        });
    }
    counted
}

#[track_caller]
fn check(library: &str, file: &str) {
    let counted = count(library, file);
    let rows = DIFFERENCES.iter().filter(|(_, libraries, _)| libraries.contains(&library));
    let effects: Vec<&Effect> = rows.flat_map(|(_, _, effects)| *effects).collect();
    let unlisted = counted.differences(&effects);
    assert!(unlisted.is_empty(), "differences that no row lists:\n{}", unlisted.join("\n"));
    for effect in &effects {
        let others: Vec<&Effect> = effects.iter().copied().filter(|other| other != effect).collect();
        assert!(!counted.differences(&others).is_empty(), "{effect:?} makes no difference");
    }
}

#[test]
fn instrumentator_counts_as_the_sidecar() {
    check(INSTRUMENTATOR, "fastapi_app.py");
}

#[test]
fn starlette_exporter_counts_as_the_sidecar() {
    check(STARLETTE, "fastapi_app.py");
}

#[test]
fn flask_exporter_counts_as_the_sidecar() {
    check(FLASK, "flask_app.py");
}

#[test]
fn mlflow_metrics_count_as_the_sidecar() {
    check(MLFLOW, "flask_app.py");
}

#[test]
fn observability_stack_counts_as_the_sidecar() {
    check(OBSERVABILITY, "fastapi_app.py");
}

#[test]
fn fastapi_middleware_counts_as_the_sidecar() {
    check(FASTAPI, "fastapi_app.py");
}

#[test]
fn api_hooks_count_as_the_sidecar() {
    check(API, "flask_app.py");
}

#[test]
fn tutorial_metrics_count_as_the_sidecar() {
    check(TUTORIAL, "flask_app.py");
}

#[test]
fn documented_differences_are_the_tested_ones() {
    let page = std::fs::read_to_string(workspace::root().join("docs/dialects.md")).unwrap();
    let section = page.split("### Where they differ from the library\n").nth(1).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = table.skip(1).take_while(|line| line.starts_with('|'));
    let documented: Vec<String> = rows.map(|row| row.rsplit_once(" | ").unwrap().0.to_owned()).collect();
    let mut tested: Vec<(Vec<&str>, &str)> = Vec::new();
    for (text, libraries, _) in DIFFERENCES {
        match tested.iter_mut().find(|(_, known)| *known == text) {
            Some((known, _)) => known.extend(libraries),
            None => tested.push((libraries.to_vec(), text)),
        }
    }
    let tested = tested.iter().map(|(libraries, text)| format!("| {text} | {}", named(libraries)));
    assert_eq!(documented, tested.collect::<Vec<_>>());
}

fn named(libraries: &[&str]) -> String {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let others: Vec<&str> = ALL.iter().copied().filter(|name| !libraries.contains(name)).collect();
    match others[..] {
        [] => "all".to_owned(),
        [_] => format!("all but {}", quoted(&others)),
        _ => quoted(libraries),
    }
}
