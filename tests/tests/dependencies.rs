//! What others wrote and we link: from where, and under which licence. Advisories are not checked here: their database is
//! a git repository, which a build without the open internet cannot have; `cargo audit` reads it where there is one.

use std::process::Command;

use serde_json::Value;

use scoretap_tests::workspace;

/// All that ask for no more than to be named.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn packages() -> Vec<Value> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--locked", "--format-version", "1"]).current_dir(workspace::root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether one of the alternatives of an SPDX expression is all of licences that are known here. Brackets are only
/// around alternatives, and what is beside them must do too.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let known = |licence: &str| LICENCES.contains(&licence.trim());
    match expression.strip_prefix('(').and_then(|inner| inner.split_once(") AND ")) {
        Some((alternatives, rest)) => is_permissive(alternatives) && is_permissive(rest),
        None => expression.split(" OR ").any(|alternative| alternative.split(" AND ").all(known)),
    }
}

#[test]
fn every_licence_asks_for_no_more_than_to_be_named() {
    let packages = packages();
    let licence = |package: &Value| package["license"].as_str().unwrap_or("none").to_owned();
    let others = packages.iter().filter(|package| !is_permissive(&licence(package)));
    let others: Vec<_> = others.map(|package| format!("{}: {}", package["name"], licence(package))).collect();
    assert!(packages.len() > 100 && others.is_empty(), "of {} packages: {others:#?}", packages.len());
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT/Apache-2.0", true),
        ("LGPL-2.1-or-later OR MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
        ("none", false),
    ] {
        assert_eq!(is_permissive(expression), expected, "{expression}");
    }
}

#[test]
fn every_dependency_is_from_the_registry() {
    for package in packages() {
        let source = package["source"].as_str();
        assert!(
            source.is_none_or(|source| source.starts_with("registry+")),
            "{}: {source:?}",
            package["name"]
        );
    }
}
