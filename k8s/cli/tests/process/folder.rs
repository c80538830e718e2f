//! A folder with the files that the commands read.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub(crate) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    /// With a valid file of each kind.
    pub(crate) fn new() -> Self {
        let new = Self { folder: tempfile::tempdir().unwrap() };
        new.write_metrics(&["a_requests_total"]);
        new.write("predictions.csv", "p\n1\n2\n");
        new.write("pod.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n");
        new
    }

    /// Writes a dialect with these metrics, and an alert on each.
    pub(crate) fn write_metrics(&self, names: &[&str]) {
        let family = |name: &&str| format!("- name: {name}\n  help: Calls.\n  measure: calls\n");
        let families: String = names.iter().map(family).collect();
        self.write("a.yaml", &format!("dialect: a\nfamilies:\n{families}"));
        self.write_rules("rules.yml", names);
    }

    /// Writes rules with an alert on each of these metrics.
    pub(crate) fn write_rules(&self, file: &str, names: &[&str]) {
        let rules: Vec<String> = names.iter().map(|name| format!("{{alert: A, expr: {name}}}")).collect();
        self.write(file, &format!("groups: [{{name: a, rules: [{}]}}]\n", rules.join(", ")));
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with these words, separated by spaces.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scoretap"));
        command.current_dir(self.folder.path()).args(words.split(' ')).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &str) -> Ran {
        self.command(words).output().unwrap().into()
    }
}

/// The end of a command, and what it printed.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) shown: String,
    pub(crate) said: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let [shown, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Self { status: output.status.code(), shown, said }
    }
}
