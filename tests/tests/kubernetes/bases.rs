//! `k8s/images/bases.txt` lists all images of others, and `pin.sh` pins each of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scoretap_tests::stack::Folders;
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::workspace;

/// Images whose digests are not known yet, because no registry could be queried. All other images need a digest.
/// `k8s/images/pin.sh` pins these too.
const BY_TAG: [&str; 4] = [
    "docker.io/envoyproxy/envoy:distroless-v1.40.0",
    "docker.io/grafana/grafana:12.3.0",
    "docker.io/library/python:3.11.14-slim-bookworm",
    "docker.io/prom/prometheus:v3.8.0",
];

/// Where images are named.
const PLACES: [&str; 2] = ["k8s", "examples/compose"];

fn bases(root: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(root.join("k8s/images/bases.txt")).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Every folder below this one, and itself.
fn folders(from: &Path) -> Vec<PathBuf> {
    let mut found = vec![from.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next) {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut inner: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        inner.sort();
        found.extend(inner);
        next += 1;
    }
    found
}

/// Every file in these places.
fn files(root: &Path) -> Vec<PathBuf> {
    let places = PLACES.iter().map(|place| root.join(place));
    let (inside, alone): (Vec<_>, Vec<_>) = places.partition(|place| place.is_dir());
    let inside =
        inside.iter().flat_map(|place| folders(place)).flat_map(|folder| fs::read_dir(folder).unwrap());
    let inside = inside.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    // Code recognizes images of others, and its tests name some.
    let named =
        |file: &PathBuf| !file.ends_with("bases.txt") && file.extension().is_none_or(|end| end != "rs");
    inside.chain(alone).filter(named).collect()
}

/// The images that a text names: after `image:` or `FROM`, or beginning with a registry's name.
fn images(text: &str) -> BTreeSet<String> {
    let named = text.lines().filter_map(|line| {
        let line = line.trim_start_matches([' ', '-']);
        ["image:", "reference:", "FROM ", "newName:"].iter().find_map(|word| line.strip_prefix(word))
    });
    let registries =
        ["docker.io/", "quay.io/", "ghcr.io/", "gcr.io/", "registry.k8s.io/", "mcr.microsoft.com/"];
    let words = text.split(|char: char| char.is_whitespace() || "\"'(),".contains(char));
    let located = words.filter(|word| registries.iter().any(|registry| word.starts_with(registry)));
    let all = named.chain(located).filter_map(|image| image.split_whitespace().next());
    all.map(|image| image.trim_matches('"').to_owned()).collect()
}

/// Built from `target/dist`, or named by whoever renders: not others'.
fn is_ours(image: &str) -> bool {
    ["scoretap-", "registry.example/", "oci://registry.example/", "$", "{{"]
        .iter()
        .any(|start| image.starts_with(start))
        || image == "scratch"
}

#[test]
fn image_list_matches_the_images_in_use() {
    let root = workspace::root();
    let mut used = BTreeSet::new();
    for file in files(&root) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for image in images(&text).into_iter().filter(|image| !is_ours(image)) {
            assert!(
                bases(&root).contains(&image),
                "{}: {image} is not in k8s/images/bases.txt",
                file.display()
            );
            used.insert(image);
        }
    }
    assert_eq!(used, bases(&root));
}

#[test]
fn envoy_image_is_the_newest_tested() {
    let bases = bases(&workspace::root());
    let envoy = bases.iter().find(|image| image.contains("/envoy:")).unwrap();
    let version = format!("-v{}", EnvoyVersion::Newest.as_str());
    assert!(envoy.split('@').next().unwrap().ends_with(&version), "{envoy}: the tests run {version}");
}

#[test]
fn images_have_digests_except_listed_ones() {
    for image in bases(&workspace::root()) {
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
        let pinned = digest.is_some_and(|digest| {
            digest.len() == 64 && digest.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
        });
        assert!(
            pinned || BY_TAG.contains(&image.as_str()),
            "{image} has no digest: k8s/images/pin.sh finds it"
        );
        assert!(!image.contains(":latest"), "{image}");
    }
}

#[test]
fn images_are_found_in_manifests_recipes_and_code() {
    let text = "  - image: a:1 # x\n    FROM b:2 AS c\nx {value: \"docker.io/d:3\"}\nimage: \"e:4\"\nimages: []\nfrom f\n";
    assert_eq!(images(text), ["a:1", "b:2", "docker.io/d:3", "e:4"].map(str::to_owned).into());
}

/// A registry that knows one digest for everything, or nothing.
fn pin(root: &Path, crane: &str) -> Output {
    let bin = root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    // A program that this process itself wrote may be busy: a child of another test holds it open.
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod +x "$0""#;
    let written = Command::new("sh").args(["-c", write]).arg(bin.join("crane")).arg(crane).status();
    assert!(written.unwrap().success());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new(root.join("k8s/images/pin.sh")).env("PATH", path).output().unwrap()
}

#[test]
fn pin_script_updates_every_image_everywhere() {
    let folders = Folders::create("pin").unwrap();
    let root = folders.run.join("copy");
    fs::create_dir(&root).unwrap();
    let mut copy = Command::new("cp");
    copy.current_dir(workspace::root()).args(["-a", "--parents"]).args(PLACES).arg(&root);
    assert!(copy.status().unwrap().success());
    let before = bases(&root);

    let failed = pin(&root, "[ $2 != docker.io/prom/prometheus:v3.8.0 ] && echo sha256:0");
    assert!(!failed.status.success() && bases(&root) == before, "{failed:?}");
    for digit in ["a", "b"] {
        let digest = digit.repeat(64);
        let output = pin(&root, &format!("echo sha256:{digest}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pinned =
            before.iter().map(|image| format!("{}@sha256:{digest}", image.split('@').next().unwrap()));
        assert_eq!(bases(&root), pinned.collect::<BTreeSet<_>>());
        let texts = files(&root).into_iter().filter_map(|file| fs::read_to_string(file).ok());
        let named =
            texts.flat_map(|text| images(&text)).filter(|image| !is_ours(image)).collect::<BTreeSet<_>>();
        assert_eq!(named, bases(&root));
    }
}

#[test]
fn pin_script_with_an_argument_pins_nothing() {
    for (argument, code) in [("--help", 0), ("--dry-run", 2)] {
        let output =
            Command::new(workspace::root().join("k8s/images/pin.sh")).arg(argument).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{argument}");
        assert_eq!(output.stdout.starts_with(b"Usage: "), code == 0, "{argument}");
    }
}
