//! Where things are. Everything hangs off the workspace's root, wherever cargo was called from.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sources::current;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The documents at the root, and those of `docs/` and `k8s/`.
pub fn documents() -> Vec<PathBuf> {
    let mut find = Command::new("find");
    find.args([
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs",
        "k8s",
        "-name",
        "*.md",
    ])
    .current_dir(root());
    let listed = find.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&listed).lines().map(|path| root().join(path)).collect()
}

/// All that is built or installed.
pub fn target() -> PathBuf {
    root().join("target")
}

/// Where `cargo xtask package` leaves what is shipped.
pub fn dist() -> PathBuf {
    target().join("dist")
}

/// The packaged module. Like all built files below, it is checked to match the sources.
pub fn module() -> PathBuf {
    current(dist().join("scoretap.wasm"))
}

/// The packaged module that reads bodies.
pub fn insight_module() -> PathBuf {
    current(dist().join("scoretap-insight.wasm"))
}

/// The packaged exporter.
pub fn exporter() -> PathBuf {
    current(dist().join("scoretap-exporter"))
}

/// The packaged injector.
pub fn injector() -> PathBuf {
    current(dist().join("scoretap-injector"))
}

/// The packaged command `scoretap`.
pub fn cli() -> PathBuf {
    current(dist().join("scoretap"))
}

/// The packaged helper of the sidecar's own containers.
pub fn sidecar() -> PathBuf {
    current(dist().join("scoretap-sidecar"))
}

/// A build of the module that no release has, from `cargo xtask package --test-modules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestModule {
    /// Traps when a call's header tells it to.
    Trap,
    /// Counts what it allocates.
    Allocations,
    /// As linked: exports every callback that there is.
    AllCallbacks,
}

impl TestModule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Trap, Self::Allocations, Self::AllCallbacks];

    /// The feature of `scoretap-filter`.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Trap => Some("trap"),
            Self::Allocations => Some("allocations"),
            Self::AllCallbacks => None,
        }
    }

    /// The built module.
    pub fn path(self) -> PathBuf {
        current(self.target())
    }

    /// The path to build it at.
    pub fn target(self) -> PathBuf {
        let name = self.feature().unwrap_or("all-callbacks");
        target().join(format!("test-modules/scoretap-{name}.wasm"))
    }
}

/// A shipped file below `envoy/`.
pub fn bootstrap(name: &str) -> PathBuf {
    root().join("envoy").join(name)
}

/// A Python file of the model servers.
pub fn python_file(name: &str) -> PathBuf {
    root().join("tests/python").join(name)
}
