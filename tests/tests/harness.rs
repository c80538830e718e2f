//! The harness keeps its word: what other tests rely on without looking.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use scoretap_tests::apps::{Break, Broken, GrpcModel, Logged, Scorer};
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Call, CallError, Endpoint, Load, Protocol};
use scoretap_tests::ports;
use scoretap_tests::sources;
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::wait_until;

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;

#[test]
fn ports_are_free_distinct_and_not_ephemeral() {
    let ports: Vec<u16> = (0..500).map(|_| ports::free()).collect();
    assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
    assert!(ports.iter().all(|port| (15_000..30_000).contains(port)));
}

#[test]
fn dropped_child_ends_its_own_children() {
    let folders = Folders::create("harness-child").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & echo $!; wait"]);
    let child = Child::spawn("a shell", &command, &folders.logs.join("out")).unwrap();
    wait_until("the shell has said its child's id", Duration::from_secs(5), || !child.output().is_empty());
    let grandchild = format!("/proc/{}", child.output().trim());
    assert!(fs::exists(&grandchild).unwrap());
    drop(child);
    wait_until("the child's child is gone", Duration::from_secs(5), || !is_alive(&grandchild));
}

#[test]
fn scorer_obeys_and_logs_the_call() {
    let folders = Folders::create("harness-scorer").unwrap();
    let scorer = Scorer::start(&folders.logs).unwrap();
    let endpoint = Endpoint::Tcp(scorer.address);
    let with = |field: &str| ROW.replace('{', &format!("{{{field}, "));
    let calls = [
        (Call::post("/score", ROW), 200),
        (Call::post("/v1/models/a%22b:predict?x=1", ROW), 200),
        (Call::post("/v2/models/m/versions/3/infer", ROW), 200),
        (Call::post("/score", "{"), 400),
        (Call::post("/score", "{}"), 400),
        (Call::post("/score", r#"{"data": [[1]]}"#), 422),
        (Call::post("/score", r#"{"data": [["a", 2, 3, 4, 5, 6, 7, 8, 9]]}"#), 500),
        (Call::post("/score", with(r#""status": 429"#)), 429),
        (Call::get("/score"), 405),
        (Call::get("/nothing"), 404),
    ];
    for (call, status) in &calls {
        let answer = http::call(&endpoint, Protocol::Http1, call.clone()).unwrap();
        assert_eq!(answer.status, *status, "{call:?}");
    }
    wait_until("the log is complete", Duration::from_secs(5), || {
        scorer.calls().unwrap().len() == calls.len()
    });
    // gunicorn logs a call after it has answered, and its threads do so in any order.
    let mut logged = scorer.calls().unwrap();
    let mut made: Vec<Logged> = calls
        .iter()
        .map(|(call, status)| Logged {
            method: call.method.clone(),
            path: call.path.clone(),
            status: *status,
        })
        .collect();
    logged.sort();
    made.sort();
    assert_eq!(logged, made);
    let slow = Call::post("/score", with(r#""sleep_ms": 5000"#)).abort_after(Duration::from_millis(50));
    assert_eq!(http::call(&endpoint, Protocol::Http1, slow).unwrap_err(), CallError::Aborted);
}

#[test]
fn load_answers_in_the_order_of_the_calls() {
    let endpoint = Endpoint::Tcp(Broken::start().unwrap().address);
    let load = Load { endpoint, protocol: Protocol::Http1, callers: 8 };
    let ways =
        [Break::Ok, Break::Reset, Break::Close, Break::ResetMidBody, Break::CloseMidChunks, Break::Garbage];
    let results = load.run(ways.iter().cycle().take(60).map(|way| Call::post(&way.path(), "{}")).collect());
    for (result, way) in results.iter().zip(ways.iter().cycle()) {
        let seen = result.as_ref().map(|answer| (answer.status, answer.complete));
        match way {
            Break::Ok => assert_eq!(seen, Ok((200, true)), "{way:?}"),
            Break::ResetMidBody | Break::CloseMidChunks => assert_eq!(seen, Ok((200, false)), "{way:?}"),
            _ => assert!(matches!(seen, Err(CallError::Broken(_))), "{way:?}: {seen:?}"),
        }
    }
}

#[test]
fn grpc_model_sends_status_where_asked() {
    let folders = Folders::create("harness-grpc").unwrap();
    let model = GrpcModel::start(&folders.logs).unwrap();
    let endpoint = Endpoint::Tcp(model.address);
    for (when, status, in_trailers) in
        [("after-message", 0, true), ("after-message", 3, true), ("trailers-only", 14, false)]
    {
        let call =
            http::grpc(GrpcModel::METHOD, b"").header("x-when", when).header("x-status", &status.to_string());
        let answer = http::call(&endpoint, Protocol::Http2, call).unwrap();
        assert_eq!((answer.status, answer.grpc_status()), (200, Some(status)), "{when}");
        assert_eq!(answer.trailers.contains_key("grpc-status"), in_trailers, "{when} {status}");
    }
    assert_eq!(model.statuses().unwrap(), [0, 3, 14]);
}

/// A zombie has a folder in /proc too, until its new parent looks.
fn is_alive(folder: &str) -> bool {
    fs::read_to_string(format!("{folder}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn other_sources_make_a_built_file_stale() {
    let folders = Folders::create("stale").unwrap();
    let built = folders.run.join("program");
    assert!(!sources::is_current(&built));
    fs::write(&built, "").unwrap();
    assert!(!sources::is_current(&built), "no note");
    sources::record(&built).unwrap();
    assert!(sources::is_current(&built));
    fs::write(folders.run.join(".program.sources"), "0").unwrap();
    assert!(!sources::is_current(&built));
}

#[test]
fn edits_make_only_dependent_programs_stale() {
    let needs = |built: &str| sources::packages_of(built.as_ref());
    assert_eq!(
        needs("scoretap.wasm"),
        ["scoretap-core", "scoretap-filter", "scoretap-host", "scoretap-scan"]
    );
    assert!(needs("scoretap-exporter").contains(&"scoretap-web"));
    assert!(!needs("scoretap-exporter").contains(&"scoretap-cli"));
    assert!(needs("scoretap").contains(&"scoretap-injector"));
}
