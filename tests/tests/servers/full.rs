//! Servers that need an environment of their own. `cargo xtask test servers-full` runs them.

mod evidently;
mod tracking;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use scoretap_tests::apps::local;
use scoretap_tests::http::{self, Call, Endpoint};
use scoretap_tests::stack::Upstream;
use scoretap_tests::{ports, tools, workspace};
use serde_json::{Value, json};

use crate::predictions::{
    ALL, FINITE, Row, Served, Server, check, check_caught, check_counts, plain, script,
};

/// The calls of each kind: those of [`check`] for five kinds, and those that tritonclient makes.
const CALLS: u8 = 12;
/// Kinds of predictions that a tensor can hold.
const TENSORS: [&str; 5] = ["numbers", "digits", "texts", "flags", "nans"];

fn v2(model: &str, rows: &[Row]) -> Call {
    let tensor = json!({"name": "rows", "shape": [rows.len(), 3], "datatype": "FP64", "data": rows});
    Call::post(&format!("/v2/models/{model}/infer"), json!({"inputs": [tensor]}).to_string())
}

/// Has tritonclient make calls. Returns the number of predictions of each answer, or the status of an error.
fn triton(server: SocketAddr, protocol: &str, model: &str) -> Vec<Value> {
    let python = tools::server_python("mlserver").unwrap();
    let mut client = script(&python, "triton_client.py", &server.to_string());
    let client = client.args([protocol, model, &CALLS.to_string()]).stderr(Stdio::inherit());
    let output = client.output().unwrap();
    assert!(output.status.success(), "{protocol}, {model}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes failing calls, and checks the type of error that counts each, and that none counts as a prediction.
#[track_caller]
fn check_failures<const N: usize>(served: &Served, failures: [(Call, u16, &str); N]) {
    for (call, status, error) in failures {
        let errors = || served.stack.metrics().sum("prediction_errors_total", &[("error_type", error)]);
        let (before, sent) = (errors(), String::from_utf8_lossy(&call.body).into_owned());
        let answer = served.stack.call(call).unwrap();
        assert_eq!(answer.status, status, "{sent}: {}", answer.text());
        served.stack.settle();
        assert_eq!(errors(), before + 1.0, "{error}: {sent}");
    }
    check_counts(&served.stack.metrics(), served);
}

/// Checks the successes of each of these models.
#[track_caller]
fn check_models(served: &Served, models: &[&str], calls: u8) {
    let metrics = served.stack.metrics();
    for model in models {
        let labels = [("model_name", *model), ("status", "success")];
        assert_eq!(metrics.sum("prediction_requests_total", &labels), f64::from(calls), "{model}");
    }
}

/// A server's own program, which finds the models of `tests/python/servers`.
fn program(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python.with_file_name(name));
    command.env("PYTHONPATH", workspace::python_file("servers"));
    command
}

const MLSERVER: Server = Server {
    name: "mlserver",
    health: "/v2/health/ready",
    python: || tools::server_python("mlserver"),
    command: |python, port| mlserver(python, port, ports::free()),
    call: v2,
    // It writes NaN as null.
    kinds: &FINITE,
    second: 1,
    catches: false,
};

fn mlserver(python: &Path, port: &str, grpc: u16) -> Command {
    let mut command = script(python, "mlserver_app.py", "broken");
    command.args(FINITE).arg("nans").env("MLSERVER_HOST", "127.0.0.1").env("MLSERVER_HTTP_PORT", port);
    command.env("MLSERVER_GRPC_PORT", grpc.to_string());
    command.env("MLSERVER_METRICS_PORT", ports::free().to_string());
    command
}

#[test]
fn mlserver_predictions_equal_numpy() {
    let served = check(&MLSERVER);
    check_models(&served, &FINITE, CALLS);
    let compressed = v2("numbers", &[[0.5, 2.0, 7.0]; 200]).header("accept-encoding", "gzip");
    let answer = served.stack.call(compressed).unwrap();
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
    let answers = triton(served.stack.address, "json", "texts");
    assert!(answers.iter().all(Value::is_u64), "{answers:?}");
    served.stack.settle();
    check_counts(&served.stack.metrics(), &served);
    // It takes no binary tensors.
    assert_eq!(triton(served.stack.address, "binary", "numbers"), ["422"; CALLS as usize]);
    check_failures(
        &served,
        [
            (Call::post("/v2/models/numbers/infer", "{"), 422, "invalid_input"),
            (v2("unknown", &[]), 404, "not_found"),
            // It closes the connection behind a 500, so this is the last call.
            (v2("broken", &[[0.0; 3]]), 500, "model_error"),
        ],
    );
}

#[test]
fn mlserver_grpc_predictions_equal_numpy() {
    let python = tools::server_python("mlserver").unwrap();
    let (http, grpc) = (local(ports::free()), local(ports::free()));
    let command = mlserver(&python, &http.port().to_string(), grpc.port());
    let is_ready = || http::get(&Endpoint::Tcp(http), MLSERVER.health).is_ok();
    let served = Served::launch("mlserver-grpc", command, is_ready, Upstream::Http2(grpc));
    let rows = TENSORS.map(|kind| {
        let answers = triton(served.stack.address, "grpc", kind);
        assert!(answers.iter().all(Value::is_u64), "{kind}: {answers:?}");
        answers.iter().filter_map(Value::as_f64).sum()
    });
    served.stack.settle();
    check_models(&served, &TENSORS, CALLS);
    let before = served.stack.metrics();
    let columns = TENSORS.map(|kind| before.sum("prediction_column_values_total", &[("model_name", kind)]));
    // The fifth model has no columns.
    assert_eq!(columns, [rows[0], rows[1], rows[2], rows[3], 0.0]);
    check_counts(&before, &served);
    assert_eq!(triton(served.stack.address, "grpc", "unknown"), ["StatusCode.NOT_FOUND"; CALLS as usize]);
    assert_eq!(triton(served.stack.address, "grpc", "broken"), ["StatusCode.INTERNAL"; CALLS as usize]);
    served.stack.settle();
    let metrics = served.stack.metrics();
    for error in ["not_found", "model_error"] {
        let errors = metrics.sum("prediction_errors_total", &[("error_type", error)]);
        assert_eq!(errors, f64::from(CALLS), "{error}");
    }
    for unchanged in ["prediction_rows_count", "prediction_values_total"] {
        assert_eq!(metrics.sum(unchanged, &[]), before.sum(unchanged, &[]), "{unchanged}");
    }
}

const MLFLOW: Server = Server {
    name: "mlflow",
    health: "/ping",
    python: || tools::server_python("mlflow"),
    command: |python, port| {
        let mut command = script(python, "mlflow_app.py", port);
        command.env("MLFLOW_DISABLE_TELEMETRY", "true");
        command
    },
    call: mlflow,
    kinds: &ALL,
    // Behind the kind.
    second: 0,
    catches: false,
};

fn mlflow(kind: &str, rows: &[Row]) -> Call {
    let rows: Vec<Value> = rows.iter().map(|[a, b, c]| json!([kind, a, b, c])).collect();
    let frame = json!({"columns": ["kind", "a", "b", "c"], "data": rows});
    Call::post("/invocations", json!({"dataframe_split": frame}).to_string())
}

#[test]
fn mlflow_predictions_equal_numpy() {
    let served = check(&MLFLOW);
    let column_missing = r#"{"dataframe_split": {"columns": ["kind"], "data": [["numbers"]]}}"#;
    check_failures(
        &served,
        [
            (Call::post("/invocations", "{"), 400, "invalid_input"),
            (Call::post("/invocations", column_missing), 400, "invalid_input"),
            (mlflow("broken", &[[0.0; 3]]), 400, "invalid_input"),
        ],
    );
}

const KSERVE: Server = Server {
    name: "kserve",
    health: "/v2/health/ready",
    python: || tools::server_python("kserve"),
    command: |python, port| {
        let mut command = script(python, "kserve_app.py", "--http_port");
        command.arg(port);
        command
    },
    call: v1,
    // It writes NaN as null.
    kinds: &FINITE,
    second: 1,
    catches: false,
};

fn v1(model: &str, rows: &[Row]) -> Call {
    Call::post(&format!("/v1/models/{model}:predict"), json!({"instances": rows}).to_string())
}

#[test]
fn kserve_predictions_equal_numpy() {
    let served = check(&KSERVE);
    check_models(&served, &FINITE, CALLS);
    check_failures(
        &served,
        [
            (Call::post("/v1/models/numbers:predict", "{"), 400, "invalid_input"),
            (v1("unknown", &[[0.0; 3]]), 404, "not_found"),
            (v1("broken", &[[0.0; 3]]), 500, "model_error"),
        ],
    );
}

#[test]
fn kserve_v2_predictions_equal_numpy() {
    let served = check(&Server {
        name: "kserve-v2",
        call: v2,
        kinds: &["numbers", "digits", "texts", "flags"],
        ..KSERVE
    });
    for kind in TENSORS {
        let answers = triton(served.stack.address, "binary", kind);
        assert!(answers.iter().all(Value::is_u64), "{kind}: {answers:?}");
    }
    served.stack.settle();
    check_models(&served, &["nans"], CALLS);
    check_failures(
        &served,
        [
            (Call::post("/v2/models/numbers/infer", "{"), 422, "invalid_input"),
            (v2("unknown", &[[0.0; 3]]), 404, "not_found"),
            (v2("broken", &[[0.0; 3]]), 500, "model_error"),
        ],
    );
}

const SELDON: Server = Server {
    name: "seldon",
    health: "/health/ping",
    python: || tools::server_python("seldon"),
    command: |python, port| {
        let mut command = program(python, "seldon-core-microservice");
        let (grpc, metrics) = (ports::free().to_string(), ports::free().to_string());
        command.args([
            "seldon_app.Model",
            "--http-port",
            port,
            "--grpc-port",
            &grpc,
            "--metrics-port",
            &metrics,
        ]);
        command
    },
    call: |kind, rows| seldon(kind, &json!({"ndarray": rows})),
    kinds: &ALL,
    second: 1,
    catches: false,
};

fn seldon(kind: &str, data: &Value) -> Call {
    let body = json!({"meta": {"tags": {"kind": kind}}, "data": data});
    Call::post("/api/v1.0/predictions", body.to_string())
}

#[test]
fn seldon_predictions_equal_numpy() {
    let served = check(&SELDON);
    for kind in ["numbers", "digits", "nans"] {
        let tensor = json!({"tensor": {"shape": [2, 3], "values": [9.5, 2, 7, 0.5, 4, 1]}});
        let answer = served.stack.call(seldon(kind, &tensor)).unwrap();
        assert!(answer.text().contains("tensor"), "{}", answer.text());
    }
    served.stack.settle();
    check_failures(
        &served,
        [
            (Call::post("/api/v1.0/predictions", "{"), 400, "invalid_input"),
            (seldon("numbers", &json!({"ndarray": [[1]]})), 500, "model_error"),
            (seldon("broken", &json!({"ndarray": [[1, 2, 3]]})), 500, "model_error"),
        ],
    );
}

const BENTOML: Server = Server {
    name: "bentoml",
    health: "/readyz",
    python: || tools::server_python("bentoml"),
    command: |python, port| {
        let mut command = program(python, "bentoml");
        command.args(["serve", "bentoml_app:Scorer", "--host", "127.0.0.1", "--port", port, "--working-dir"]);
        command.arg(workspace::python_file("servers"));
        command.envs([("BENTOML_DO_NOT_TRACK", "true"), ("BENTOML_HOME", ".")]);
        command
    },
    call: |kind, rows| plain("/predict", kind, rows),
    // It writes NaN as null.
    kinds: &FINITE,
    second: 1,
    catches: false,
};

#[test]
fn bentoml_predictions_equal_numpy() {
    let served = check(&BENTOML);
    check_failures(
        &served,
        [
            (Call::post("/predict", "{"), 400, "invalid_input"),
            (Call::post("/predict", r#"{"kind": "numbers"}"#), 400, "invalid_input"),
            (plain("/predict", "broken", &[[0.0; 3]]), 500, "model_error"),
        ],
    );
}

const RAY: Server = Server {
    name: "ray",
    health: "/-/healthz",
    python: || tools::server_python("ray"),
    command: |python, port| {
        let mut command = script(python, "ray_app.py", port);
        command.env("RAY_USAGE_STATS_ENABLED", "0");
        command
    },
    call: |kind, rows| plain("/predict", kind, rows),
    kinds: &ALL,
    second: 1,
    catches: false,
};

#[test]
fn ray_serve_predictions_equal_numpy() {
    let served = check(&RAY);
    check_failures(
        &served,
        [
            (Call::post("/predict", "{"), 500, "model_error"),
            (plain("/predict", "broken", &[[0.0; 3]]), 500, "model_error"),
        ],
    );
    check_caught(&served, plain("/predict", "caught", &[]));
}
