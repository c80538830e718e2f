//! `scoretap-sidecar` with a real Envoy: the bootstrap that it writes, and how a pod terminates.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use scoretap_injector::sidecar::TEMPLATE;
use scoretap_tests::apps::{self, Scorer};
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Call, Endpoint, Load, Protocol};
use scoretap_tests::stack::{Folders, set_insight_percent};
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::wait::{STARTUP, wait_for, wait_until};
use scoretap_tests::{ports, workspace};
use serde_json::{Value, json};

/// The Envoy of a pod, set up by `scoretap-sidecar setup`.
struct Pod {
    folder: PathBuf,
    address: SocketAddr,
    envoy: Child,
    folders: Folders,
}

impl Pod {
    fn start(name: &str, app: SocketAddr, config: &str) -> Self {
        Self::start_with(name, app, config, false)
    }

    fn start_with(name: &str, app: SocketAddr, config: &str, insight: bool) -> Self {
        let folders = Folders::create(name).unwrap();
        let folder = folders.run.clone();
        let said = set_up(&folder, &app.port().to_string(), config, insight);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        // On one machine, each test needs a port of its own.
        let address = apps::local(ports::free());
        let file = folder.join("envoy.json");
        let mut bootstrap: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        *bootstrap.pointer_mut(LISTENER_PORT).unwrap() = address.port().into();
        fs::write(&file, bootstrap.to_string()).unwrap();
        let envoy = envoy(&folders);
        Self { folder, address, envoy, folders }
    }

    /// The sum of the counters whose names contain this.
    fn counted(&self, part: &str) -> u64 {
        let stats = self.stats();
        let lines = stats.lines().filter(|line| line.contains(part));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn stats(&self) -> String {
        http::get(&Endpoint::Unix(self.folder.join("admin.sock")), "/stats?filter=wasmcustom").unwrap()
    }
}

const LISTENER_PORT: &str = "/static_resources/listeners/0/address/socket_address/port_value";

fn set_up(folder: &Path, port: &str, config: &str, insight: bool) -> Output {
    let mut command = Command::new(workspace::sidecar());
    command.arg("setup").env("SCORETAP_FOLDER", folder).env("SCORETAP_MODULE", workspace::module());
    command.env("SCORETAP_APP_PORT", port).env("SCORETAP_CONFIG", config);
    command.env("SCORETAP_INSIGHT", insight.to_string()).output().unwrap()
}

/// With the arguments of the definition.
fn envoy(folders: &Folders) -> Child {
    let args = TEMPLATE.init_containers[1]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap().replace("/run/scoretap", &folders.run.display().to_string()));
    let mut command = Command::new(tools::envoy(EnvoyVersion::Newest).unwrap());
    command.args(args);
    let mut envoy = Child::spawn("Envoy", &command, &folders.logs.join("envoy.log")).unwrap();
    let admin = Endpoint::Unix(folders.run.join("admin.sock"));
    envoy.wait_ready(STARTUP, || http::get(&admin, "/ready").is_ok()).unwrap();
    envoy
}

fn score() -> Call {
    Call::post("/score", r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#)
}

#[test]
fn written_bootstrap_counts_calls_with_the_pods_configuration() {
    let folders = Folders::create("sidecar-setup-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let config = json!({"routes": [{"name": "it's \"mine\"".replace(['\'', '"', ' '], "_"), "method": "POST", "path": "/score"}]});
    let pod = Pod::start("sidecar-setup", scorer.address, &config.to_string());
    let answer = http::call(&Endpoint::Tcp(pod.address), Protocol::Http1, score()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait_until("the call is counted", STARTUP, || pod.stats().contains("it_s__mine_"));
}

/// The kubelet's part is played here: it writes the annotation again when it changes.
#[test]
fn changed_annotation_switches_insight_off() {
    let folders = Folders::create("sidecar-switch-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let pod = Pod::start_with("sidecar-switch", scorer.address, "", true);
    let mut calls = 0;
    for (percent, is_read) in [("", true), ("0", false), ("100", true), ("0", false)] {
        set_insight_percent(&pod.folder.join("pod/..data"), percent).unwrap();
        wait_until("Envoy follows the annotation", STARTUP, || {
            let read = pod.counted("insight_seen");
            let answer = http::call(&Endpoint::Tcp(pod.address), Protocol::Http1, score()).unwrap();
            assert_eq!(answer.status, 200);
            calls += 1;
            wait_until("the call is counted", STARTUP, || pod.counted("200.success") == calls);
            (pod.counted("insight_seen") > read) == is_read
        });
    }
}

/// An app that listens at this one address.
fn listen(address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let bound = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        }
    });
    bound
}

#[test]
fn pod_answers_at_every_address() {
    let global = |line: &str| line.split_whitespace().nth(3) == Some("00");
    let has_ipv6 = fs::read_to_string("/proc/net/if_inet6").is_ok_and(|table| table.lines().any(global));
    let families = if has_ipv6 { "127.0.0.1 ::1" } else { "127.0.0.1" };
    let addresses: Vec<IpAddr> = families.split(' ').map(|address| address.parse().unwrap()).collect();
    println!("this machine has {families}");
    for (number, app) in addresses.iter().enumerate() {
        let pod = Pod::start(&format!("sidecar-address-{number}"), listen(*app), "");
        for address in &addresses {
            let endpoint = Endpoint::Tcp(SocketAddr::new(*address, pod.address.port()));
            let answer = http::call(&endpoint, Protocol::Http1, score()).unwrap();
            assert_eq!(answer.status, 200, "app at {app}, caller at {address}: {}", answer.text());
        }
        let counted = format!("200.success: {}", addresses.len());
        wait_until("the calls are counted", STARTUP, || pod.stats().contains(&counted));
    }
}

#[test]
fn wrong_configuration_lets_every_call_pass() {
    let folders = Folders::create("sidecar-wrong-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    for (name, config) in
        [("sidecar-wrong", "}'\n---\nadmin: {}"), ("sidecar-wrong-json", "{\"max_series\": -1}")]
    {
        let pod = Pod::start(name, scorer.address, config);
        let answer = http::call(&Endpoint::Tcp(pod.address), Protocol::Http1, score()).unwrap();
        assert_eq!(answer.status, 200, "{name}");
        assert!(pod.envoy.output().contains("scoretap configuration"), "{}", pod.envoy.diagnosis());
    }
}

#[test]
fn setup_reports_a_wrong_port_and_runs_again() {
    let folders = Folders::create("sidecar-errors").unwrap();
    let said = set_up(&folders.run, "http", "", false);
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("SCORETAP_APP_PORT is \"http\""), "{said}");
    for _ in 0..2 {
        assert!(set_up(&folders.run, "8080", "", true).status.success());
    }
}

fn drain(folder: &Path) -> Child {
    // The copy that setup made: what Envoy's container has.
    let mut command = Command::new(folder.join("scoretap-sidecar"));
    command.arg("drain").env("SCORETAP_FOLDER", folder);
    Child::spawn("drain", &command, &folder.join("drain.log")).unwrap()
}

#[test]
fn terminating_pod_sends_callers_away_without_failures() {
    let folders = Folders::create("sidecar-drain-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let mut pod = Pod::start("sidecar-drain", scorer.address, "");
    let endpoint = Endpoint::Tcp(pod.address);
    let before = http::call(&endpoint, Protocol::Http1, score()).unwrap();
    assert_eq!(before.header("connection"), "");
    let load = Load { endpoint: endpoint.clone(), protocol: Protocol::Http1, callers: 8 };
    let calls = std::thread::spawn(move || load.run((0..400).map(|_| score()).collect()));
    // In the midst of them, the pod begins to end. The app still listens: it has a grace period or a preStop hook.
    let mut drain = drain(&pod.folder);
    wait_until("answers close their connections", STARTUP, || {
        http::call(&endpoint, Protocol::Http1, score()).unwrap().header("connection") == "close"
    });
    let results = calls.join().unwrap();
    assert!(
        results.iter().all(|result| result.as_ref().is_ok_and(|answer| answer.status == 200)),
        "a call was lost"
    );
    // Long enough for it to look several times, with no call in flight.
    let ended = wait_for("drain has ended", Duration::from_millis(700), || !drain.is_running());
    assert!(ended.is_err(), "the app still listens: {}", drain.diagnosis());
    assert!(pod.envoy.is_running());
    drop(scorer);
    wait_until("drain has ended", STARTUP, || !drain.is_running());
    assert!(pod.envoy.is_running(), "Envoy's SIGTERM comes only now");
    assert_eq!(drain.output(), "");
}

/// How long the hook that the injector adds delays the app's SIGTERM.
fn sleep_before_the_end() -> Duration {
    Duration::from_secs(TEMPLATE.pre_stop["sleep"]["seconds"].as_u64().unwrap())
}

/// The kubelet's part is played here: it runs all hooks at once, and sends the app its SIGTERM when the app's is over.
/// Callers go on coming, each with a connection of its own, until they have learnt of it: a second sooner.
#[test]
fn app_that_stops_at_once_loses_no_call() {
    let folders = Folders::create("sidecar-unaware-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let pod = Pod::start("sidecar-unaware", scorer.address, "");
    let sleep = sleep_before_the_end();
    let endpoint = Endpoint::Tcp(pod.address);
    let begun = Instant::now();
    let mut drain = drain(&pod.folder);
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let endpoint = endpoint.clone();
            std::thread::spawn(move || {
                let mut statuses = Vec::new();
                while begun.elapsed() < sleep - Duration::from_secs(1) {
                    let answer = http::call(&endpoint, Protocol::Http1, score());
                    statuses.push(answer.map_or(0, |answer| answer.status));
                }
                statuses
            })
        })
        .collect();
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(sleep.saturating_sub(begun.elapsed()));
        drop(scorer);
    });
    for caller in callers {
        let statuses = caller.join().unwrap();
        assert!(statuses.len() > 1 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }
    assert!(drain.is_running(), "the app still listens: {}", drain.diagnosis());
    stopping.join().unwrap();
    wait_until("drain has ended", STARTUP, || !drain.is_running());
    assert!(begun.elapsed() < Duration::from_secs(25), "{}", drain.diagnosis());
    assert_eq!(drain.output(), "");
}

#[test]
fn slow_call_ends_before_envoy() {
    let folders = Folders::create("sidecar-drain-slow-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let pod = Pod::start("sidecar-drain-slow", scorer.address, "");
    let endpoint = Endpoint::Tcp(pod.address);
    let slow = Call::post("/score", r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]], "sleep_ms": 3000}"#);
    let call = std::thread::spawn(move || http::call(&endpoint, Protocol::Http1, slow));
    wait_until("the call is in flight", STARTUP, || in_flight(&pod) == 1);
    let mut drain = drain(&pod.folder);
    // gunicorn's answer to SIGTERM: it listens no longer and finishes what it has begun.
    scorer.terminate();
    wait_until("drain has ended", STARTUP, || !drain.is_running());
    assert_eq!(in_flight(&pod), 0);
    let answer = call.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.complete), (200, true));
    drop(pod.folders);
}

fn in_flight(pod: &Pod) -> u64 {
    let admin = Endpoint::Unix(pod.folder.join("admin.sock"));
    let stats = http::get(&admin, "/stats?filter=inbound_scoretap.downstream_rq_active").unwrap();
    stats.trim().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn admin_interface_allows_only_what_the_sidecar_needs() {
    let folders = Folders::create("sidecar-admin-app").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let pod = Pod::start("sidecar-admin", scorer.address, "");
    let admin = Endpoint::Unix(pod.folder.join("admin.sock"));
    for path in ["/quitquitquit", "/config_dump", "/healthcheck/ok", "/drain_listeners", "/logging"] {
        let call = Call { method: "POST".into(), ..Call::get(path) };
        assert_eq!(http::call(&admin, Protocol::Http1, call).unwrap().status, 403, "{path}");
    }
}
