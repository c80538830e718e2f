//! The resources that the containers of a pod share: a network namespace, an address, volumes and folders.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::api::Api;
use super::{network, volumes};
use crate::child::Child;

/// The shared resources. Removed with the pod, except the containers' output.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) address: Ipv4Addr,
    pub(super) volumes: BTreeMap<String, PathBuf>,
    /// The containers' output, one file each.
    pub(super) logs: PathBuf,
    folder: PathBuf,
    /// The process that holds the namespaces. None if no container of the pod starts a process.
    pause: Option<Child>,
}

impl Sandbox {
    /// `folder` and `logs` belong to this pod alone.
    pub(super) fn create(api: Api, pod: &Value, folder: &Path, logs: &Path, idle: bool) -> Result<Self> {
        for folder in [folder, logs] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let address = network::next_address();
        let pause = if idle { None } else { Some(pause(pod, address, logs)?) };
        let volumes =
            if idle { BTreeMap::new() } else { volumes::create(api, pod, &folder.join("volumes"))? };
        Ok(Self { address, volumes, logs: logs.to_owned(), folder: folder.to_owned(), pause })
    }

    /// A folder for a container's root. It stays empty outside the container's mount namespace.
    pub(super) fn root(&self, container: &str) -> Result<PathBuf> {
        let root = self.folder.join("roots").join(container);
        fs::create_dir_all(&root)?;
        Ok(root)
    }

    /// The process whose namespaces the containers enter.
    pub(super) fn pid(&self) -> Result<u32> {
        self.pause.as_ref().map(Child::pid).context("the pod starts no processes")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn pause(pod: &Value, address: Ipv4Addr, logs: &Path) -> Result<Child> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let mut command = Command::new("unshare");
    command.args(["--net", "--uts", "--ipc", "sh", "-c", "hostname \"$0\"; exec sleep infinity", name]);
    let pause = Child::spawn("the pod's sandbox", &command, &logs.join("sandbox.log"))?;
    network::join(pause.pid(), address, &sysctls(pod))?;
    Ok(pause)
}

fn sysctls(pod: &Value) -> Vec<(String, String)> {
    let given = pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten();
    let pair =
        |sysctl: &Value| Some((sysctl["name"].as_str()?.to_owned(), sysctl["value"].as_str()?.to_owned()));
    given.filter_map(pair).collect()
}
