//! A cluster as kubectl shows it: what it was asked is noted, what it answers was recorded.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};

/// Answers to kubectl and helm. The first that fits is given.
#[derive(Debug)]
pub(crate) struct Cluster {
    folders: Folders,
    answers: Vec<(String, i32, String)>,
}

/// What a script did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// What kubectl and helm were asked, a line each.
    pub(crate) asked: Vec<String>,
    /// What they were given on standard input.
    pub(crate) said: String,
}

impl Cluster {
    /// One that can be reached, and has nothing.
    pub(crate) fn new(name: &str) -> Self {
        let mut cluster =
            Self { folders: Folders::create(&format!("operate-{name}")).unwrap(), answers: vec![] };
        cluster.answers("kubectl get --raw /version", "{\n  \"major\": \"1\",\n  \"minor\": \"36+\"\n}");
        cluster
    }

    /// What is answered to a command line; one that ends in `…` may go on.
    pub(crate) fn answers(&mut self, asked: &str, answer: &str) {
        self.answers.push((asked.to_owned(), 0, answer.to_owned()));
    }

    /// A command line that fails.
    pub(crate) fn refuses(&mut self, asked: &str, error: &str) {
        self.answers.push((asked.to_owned(), 1, error.to_owned()));
    }

    /// Another answer than the one that was recorded.
    pub(crate) fn instead(&mut self, asked: &str, code: i32, answer: &str) {
        self.answers.insert(0, (asked.to_owned(), code, answer.to_owned()));
    }

    /// A folder to put the fake programs, and nothing else, in front of PATH.
    fn programs(&self) -> PathBuf {
        let bin = self.folders.run.join("bin");
        fs::create_dir_all(&bin).unwrap();
        for program in ["kubectl", "helm"] {
            let file = bin.join(program);
            fs::copy(workspace::root().join("tests/tests/operate/fake.sh"), &file).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    /// Runs a script below `k8s/`.
    ///
    /// # Panics
    ///
    /// Where it asks what nobody recorded.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Ended {
        let program = workspace::root().join("k8s").join(script);
        self.end(Command::new(program).args(arguments).stdin(Stdio::null()), &full_path())
    }

    /// Runs a script below `k8s/` where there is little on PATH: neither jq nor Helm's or kubectl's real ones.
    #[track_caller]
    pub(crate) fn run_on_a_bare_machine(&self, script: &str, argument: &str) -> Ended {
        let tools = self.folders.run.join("tools");
        fs::create_dir_all(&tools).unwrap();
        for tool in ["sh", "cat", "dirname", "grep", "head", "mktemp", "rm", "sed"] {
            let found = std::env::split_paths(&full_path())
                .map(|folder| folder.join(tool))
                .find(|file| file.is_file());
            symlink(found.unwrap(), tools.join(tool)).unwrap();
        }
        let program = workspace::root().join("k8s").join(script);
        self.end(Command::new(program).arg(argument).stdin(Stdio::null()), tools.as_os_str())
    }

    /// Runs a script below `k8s/` for somebody at a terminal, who types this.
    #[track_caller]
    pub(crate) fn run_at_a_terminal(&self, script: &str, argument: &str, typed: &str) -> Ended {
        let program = workspace::root().join("k8s").join(script);
        let typing = self.folders.run.join("typing");
        fs::write(&typing, typed).unwrap();
        let line = format!("'{}' {argument}", program.display());
        let terminal = ["--quiet", "--return", "--command", &line, "/dev/null"];
        self.end(Command::new("script").args(terminal).stdin(fs::File::open(typing).unwrap()), &full_path())
    }

    #[track_caller]
    fn end(&self, command: &mut Command, path: &OsStr) -> Ended {
        let fake = self.folders.run.join("fake");
        let _ = fs::remove_dir_all(&fake);
        fs::create_dir_all(&fake).unwrap();
        let mut record = String::new();
        for (number, (asked, code, answer)) in self.answers.iter().enumerate() {
            fs::write(fake.join(number.to_string()), answer).unwrap();
            record += &format!("{number} {code} {asked}\n");
        }
        fs::write(fake.join("record"), record).unwrap();
        let path = [self.programs()].into_iter().chain(std::env::split_paths(path));
        let output = command
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("FAKE", &fake)
            .env("TMPDIR", &self.folders.run)
            .output()
            .unwrap();
        let read = |name: &str| fs::read_to_string(fake.join(name)).unwrap_or_default();
        assert_eq!(read("unexpected"), "", "nobody recorded an answer");
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            asked: read("asked").lines().map(str::to_owned).collect(),
            said: read("said"),
        }
    }
}

/// PATH with jq on it.
fn full_path() -> OsString {
    let own = std::env::var_os("PATH").unwrap();
    let jq = tools::jq().unwrap().parent().unwrap().to_owned();
    std::env::join_paths(std::env::split_paths(&own).chain([jq])).unwrap()
}
