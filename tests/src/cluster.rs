//! A real Kubernetes: etcd, API server and controller manager as plain processes, and a node that runs pods by their
//! stored specs.
//!
//! ```text
//! let cluster = Cluster::shared();
//! let namespace = cluster.namespace("rollout");                  // its name is unique in the run
//! cluster.kubectl_stdin(&["apply", "-n", &namespace, "-f", "-"], manifest)?;
//! cluster.kubectl(&["rollout", "status", "deployment/scorer", "-n", &namespace])?;
//! ```
//!
//! The stage `cluster` of `cargo xtask test` runs the test process in its own network, PID and mount namespaces, so
//! nothing remains when it ends. All tests of the process share one cluster, and each test creates its own Kubernetes
//! namespaces. To run one test:
//!
//! ```text
//! cargo xtask test cluster -- NAME
//! ```
//!
//! To run it without `cargo xtask`, for example while you write it, with `target/dist` as `cargo xtask package` left it:
//!
//! ```text
//! cargo build -p scoretap-tests --test cluster       # the newest target/debug/deps/cluster-*
//! unshare --net --mount --ipc --pid --fork --kill-child --mount-proc target/debug/deps/cluster-… NAME
//! ```
//!
//! The programs are built once from the versions in `tests/cluster/versions.yaml`. `KUBEBUILDER_ASSETS` can name a
//! folder with existing binaries instead.

mod api;
mod container;
mod control_plane;
mod data;
mod environment;
mod images;
mod network;
mod node;
mod pod;
mod probe;
mod process;
mod quantity;
mod sandbox;
mod services;
mod status;
mod volumes;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::child::Child;
use crate::http::{Call, CallResult};
use crate::wait::{STARTUP, wait_until};
use crate::{tools, workspace};

pub use api::Api;
pub use control_plane::ADMIN_TOKEN;
use control_plane::ControlPlane;
use images::Images;
use node::{Processes, Shared};

pub use images::Image;
pub use network::NODE;
pub use process::has_users;
pub use services::{Backend, Callers, Seen};

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    folders: Folders,
    control_plane: ControlPlane,
    node: Shared,
}

/// The version of Kubernetes that the API server and the controllers emulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Mutating policies need a feature gate.
    V1_34,
    /// The same as in 1.34.
    V1_35,
    /// The first version with mutating policies in v1.
    V1_36,
    /// The version of the programs.
    V1_37,
}

impl Version {
    /// All versions.
    pub const ALL: [Self; 4] = [Self::V1_34, Self::V1_35, Self::V1_36, Self::V1_37];

    /// `1.34`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_34 => "1.34",
            Self::V1_35 => "1.35",
            Self::V1_36 => "1.36",
            Self::V1_37 => "1.37",
        }
    }
}

impl Cluster {
    /// The cluster of the newest version. The first call starts it.
    pub fn shared() -> &'static Self {
        Self::of(Version::V1_37)
    }

    /// The cluster of this version. The first call starts it, and all tests of the process share it.
    #[track_caller]
    pub fn of(version: Version) -> &'static Self {
        static CLUSTERS: [OnceLock<Result<Cluster, String>>; Version::ALL.len()] =
            [const { OnceLock::new() }; 4];
        let cluster = CLUSTERS[version as usize]
            .get_or_init(|| Self::start(version.as_str(), version).map_err(|error| format!("{error:#}")));
        cluster.as_ref().unwrap_or_else(|error| panic!("no cluster of version {}: {error}", version.as_str()))
    }

    /// Another cluster, for tests of cluster-wide objects. It ends when dropped.
    #[track_caller]
    pub fn alone(name: &str, version: Version) -> Self {
        Self::start(name, version).unwrap_or_else(|error| panic!("no cluster for {name}: {error:#}"))
    }

    fn start(name: &str, version: Version) -> Result<Self> {
        network::set_up()?;
        let folders = Folders::create(name)?;
        let emulated = (version != Version::V1_37).then(|| version.as_str());
        let control_plane = ControlPlane::start(&folders.run, &folders.logs, emulated)?;
        let node = Shared {
            api: control_plane.api,
            images: Arc::new(Images::shipped()?),
            processes: Arc::new(Processes::default()),
            run: folders.run.clone(),
            logs: folders.logs.join("pods"),
            stop: Arc::default(),
        };
        node::start(node.clone())?;
        Ok(Self { folders, control_plane, node })
    }

    /// An administrator's API client, which starts no process for each call.
    pub fn api(&self) -> Api {
        self.control_plane.api
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.control_plane.kubeconfig
    }

    /// Runs `kubectl` and returns its output. An error contains its standard error.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_stdin(args, "")
    }

    /// Like [`Cluster::kubectl`], with standard input: `&["apply", "-f", "-"]`.
    pub fn kubectl_stdin(&self, args: &[&str], text: &str) -> Result<String> {
        let mut command = Command::new(tools::cluster_program("kubectl")?);
        command.args(args);
        succeeded(args, &self.run_stdin(command, text)?)
    }

    /// Runs `helm` and returns its output.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(tools::cluster_program("helm")?);
        command.args(args);
        succeeded(args, &self.run(command)?)
    }

    /// Runs a program to its end as an administrator would: with `KUBECONFIG`, and with kubectl and helm on `PATH`.
    pub fn run(&self, command: Command) -> Result<Output> {
        self.run_stdin(command, "")
    }

    /// Like [`Cluster::run`], with standard input.
    pub fn run_stdin(&self, mut command: Command, text: &str) -> Result<Output> {
        command.env("KUBECONFIG", self.kubeconfig()).env("PATH", self.path()?).env("HOME", &self.folders.run);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("{command:?}");
        let mut child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        let mut stdin = child.stdin.take().context("standard input is a pipe")?;
        let text = text.to_owned();
        // Write in a thread while reading the output, so that neither pipe fills up.
        let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
        let output = child.wait_with_output().with_context(|| format!("cannot wait for {what}"))?;
        let _ = writer.join();
        Ok(output)
    }

    /// Starts a program in the background, as an administrator would. Its output goes to the cluster's logs.
    pub fn spawn(&self, name: &str, mut command: Command) -> Result<Child> {
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.folders.run);
        Child::spawn(name, &command, &self.folders.logs.join(format!("{name}.log")))
    }

    /// A folder with this name for files of a test. It is removed when the process ends.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folders.run.join("files").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// The API server's address for pods.
    pub fn server(&self) -> String {
        self.control_plane.server()
    }

    /// Creates a namespace with this prefix and returns its name.
    #[track_caller]
    pub fn namespace(&self, prefix: &str) -> String {
        self.namespace_with(prefix, &[])
    }

    /// Like [`Cluster::namespace`], with labels.
    #[track_caller]
    pub fn namespace_with(&self, prefix: &str, labels: &[(&str, &str)]) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|&(key, value)| (key.to_owned(), json!(value))).collect();
        let object = json!({"metadata": {"name": name, "labels": labels}});
        self.api().create("/api/v1/namespaces", &object).unwrap_or_else(|error| panic!("{error:#}"));
        // The API server rejects pods before it exists.
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        wait_until("the namespace has its account", STARTUP, || self.api().get(&account).is_ok());
        name
    }

    /// The backends of a Service, from its EndpointSlices.
    #[track_caller]
    pub fn backends(&self, namespace: &str, service: &str) -> Vec<Backend> {
        services::backends(self.api(), namespace, service).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Calls a Service once. The call goes to the next usable backend.
    #[track_caller]
    pub fn call(&self, namespace: &str, service: &str, call: Call) -> CallResult {
        services::call(self.api(), namespace, service, call).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Calls a Service continuously.
    pub fn callers(&self, namespace: &str, service: &str, call: Call) -> Callers {
        Callers::start(self.api(), namespace, service, call)
    }

    /// The pods of a namespace.
    #[track_caller]
    pub fn pods(&self, namespace: &str) -> Vec<serde_json::Value> {
        let pods = self.api().list(&format!("/api/v1/namespaces/{namespace}/pods"));
        pods.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// From now on, runs this image for pods whose image has this name (without registry and tag).
    pub fn image(&self, name: &str, image: Image) {
        self.node.images.insert(name, image);
    }

    /// The output of a container, over all its restarts.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> String {
        let path = self.node.logs.join(namespace).join(pod).join(format!("{container}.log"));
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The current process of a container.
    pub fn pid(&self, namespace: &str, pod: &str, container: &str) -> Option<u32> {
        self.node.processes.pid(&format!("{namespace}/{pod}"), container)
    }

    /// The certificate that a pod serves at this port, encoded as in Secrets.
    pub fn served_certificate(&self, namespace: &str, pod: &str, port: u16) -> Result<String> {
        let pod = self.api().get(&format!("/api/v1/namespaces/{namespace}/pods/{pod}"))?;
        let address = pod["status"]["podIP"].as_str().context("the pod has no address")?;
        let ask =
            format!("openssl s_client -connect {address}:{port} < /dev/null 2> /dev/null | openssl x509");
        let output = Command::new("sh").args(["-c", &format!("{ask} | base64 --wrap=0")]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Kills a container's process, as a crash would.
    #[track_caller]
    pub fn kill(&self, namespace: &str, pod: &str, container: &str) {
        self.signal(namespace, pod, container, Signal::KILL);
    }

    /// Stops a container's process: it accepts connections but does not answer, until [`Cluster::go_on`].
    #[track_caller]
    pub fn pause(&self, namespace: &str, pod: &str, container: &str) {
        self.signal(namespace, pod, container, Signal::STOP);
    }

    /// Ends a pause.
    #[track_caller]
    pub fn go_on(&self, namespace: &str, pod: &str, container: &str) {
        self.signal(namespace, pod, container, Signal::CONT);
    }

    #[track_caller]
    fn signal(&self, namespace: &str, pod: &str, container: &str, signal: Signal) {
        let pid = self.pid(namespace, pod, container).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.unwrap_or_else(|| panic!("{container} of {namespace}/{pod} is not running"));
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{container} of {namespace}/{pod}: {error}"));
    }

    fn path(&self) -> Result<std::ffi::OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths: Vec<PathBuf> =
            [self.folders.bin()].into_iter().chain(std::env::split_paths(&path)).collect();
        Ok(std::env::join_paths(paths)?)
    }
}

/// The folders of its files.
#[derive(Debug)]
struct Folders {
    /// A folder in memory, which disappears with the process' mount namespace.
    run: PathBuf,
    /// The output of the processes. It remains after the run.
    logs: PathBuf,
}

impl Folders {
    fn create(name: &str) -> Result<Self> {
        let run = Path::new(network::SCRATCH).join(name);
        let logs = workspace::target().join("test-logs").join(format!("cluster-{name}"));
        for folder in [&run, &logs] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let folders = Self { run, logs };
        fs::create_dir_all(folders.bin())?;
        for program in ["kubectl", "helm"] {
            symlink(tools::cluster_program(program)?, folders.bin().join(program))?;
        }
        Ok(folders)
    }

    /// One folder for `PATH`, because the programs may be in different folders.
    fn bin(&self) -> PathBuf {
        self.run.join("bin")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.node.stop.store(true, Ordering::Relaxed);
    }
}

fn succeeded(args: &[&str], output: &Output) -> Result<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed ({}): {}", args.join(" "), output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Silently runs a shell script that stops at the first failure.
fn sh(script: &str) -> Result<()> {
    let output =
        Command::new("sh").args(["-euc", script]).stdin(Stdio::null()).output().context("cannot start sh")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a script failed ({}): {}\n{script}", output.status, stderr.trim());
    Ok(())
}
