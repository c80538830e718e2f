//! The process under test, and a client that sends exactly what a test wants to send.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scoretap-exporter");

/// A running exporter, on a port of its own.
pub(crate) struct Exporter {
    process: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// The program with an empty environment.
pub(crate) fn program(flags: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(flags).env_clear().stdin(Stdio::null());
    command
}

/// Runs the program and returns its exit code and its output. The code is `None` if it does not exit.
pub(crate) fn run(flags: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = program(flags);
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let code = end_of(&mut process);
    drop(process.kill());
    let output = process.wait_with_output().unwrap();
    (code, String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Runs the program until it exits.
pub(crate) fn output(flags: &[&str]) -> Output {
    program(flags).output().unwrap()
}

/// The exit code; `None` if the process does not exit within ten seconds.
fn end_of(process: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

impl Exporter {
    /// Starts the exporter and waits until it serves.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_as(&mut program(&[&["--web.listen-address", "127.0.0.1:0"], flags].concat()))
    }

    /// Starts the exporter with this command and waits until it serves.
    pub(crate) fn start_as(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let url = line.split_once(" url=").and_then(|(_, url)| url.split_once("://"));
        let (_, url) = url.unwrap_or_else(|| panic!("it does not serve: {line}"));
        let address = url.split('/').next().unwrap().to_owned();
        let lines = Arc::new(Mutex::new(line));
        let written = Arc::clone(&lines);
        // Reads all lines, so that the exporter never waits for a reader.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                println!("{line}");
                writeln!(written.lock().unwrap(), "{line}").unwrap();
            }
        });
        Self { process, address, log: lines }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits for a log line with these words.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str) {
        let begun = Instant::now();
        while !self.log.lock().unwrap().contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{words}: {}", self.log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn get(&self, path: &str, headers: &[&str]) -> Answer {
        self.request("GET", path, headers)
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let mut answer = String::new();
        self.send(method, path, headers).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Sends a request without reading the answer.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// The peak of resident memory.
    pub(crate) fn most_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a signal and waits until the process exits.
    pub(crate) fn signal(&mut self, name: &str) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
        end_of(&mut self.process)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
