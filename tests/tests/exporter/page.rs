//! The landing page in a browser, at desktop and phone width, light and dark.

use std::fs;
use std::path::PathBuf;

use scoretap_tests::http::{self, Call, Endpoint};
use scoretap_tests::stack::Stack;
use scoretap_tests::{browser, tools};

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;

/// Widths in pixels.
const DESKTOP: u32 = 1000;
const PHONE: u32 = 390;

/// Headless Chromium has no narrower window, so a phone is an iframe of that width.
const MEASURE: &str = "<script>
const frame = document.createElement('iframe');
frame.width = WIDTH; frame.height = 20000; frame.style.border = 0;
frame.onload = () => { document.title = 'scroll width ' + frame.contentDocument.documentElement.scrollWidth; };
frame.srcdoc = PAGE;
document.documentElement.appendChild(frame);
</script>";

#[test]
fn landing_page_fits_desktop_and_phone() {
    let Ok(_) = tools::chromium().inspect_err(|error| eprintln!("NOT RUN: there is no browser: {error:#}"))
    else {
        return;
    };
    let stack = Stack::builder("exporter-page").exporter_env("MODEL_NAME", "tutorial").start().unwrap();
    for _ in 0..20 {
        assert_eq!(stack.call(Call::post("/score", ROW)).unwrap().status, 200);
    }
    assert_eq!(stack.call(Call::post("/score", "{")).unwrap().status, 400);
    assert_eq!(stack.call(Call::post("/v1/models/%3Cscript%3E:predict", ROW)).unwrap().status, 200);
    stack.settle();
    let Endpoint::Tcp(exporter) = stack.exporter else { panic!("the exporter is on TCP") };
    let url = format!("http://{exporter}/");
    let page = browse(&stack, &["--dump-dom"], &url);
    for part in [
        "<b>score</b> <span>tutorial unknown</span>",
        "invalid_input 1 (",
        "21 calls",
        "aria-label=\"Latency distribution\"",
        "&lt;script&gt;",
        "href=\"/metrics\"",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    let light = screenshot(&stack, &url, "light", &[]);
    let dark = screenshot(&stack, &url, "dark", &["--blink-settings=preferredColorScheme=0"]);
    assert_ne!(light, dark, "the dark scheme is the light one");
    let html = http::get(&stack.exporter, "/").unwrap();
    for width in [DESKTOP, PHONE] {
        let quoted = serde_json::to_string(&html).unwrap().replace("</", "<\\/");
        let wrapper = MEASURE.replace("WIDTH", &width.to_string()).replace("PAGE", &quoted);
        let file = stack.folders.run.join("measure.html");
        fs::write(&file, wrapper).unwrap();
        let measured = browse(&stack, &["--dump-dom"], &format!("file://{}", file.display()));
        assert!(measured.contains(&format!("<title>scroll width {width}</title>")), "{width}: {measured}");
    }
}

fn screenshot(stack: &Stack, url: &str, name: &str, flags: &[&str]) -> Vec<u8> {
    let picture = stack.folders.logs.join(format!("page-{name}.png"));
    browser::screenshot(&profile(stack), url, &picture, (1000, 600), flags).unwrap()
}

fn browse(stack: &Stack, flags: &[&str], url: &str) -> String {
    browser::browse(&profile(stack), flags, url).unwrap()
}

fn profile(stack: &Stack) -> PathBuf {
    stack.folders.run.join("browser")
}
