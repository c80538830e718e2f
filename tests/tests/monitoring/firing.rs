//! The proof in one run: real Envoys, a real Prometheus with the shipped rules at shortened windows, a real
//! Alertmanager with the shipped routes. Faults are switched on; each alert of the calls goes pending, fires, reaches
//! the webhook of whom it concerns, and is resolved when its fault is over. On the way, every panel of every dashboard
//! has data.
//!
//! A fault is a model's name: alerts are by tenant and model, so all faults run side by side and none disturbs another.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use scoretap_tests::apps::{Break, Broken};
use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::monitoring::{self, Alertmanager, Notification, Prometheus, Receiver, Target};
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::wait::wait_until;
use scoretap_tests::{ports, rendered};
use serde_json::{Value, json};

use crate::{dashboards, kubernetes, rules};

/// The behaviour of the callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Most faults are there; the quiet one still calls and the creeping one is still quick.
    Faults,
    /// These two as well.
    Late,
    /// All is well again.
    Well,
    Over,
}

/// The phase, for all callers to see.
struct Stage(AtomicU8);

impl Stage {
    fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    fn has_reached(&self, phase: Phase) -> bool {
        self.0.load(Ordering::Relaxed) >= phase as u8
    }
}

/// An alert, the model that raises it, and whom it is sent to.
struct Expected {
    alert: &'static str,
    model: &'static str,
    receiver: &'static str,
}

const fn expect(alert: &'static str, model: &'static str, receiver: &'static str) -> Expected {
    Expected { alert, model, receiver }
}

const EARLY: [Expected; 8] = [
    expect("ScoretapHighErrorRatio", "errors", "tenant-a-warning"),
    expect("ScoretapErrorBudgetFastBurn", "errors", "tenant-a-critical"),
    expect("ScoretapErrorBudgetSlowBurn", "leaky", "tenant-a-warning"),
    expect("ScoretapHighLatency", "slow", "tenant-a-warning"),
    expect("ScoretapTimeouts", "hang", "tenant-b-warning"),
    expect("ScoretapUpstreamUnavailable", "reset", "tenant-b-warning"),
    expect("ScoretapCallersGiveUp", "hang-mid-body", "tenant-b-warning"),
    expect("ScoretapCanaryWorse", WORSE, "tenant-a-warning"),
];

/// Two models whose second version is rolled out. Of one it fails more calls than the first version, of the other as many.
const WORSE: &str = "worse-version";
const EQUAL: &str = "equal-version";
/// How many calls its callers leave out before the first call to a second version: 10 s, in which the first has 100 calls.
const ROLLED_OUT: usize = 200;

/// These need something to compare with; and the capacity is a pod's, whichever model uses it up.
const LATE: [Expected; 3] = [
    expect("ScoretapNoCalls", "quiet", "tenant-a-warning"),
    expect("ScoretapLatencyCreeping", "creeping", "tenant-a-warning"),
    expect("ScoretapNearCapacity", "hang", "tenant-b-warning"),
];

/// Alerts of the calls that are not for sending are not waited for.
const NOT_SENT: [&str; 1] = ["ScoretapHighLatencyP99"];

/// A week, shortened, and the hour before: what latency creeping compares with.
const PAST: Duration = Duration::from_secs(46);
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn alerts_fire_resolve_and_panels_have_data() {
    let folders = Folders::create("monitoring").unwrap();
    let app = Stack::builder("monitoring-app").exporter_env("DEPLOYMENT_NAME", "app");
    let app = app.filter_config(r#"{"extra": ["backend_duration", "request_bytes", "response_bytes"]}"#);
    let app = app.start().unwrap();
    let broken = broken_stack();
    let receiver = Receiver::start().unwrap();
    let alertmanager = alertmanager(&folders, &receiver);
    let targets = [
        target(&app, ("tenant-a", "app-1")),
        target(&broken, ("tenant-b", "broken-1")),
        Target { address: kubernetes::serve(), job: "kube-state-metrics", pod: None },
    ];
    let port = ports::free();
    let prometheus = Prometheus::start(&folders, port, &targets, Some(alertmanager.address)).unwrap();
    let newest_folders = Folders::create("monitoring-newest").unwrap();
    let newest = Prometheus::start_newest(&newest_folders, ports::free(), &targets).unwrap();

    let stage = Stage(AtomicU8::new(Phase::Faults as u8));
    let start = Instant::now();
    std::thread::scope(|scope| {
        // A panic here must not leave the callers calling.
        let _over = OnDrop(|| stage.enter(Phase::Over));
        calls_to_the_app(scope, &stage, Endpoint::Tcp(app.address));
        calls_to_the_broken(scope, &stage, Endpoint::Tcp(broken.address));
        for expected in &EARLY {
            wait_for(&receiver, &prometheus, expected, "firing");
        }
        wait_until("there is a past", PAST, || start.elapsed() >= PAST);
        stage.enter(Phase::Late);
        for expected in &LATE {
            wait_for(&receiver, &prometheus, expected, "firing");
        }
        for prometheus in newest.iter().chain([&prometheus]) {
            dashboards::check_queries(prometheus, &dashboards::all());
            rules::check_recorded(prometheus);
            assert_eq!(prometheus.failed_rules().unwrap(), [""; 0]);
        }
        stage.enter(Phase::Well);
        for expected in EARLY.iter().chain(&LATE) {
            wait_for(&receiver, &prometheus, expected, "resolved");
        }
    });
    check_states(&prometheus);
    let sent = receiver.received();
    check_canaries(&prometheus, &sent);
    for alert in NOT_SENT {
        let fired = format!(
            r#"last_over_time(ALERTS{{alertname="{alert}",alertstate="firing",severity="info"}}[10m])"#
        );
        assert!(!prometheus.query(&fired).unwrap().is_empty(), "{alert} never fired");
        assert!(sent.iter().all(|sent| sent.alert["labels"]["alertname"] != alert), "{alert} was sent");
    }
}

#[test]
fn no_alert_of_the_calls_is_left_out() {
    let expected: Vec<_> = EARLY.iter().chain(&LATE).map(|expected| expected.alert).chain(NOT_SENT).collect();
    for (name, _) in rules::alerts(&["slo.yaml", "calls.yaml", "canary.yaml", "optional.yaml"]) {
        assert!(expected.contains(&name.as_str()), "{name} has no fault in firing.rs");
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn broken_stack() -> Stack {
    let broken = Broken::start().unwrap();
    let builder = Stack::builder("monitoring-broken").upstream(Upstream::Http1(broken.address));
    builder.edit_listener(|listener| listener.route()["timeout"] = "1s".into()).start().unwrap()
}

fn alertmanager(folders: &Folders, receiver: &Receiver) -> Alertmanager {
    let shipped = rendered::file("plain", "scoretap-alertmanager", "alertmanager.yml").unwrap();
    let config = monitoring::alertmanager_config(&shipped, receiver.address).unwrap();
    Alertmanager::start(folders, &config).unwrap()
}

fn target(stack: &Stack, pod: (&'static str, &'static str)) -> Target {
    let Endpoint::Tcp(address) = stack.exporter else { panic!("the exporter listens on TCP") };
    Target { address, job: "monitoring/scoretap", pod: Some(pod) }
}

/// Calls until all is over; `call` says what to do in this phase, by the number of the call.
fn caller<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stage: &'scope Stage,
    endpoint: Endpoint,
    pause: u64,
    call: impl Fn(usize) -> Option<Call> + Send + 'scope,
) {
    scope.spawn(move || {
        for number in 0.. {
            if stage.has_reached(Phase::Over) {
                return;
            }
            if let Some(call) = call(number) {
                // How a call ends is for Prometheus to say.
                let _ = http::call(&endpoint, Protocol::Http1, call);
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
    });
}

fn calls_to_the_app<'scope>(scope: &'scope Scope<'scope, '_>, stage: &'scope Stage, app: Endpoint) {
    let post = |model: &str, more: &str| {
        Call::post(&format!("/v1/models/{model}:predict"), format!(r#"{{"data": []{more}}}"#))
    };
    let ill = move || !stage.has_reached(Phase::Well);
    let failing = |fails: bool| if fails { r#", "status": 500"# } else { "" };
    caller(scope, stage, app.clone(), 100, move |n| Some(post("errors", failing(ill() && n % 2 == 0))));
    // One in fifty: four times what the objective of 99.5% allows.
    caller(scope, stage, app.clone(), 15, move |n| Some(post("leaky", failing(ill() && n % 50 == 0))));
    for _ in 0..2 {
        let slow = |ms: u32| format!(r#", "sleep_ms": {ms}"#);
        caller(scope, stage, app.clone(), 100, move |_| {
            Some(post("slow", &slow(if ill() { 2300 } else { 0 })))
        });
    }
    for (model, version, bad) in [(WORSE, 1, 0), (WORSE, 2, 4), (EQUAL, 1, 10), (EQUAL, 2, 10)] {
        // So often that even a busy machine answers more than 100 in the shortened hour.
        caller(scope, stage, app.clone(), 50, move |n| {
            let fails = ill() && bad > 0 && n % bad == 0;
            let body = format!(r#"{{"data": []{}}}"#, failing(fails));
            let path = format!("/v2/models/{model}/versions/{version}/infer");
            (version == 1 || n >= ROLLED_OUT).then(|| Call::post(&path, body))
        });
    }
    let late = move || stage.has_reached(Phase::Late) && ill();
    caller(scope, stage, app.clone(), 100, move |_| (!late()).then(|| post("quiet", "")));
    caller(scope, stage, app, 100, move |_| {
        Some(post("creeping", if late() { r#", "sleep_ms": 400"# } else { "" }))
    });
}

fn calls_to_the_broken<'scope>(scope: &'scope Scope<'scope, '_>, stage: &'scope Stage, broken: Endpoint) {
    let ill = move || !stage.has_reached(Phase::Well);
    let or_ok = move |way: Break| if ill() { way.path() } else { Break::Ok.path() };
    // Each hangs for a second until its timeout: nine calls in progress at once, where a pod is made for eight.
    for _ in 0..9 {
        caller(scope, stage, broken.clone(), 5, move |_| {
            ill().then(|| Call::post(&Break::Hang.path(), "{}"))
        });
    }
    caller(scope, stage, broken.clone(), 100, move |_| Some(Call::post(&or_ok(Break::Reset), "{}")));
    caller(scope, stage, broken, 100, move |_| {
        let call = Call::post(&or_ok(Break::HangMidBody), "{}");
        Some(if ill() { call.abort_after(Duration::from_millis(100)) } else { call })
    });
}

fn matches(notification: &Notification, expected: &Expected, status: &str) -> bool {
    let alert = &notification.alert;
    notification.receiver == expected.receiver
        && alert["status"] == status
        && alert["labels"]["alertname"] == expected.alert
        && alert["labels"]["model_name"] == expected.model
}

#[track_caller]
fn wait_for(receiver: &Receiver, prometheus: &Prometheus, expected: &Expected, status: &str) {
    let Expected { alert, model, receiver: who } = expected;
    let sent = || receiver.received().iter().any(|sent| matches(sent, expected, status));
    let what = format!("{who} hears that {alert} is {status} for {model}");
    let deadline = Instant::now() + PATIENCE;
    while !sent() {
        assert!(Instant::now() < deadline, "{what}: it did not. In Prometheus now:\n{}", raised(prometheus));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn raised(prometheus: &Prometheus) -> String {
    let alerts = prometheus.query("ALERTS").unwrap_or_default();
    let line = |alert: &Value| {
        let [name, model, state] = ["alertname", "model_name", "alertstate"].map(|key| &alert["metric"][key]);
        format!("{name} {model} {state}\n")
    };
    alerts.iter().map(line).collect()
}

/// The alert names the two versions. The rules compared the equal ones as well, and that raised nothing.
#[track_caller]
fn check_canaries(prometheus: &Prometheus, sent: &[Notification]) {
    let expected = json!({
        "alertname": "ScoretapCanaryWorse", "component": "inference", "severity": "warning",
        "namespace": "tenant-a", "tenant": "tenant-a", "model_name": WORSE, "aspect": "errors",
        "model_version": "2", "replaced_version": "1",
    });
    let labels = sent.iter().map(|sent| &sent.alert["labels"]);
    for labels in labels.filter(|labels| labels["alertname"] == "ScoretapCanaryWorse") {
        assert_eq!(*labels, expected);
    }
    let compared =
        format!(r#"namespace_model_version:canary_worse:z{{model_name="{EQUAL}",aspect="errors"}}"#);
    let raised = format!(r#"ALERTS{{alertname="ScoretapCanaryWorse",model_name!="{WORSE}"}}"#);
    for (series, exists) in [(compared, true), (raised, false)] {
        let found = prometheus.query(&format!("last_over_time({series}[10m])")).unwrap();
        assert_eq!(!found.is_empty(), exists, "{series}: {found:?}");
    }
}

/// Every alert was pending before it fired; all have a `for`.
#[track_caller]
fn check_states(prometheus: &Prometheus) {
    for Expected { alert, model, .. } in EARLY.iter().chain(&LATE) {
        for state in ["pending", "firing"] {
            let expr = format!(
                r#"last_over_time(ALERTS{{alertname="{alert}",model_name="{model}",alertstate="{state}"}}[10m])"#
            );
            assert!(!prometheus.query(&expr).unwrap().is_empty(), "{alert} was never {state}");
        }
    }
}
