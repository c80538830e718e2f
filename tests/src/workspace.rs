//! Where things are. Everything hangs off the workspace's root, wherever cargo was called from.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// All that is built or installed.
pub fn target() -> PathBuf {
    root().join("target")
}

/// Where `cargo xtask package` leaves what is shipped.
pub fn dist() -> PathBuf {
    target().join("dist")
}

/// The packaged module.
pub fn module() -> PathBuf {
    dist().join("scoretap.wasm")
}

/// The packaged exporter.
pub fn exporter() -> PathBuf {
    dist().join("scoretap-exporter")
}

/// The module with the feature `trap`, from `cargo xtask package --test-modules`.
pub fn trap_module() -> PathBuf {
    target().join("test-modules/scoretap-trap.wasm")
}

/// A shipped file below `envoy/`.
pub fn bootstrap(name: &str) -> PathBuf {
    root().join("envoy").join(name)
}

/// A Python file of the model servers.
pub fn python_file(name: &str) -> PathBuf {
    root().join("tests/python").join(name)
}
