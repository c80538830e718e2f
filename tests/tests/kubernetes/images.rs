//! The images, built without a daemon or a registry, and taken apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scoretap_injector::sidecar::TEMPLATE;
use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::{Value, json};

/// An image, taken apart.
struct Image {
    config: Value,
    /// Each layer's files and where they were unpacked.
    layers: Vec<PathBuf>,
}

fn build(name: &str) -> Image {
    let folders = Folders::create(&format!("image-{name}")).unwrap();
    let here = folders.logs.join("image");
    fs::create_dir_all(&here).unwrap();
    fs::write(here.join("policy.json"), r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
    let mut build = buildah(&here, &["bud", "--isolation", "chroot", "-t", "image"]);
    build
        .arg("-f")
        .arg(workspace::root().join(format!("k8s/images/{name}.Containerfile")))
        .arg(workspace::dist());
    run(&mut build);
    // As a registry gets it.
    let mut push = buildah(&here, &["push", "--compression-format", "gzip", "localhost/image"]);
    run(push.arg(format!("oci-archive:{}", here.join("image.tar").display())));
    unpack(&here.join("image.tar"), &here.join("oci"));
    take_apart(&here)
}

/// With storage of its own.
fn buildah(here: &Path, args: &[&str]) -> Command {
    let buildah = tools::buildah().unwrap();
    let mut command = tools::as_root(&buildah.program);
    command.env("LD_LIBRARY_PATH", buildah.libraries).args(["--storage-driver", "vfs"]);
    command.arg("--root").arg(here.join("storage")).arg("--runroot").arg(here.join("run"));
    command.args(&args[..1]).arg("--signature-policy").arg(here.join("policy.json")).args(&args[1..]);
    command
}

fn take_apart(here: &Path) -> Image {
    let blob = |digest: &Value| here.join("oci/blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let manifest = read(&blob(&read(&here.join("oci/index.json"))["manifests"][0]["digest"]));
    let layers = manifest["layers"].as_array().unwrap().iter().enumerate().map(|(index, layer)| {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        let folder = here.join(format!("layer-{index}"));
        unpack(&blob(&layer["digest"]), &folder);
        folder
    });
    Image { config: read(&blob(&manifest["config"]["digest"]))["config"].clone(), layers: layers.collect() }
}

fn unpack(archive: &Path, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The files of all layers are these of `target/dist`, byte for byte, and no others.
#[track_caller]
fn check(image: &Image, expected: &[(&str, &str)]) {
    let mut found = BTreeMap::new();
    for layer in &image.layers {
        for entry in fs::read_dir(layer).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
        }
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.iter().map(|(file, _)| file).collect::<Vec<_>>());
    for (file, source) in expected {
        assert!(found[*file] == fs::read(workspace::dist().join(source)).unwrap(), "{file} is not {source}");
    }
}

#[test]
fn filter_image_has_the_layout_for_istio() {
    let image = build("filter");
    check(&image, &[("plugin.wasm", "scoretap.wasm")]);
    let last = image.layers.last().unwrap();
    assert!(fs::read(last.join("plugin.wasm")).unwrap().starts_with(b"\0asm"));
}

#[test]
fn exporter_image_holds_programs_of_the_sidecar() {
    let image = build("exporter");
    let files = ["scoretap-exporter", "scoretap-insight.wasm", "scoretap-sidecar", "scoretap.wasm"];
    check(&image, &files.map(|file| (file, file)));
    assert_eq!(image.config["User"], "65532:65532");
    for container in &TEMPLATE.init_containers {
        if container["image"] == "${exporter-image}" {
            let program = container["command"][0].as_str().unwrap().trim_start_matches('/');
            assert!(files.contains(&program), "{program}");
        }
    }
}

#[test]
fn injector_image_holds_only_the_injector() {
    let image = build("injector");
    check(&image, &[("scoretap-injector", "scoretap-injector")]);
    assert_eq!(image.config["User"], "65532:65532");
    assert_eq!(image.config["Entrypoint"], json!(["/scoretap-injector"]));
}
