//! `examples/compose`: read by docker-compose, as restricted as pods are, every file in its place, and its Prometheus run
//! with the real stack. It is not brought up here: that takes an engine and images.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Call, Endpoint};
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, tools, workspace};
use serde_json::Value;

/// As docker-compose understands it.
static COMPOSE: LazyLock<Value> = LazyLock::new(|| {
    let mut command = tools::docker_compose().unwrap();
    command.arg("--file").arg(workspace::root().join("examples/compose/compose.yaml")).arg("config");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_norway::from_slice(&output.stdout).unwrap()
});

fn services() -> impl Iterator<Item = (&'static String, &'static Value)> {
    COMPOSE["services"].as_object().unwrap().iter()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// `SOURCE:TARGET:MODE`
fn mounts(service: &Value) -> Vec<(&str, &str)> {
    texts(&service["volumes"])
        .map(|mount| {
            let mut parts = mount.split(':');
            (parts.next().unwrap(), parts.next().unwrap())
        })
        .collect()
}

/// The path on this machine of a path in a container.
#[track_caller]
fn mounted(service: &str, path: &str) -> String {
    let found = mounts(&COMPOSE["services"][service]).into_iter().find_map(|(source, target)| {
        let inner = path.strip_prefix(target)?;
        (inner.is_empty() || inner.starts_with('/')).then(|| format!("{source}{inner}"))
    });
    found.unwrap_or_else(|| panic!("nothing is mounted at {path} in {service}"))
}

fn yaml(file: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}")))
        .unwrap()
}

#[test]
fn every_container_is_as_restricted_as_a_pod() {
    assert_eq!(services().count(), 6);
    for (name, service) in services() {
        let user = service["user"].as_str().unwrap();
        assert!(user.split(':').next().unwrap().parse::<u32>().is_ok_and(|user| user > 0), "{name}: {user}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]).collect::<Vec<_>>(), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]).collect::<Vec<_>>(), ["no-new-privileges:true"], "{name}");
        for forbidden in ["privileged", "cap_add", "devices", "pid", "ipc"] {
            assert!(service.get(forbidden).is_none(), "{name}: {forbidden}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            // With an address it is a text, without one an object.
            let is_local = port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:"));
            assert!(is_local, "{name}: {port} is open to the network");
        }
    }
}

#[test]
fn mounts_and_build_contexts_exist() {
    for (name, service) in services() {
        for (source, _) in mounts(service) {
            let is_volume = COMPOSE["volumes"].get(source).is_some();
            assert!(is_volume || Path::new(source).exists(), "{name}: {source}");
        }
        if let Some(context) = service["build"]["context"].as_str() {
            let recipe = Path::new(context).join(service["build"]["dockerfile"].as_str().unwrap());
            assert!(recipe.is_file(), "{name}: {}", recipe.display());
            let text = fs::read_to_string(recipe).unwrap();
            let copied =
                text.lines().filter_map(|line| line.strip_prefix("COPY ")).flat_map(|line| line.split(' '));
            let copied = copied.filter(|word| !word.starts_with(['/', '-']));
            copied.for_each(|file| assert!(Path::new(context).join(file).is_file(), "{name}: {file}"));
        }
    }
}

/// `envoy/sidecar.yaml` is what every other test runs: only where it finds things could be wrong.
#[test]
fn envoy_and_exporter_meet_as_in_a_pod() {
    let envoy = &COMPOSE["services"]["envoy"];
    let args: Vec<_> = texts(&envoy["command"]).collect();
    assert_eq!(args[0], "--config-path");
    let bootstrap = mounted("envoy", args[1]);
    assert_eq!(Path::new(&bootstrap), workspace::bootstrap("sidecar.yaml"));
    let bootstrap = yaml(&bootstrap);
    let module = bootstrap.to_string();
    let (_, module) = module.split_once("\"filename\":\"").unwrap();
    assert_eq!(Path::new(&mounted("envoy", module.split('"').next().unwrap())), workspace::module());
    let socket = bootstrap["admin"]["address"]["pipe"]["path"].as_str().unwrap();
    for service in ["envoy", "exporter"] {
        assert_eq!(mounted(service, socket), "run/admin.sock", "{service}");
        assert_eq!(COMPOSE["services"][service]["network_mode"], "service:scorer");
        assert_eq!(COMPOSE["services"][service]["user"], COMPOSE["services"]["envoy"]["user"]);
    }
    let flags = "--envoy.admin <URL>";
    let help = Command::new(workspace::exporter()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.split_once(flags).unwrap().1.contains(&format!("[default: unix://{socket}]")));
    let listener = &bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"];
    let callers = texts(&COMPOSE["services"]["callers"]["command"]).last().unwrap();
    assert_eq!(callers, format!("http://scorer:{listener}"));
}

#[test]
fn grafana_finds_prometheus_and_the_dashboards() {
    let source = yaml(&mounted("grafana", "/etc/grafana/provisioning/datasources/prometheus.yaml"));
    let source = &source["datasources"][0];
    assert_eq!(source["url"], "http://prometheus:9090");
    assert!(COMPOSE["services"].get("prometheus").is_some());
    let provider = yaml(&mounted("grafana", "/etc/grafana/provisioning/dashboards/scoretap.yaml"));
    let folder = mounted("grafana", provider["providers"][0]["options"]["path"].as_str().unwrap());
    let dashboards = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let dashboards: Vec<_> =
        dashboards.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
    assert_eq!(dashboards.len(), 4);
    for file in dashboards {
        let dashboard = yaml(file.to_str().unwrap());
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variable = variables.iter().find(|variable| variable["type"] == "datasource").unwrap();
        // Grafana takes the default one of this type.
        assert_eq!((&variable["query"], &source["isDefault"]), (&source["type"], &true.into()));
    }
}

/// The configuration that is mounted, with this machine's addresses and folders.
fn here(exporter: &str, folders: &Folders) -> String {
    let file = mounted("prometheus", "/etc/prometheus/prometheus.yml");
    let text = fs::read_to_string(file).unwrap();
    let written = folders.run.join("prometheus.yml");
    let text = text.replace("scorer:15190", exporter);
    fs::write(
        &written,
        text.replace("/etc/prometheus/rules", &mounted("prometheus", "/etc/prometheus/rules")),
    )
    .unwrap();
    written.display().to_string()
}

#[test]
fn prometheus_scrapes_the_stack_and_loads_rules() {
    let stack = Stack::builder("compose").start().unwrap();
    let Endpoint::Tcp(exporter) = &stack.exporter else { panic!("the exporter listens on a port") };
    let folders = Folders::create("compose-prometheus").unwrap();
    let config = here(&exporter.to_string(), &folders);
    let checked =
        Command::new(tools::promtool().unwrap()).args(["check", "config", &config]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let address = local(ports::free());
    let mut command = Command::new(tools::prometheus().unwrap());
    let of_ours = |arg: &str| {
        arg.replace("/etc/prometheus/prometheus.yml", &config)
            .replace("=/prometheus", &format!("={}", folders.run.join("tsdb").display()))
    };
    command.args(texts(&COMPOSE["services"]["prometheus"]["command"]).map(of_ours));
    command.arg(format!("--web.listen-address={address}"));
    command.current_dir(tools::tools_dir().join("debian-prometheus/root"));
    // Debian's looks for its pages where a package would be installed.
    command.arg("--web.console.templates=etc/prometheus/consoles");
    let mut child = Child::spawn("Prometheus", &command, &folders.logs.join("prometheus.log")).unwrap();
    let prometheus = Endpoint::Tcp(address);
    child.wait_ready(STARTUP, || http::get(&prometheus, "/-/ready").is_ok()).unwrap();

    assert_eq!(
        stack.call(Call::post("/score", r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#)).unwrap().status,
        200
    );
    let answer =
        |path: &str| -> Value { serde_json::from_str(&http::get(&prometheus, path).unwrap()).unwrap() };
    let query = "/api/v1/query?query=prediction_requests_total%7Bstatus%3D%22success%22%7D%3D%3D1";
    wait_until("the call is stored", STARTUP, || answer(query)["data"]["result"][0].is_object());
    let labels = answer(query)["data"]["result"][0]["metric"].take();
    for (label, value) in
        [("job", "scoretap"), ("namespace", "demo"), ("tenant", "demo"), ("pod", "scorer-1")]
    {
        assert_eq!(labels[label], value, "{labels}");
    }
    let groups = answer("/api/v1/rules")["data"]["groups"].take();
    let files: std::collections::BTreeSet<_> =
        groups.as_array().unwrap().iter().map(|group| group["file"].to_string()).collect();
    assert_eq!(files.len(), 6, "{files:?}");
}

/// The scorer as its image starts it, and its callers.
#[test]
fn callers_are_of_every_kind() {
    let folders = Folders::create("compose-callers").unwrap();
    let recipe = fs::read_to_string(workspace::root().join("examples/compose/scorer.Containerfile")).unwrap();
    let (_, words) = recipe.split_once("\nCMD ").unwrap();
    let words: Vec<String> = serde_json::from_str(words).unwrap();
    let app = local(ports::free());
    let mut gunicorn = Command::new(tools::gunicorn().unwrap());
    gunicorn.args(words[1..].iter().map(|word| word.replace("127.0.0.1:8080", &app.to_string())));
    gunicorn.current_dir(workspace::root().join("tests/python"));
    let mut scorer = Child::spawn("the scorer", &gunicorn, &folders.logs.join("scorer.log")).unwrap();
    scorer.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(app), "/health").is_ok()).unwrap();

    let stack = Stack::builder("compose-callers-stack").upstream(Upstream::Http1(app)).start().unwrap();
    let mut callers = Command::new(tools::python().unwrap());
    callers
        .arg(workspace::root().join("examples/compose/callers.py"))
        .arg(format!("http://{}", stack.address));
    let _callers = Child::spawn("the callers", &callers, &folders.logs.join("callers.log")).unwrap();
    for series in ["status=\"success\"", "invalid_input", "model_error", "status=\"cancelled\""] {
        wait_until(series, STARTUP, || {
            let metrics = http::get(&stack.exporter, "/metrics").unwrap();
            metrics
                .lines()
                .any(|line| line.contains("_total{") && line.contains(series) && !line.ends_with(" 0"))
        });
    }
}
