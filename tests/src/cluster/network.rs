//! The cluster's network: a bridge that connects the network namespaces of all pods.
//!
//! The test process, the control plane and the node share one network namespace. Pods reach each other over the bridge,
//! and the control plane at [`NODE`].

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::sh;
use crate::wait::wait_for;

/// The address of the node and of all processes in the control plane's namespace.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Addresses of Services.
pub(super) const SERVICES: &str = "10.96.0.0/16";

/// The folder of all files. It is in the process' own mount namespace, so nothing has to be removed.
pub(super) const SCRATCH: &str = "/var/tmp";

/// The first address of pods. A run never assigns an address twice.
const FIRST_POD: u16 = 256;

/// Sets up the namespace, once for the whole process.
pub(super) fn set_up() -> Result<()> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| create().map_err(|error| format!("{error:#}")));
    done.clone().map_err(anyhow::Error::msg)
}

fn create() -> Result<()> {
    ensure!(
        is_own_namespace()?,
        "this process shares the machine's network: run it by `cargo xtask test cluster`, which gives it a namespace of its own"
    );
    // Make the addresses of Services local, so that a proxy in this process can listen at each of them.
    sh(&format!(
        "ip link set lo up
         ip link add pods type bridge
         ip addr add {NODE}/16 dev pods
         ip link set pods up
         ip route add local {SERVICES} dev lo
         mount -t tmpfs -o mode=0755 scratch {SCRATCH}"
    ))
    .context("cannot set up the cluster's namespaces; is iproute2 installed?")
}

fn is_own_namespace() -> Result<bool> {
    let devices = std::fs::read_to_string("/proc/net/dev").context("cannot read /proc/net/dev")?;
    Ok(devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")))
}

/// The next unused address.
pub(super) fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST_POD);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(10, 244, high, low)
}

/// Connects the network namespace of process `pid` to the bridge, with this address.
pub(super) fn join(pid: u32, address: Ipv4Addr, sysctls: &[(String, String)]) -> Result<()> {
    wait_for("the pod has a network namespace", Duration::from_secs(10), || {
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        of(&pid.to_string()).is_some_and(|theirs| Some(theirs) != of("self"))
    })?;
    let [.., high, low] = address.octets();
    let settings: Vec<String> = sysctls
        .iter()
        .map(|(name, value)| format!("echo '{value}' > /proc/sys/{}", name.replace('.', "/")))
        .collect();
    sh(&format!(
        "ip link add pod{high}x{low} type veth peer name eth0 netns {pid}
         ip link set pod{high}x{low} master pods up
         nsenter --target {pid} --net sh -eu <<'INSIDE'
         ip link set lo up
         ip addr add {address}/16 dev eth0
         ip link set eth0 up
         ip route add default via {NODE}
         {}
INSIDE",
        settings.join("\n")
    ))
    .with_context(|| format!("cannot join {address} to the cluster's network"))
}
