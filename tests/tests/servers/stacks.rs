//! The example stacks: each query that the report calls working has data in a real Prometheus, and no other has.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{Call, Endpoint};
use scoretap_tests::monitoring::Prometheus;
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, tools, workspace};
use serde_json::{Value, json};

const CONFIGURATION: &str = "#: Configuration of the filter: ";
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder below `examples/`.
struct Example {
    name: &'static str,
    serve: &'static [&'static str],
    /// The filter's routes, if a path is of no preset.
    routes: Value,
    /// Path and body of calls that succeed and that fail.
    calls: [(&'static str, &'static str); 3],
    /// A query that has data once both kinds of calls are scraped and the rules recorded.
    counted: &'static str,
}

#[track_caller]
fn check(example: &Example) {
    let folder = workspace::root().join("examples").join(example.name);
    let dialect = folder.join("dialect.yaml");
    let logs = Folders::create(&format!("{}-app", example.name)).unwrap();
    let (_app, address) = app(example, &folder, &logs);
    let text = std::fs::read_to_string(&dialect).unwrap();
    let configuration = text.lines().find_map(|line| line.strip_prefix(CONFIGURATION)).unwrap();
    let mut configuration: Value = serde_json::from_str(configuration).unwrap();
    if !example.routes.is_null() {
        configuration["routes"] = example.routes.clone();
    }
    let stack = Stack::builder(example.name)
        .upstream(Upstream::Http1(address))
        .filter_config(&configuration.to_string())
        .with_insight()
        .exporter_args(&["--dialect-file", dialect.to_str().unwrap()])
        .exporter_env("MODEL_VERSION", "3")
        .start()
        .unwrap();
    for (path, body) in example.calls.iter().cycle().take(30) {
        stack.call(Call::post(path, *body)).unwrap();
    }
    stack.settle();
    let folders = Folders::create(&format!("{}-prometheus", example.name)).unwrap();
    let prometheus = prometheus(&folders, &stack, &folder.join("prometheus"));
    wait_until("the calls were scraped", DEADLINE, || !prometheus.query(example.counted).unwrap().is_empty());
    let url = format!("http://{}", prometheus.address);
    let mut command = Command::new(workspace::cli());
    command.args(["dialect", "check", "dialect.yaml", "grafana", "prometheus", "--prometheus", &url]);
    let output = command.current_dir(&folder).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    println!("{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {shown}", output.status);
    assert!(shown.contains("\n0 wrong verdicts\n"), "{shown}");
    for line in shown.lines().filter(|line| line.contains('/')) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        assert!(matches!(columns[..], [_, _, "0", "0", "0"]), "each query is exercised: {line}");
    }
}

fn app(example: &Example, folder: &Path, folders: &Folders) -> (Child, SocketAddr) {
    let address = local(ports::free());
    let mut command = Command::new(tools::servers_python().unwrap());
    command.args(example.serve).args(["--port", &address.port().to_string()]);
    command.current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut app = Child::spawn(example.name, &command, &folders.logs.join("app.log")).unwrap();
    app.wait_ready(STARTUP, || TcpStream::connect(address).is_ok()).unwrap();
    (app, address)
}

fn prometheus(folders: &Folders, stack: &Stack, rules: &Path) -> Prometheus {
    let Endpoint::Tcp(exporter) = stack.exporter else { panic!("the exporter is on TCP") };
    let job = json!({"job_name": "app", "static_configs": [{"targets": [exporter.to_string()]}]});
    let every =
        json!({"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"});
    let config = json!({"global": every, "rule_files": [rules.join("*.yml")], "scrape_configs": [job]});
    Prometheus::with(folders, ports::free(), &config, &[]).unwrap()
}

#[test]
fn flask_stack_keeps_its_verdicts() {
    const PATH: &str = "/api/v1/predict";
    check(&Example {
        name: "flask-stack",
        serve: &["-m", "flask", "--app", "app", "run"],
        routes: json!([{"name": "churn", "method": "POST", "path": PATH}]),
        calls: [(PATH, r#"{"tenure": 2}"#), (PATH, r#"{"tenure": 0}"#), (PATH, "{}")],
        counted: "churn_errors_total > 0",
    });
}

#[test]
fn fastapi_stack_keeps_its_verdicts() {
    const PATH: &str = "/predict";
    check(&Example {
        name: "fastapi-stack",
        serve: &["-m", "uvicorn", "app:app"],
        routes: Value::Null,
        calls: [
            (PATH, r#"{"income": 2000, "amount": 9000}"#),
            (PATH, r#"{"income": 5000, "amount": 9000}"#),
            (PATH, r#"{"income": 0, "amount": 9000}"#),
        ],
        counted: "loan_decisions_total > 0 and on () loans:errors:ratio5m",
    });
}
