//! The programs of the tests' clusters, built once by Go from the versions in `tests/cluster/versions.yaml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::install::{on_path, once, run, step};
use crate::workspace;

const ADVICE: &str = "is Go's module proxy reachable?";
/// Between two lines that say that a long build goes on.
const STILL_BUILDING: Duration = Duration::from_secs(30);

/// Which programs are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// etcd, Kubernetes and helm.
    Core,
    /// prometheus-operator, Prometheus and istiod.
    Full,
}

#[derive(Deserialize)]
struct Versions {
    core: Vec<Module>,
    full: Vec<Module>,
    /// Never built: they hold custom resource definitions.
    sources: Vec<Module>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    name: String,
    module: String,
    version: String,
    /// The version of the modules that its go.mod replaces by folders.
    #[serde(default)]
    staging: Option<String>,
    /// Folders that its go.mod puts in place of modules of the same version.
    #[serde(default)]
    submodules: Vec<String>,
    /// Names and packages.
    #[serde(default)]
    programs: BTreeMap<String, String>,
    /// Set by the linker.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

static VERSIONS: LazyLock<Result<Versions, String>> = LazyLock::new(|| {
    let path = workspace::root().join("tests/cluster/versions.yaml");
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_norway::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
});

/// Builds what is missing of this tier.
pub fn cluster_programs(tier: Tier) -> Result<()> {
    modules(tier)?.iter().filter(|module| !module.is_built()).try_for_each(Module::build)
}

/// The first reason why programs of this tier are not there yet: nothing is built to find out.
pub fn missing_cluster_program(tier: Tier) -> Result<Option<String>> {
    let missing = modules(tier)?.iter().find(|module| !module.is_built());
    Ok(missing.map(|module| format!("{} {} is not built", module.name, module.version)))
}

/// Whether programs that are missing can be built here.
pub fn can_build_cluster_programs() -> bool {
    on_path("go").is_some()
}

/// A program by its name. Fails where it has not been built.
pub fn cluster_program(name: &str) -> Result<PathBuf> {
    let (core, full) = (modules(Tier::Core)?, modules(Tier::Full)?);
    let module = core.iter().chain(full).find(|module| module.programs.contains_key(name));
    let module = module.with_context(|| format!("tests/cluster/versions.yaml names no program {name}"))?;
    let found = module.find(name);
    found.with_context(|| format!("{name} is not built: run `cargo xtask test cluster` (or cluster-full)"))
}

/// Helm as built for the clusters, or the system's own.
pub fn helm() -> Result<PathBuf> {
    cluster_program("helm").or_else(|_| {
        on_path("helm").context("helm is neither built (`cargo xtask test cluster` does) nor on PATH")
    })
}

/// A program that reads expositions with Prometheus' own parsers. Needs Go on PATH.
pub fn textparse() -> Result<PathBuf> {
    const SOURCE: &str = include_str!("textparse.go");
    let all = modules(Tier::Full)?;
    let prometheus = all.iter().find(|module| module.name == "prometheus");
    let prometheus = prometheus.context("tests/cluster/versions.yaml names no module prometheus")?;
    let requirement = format!("-require={}@{}", prometheus.module, prometheus.version);
    let folder = once("textparse", &format!("{requirement}\n{SOURCE}"), |folder| {
        fs::write(folder.join("main.go"), SOURCE)?;
        run(&mut go(folder, &["mod", "init", "scoretap.dev/tests/textparse"]), ADVICE)?;
        run(&mut go(folder, &["mod", "edit", &requirement]), ADVICE)?;
        run(&mut go(folder, &["mod", "tidy"]), ADVICE)?;
        step("Prometheus' parsers", &mut go(folder, &["build", "-o", "textparse", "."]), ADVICE)
    })?;
    Ok(folder.join("textparse"))
}

/// A folder of the module's sources as Go downloaded them: manifests are among them.
pub fn cluster_sources(name: &str) -> Result<PathBuf> {
    let versions = VERSIONS.as_ref().map_err(|error| anyhow::Error::msg(error.clone()))?;
    let all = versions.core.iter().chain(&versions.full).chain(&versions.sources);
    let module = all.into_iter().find(|module| module.name == name);
    module.with_context(|| format!("tests/cluster/versions.yaml names no module {name}"))?.sources()
}

/// Files with the definitions of every custom resource of the chart and of `examples/steering`. Downloads them the first
/// time.
pub fn custom_resource_definitions() -> Result<Vec<PathBuf>> {
    let operator = cluster_sources("prometheus-operator")?.join("example/prometheus-operator-crd");
    let file = |kind: &str| operator.join(format!("monitoring.coreos.com_{kind}.yaml"));
    let kinds = ["alertmanagerconfigs", "podmonitors", "prometheusrules", "servicemonitors"];
    let istio = cluster_sources("istiod")?.join("manifests/charts/base/files/crd-all.gen.yaml");
    let certificates = cluster_sources("cert-manager")?.join("deploy/crds");
    let kept =
        ["certificates", "issuers"].map(|kind| certificates.join(format!("cert-manager.io_{kind}.yaml")));
    let rollouts = cluster_sources("argo-rollouts")?.join("manifests/crds");
    let steering = [
        cluster_sources("keda")?.join("config/crd/bases/keda.sh_scaledobjects.yaml"),
        rollouts.join("analysis-template-crd.yaml"),
        rollouts.join("rollout-crd.yaml"),
        cluster_sources("flagger")?.join("artifacts/flagger/crd.yaml"),
    ];
    Ok(kinds.map(file).into_iter().chain([istio]).chain(kept).chain(steering).collect())
}

fn modules(tier: Tier) -> Result<&'static [Module]> {
    let versions = VERSIONS.as_ref().map_err(|error| anyhow::Error::msg(error.clone()))?;
    Ok(match tier {
        Tier::Core => &versions.core,
        Tier::Full => &versions.full,
    })
}

/// Outside `target/`, so that `cargo clean` does not cost a quarter of an hour.
fn cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir().context("there is no home folder; set XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(cache.join("scoretap/cluster"))
}

impl Module {
    fn folder(&self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{}", self.name, self.version)))
    }

    /// In the folder that the user names, or as built.
    fn find(&self, program: &str) -> Option<PathBuf> {
        let named = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let built = self.folder().ok().map(|folder| folder.join("bin"));
        named.into_iter().chain(built).map(|folder| folder.join(program)).find(|path| path.is_file())
    }

    fn is_built(&self) -> bool {
        self.programs.keys().all(|program| self.find(program).is_some())
    }

    fn build(&self) -> Result<()> {
        let folder = self.folder()?;
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(".lock"))?;
        lock.lock().context("cannot lock the cache folder")?;
        // Another process may have built it in the meantime.
        if self.is_built() {
            return Ok(());
        }
        eprintln!("building {} {}: minutes the first time", self.name, self.version);
        let start = Instant::now();
        let sources =
            if self.submodules.is_empty() { self.write_module(&folder)? } else { self.copy(&folder)? };
        let draft = folder.join("draft");
        fs::create_dir_all(&draft)?;
        for (program, package) in &self.programs {
            let mut build = go(&sources, &["build", "-ldflags", &self.linker_flags(), "-o"]);
            self.patiently(build.arg(draft.join(program)).arg(package), start)?;
        }
        fs::rename(&draft, folder.join("bin")).context("cannot install the programs")?;
        eprintln!("  {} {} took {:.0} s", self.name, self.version, start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A module of our own that depends on it, because `go install` refuses modules with replacements.
    fn write_module(&self, folder: &Path) -> Result<PathBuf> {
        let mut tools = "//go:build tools\n\npackage tools\n\n".to_owned();
        for package in self.programs.values() {
            writeln!(tools, "import _ \"{package}\"")?;
        }
        fs::write(folder.join("tools.go"), tools)?;
        // Go writes its own version into the file, and reads only as many modules as that version needs.
        let _ = fs::remove_file(folder.join("go.mod"));
        run(&mut go(folder, &["mod", "init", &format!("scoretap.dev/tests/{}", self.name)]), ADVICE)?;
        let mut edits = vec![format!("-require={}@{}", self.module, self.version)];
        if let Some(staging) = &self.staging {
            edits.extend(self.staged()?.iter().map(|module| format!("-replace={module}={module}@{staging}")));
        }
        run(go(folder, &["mod", "edit"]).args(edits), ADVICE)?;
        run(&mut go(folder, &["mod", "tidy"]), ADVICE)?;
        Ok(folder.to_owned())
    }

    /// Its own sources, with modules in place of the folders that its go.mod names.
    fn copy(&self, folder: &Path) -> Result<PathBuf> {
        let copy = folder.join("sources");
        // Go's own copy is read-only.
        let script = "rm -rf \"$1\" && cp -r \"$0\" \"$1\" && chmod -R u+w \"$1\"";
        run(Command::new("sh").args(["-c", script]).arg(self.sources()?).arg(&copy), "is the disk full?")?;
        for submodule in &self.submodules {
            let module = format!("{}/{submodule}", self.module);
            let replace = format!("-replace={module}={module}@{}", self.version);
            run(&mut go(&copy, &["mod", "edit", &replace]), ADVICE)?;
        }
        Ok(copy)
    }

    /// The modules that its go.mod replaces by folders below `staging/`.
    fn staged(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.sources()?.join("go.mod"))?;
        let replaced = text.lines().filter_map(|line| line.trim().split_once(" => ./staging/"));
        Ok(replaced.map(|(module, _)| module.trim_start_matches("replace ").to_owned()).collect())
    }

    fn sources(&self) -> Result<PathBuf> {
        let module = format!("{}@{}", self.module, self.version);
        // Not in the module's own folder: its go.mod may not be written yet.
        let answer = run(&mut go(&std::env::temp_dir(), &["mod", "download", "-json", &module]), ADVICE)?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        answer["Dir"].as_str().map(PathBuf::from).with_context(|| format!("go did not say where {module} is"))
    }

    fn linker_flags(&self) -> String {
        self.variables.iter().map(|(name, value)| format!("-X {name}={value}")).collect::<Vec<_>>().join(" ")
    }

    fn patiently(&self, command: &mut Command, start: Instant) -> Result<()> {
        let mut child = command.stdin(Stdio::null()).spawn().context("cannot start go")?;
        let mut said = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                if !status.success() {
                    bail!("{command:?} ended with {status}");
                }
                return Ok(());
            }
            if said.elapsed() > STILL_BUILDING {
                said = Instant::now();
                eprintln!("  still building {}, {:.0} s", self.name, start.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn go(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(args).current_dir(folder);
    command.env("GOFLAGS", "-buildvcs=false -mod=mod").env("CGO_ENABLED", "0").env("GOWORK", "off");
    command
}
