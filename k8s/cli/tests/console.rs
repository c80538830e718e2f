//! The commands end quietly when nobody reads what they print, as with `| head`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let new = Self { folder: tempfile::tempdir().unwrap() };
        let rules = "groups: [{name: a, rules: [{alert: A, expr: 'a_requests_total > 1'}]}]\n";
        new.write("rules.yml", rules);
        new.write("predictions.csv", "p\n1\n2\n");
        let families = "families:\n- name: a_requests_total\n  help: Calls.\n  measure: calls\n";
        new.write("a.yaml", &format!("dialect: a\n{families}"));
        new.write("pod.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n");
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scoretap"));
        command.current_dir(self.folder.path()).args(words.split(' ')).stdin(Stdio::null());
        command
    }
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

const MAKE: &str = "dialect make --name a rules.yml";
const BASELINE: &str = "baseline make predictions.csv --column p --route score";

#[track_caller]
fn check_quiet(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}: {said}");
    assert!(!said.contains("panicked") && !said.contains("error"), "{words}: {said}");
}

#[test]
fn closed_output_ends_commands_quietly() {
    let folder = Folder::new();
    let check = |words: &str| {
        let output = folder.command(words).stdout(closed()).output().unwrap();
        check_quiet(&output, words);
    };
    check(MAKE);
    check("dialect make --name a rules.yml --output made.yaml --report made.json");
    check(BASELINE);
    check("inject -f pod.yaml");
    // The files are complete although nobody read the table.
    assert!(folder.path("made.yaml").exists() && folder.path("made.json").exists());
}

#[test]
fn closed_error_output_ends_commands_quietly() {
    let folder = Folder::new();
    for words in [MAKE, BASELINE] {
        let output = folder.command(words).stdout(closed()).stderr(closed()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}");
    }
}

#[test]
fn closed_output_ends_dialect_check_quietly() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let body = r#"{"status": "success", "data": []}"#;
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    let folder = Folder::new();
    let words = format!("dialect check a.yaml rules.yml --prometheus http://{address}");
    let output = folder.command(&words).stdout(closed()).output().unwrap();
    check_quiet(&output, &words);
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_is_an_error() {
    let folder = Folder::new();
    for words in [MAKE, BASELINE] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = folder.command(words).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{words}: {said}");
        assert!(said.contains("error: cannot write to standard output"), "{words}: {said}");
    }
}
