//! The commands end quietly when nobody reads what they print, as with `| head`.

use std::fs::File;
use std::process::Stdio;

use crate::folder::{Folder, Ran};
use crate::prometheus;

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

const MAKE: &str = "dialect make --name a rules.yml";
const BASELINE: &str = "baseline make predictions.csv --column p --route score";

/// Runs a command whose output nobody reads.
#[track_caller]
fn check_quiet(folder: &Folder, words: &str) {
    let Ran { status, said, .. } = folder.command(words).stdout(closed()).output().unwrap().into();
    assert_eq!(status, Some(0), "{words}: {said}");
    assert!(!said.contains("panicked") && !said.contains("error"), "{words}: {said}");
}

#[test]
fn closed_output_ends_commands_quietly() {
    let folder = Folder::new();
    check_quiet(&folder, MAKE);
    check_quiet(&folder, "dialect make --name a rules.yml --output made.yaml --report made.json");
    check_quiet(&folder, BASELINE);
    check_quiet(&folder, "inject -f pod.yaml");
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
    let url = prometheus::serve(|_| Some(("200 OK", r#"{"status": "success", "data": []}"#)));
    check_quiet(&Folder::new(), &format!("dialect check a.yaml rules.yml --prometheus {url}"));
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_is_an_error() {
    let folder = Folder::new();
    for words in [MAKE, BASELINE] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let Ran { status, said, .. } = folder.command(words).stdout(full).output().unwrap().into();
        assert_eq!(status, Some(3), "{words}: {said}");
        assert!(said.contains("error: cannot write to standard output"), "{words}: {said}");
    }
}
