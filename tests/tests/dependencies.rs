//! The crates that we link: their source, licence and duplicates, by the rules of `deny.toml` for
//! `cargo deny check`. That looks at advisories, too, whose database a build without the open internet cannot have.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use scoretap_tests::workspace;

const DENY: &str = include_str!("../../deny.toml");

/// The first text of each line of a list in `deny.toml`.
fn listed(list: &str) -> Vec<&'static str> {
    let (_, list) = DENY.split_once(&format!("\n{list} = [\n")).unwrap();
    let (list, _) = list.split_once("\n]").unwrap();
    list.lines().map(|line| line.split('"').nth(1).unwrap()).collect()
}

fn said(cargo: &mut Command) -> String {
    let output = cargo.current_dir(workspace::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    let mut cargo = Command::new("cargo");
    let metadata = said(cargo.args(["metadata", "--locked", "--format-version", "1"]));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether one of the alternatives of an SPDX expression is all of licences that are known here. Brackets are only
/// around alternatives, and what is beside them must do too.
fn is_permissive(expression: &str) -> bool {
    let (expression, allowed) = (expression.replace('/', " OR "), listed("allow"));
    let known = |licence: &str| allowed.contains(&licence.trim());
    match expression.strip_prefix('(').and_then(|inner| inner.split_once(") AND ")) {
        Some((alternatives, rest)) => is_permissive(alternatives) && is_permissive(rest),
        None => expression.split(" OR ").any(|alternative| alternative.split(" AND ").all(known)),
    }
}

#[test]
fn every_licence_is_permissive() {
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

/// The versions of each crate that is built for any of the targets, for tests too.
fn versions() -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for target in listed("targets") {
        let mut tree = Command::new("cargo");
        tree.args(["tree", "--locked", "--workspace", "--prefix", "none", "--target", target]);
        for line in said(&mut tree).lines() {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap_or_default());
            let version = version.trim_start_matches('v').to_owned();
            versions.entry(name.to_owned()).or_default().insert(version);
        }
    }
    versions
}

#[test]
fn duplicate_crates_are_listed_with_a_reason() {
    let versions = versions();
    let is = |version: &String, listed: &str| version.starts_with(&format!("{listed}."));
    let skipped: Vec<(&str, &str)> = listed("skip").iter().map(|one| one.split_once('@').unwrap()).collect();
    let twice = versions.iter().filter(|(name, versions)| {
        let counts =
            |version: &&String| !skipped.iter().any(|(of, listed)| of == name && is(version, listed));
        versions.iter().filter(counts).count() > 1
    });
    assert_eq!(twice.collect::<Vec<_>>(), [], "let one version go, or list it in deny.toml");
    let needless = skipped.iter().filter(|(name, listed)| {
        let versions = versions.get(*name).filter(|versions| versions.len() > 1);
        !versions.is_some_and(|versions| versions.iter().any(|version| is(version, listed)))
    });
    assert_eq!(needless.collect::<Vec<_>>(), Vec::<&(&str, &str)>::new(), "no longer there twice");
}
