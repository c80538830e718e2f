//! etcd, the API server and the controller manager as plain processes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::api::Api;
use super::network::{NODE, SERVICES};
use super::sh;
use crate::child::Child;
use crate::http::{self, Endpoint};
use crate::{ports, tools};

/// A busy machine needs long to start a control plane; an idle one needs four seconds.
const STARTUP: Duration = Duration::from_secs(120);

/// The administrator's token. It is valid only in the cluster's own network.
pub const ADMIN_TOKEN: &str = "admin-token";

/// The running processes. Each ends when it is dropped.
#[derive(Debug)]
pub(super) struct ControlPlane {
    pub(super) api: Api,
    pub(super) kubeconfig: PathBuf,
    port: u16,
    _processes: Vec<Child>,
}

/// The folders of the files, and the emulated version of Kubernetes.
struct Starting<'a> {
    run: &'a Path,
    logs: &'a Path,
    emulated: Option<&'a str>,
    port: u16,
}

impl ControlPlane {
    /// Starts all of them and waits until they answer. `emulated`: an earlier version of Kubernetes, such as `1.34`.
    pub(super) fn start(run: &Path, logs: &Path, emulated: Option<&str>) -> Result<Self> {
        let starting = Starting { run, logs, emulated, port: ports::free() };
        starting.write_keys()?;
        let kubeconfig = starting.write_kubeconfig()?;
        let etcd_port = ports::free();
        let etcd = starting.etcd(etcd_port)?;
        let mut api_server = starting.api_server(etcd_port)?;
        let proxy_port = ports::free();
        let mut proxy = starting.proxy(&kubeconfig, proxy_port)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy_port));
        api_server.wait_ready(STARTUP, || {
            proxy.is_running()
                && http::get(&Endpoint::Tcp(address), "/readyz").is_ok_and(|answer| answer == "ok")
        })?;
        let manager = starting.controller_manager(&kubeconfig)?;
        Ok(Self {
            api: Api::new(address),
            kubeconfig,
            port: starting.port,
            _processes: vec![proxy, manager, api_server, etcd],
        })
    }
}

impl ControlPlane {
    /// The address of the API server.
    pub(super) fn server(&self) -> String {
        format!("https://{NODE}:{}", self.port)
    }
}

impl Starting<'_> {
    fn write_keys(&self) -> Result<()> {
        fs::write(self.run.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,1,system:masters\n"))?;
        sh(&format!("openssl genrsa -out {}/sa.key 2048", self.run.display())).context("openssl is needed")
    }

    fn write_kubeconfig(&self) -> Result<PathBuf> {
        let path = self.run.join("kubeconfig");
        let text = format!(
            "apiVersion: v1
kind: Config
current-context: tests
clusters: [{{name: tests, cluster: {{server: 'https://{NODE}:{}', insecure-skip-tls-verify: true}}}}]
users: [{{name: admin, user: {{token: {ADMIN_TOKEN}}}}}]
contexts: [{{name: tests, context: {{cluster: tests, user: admin}}}}]
",
            self.port
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    fn etcd(&self, port: u16) -> Result<Child> {
        let mut command = Command::new(tools::cluster_program("etcd")?);
        let client = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{}", ports::free());
        command.arg("--data-dir").arg(self.run.join("etcd")).arg("--unsafe-no-fsync");
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--log-level", "warn"]);
        self.spawn("etcd", &command)
    }

    fn api_server(&self, etcd: u16) -> Result<Child> {
        let mut command = Command::new(tools::cluster_program("kube-apiserver")?);
        let key = self.run.join("sa.key");
        command.arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"));
        command.arg(format!("--bind-address={NODE}")).arg(format!("--advertise-address={NODE}"));
        command
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--service-cluster-ip-range={SERVICES}"));
        command
            .arg("--endpoint-reconciler-type=none")
            .arg("--authorization-mode=RBAC")
            .arg("--allow-privileged");
        command.arg("--service-account-issuer=https://kubernetes.default.svc");
        command
            .arg("--service-account-key-file")
            .arg(&key)
            .arg("--service-account-signing-key-file")
            .arg(&key);
        command.arg("--token-auth-file").arg(self.run.join("tokens.csv"));
        command.arg("--cert-dir").arg(self.run.join("certs"));
        // Calls of webhooks and the Service proxy go directly to pods, so that cluster addresses need no routes.
        command.arg("--enable-aggregator-routing=true");
        self.emulate(&mut command);
        self.spawn("kube-apiserver", &command)
    }

    fn controller_manager(&self, kubeconfig: &Path) -> Result<Child> {
        let mut command = Command::new(tools::cluster_program("kube-controller-manager")?);
        command.arg("--kubeconfig").arg(kubeconfig);
        command.arg("--service-account-private-key-file").arg(self.run.join("sa.key"));
        // With it, namespaces get `kube-root-ca.crt`, which pods mount.
        command.arg("--root-ca-file").arg(self.run.join("certs/apiserver.crt"));
        command.arg("--cert-dir").arg(self.run.join("certs-of-manager"));
        command.args([
            "--leader-elect=false",
            "--use-service-account-credentials",
            "--bind-address=127.0.0.1",
        ]);
        command.arg(format!("--secure-port={}", ports::free()));
        // This controller would evict pods, because nothing renews the node's lease.
        command.arg("--controllers=*,-node-lifecycle-controller");
        command.args(["--kube-api-qps=500", "--kube-api-burst=1000"]);
        self.emulate(&mut command);
        self.spawn("kube-controller-manager", &command)
    }

    fn proxy(&self, kubeconfig: &Path, port: u16) -> Result<Child> {
        let mut command = Command::new(tools::cluster_program("kubectl")?);
        command.arg("--kubeconfig").arg(kubeconfig).args(["proxy", "--port", &port.to_string()]);
        self.spawn("kubectl-proxy", &command)
    }

    fn emulate(&self, command: &mut Command) {
        if let Some(version) = self.emulated {
            command.arg(format!("--emulated-version={version}"));
        }
    }

    fn spawn(&self, name: &str, command: &Command) -> Result<Child> {
        Child::spawn(name, command, &self.logs.join(format!("{name}.log")))
    }
}
