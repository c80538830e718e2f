//! The shipped bootstraps: real Envoy accepts each, and each differs from the sidecar's only in what it is an example
//! of.

use std::fs;
use std::path::Path;
use std::process::Command;

use scoretap_tests::bootstrap::{Bootstrap, Places};
use scoretap_tests::stack::Folders;
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::workspace;
use serde_json::{Value, json};

/// A file, the releases that it is for, and where alone it may differ from `sidecar.yaml`.
const EXAMPLES: [(&str, &[EnvoyVersion], &[&str]); 6] = [
    ("sidecar.yaml", &[EnvoyVersion::Newest], &[]),
    ("http-filter.yaml", &[EnvoyVersion::Newest], &["access_log", "http_filters"]),
    ("loopback-admin-1.36.yaml", &EnvoyVersion::ALL, &["admin"]),
    ("other-paths.yaml", &[EnvoyVersion::Newest], &["access_log"]),
    (
        "insight.yaml",
        &[EnvoyVersion::Newest],
        &["access_log", "http_filters", "route_config", "layered_runtime"],
    ),
    ("grpc.yaml", &[EnvoyVersion::Newest], &["idle_timeout", "explicit_http_config"]),
];

#[test]
fn envoy_accepts_each_bootstrap() {
    for (file, versions, _) in EXAMPLES {
        versions.iter().for_each(|&version| validate(file, version));
    }
    validate("dynamic.yaml", EnvoyVersion::Newest);
}

#[test]
fn every_bootstrap_file_is_checked() {
    let mut files: Vec<String> = fs::read_dir(workspace::root().join("envoy"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut known: Vec<&str> = EXAMPLES.iter().map(|(file, ..)| *file).collect();
    known.extend(["dynamic.yaml", "lds.yaml"]);
    known.sort_unstable();
    assert_eq!(files, known);
}

#[test]
fn examples_differ_only_in_their_subject() {
    for (file, _, differences) in EXAMPLES {
        let mut sidecar = read("sidecar.yaml");
        let mut example = read(file);
        for difference in differences {
            forget(&mut sidecar, difference);
            forget(&mut example, difference);
        }
        assert_eq!(sidecar, example, "envoy/{file}");
    }
}

#[test]
fn dynamic_sidecar_equals_the_static_one() {
    let mut together = read("dynamic.yaml");
    let mut listener = read("lds.yaml")["resources"][0].take();
    listener.as_object_mut().unwrap().remove("@type");
    together["static_resources"]["listeners"] = json!([listener]);
    forget(&mut together, "node");
    forget(&mut together, "dynamic_resources");
    assert_eq!(together, read("sidecar.yaml"));
}

#[track_caller]
fn validate(file: &str, version: EnvoyVersion) {
    let folders = Folders::create(&format!("validate-{file}-{}", version.as_str())).unwrap();
    let mut files = vec![(file, "bootstrap.json")];
    if file == "dynamic.yaml" {
        files.push(("lds.yaml", "lds.yaml"));
    }
    for (shipped, placed) in files {
        let mut bootstrap = Bootstrap::shipped(shipped).unwrap();
        bootstrap.place(&Places {
            listener: 15_100,
            app: 8_080,
            admin_port: 9_901,
            admin_socket: &folders.run.join("admin.sock"),
            module: &workspace::module(),
            folder: &folders.run,
        });
        bootstrap.write(&folders.run.join(placed)).unwrap();
    }
    let envoy = tools::envoy(version).unwrap();
    let output = Command::new(envoy)
        .args(["--mode", "validate", "--config-path"])
        .arg(folders.run.join("bootstrap.json"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "envoy/{file} on {}:\n{said}", version.as_str());
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("[warning]")).collect();
    assert!(warnings.is_empty(), "envoy/{file} on {}:\n{}", version.as_str(), warnings.join("\n"));
}

fn read(file: &str) -> Value {
    let path = workspace::root().join("envoy").join(Path::new(file));
    serde_norway::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Removes every field of that name.
fn forget(value: &mut Value, name: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(name);
            fields.values_mut().for_each(|field| forget(field, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| forget(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
