//! The exporter as a process: its answers, its behaviour with a faulty Envoy, and how it exits.
//!
//! Envoy is a fake here, because a real one never answers half a line. The workspace's tests use a real Envoy.

mod envoy;
mod exporter;
mod memory;
mod series;
mod serving;
mod web;

use std::process::Command;
use std::time::{Duration, Instant};

use envoy::Fake;
use exporter::{Exporter, program, run};

const STATS: &str = "cluster.app.upstream_rq_active: 2\n\
    http.inbound.downstream_rq_active: 2\n\
    http.inbound.downstream_rq_total: 14\n\
    wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 12\n\
    wasmcustom.scoretap.config: 1\n";

const REQUESTS: &str = "\nprediction_requests_total{model_name=\"unknown\",model_version=\"unknown\",route=\"score\",status=\"success\"} 12\n";

/// Slack for a busy machine, far less than the time for which the exporter waits for an Envoy that
/// hangs.
const SLACK: Duration = Duration::from_secs(5);

fn healthy_envoy() -> Fake {
    Fake::unix(|stream| envoy::answer(stream, "200 OK", STATS.as_bytes()))
}

#[test]
fn statistics_of_envoy_are_served() {
    for envoy in [healthy_envoy(), Fake::tcp(|stream| envoy::answer(stream, "200 OK", STATS.as_bytes()))] {
        let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
        let answer = exporter.get("/metrics", &[]);
        assert_eq!(answer.status, 200);
        let version = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
        assert_eq!(answer.header("content-type"), Some(version));
        for line in [REQUESTS, "\nscoretap_up 1\n", "\nscoretap_envoy_requests_total 12\n"] {
            assert!(answer.body.contains(line), "{line}\n{}", answer.body);
        }
    }
}

#[test]
fn openmetrics_is_served_if_accepted() {
    let envoy = healthy_envoy();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let answer =
        exporter.get("/metrics", &["Accept: text/plain;q=0.5", "Accept: application/openmetrics-text"]);
    let version = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
    assert_eq!(answer.header("content-type"), Some(version));
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
}

#[test]
fn query_reads_only_served_statistics() {
    let (told, asked) = std::sync::mpsc::channel();
    let envoy = Fake::unix(move |stream| {
        told.send(envoy::head(stream)).unwrap();
        envoy::say(stream, "200 OK", STATS.as_bytes());
    });
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    exporter.get("/metrics", &[]);
    let head = asked.recv().unwrap();
    assert!(head.starts_with("GET /stats?filter=%5E%28%3F%3Awasmcustom%5C.scoretap%5C.%7C"), "{head}");
    assert!(head.contains("\r\nhost: envoy\r\n"), "{head}");
}

#[track_caller]
fn check_down(url: &str, kind: &str, reason: &str) {
    check_down_within(20, url, kind, reason);
}

/// Checks that the answer reports Envoy as down within the scrape timeout of `seconds`, and has only self metrics.
#[track_caller]
fn check_down_within(seconds: u64, url: &str, kind: &str, reason: &str) {
    let exporter = Exporter::start(&["--envoy.admin", url]);
    let timeout = format!("X-Prometheus-Scrape-Timeout-Seconds: {seconds}");
    let timeout = [timeout.as_str()];
    let begun = Instant::now();
    let answer = exporter.get("/metrics", &timeout);
    // The margin of half a second is too short for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(seconds) + SLACK, "{:?}", begun.elapsed());
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\nscoretap_up 0\n"), "{}", answer.body);
    let families: Vec<&str> =
        answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let self_metrics = [
        "scoretap_up",
        "scoretap_scrape_duration_seconds",
        "scoretap_scrape_errors_total",
        "scoretap_build_info",
        "scoretap_http_requests_total",
        "scoretap_http_requests_in_flight",
        "scoretap_process_resident_memory_bytes",
        "scoretap_process_cpu_seconds_total",
        "scoretap_process_open_fds",
        "scoretap_process_max_fds",
        "scoretap_process_start_time_seconds",
    ];
    assert_eq!(families, self_metrics);
    let counted = format!("\nscoretap_scrape_errors_total{{reason=\"{kind}\"}} 1\n");
    assert!(answer.body.contains(&counted), "{}", answer.body);
    let answer = exporter.get("/-/ready", &timeout);
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains(reason), "{}", answer.body);
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
}

#[test]
fn unreachable_envoy_is_down() {
    check_down("unix:///nonexistent/admin.sock", "unreachable", "is Envoy running");
}

#[test]
fn refusing_envoy_is_down() {
    let envoy = Fake::unix(|stream| envoy::answer(stream, "500 Internal Server Error", b"out of order"));
    check_down(envoy.url(), "refused", "Envoy answers 500 Internal Server Error (\"out of order\")");
    let envoy = Fake::unix(|stream| envoy::answer(stream, "403 Forbidden", b"no"));
    check_down(envoy.url(), "refused", "allow_paths");
}

#[test]
fn hanging_envoy_is_down() {
    let forever = Duration::from_secs(60);
    let envoy = Fake::unix(move |_| std::thread::sleep(forever));
    check_down_within(1, envoy.url(), "timeout", "no complete answer within 0.5 s");
    let envoy = Fake::unix(move |stream| {
        envoy::head(stream);
        envoy::write(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nwasmcustom.scoretap.config: 1\n");
        std::thread::sleep(forever);
    });
    check_down_within(1, envoy.url(), "timeout", "no complete answer within 0.5 s");
}

#[test]
fn tiny_scrape_timeout_counts_no_error() {
    let envoy = Fake::unix(|stream| {
        std::thread::sleep(Duration::from_millis(50));
        envoy::answer(stream, "200 OK", STATS.as_bytes());
    });
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let body = exporter.get("/metrics", &["X-Prometheus-Scrape-Timeout-Seconds: 0.001"]).body;
    assert!(body.contains("\nscoretap_scrape_errors_total{reason=\"timeout\"} 0\n"), "{body}");
}

#[test]
fn incomplete_answer_is_down() {
    let envoy = Fake::unix(|stream| drop(envoy::head(stream)));
    check_down(envoy.url(), "broken", "the answer is broken");
    let envoy = Fake::unix(|stream| {
        envoy::head(stream);
        envoy::write(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nwasmcustom.scoretap.config: 1\n");
    });
    check_down(envoy.url(), "broken", "the answer is broken");
    let envoy = Fake::unix(|stream| {
        envoy::head(stream);
        envoy::write(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\na: 1\n\r\n");
    });
    check_down(envoy.url(), "broken", "the answer is broken");
}

#[test]
fn answer_without_statistics_is_down() {
    let cases: [(&'static [u8], &str); 4] = [
        (b"a: 1\nwasmcustom.scoretap.conf", "ends within a line"),
        (b"<!DOCTYPE html>\n<p>Hello</p>\n", "no statistic: \"<!DOCTYPE html>\""),
        (b"a: 1\n\n", "no statistic: \"\""),
        (b"a: \xff\n", "is no text"),
    ];
    for (body, reason) in cases {
        let envoy = Fake::unix(|stream| envoy::answer(stream, "200 OK", body));
        check_down(envoy.url(), "garbage", reason);
    }
    let envoy = Fake::unix(|stream| {
        envoy::head(stream);
        envoy::write(stream, b"SSH-2.0-OpenSSH_9.2\r\n");
    });
    check_down(envoy.url(), "broken", "the answer is broken");
}

#[test]
fn endless_answer_is_down() {
    let line = format!("{}: 1\n", "a".repeat(30_000));
    let envoy = Fake::unix(move |stream| {
        envoy::head(stream);
        envoy::write(stream, b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    check_down(envoy.url(), "too_large", "more than 67108864 bytes");
    let envoy = Fake::unix(|stream| {
        envoy::head(stream);
        envoy::write(stream, b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    });
    check_down(envoy.url(), "garbage", "a line of more than 65536 bytes");
}

#[test]
fn recovered_envoy_is_up_again() {
    let mut reads = 0;
    let envoy = Fake::unix(move |stream| {
        reads += 1;
        match reads {
            2 => drop(envoy::head(stream)),
            _ => envoy::answer(stream, "200 OK", STATS.as_bytes()),
        }
    });
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    for (is_up, up) in
        [(true, "\nscoretap_up 1\n"), (false, "\nscoretap_up 0\n"), (true, "\nscoretap_up 1\n")]
    {
        let body = exporter.get("/metrics", &[]).body;
        assert!(body.contains(up), "{body}");
        assert_eq!(body.contains(REQUESTS), is_up, "{body}");
    }
    assert_eq!(exporter.get("/-/ready", &[]).status, 200);
}

#[test]
fn pages_exist_and_other_paths_get_404() {
    let envoy = healthy_envoy();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.telemetry-path", "/m"]);
    let landing = exporter.get("/", &[]);
    assert_eq!(landing.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = Some("default-src 'none'; style-src 'unsafe-inline'");
    assert_eq!(landing.header("content-security-policy"), policy);
    for link in ["href=\"/m\"", "href=\"/-/ready\"", "href=\"/-/healthy\""] {
        assert!(landing.body.contains(link), "{}", landing.body);
    }
    assert_eq!(exporter.get("/m?x=y", &[]).status, 200);
    for path in ["/metrics", "/m/", "/stats", "/config_dump", "/m/../stats", "/%6D", "//", "*"] {
        let answer = exporter.get(path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("/m, /-/healthy, /-/ready and /"), "{}", answer.body);
    }
}

#[test]
fn only_get_and_head_are_answered() {
    let envoy = healthy_envoy();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"] {
        let answer = exporter.request(method, "/metrics", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let head = exporter.request("HEAD", "/metrics", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.header("content-length").is_some_and(|length| length != "0"));
}

#[test]
fn oversized_request_head_is_rejected() {
    let exporter = Exporter::start(&["--envoy.admin", "unix:///nonexistent"]);
    let long = format!("X-Long: {}", "a".repeat(20_000));
    assert_eq!(exporter.get("/metrics", &[&long]).status, 431);
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
}

#[test]
fn signal_ends_exporter_while_envoy_hangs() {
    for signal in ["TERM", "INT"] {
        let (told, asked) = std::sync::mpsc::channel();
        let envoy = Fake::unix(move |stream| {
            told.send(envoy::head(stream)).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        });
        let mut exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
        let _scrape = exporter.send("GET", "/metrics", &[]);
        asked.recv().unwrap();
        let begun = Instant::now();
        assert_eq!(exporter.signal(signal), Some(0));
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
}

#[test]
fn taken_address_is_reported_and_ends_exporter() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = run(&["--web.listen-address", &address], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("cannot listen on {address}")) && said.contains("--web.listen-address"),
        "{said}"
    );
}

#[test]
fn wrong_flags_are_all_reported() {
    let (code, said) = run(&["--envoy.admin", "nowhere", "--label", "le=x"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--envoy.admin") && said.contains("--label"), "{said}");
    let (code, said) = run(&["--web.listen-adress", "x"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--web.listen-address"), "{said}");
}

#[test]
fn check_config_reports_faults_without_serving() {
    let (code, said) = run(&["--check-config"], &[]);
    assert_eq!((code, said.as_str()), (Some(0), "the configuration is valid\n"));
    let (code, said) = run(&["--check-config", "--label", "tenant=a"], &[("TENANT", "b")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--label \\\"tenant=a\\\""), "{said}");
    let twice = ["--web.listen-address", "127.0.0.1:15190", "--web.listen-address", "127.0.0.1:15190"];
    let (code, said) = run(&[&["--check-config"], &twice[..]].concat(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("overlaps"), "{said}");
}

#[test]
fn version_flag_prints_the_version() {
    let (code, said) = run(&["--version"], &[]);
    assert_eq!((code, said), (Some(0), format!("scoretap-exporter {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn requests_are_counted_by_code() {
    let envoy = healthy_envoy();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    exporter.get("/metrics", &[]);
    exporter.get("/nowhere", &[]);
    exporter.request("POST", "/metrics", &[]);
    let body = exporter.get("/metrics", &[]).body;
    for (code, count) in [("200", 1), ("404", 1), ("405", 1)] {
        let line = format!("\nscoretap_http_requests_total{{code=\"{code}\"}} {count}\n");
        assert!(body.contains(&line), "{line}{body}");
    }
    assert!(body.contains("\nscoretap_http_requests_in_flight 1\n"), "{body}");
}

#[test]
fn process_metrics_are_those_of_the_kernel() {
    let program = program(&["--web.listen-address", "127.0.0.1:0", "--envoy.admin", "unix:///nonexistent"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -Sn 300; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    let exporter = Exporter::start_as(&mut shell);
    let body = exporter.get("/metrics", &[]).body;
    let value = |name: &str| -> f64 {
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in {body}")).parse().unwrap()
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
    let resident: f64 = resident.unwrap().trim().parse().unwrap();
    let found = value("scoretap_process_resident_memory_bytes") / 1024.0;
    assert!((found - resident).abs() < resident / 4.0, "{found} kB, the kernel says {resident} kB");
    let files = std::fs::read_dir(format!("/proc/{}/fd", exporter.id())).unwrap().count();
    // The kernel's count lacks the scrape's connection and the open folder.
    let found = value("scoretap_process_open_fds");
    assert!((found - files as f64).abs() <= 3.0, "{found}, the kernel says {files}");
    assert_eq!(value("scoretap_process_max_fds"), 300.0);
    assert!(value("scoretap_process_cpu_seconds_total") < 60.0);
}

/// The standard output and standard error of a run, and its exit code.
#[track_caller]
fn check_scrape(flags: &[&str], code: i32, printed: &str, logged: &str) {
    let output = exporter::output(&[&["scrape"], flags].concat());
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stdout.contains(printed), "{stdout}");
    assert!(stderr.contains(logged) && stderr.is_empty() == logged.is_empty(), "{stderr}");
}

#[test]
fn scrape_prints_one_exposition_and_exits() {
    let envoy = healthy_envoy();
    check_scrape(&["--envoy.admin", envoy.url()], 0, REQUESTS, "");
    check_scrape(&["--envoy.admin", envoy.url(), "--format", "openmetrics"], 0, "\n# EOF\n", "");
    check_scrape(&["--envoy.admin", envoy.url(), "--format", "protobuf"], 0, "scoretap_up", "");
    let labels = ["--envoy.admin", envoy.url(), "--dialect", "api", "--label", "env=prod"];
    check_scrape(&labels, 0, "api_prediction_total{env=\"prod\"} 12\n", "");
}

#[test]
fn scrape_without_envoy_fails_with_the_reason() {
    let nowhere = ["--envoy.admin", "unix:///nonexistent"];
    check_scrape(&nowhere, 1, "\nscoretap_up 0\n", "reading unix:///nonexistent");
    check_scrape(&["--envoy.admin", "nowhere"], 2, "", "--envoy.admin");
    check_scrape(&["--format", "xml"], 2, "", "possible values: text, openmetrics, protobuf");
}
