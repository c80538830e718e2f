//! A small container runtime: runs a process in the pod's namespaces, with its own root and the pod's user.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::api::Api;
use super::environment::{self, Variables};
use super::images::{Image, PROGRAMS};
use super::network::NODE;
use super::sandbox::Sandbox;
use crate::child::Child;
use crate::{tools, workspace};

/// Folders that are read-only in every container. The machine's own programs replace those of images.
const SKELETON: &str = r#"
mount -t tmpfs -o mode=0755 root "$root"
for entry in /*; do
  case $entry in /proc|/sys|/dev|/etc|/tmp|/run|/var|/lost+found) continue ;; esac
  if [ -L "$entry" ]; then
    cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then
    mkdir "$root$entry"
    mount --rbind "$entry" "$root$entry"
    mount -o remount,bind,ro "$root$entry" 2> /dev/null || true
  fi
done
for entry in proc sys dev; do
  mkdir "$root/$entry"
  mount --rbind "/$entry" "$root/$entry"
done
mkdir "$root/run" "$root/var" "$root/etc" "$root/tmp"
ln -s /run "$root/var/run"
for entry in alternatives ca-certificates group ld.so.cache localtime nsswitch.conf passwd ssl; do
  if [ -d "/etc/$entry" ]; then
    mkdir "$root/etc/$entry"
    mount --bind "/etc/$entry" "$root/etc/$entry"
  elif [ -f "/etc/$entry" ]; then
    cp "/etc/$entry" "$root/etc/$entry"
  fi
done
echo "127.0.0.1 localhost $(hostname)" > "$root/etc/hosts"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
bind() {
  if [ -d "$1" ]; then
    mkdir -p "$root$2"
  else
    mkdir -p "$(dirname "$root$2")"
    touch "$root$2"
  fi
  mount --rbind "$1" "$root$2"
}
"#;

/// Containers can have other users than root only if the namespace maps all users.
static HAS_USERS: LazyLock<bool> = LazyLock::new(|| {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
});

/// Whether containers run as their pods' users. Otherwise all run as the namespace's root.
pub fn has_users() -> bool {
    *HAS_USERS
}

/// The parameters of a container's process, and of commands that probes and hooks run in the container.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) name: String,
    words: Vec<String>,
    variables: Variables,
    directory: Option<String>,
    user: Option<(u64, u64)>,
}

impl Launch {
    /// Reads the parameters from the pod's stored spec and the image.
    pub(super) fn of(api: Api, pod: &Value, container: &Value, image: &Image) -> Result<Self> {
        let mut variables = vec![
            (
                "PATH".to_owned(),
                format!("{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ),
            ("HOSTNAME".to_owned(), pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()),
            ("HOME".to_owned(), "/tmp".to_owned()),
            ("KUBERNETES_SERVICE_HOST".to_owned(), NODE.to_string()),
        ];
        variables.extend(image.environment.iter().cloned());
        variables.extend(environment::resolve(api, pod, container)?);
        let list = |field: &str| {
            let words = container[field].as_array()?;
            let words = words.iter().filter_map(Value::as_str);
            Some(words.map(|word| environment::expand(word, &variables)).collect::<Vec<_>>())
        };
        // In the kubelet, a command replaces the image's arguments too.
        let mut words = list("command").unwrap_or_else(|| image.entrypoint.clone());
        words.extend(list("args").unwrap_or_default());
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        ensure!(!words.is_empty(), "container {name} has no command, and neither has its image");
        let directory = container["workingDir"].as_str().map(str::to_owned);
        Ok(Self { name, words, variables, directory, user: user(pod, container) })
    }

    /// Starts the process. Its output is appended to its log.
    pub(super) fn start(&self, sandbox: &Sandbox, container: &Value, image: &Image) -> Result<Child> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &sandbox.pid()?.to_string(), "--net", "--uts", "--ipc", "--"]);
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-euc"]);
        command.arg(self.script(sandbox, container, image)?);
        Child::spawn(&self.name, &command, &sandbox.logs.join(format!("{}.log", self.name)))
    }

    /// Runs a command in the running container `pid` to its end.
    pub(super) fn exec(&self, pid: u32, words: &[String]) -> Result<Output> {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &pid.to_string(),
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--root",
            "--wd",
            "--",
        ]);
        command.args(self.as_user(words)).stdin(Stdio::null());
        command.output().context("cannot start nsenter")
    }

    fn script(&self, sandbox: &Sandbox, container: &Value, image: &Image) -> Result<String> {
        let root = sandbox.root(&self.name)?;
        let mut script = format!("root={}\n{SKELETON}", quote(&root.display().to_string()));
        // The container's own /tmp hides it.
        for folder in [workspace::root(), tools::tools_dir()] {
            if let Some(folder) = folder.canonicalize().ok().filter(|folder| folder.starts_with("/tmp")) {
                write_bind(&mut script, &folder, &folder.display().to_string())?;
            }
        }
        for (file, path) in &image.files {
            write_bind(&mut script, file, path)?;
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let name = mount["name"].as_str().unwrap_or_default();
            let volume =
                sandbox.volumes.get(name).with_context(|| format!("the pod has no volume {name}"))?;
            let source = volume.join(mount["subPath"].as_str().unwrap_or_default());
            let path = mount["mountPath"].as_str().unwrap_or_default();
            write_bind(&mut script, &source, path)?;
            if mount["readOnly"] == true {
                writeln!(script, "mount -o remount,bind,ro \"$root\"{}", quote(path))?;
            }
        }
        if container["securityContext"]["readOnlyRootFilesystem"] == true {
            writeln!(script, "mount -o remount,ro \"$root\"")?;
        }
        let words: Vec<String> = self.as_user(&self.words).iter().map(|word| quote(word)).collect();
        writeln!(script, "exec chroot \"$root\" {}", words.join(" "))?;
        Ok(script)
    }

    fn as_user(&self, words: &[String]) -> Vec<String> {
        let mut all: Vec<String> = vec!["setpriv".into()];
        if let Some((user, group)) = self.user.filter(|_| has_users()) {
            all.extend([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
        }
        all.extend(["--".into(), "env".into(), "-i".into()]);
        all.extend(self.directory.iter().map(|directory| format!("--chdir={directory}")));
        all.extend(self.variables.iter().map(|(name, value)| format!("{name}={value}")));
        all.extend(words.iter().cloned());
        all
    }
}

/// The container's own setting wins over the pod's.
fn user(pod: &Value, container: &Value) -> Option<(u64, u64)> {
    let setting = |name: &str| {
        container["securityContext"][name].as_u64().or(pod["spec"]["securityContext"][name].as_u64())
    };
    let user = setting("runAsUser")?;
    Some((user, setting("runAsGroup").unwrap_or(0)))
}

fn write_bind(script: &mut String, source: &Path, path: &str) -> Result<()> {
    ensure!(source.exists(), "{} is not there", source.display());
    writeln!(script, "bind {} {}", quote(&source.display().to_string()), quote(path))?;
    Ok(())
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
