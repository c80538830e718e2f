//! A bill of materials for each image, in CycloneDX 1.6, beside the artifacts.
//!
//! Written here, because cargo-cyclonedx describes crates, not images of several programs, and puts its files among the
//! sources. There is no serial number and no time in it: the same sources make the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use scoretap_tests::tools::{MUSL_TARGET, WASM_TARGET};
use serde_json::{Value, json};

use super::{MODULES, PROGRAMS};
use crate::run::{cargo, output};

/// The images of `k8s/images`, and the files of `dist` that they hold.
const IMAGES: [(&str, &[&str]); 3] = [
    ("scoretap-filter", &["scoretap.wasm"]),
    (
        "scoretap-exporter",
        &["scoretap-exporter", "scoretap-sidecar", "scoretap.wasm", "scoretap-insight.wasm"],
    ),
    ("scoretap-injector", &["scoretap-injector"]),
];

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The licence of our own crates.
const LICENCE: &str = env!("CARGO_PKG_LICENSE");

/// The names of the files that [`write`] writes.
pub(super) fn names() -> Vec<String> {
    IMAGES.iter().map(|(image, _)| file_name(image)).collect()
}

fn file_name(image: &str) -> String {
    format!("{image}.cdx.json")
}

/// One for each image, into `dist`. `sums` are the lines of sha256sum on the files there.
pub(super) fn write(sources: &Path, dist: &Path, sums: &str) -> Result<()> {
    let checksums = locked_checksums(&sources.join("Cargo.lock"))?;
    for (image, files) in IMAGES {
        let mut linked = Linked::default();
        for file in files {
            linked.add(sources, file)?;
        }
        let bill = bill(image, files, sums, &linked, &checksums)?;
        let path: PathBuf = dist.join(file_name(image));
        let text = serde_json::to_string_pretty(&bill)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
}

impl Crate {
    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// The crates that cargo links into some files, and the dependencies of each.
#[derive(Debug, Default)]
struct Linked {
    crates: BTreeSet<Crate>,
    uses: BTreeMap<String, BTreeSet<String>>,
}

impl Linked {
    /// As `cargo build` resolves it for this one package and target. Macros and build scripts run where it is built,
    /// and are left out.
    fn add(&mut self, sources: &Path, file: &str) -> Result<()> {
        let (package, target) = built_from(file)?;
        let mut tree = cargo(&["tree", "--locked", "--package", package, "--target", target]);
        tree.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "{p}\t{l}"]);
        let printed = output(tree.current_dir(sources))?;
        let mut path: Vec<String> = vec![file.to_owned()];
        for line in printed.lines() {
            let (depth, found) = parse(line).with_context(|| format!("cargo tree printed {line:?}"))?;
            path.truncate(depth + 1);
            let user = path.last().context("cargo tree begins with its root")?.clone();
            path.push(found.reference());
            self.uses.entry(user).or_default().insert(found.reference());
            self.crates.insert(found);
        }
        self.uses.entry(file.to_owned()).or_default().insert(std_reference()?);
        Ok(())
    }
}

/// The package that a file of `dist` is built from, and for which target.
fn built_from(file: &str) -> Result<(&'static str, &'static str)> {
    if let Some(module) = MODULES.iter().find(|module| module.file == file) {
        return Ok((module.package, WASM_TARGET));
    }
    let found = PROGRAMS.iter().find(|(_, programs)| programs.contains(&file));
    let (package, _) = found.with_context(|| format!("{file} is not among what is packaged"))?;
    Ok((package, MUSL_TARGET))
}

/// `2memchr v2.8.3 (…)\tUnlicense OR MIT (*)`: how deep, what. `(*)` is one whose own lines have been printed.
fn parse(line: &str) -> Option<(usize, Crate)> {
    let (package, licence) = line.strip_suffix(" (*)").unwrap_or(line).split_once('\t')?;
    let name = package.trim_start_matches(|char: char| char.is_ascii_digit());
    let depth = package.strip_suffix(name)?.parse().ok()?;
    let mut words = name.split(' ');
    let (name, version) = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
    // Older manifests separate alternatives by a slash.
    let licence = licence.replace(" / ", "/").replace('/', " OR ");
    Some((depth, Crate { name, version, licence }))
}

/// The hash of each crate's file in the registry, by the crate's reference. Ours are not in the registry.
fn locked_checksums(lock: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let field = |package: &str, name: &str| -> Option<String> {
        let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    let packages = text.split("[[package]]").filter_map(|package| {
        let reference = format!("pkg:cargo/{}@{}", field(package, "name")?, field(package, "version")?);
        Some((reference, field(package, "checksum")?))
    });
    Ok(packages.collect())
}

fn std_version() -> Result<String> {
    let printed = output(Command::new("rustc").arg("--version"))?;
    let version = printed.split(' ').nth(1).context("rustc says no version")?;
    Ok(version.to_owned())
}

fn std_reference() -> Result<String> {
    Ok(format!("pkg:github/rust-lang/rust@{}", std_version()?))
}

fn bill(
    image: &str,
    files: &[&str],
    sums: &str,
    linked: &Linked,
    checksums: &BTreeMap<String, String>,
) -> Result<Value> {
    let ours = |kind: &str, reference: &str| {
        json!({"type": kind, "bom-ref": reference, "name": reference, "version": VERSION,
            "licenses": [{"expression": LICENCE}]})
    };
    let mut components = Vec::new();
    for file in files {
        let sum = sums.lines().find_map(|line| line.strip_suffix(file)?.split_whitespace().next());
        let sum = sum.with_context(|| format!("there is no checksum of {file}"))?;
        let mut component = ours("file", file);
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
        components.push(component);
    }
    components.push(
        json!({"type": "library", "bom-ref": std_reference()?, "name": "std", "version": std_version()?,
        "purl": std_reference()?, "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "description": "Rust's standard library, in programs with the musl that comes with it"}),
    );
    for found in &linked.crates {
        let mut component = json!({"type": "library", "bom-ref": found.reference(), "name": found.name,
            "version": found.version, "licenses": [{"expression": found.licence}]});
        if let Some(checksum) = checksums.get(&found.reference()) {
            component["purl"] = found.reference().into();
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        components.push(component);
    }
    let whole = format!("image:{image}");
    let mut dependencies = vec![json!({"ref": whole, "dependsOn": files})];
    dependencies.extend(linked.uses.iter().map(|(user, used)| json!({"ref": user, "dependsOn": used})));
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": whole, "name": image, "version": VERSION,
            "licenses": [{"expression": LICENCE}]}},
        "components": components,
        "dependencies": dependencies,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargos_tree_are_read() {
        for (line, expected) in [
            (
                "0scoretap-core v0.1.0 (/a b/core)\tApache-2.0",
                Some((0, "scoretap-core", "0.1.0", "Apache-2.0")),
            ),
            ("12memchr v2.8.3\tUnlicense OR MIT (*)", Some((12, "memchr", "2.8.3", "Unlicense OR MIT"))),
            ("1x v1.0.0-rc.1\tApache-2.0 / MIT", Some((1, "x", "1.0.0-rc.1", "Apache-2.0 OR MIT"))),
            ("[build-dependencies]", None),
        ] {
            let expected = expected.map(|(depth, name, version, licence)| {
                let [name, version, licence] = [name, version, licence].map(str::to_owned);
                (depth, Crate { name, version, licence })
            });
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
