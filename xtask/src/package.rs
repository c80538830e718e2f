//! `cargo xtask package`: the shipped binaries and what they are made of. All but `scoretap` have the same bytes wherever
//! they are built from the same sources.

mod chart;
mod reproduce;
mod sbom;
mod traps;
mod trim;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use scoretap_tests::workspace::TestModule;
use scoretap_tests::{sources, tools, workspace};

use crate::run::{cargo, output, visibly};

pub(crate) use reproduce::reproduce;

/// A module as it is shipped.
#[derive(Clone, Copy)]
struct ShippedModule {
    file: &'static str,
    package: &'static str,
    /// The callbacks that it needs.
    callbacks: &'static [&'static str],
    /// Flags of the compiler.
    flags: &'static [&'static str],
    /// The most bytes that it may have: every Envoy of a fleet loads it, and compiles it once per worker.
    limit: u64,
}

const MAIN: ShippedModule = ShippedModule {
    file: "scoretap.wasm",
    package: "scoretap-filter",
    callbacks: &["proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_log"],
    flags: &[],
    limit: 156 * 1024,
};
const INSIGHT: ShippedModule = ShippedModule {
    file: "scoretap-insight.wasm",
    package: "scoretap-insight",
    callbacks: &[
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_log",
        "proxy_on_request_body",
        "proxy_on_request_headers",
        "proxy_on_response_body",
        "proxy_on_response_headers",
    ],
    // Finds the end of a string ten times as fast. V8 needs SSE4.1 or NEON for it, which every server has.
    flags: &["-Ctarget-feature=+simd128"],
    limit: 255 * 1024,
};
const MODULES: [ShippedModule; 2] = [MAIN, INSIGHT];

/// A package, and those of its programs that are shipped.
type Programs = (&'static str, &'static [&'static str]);
const EXPORTER: Programs = ("scoretap-exporter", &["scoretap-exporter"]);
const PROGRAMS: [Programs; 3] = [
    EXPORTER,
    ("scoretap-injector", &["scoretap-injector", "scoretap-sidecar"]),
    ("scoretap-cli", &["scoretap"]),
];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Also build the modules that only tests use, into target/test-modules
    #[arg(long)]
    test_modules: bool,
    /// Build the two modules alone
    #[arg(long, conflicts_with = "reproduce")]
    modules: bool,
    /// Build a second time, from a copy of the sources in another folder, and compare the checksums
    #[arg(long)]
    reproduce: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.modules {
        build_modules()?;
    } else {
        build()?;
        report()?;
    }
    if args.test_modules {
        test_modules()?;
    }
    if args.reproduce {
        reproduce()?;
    }
    Ok(())
}

/// Builds into `target/dist/`. Quick where nothing has changed.
pub(crate) fn build() -> Result<()> {
    tools::targets(&[tools::WASM_TARGET, tools::MUSL_TARGET])?;
    let workshop = Workshop::of_tree();
    workshop.build(&workspace::dist())?;
    Ok(())
}

fn build_modules() -> Result<()> {
    tools::targets(&[tools::WASM_TARGET])?;
    let workshop = Workshop::of_tree();
    MODULES.into_iter().try_for_each(|module| workshop.module(module, &workspace::dist()))?;
    check_sizes()
}

fn check_sizes() -> Result<()> {
    for ShippedModule { file, limit, .. } in MODULES {
        let size = fs::metadata(workspace::dist().join(file))?.len();
        ensure!(
            size <= limit,
            "{file} has {size} bytes, {limit} are allowed: see what the last change pulled in"
        );
    }
    Ok(())
}

/// Builds all that tests run, unless it matches the sources already.
pub(crate) fn build_if_stale() -> Result<()> {
    let dist = workspace::dist();
    let programs = PROGRAMS.iter().flat_map(|(_, programs)| programs.iter());
    let shipped = programs.copied().chain(MODULES.map(|module| module.file)).map(|name| dist.join(name));
    if shipped.chain(TestModule::ALL.map(TestModule::target)).all(|file| sources::is_current(&file)) {
        return Ok(());
    }
    build()?;
    test_modules()
}

/// Builds what runs without Kubernetes, for those who cannot wait. Who has packaged once keeps a whole folder.
pub(crate) fn build_for_demo() -> Result<()> {
    let dist = workspace::dist();
    if dist.join("SHA256SUMS").exists() {
        return build();
    }
    eprintln!("building the modules and the exporter, which takes some minutes the first time");
    tools::targets(&[tools::WASM_TARGET, tools::MUSL_TARGET])?;
    let workshop = Workshop::of_tree();
    MODULES.into_iter().try_for_each(|module| workshop.module(module, &dist))?;
    workshop.install(EXPORTER, &dist)
}

/// The modules with features that no release has.
pub(crate) fn test_modules() -> Result<()> {
    tools::targets(&[tools::WASM_TARGET])?;
    let workshop = Workshop::of_tree();
    for module in TestModule::ALL {
        match module.feature() {
            Some(feature) => workshop.trimmed(MAIN, &["--features", feature], &module.target())?,
            None => copy(&workshop.linked(MAIN, &[])?, &module.target())?,
        }
    }
    Ok(())
}

/// Sizes and checksums, for a person.
fn report() -> Result<()> {
    let dist = workspace::dist();
    let files = [
        workspace::module(),
        workspace::insight_module(),
        workspace::exporter(),
        workspace::injector(),
        workspace::sidecar(),
        workspace::cli(),
    ];
    for file in files {
        let kilobytes = fs::metadata(&file)?.len().div_ceil(1024);
        println!("{:>6} KB  {}", kilobytes, file.display());
    }
    print!("{}", fs::read_to_string(dist.join("SHA256SUMS"))?);
    Ok(())
}

/// Sources and where they are built.
struct Workshop {
    sources: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// This tree. An edit during the build makes what is built stale.
    fn of_tree() -> Self {
        sources::freeze();
        Self { sources: workspace::root(), target: workspace::target() }
    }

    /// Everything that is shipped, and its checksums, into `dist`.
    fn build(&self, dist: &Path) -> Result<()> {
        MODULES.into_iter().try_for_each(|module| self.module(module, dist))?;
        PROGRAMS.into_iter().try_for_each(|programs| self.install(programs, dist))?;
        let programs = PROGRAMS.iter().flat_map(|(_, programs)| programs.iter().map(ToString::to_string));
        chart::write(&self.sources, dist)?;
        let modules = MODULES.map(|module| module.file.to_owned());
        let built: Vec<String> = modules.into_iter().chain([chart::name()]).chain(programs).collect();
        let of_built = sha256sums(dist, &built)?;
        sbom::write(&self.sources, dist, &of_built)?;
        fs::write(dist.join("SHA256SUMS"), of_built + &sha256sums(dist, &sbom::names())?)?;
        Ok(())
    }

    /// A module with what it needs alone, into `dist`.
    fn module(&self, module: ShippedModule, dist: &Path) -> Result<()> {
        self.trimmed(module, &[], &dist.join(module.file))
    }

    fn trimmed(&self, module: ShippedModule, more: &[&str], to: &Path) -> Result<()> {
        let linked = self.linked(module, more)?;
        let bytes = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
        let mut trimmed = trim::trim(&bytes, module.callbacks)
            .with_context(|| format!("cannot trim {}", linked.display()))?;
        // One of the tests' modules traps on purpose.
        if more.is_empty() {
            traps::check(&trimmed).with_context(|| format!("cannot ship {}", linked.display()))?;
        }
        replace(to, |draft| fs::write(draft, trimmed.emit_wasm()))
    }

    /// A module with every callback that there is.
    fn linked(&self, module: ShippedModule, more: &[&str]) -> Result<PathBuf> {
        let args =
            ["build", "--package", module.package, "--profile", "wasm", "--target", tools::WASM_TARGET];
        // In one folder, cargo would compile everything again each time the flags change.
        let target = self.target.join(if module.flags.is_empty() { "" } else { "with-flags" });
        self.cargo(&[&args, more].concat(), module.flags, &target)?;
        let file = format!("{}.wasm", module.package.replace('-', "_"));
        Ok(target.join(tools::WASM_TARGET).join("wasm").join(file))
    }

    /// The static programs of a package, into `dist`.
    fn install(&self, (package, programs): Programs, dist: &Path) -> Result<()> {
        let args = ["build", "--package", package, "--release", "--target", tools::MUSL_TARGET];
        self.cargo(&args, &[], &self.target)?;
        let built = self.target.join(tools::MUSL_TARGET).join("release");
        programs.iter().try_for_each(|program| copy(&built.join(program), &dist.join(program)))
    }

    fn cargo(&self, args: &[&str], flags: &[&str], target: &Path) -> Result<()> {
        let mut command = cargo(args);
        command.arg("--locked").current_dir(&self.sources).env("CARGO_TARGET_DIR", target);
        // Encoded, because a folder's name may hold spaces. It replaces the flags of the caller's own environment.
        let flags = flags.iter().map(ToString::to_string);
        let flags: Vec<String> = remapping(&self.sources)?.into_iter().chain(flags).collect();
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        // Cryptography brings some C. It needs no C library, so the system's own compiler does for musl too.
        command.env(format!("CC_{}", tools::MUSL_TARGET), "cc");
        visibly(&mut command)
    }
}

fn sha256sums(dist: &Path, files: &[String]) -> Result<String> {
    output(Command::new("sha256sum").args(files).current_dir(dist))
}

/// Messages of panics name source files; these must not tell where the sources were.
fn remapping(sources: &Path) -> Result<Vec<String>> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir().context("there is no home folder; set CARGO_HOME")?.join(".cargo"),
    };
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let folders = [(sysroot.as_path(), "/rust"), (&cargo_home, "/cargo"), (sources, "/scoretap")];
    Ok(folders.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    replace(to, |draft| fs::copy(from, draft).map(drop))
        .with_context(|| format!("cannot copy {}", from.display()))
}

/// By renaming: a test may be running the file that is replaced.
fn replace(file: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    let draft = file.with_extension("draft");
    write(&draft).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::rename(&draft, file).with_context(|| format!("cannot replace {}", file.display()))?;
    sources::record(file)
}
