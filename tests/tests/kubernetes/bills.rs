//! The bills of materials beside the artifacts: CycloneDX accepts them, and they name what is really in the images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::Value;

const IMAGES: [&str; 3] = ["exporter", "filter", "injector"];

fn read(image: &str) -> Value {
    let file = workspace::dist().join(format!("scoretap-{image}.cdx.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn said(bill: &Value) -> String {
    let folders = Folders::create("bill").unwrap();
    let file = folders.run.join("bill.cdx.json");
    fs::write(&file, bill.to_string()).unwrap();
    let mut checker = Command::new(tools::cyclonedx().unwrap());
    let output = checker.arg(workspace::python_file("cyclonedx_validate.py")).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn components<'a>(bill: &'a Value, kind: &str) -> Vec<&'a Value> {
    bill["components"].as_array().unwrap().iter().filter(|component| component["type"] == kind).collect()
}

#[test]
fn cyclonedx_accepts_each_bill() {
    for image in IMAGES {
        assert_eq!(said(&read(image)), "", "{image}");
    }
    let mut wrong = read("filter");
    wrong["components"][0]["hashes"][0]["content"] = "no hash".into();
    assert!(said(&wrong).contains("no hash"));
}

/// The test of the images shows that what is copied is what is in them.
#[test]
fn bill_lists_files_of_its_image_with_checksums() {
    let sums = fs::read_to_string(workspace::dist().join("SHA256SUMS")).unwrap();
    let sums: BTreeMap<_, _> =
        sums.lines().filter_map(|line| line.split_once("  ")).map(|(sum, file)| (file, sum)).collect();
    for image in IMAGES {
        let recipe = workspace::root().join(format!("k8s/images/{image}.Containerfile"));
        let recipe = fs::read_to_string(recipe).unwrap();
        let copied = recipe.lines().filter_map(|line| line.strip_prefix("COPY --chmod="));
        let copied: BTreeSet<_> =
            copied.flat_map(|line| line.split(' ').skip(1)).filter(|word| !word.starts_with('/')).collect();
        let bill = read(image);
        let files = components(&bill, "file");
        let named: BTreeSet<_> = files.iter().map(|file| file["name"].as_str().unwrap()).collect();
        assert_eq!(named, copied, "{image}");
        for file in files {
            assert_eq!(file["hashes"][0]["content"], sums[file["name"].as_str().unwrap()], "{image}: {file}");
        }
    }
}

/// Messages of panics name the files of the crates that they are in.
#[test]
fn crates_found_in_binaries_are_on_the_bill() {
    for image in IMAGES {
        let bill = read(image);
        let known: BTreeSet<_> = components(&bill, "library")
            .iter()
            .map(|library| format!("{}-{}", library["name"], library["version"]).replace('"', ""))
            .collect();
        let mut seen = BTreeSet::new();
        for file in components(&bill, "file") {
            let bytes = fs::read(workspace::dist().join(file["name"].as_str().unwrap())).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let paths = text.split("/cargo/registry/src/").skip(1);
            seen.extend(paths.filter_map(|path| path.split('/').nth(1)).map(str::to_owned));
        }
        assert!(image == "filter" || seen.len() > 10, "{image}: {seen:?}");
        assert_eq!(seen.difference(&known).collect::<Vec<_>>(), [""; 0], "{image}");
    }
}

#[test]
fn every_component_is_a_dependency_of_the_image() {
    for image in IMAGES {
        let bill = read(image);
        let named = |reference: &Value| reference.as_str().unwrap().to_owned();
        let dependencies = bill["dependencies"].as_array().unwrap().iter();
        let uses: BTreeMap<_, _> = dependencies
            .map(|entry| (named(&entry["ref"]), entry["dependsOn"].as_array().unwrap()))
            .collect();
        let mut reached = BTreeSet::new();
        let mut next = vec![named(&bill["metadata"]["component"]["bom-ref"])];
        while let Some(reference) = next.pop() {
            if reached.insert(reference.clone()) {
                next.extend(uses.get(&reference).into_iter().copied().flatten().map(named));
            }
        }
        let listed = bill["components"].as_array().unwrap().iter().chain([&bill["metadata"]["component"]]);
        let listed: BTreeSet<_> = listed.map(|component| named(&component["bom-ref"])).collect();
        assert_eq!(reached, listed, "{image}");
    }
}
