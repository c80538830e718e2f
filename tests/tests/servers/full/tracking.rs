//! MLflow's tracking server, driven by its official client: the dialect `mlflow-tracking` equals the server's own store.

use std::collections::BTreeMap;
use std::process::Stdio;

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::{ports, tools, workspace};
use serde::Deserialize;

use super::program;
use crate::predictions::{STARTUP, script};

/// The content of the server's store.
#[derive(Debug, Deserialize, PartialEq)]
struct Store {
    experiments: u32,
    /// By status.
    runs: BTreeMap<String, u32>,
}

/// The counters of the dialect.
#[derive(Debug, PartialEq)]
struct Counted {
    experiments: f64,
    finished: f64,
}

struct Tracking {
    stack: Stack,
    _server: Child,
    _folders: Folders,
}

impl Tracking {
    fn start() -> Self {
        let folders = Folders::create("app-mlflow-tracking").unwrap();
        let address = local(ports::free());
        let mut command = program(&tools::server_python("mlflow").unwrap(), "mlflow");
        command.args(["server", "--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]);
        command.env("MLFLOW_DISABLE_TELEMETRY", "true").env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false");
        command.current_dir(&folders.run);
        let mut server = Child::spawn("mlflow server", &command, &folders.logs.join("server.log")).unwrap();
        server.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/health").is_ok()).unwrap();
        let stack = Stack::builder("server-mlflow-tracking")
            .upstream(Upstream::Http1(address))
            .filter_config(&documented_configuration())
            .exporter_args(&["--dialect", "mlflow-tracking"])
            .start()
            .unwrap();
        Self { stack, _server: server, _folders: folders }
    }

    /// Has the client take a step of `mlflow_client.py`. Returns what the server then holds.
    #[track_caller]
    fn drive(&self, step: &str) -> Store {
        let python = tools::server_python("mlflow").unwrap();
        let mut client = script(&python, "mlflow_client.py", &format!("http://{}", self.stack.address));
        client.arg(step).envs([("MLFLOW_DISABLE_TELEMETRY", "true"), ("MLFLOW_LOGGING_LEVEL", "ERROR")]);
        client.stderr(Stdio::inherit());
        let output = client.output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{step}: {shown}");
        self.stack.settle();
        // The client also prints a link to each run.
        serde_json::from_str(shown.lines().last().unwrap()).unwrap()
    }

    fn counted(&self) -> Counted {
        let metrics = self.stack.metrics();
        Counted {
            experiments: metrics.get("mlflow_experiment_created_total", &[]).unwrap(),
            finished: metrics.get("mlflow_runs_finished_total", &[]).unwrap(),
        }
    }
}

/// The filter's configuration that `docs/dialects.md` gives for this server.
fn documented_configuration() -> String {
    let page = std::fs::read_to_string(workspace::root().join("docs/dialects.md")).unwrap();
    let section = page.split("### MLflow's tracking server\n").nth(1).unwrap();
    let (_, block) = section.split_once("```json\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn tracking_counters_equal_the_servers_store() {
    let tracking = Tracking::start();
    assert_eq!(tracking.counted(), Counted { experiments: 0.0, finished: 0.0 });

    let store = tracking.drive("track");
    let runs = [("FAILED", 3), ("FINISHED", 4), ("KILLED", 2), ("RUNNING", 1)];
    assert_eq!(
        store,
        Store { experiments: 3, runs: runs.map(|(status, count)| (status.to_owned(), count)).into() }
    );
    let ended = store.runs.values().sum::<u32>() - store.runs["RUNNING"];
    let counted = tracking.counted();
    assert_eq!(counted, Counted { experiments: store.experiments.into(), finished: ended.into() });

    // A run that is resumed, ends again and is renamed counts three times; the run that the server ended does not count.
    let later = tracking.drive("other");
    assert_eq!(later.experiments, store.experiments + 1);
    assert_eq!(later.runs["FINISHED"], store.runs["FINISHED"] + 1);
    let expected = Counted { experiments: later.experiments.into(), finished: counted.finished + 3.0 };
    assert_eq!(tracking.counted(), expected);
}
