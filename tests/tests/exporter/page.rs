//! The landing page in a browser, and as text.

use std::fs;
use std::process::Command;

use scoretap_tests::http::{Call, Endpoint};
use scoretap_tests::stack::Stack;
use scoretap_tests::tools;

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;

#[test]
fn the_landing_page_shows_what_was_called_in_a_browser() {
    let stack = Stack::builder("exporter-page").exporter_env("MODEL_NAME", "tutorial").start().unwrap();
    for _ in 0..20 {
        assert_eq!(stack.call(Call::post("/score", ROW)).unwrap().status, 200);
    }
    assert_eq!(stack.call(Call::post("/score", "{")).unwrap().status, 400);
    assert_eq!(stack.call(Call::post("/v1/models/%3Cscript%3E:predict", ROW)).unwrap().status, 200);
    stack.settle();
    let Endpoint::Tcp(exporter) = stack.exporter else { panic!("the exporter is on TCP") };
    let picture = stack.folders.logs.join("page.png");
    let shot =
        browse(&stack, exporter, &[&format!("--screenshot={}", picture.display()), "--window-size=1000,600"]);
    let png = fs::read(&picture).unwrap_or_else(|error| panic!("{error}: {shot}"));
    assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{} bytes", png.len());
    let page = browse(&stack, exporter, &["--dump-dom"]);
    for cell in [
        "<td>score</td><td>tutorial</td>",
        "invalid_input 1",
        "<td class=\"n\">21</td>",
        "&lt;script&gt;",
        "href=\"/metrics\"",
    ] {
        assert!(page.contains(cell), "{cell} is not in\n{page}");
    }
}

fn browse(stack: &Stack, exporter: std::net::SocketAddr, flags: &[&str]) -> String {
    let mut command: Command = tools::chromium().unwrap();
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", stack.folders.run.join("browser").display()));
    let output = command.args(flags).arg(format!("http://{exporter}/")).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
