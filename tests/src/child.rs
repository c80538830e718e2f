//! Child processes that never outlive their use: each is stopped when dropped, and dies when this process dies in any
//! way.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::wait_for;

/// How long a child has to end by itself when asked to: enough to reap children of its own, not to finish its work.
const GRACE: Duration = Duration::from_secs(1);

/// A running child and the file that holds its output.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with its output going to the end of `log`.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut guarded = die_with_parent(command);
        guarded.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let process = spawn_in_lasting_thread(guarded).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), process, log: log.to_owned() })
    }

    /// The process' own id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// How it ended, where it has.
    pub fn exit_status(&mut self) -> Option<process::ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// All that it printed.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(self) {
        self.signal_group(Signal::KILL);
    }

    /// As [`Child::kill`], for somebody who waits for the end.
    pub fn signal_kill(&self) {
        self.signal_group(Signal::KILL);
    }

    /// Asks it to end, as the kubelet does, and gives it all the time that it takes.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it and all that it started, until [`Child::go_on`].
    pub fn pause(&self) {
        self.signal_group(Signal::STOP);
    }

    /// Lets it run on.
    pub fn go_on(&self) {
        self.signal_group(Signal::CONT);
    }

    /// Waits until `ready` says so. Fails at once where the child has ended, with the last lines of its output.
    pub fn wait_ready(&mut self, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let what = format!("{} is ready", self.name);
        let mut running = true;
        let result = wait_for(&what, deadline, || {
            running = self.is_running();
            !running || ready()
        });
        match result {
            Ok(()) if running => Ok(()),
            Ok(()) => Err(anyhow!("{} ended while it started", self.name)),
            Err(error) => Err(error),
        }
        .with_context(|| self.diagnosis())
    }

    /// The last lines of its output and where all of it is.
    pub fn diagnosis(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
        format!("{} wrote to {}, at the end:\n  {tail}\n", self.name, self.log.display())
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.raw_pid() {
            let _ = kill_process(process, signal);
        }
    }

    /// gunicorn's workers are children of the child.
    fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.raw_pid() {
            let _ = kill_process_group(group, signal);
        }
    }

    fn raw_pid(&self) -> Option<Pid> {
        i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::TERM);
            let _ = wait_for("it has ended", GRACE, || !self.is_running());
        }
        self.signal_group(Signal::KILL);
        let _ = self.process.wait();
    }
}

/// The memory that a process has now, in kilobytes.
pub fn memory(pid: u32) -> Result<u64> {
    memory_line(pid, "VmRSS:")
}

/// The part of [`memory`] that is the process' own and no file's, in kilobytes.
pub fn anonymous_memory(pid: u32) -> Result<u64> {
    memory_line(pid, "RssAnon:")
}

/// The most memory that a process ever had at once, in kilobytes.
pub fn most_memory(pid: u32) -> Result<u64> {
    memory_line(pid, "VmHWM:")
}

fn memory_line(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.with_context(|| format!("{path} has no number of kB at {name}"))
}

/// The same command under `setpriv`, which has the kernel kill the child when its parent dies and then becomes it.
///
/// Setting this from Rust would need `unsafe`. Where there is no setpriv, a killed test run leaves children behind.
fn die_with_parent(command: &Command) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let there = SETPRIV.get_or_init(|| {
        let probe = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    let mut guarded = if *there {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    guarded.args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        guarded.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    guarded
}

/// For the kernel the parent is the *thread* that started the child: each test has a thread of its own, and a child
/// that several tests share must not die with the first of them.
fn spawn_in_lasting_thread(command: Command) -> std::io::Result<process::Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<process::Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, child) = mpsc::channel();
    let gone = || std::io::Error::other("the thread that starts children is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
