//! `scoretap dialect check` bounds the time of each query, and goes on with the others.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

const SERIES: &str = r#"{"status": "success", "data": [{}]}"#;
const TIMEOUT: &str = r#"{"status": "error", "errorType": "timeout", "error": "query timed out"}"#;

/// Answers a request for the series of `late_total` never, of `given_up_total` with Prometheus' own timeout, and
/// others after a moment.
fn answer(mut stream: TcpStream) {
    let mut head = [0; 4096];
    let length = stream.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let (status, body) = if head.contains("late_total") {
        // Until the client gives up.
        let _ = stream.read(&mut [0; 1]);
        return;
    } else if head.contains("given_up_total") {
        ("503 Service Unavailable", TIMEOUT)
    } else {
        ("200 OK", SERIES)
    };
    thread::sleep(Duration::from_millis(300));
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
}

/// Checks a dialect with a family of each name against such a Prometheus.
fn check(names: &[&str]) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(|| answer(stream.unwrap()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let family = |name: &&str| format!("- name: {name}\n  help: Calls.\n  measure: calls\n");
    let families: String = names.iter().map(family).collect();
    std::fs::write(folder.path().join("a.yaml"), format!("dialect: a\nfamilies:\n{families}")).unwrap();
    let rule = |name: &&str| format!("{{alert: A, expr: {name}}}");
    let rules: Vec<String> = names.iter().map(rule).collect();
    let rules = format!("groups: [{{name: a, rules: [{}]}}]", rules.join(", "));
    std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scoretap"));
    command.current_dir(folder.path()).args(["dialect", "check", "a.yaml", "rules.yml", "--timeout", "1"]);
    command.arg(format!("--prometheus=http://{address}")).output().unwrap()
}

#[test]
fn late_answers_are_reported_and_others_checked() {
    let output = check(&["a_total", "late_total", "given_up_total", "b_total", "late_total"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(shown.contains("\nrules.yml          2              0       0          3\n"), "{shown}{said}");
    assert!(shown.contains("timed out: rules.yml: alert \"A\": given_up_total\n"), "{shown}");
    assert!(
        said.contains("3 selectors had no answer from Prometheus within 1 second; raise --timeout"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(3));
    // No terminal, no progress.
    assert!(!said.contains('\r'), "{said}");
}

#[test]
fn queries_may_exceed_the_timeout_together() {
    let output = check(&["a_total", "b_total", "c_total", "d_total", "e_total"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("\nrules.yml          5              0       0          0\n"), "{shown}");
    assert_eq!(output.status.code(), Some(0));
}
