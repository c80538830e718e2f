//! The documents agree with the code. `cargo xtask generate` writes the generated sections.

use std::fs;
use std::process::Command;

use scoretap_core::config::Config;
use scoretap_core::outcome::Outcome;
use scoretap_core::route::PRESETS;
use scoretap_tests::faults::FAULTS;
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::{tools, workspace};

fn document(name: &str) -> String {
    fs::read_to_string(workspace::root().join(name)).unwrap()
}

/// The section between `<!-- generated: NAME -->` and the next `<!-- /generated -->` is `expected`.
#[track_caller]
fn check_generated(file: &str, name: &str, expected: &str) {
    let text = document(file);
    let (before, rest) = text.split_once(&format!("<!-- generated: {name} -->\n")).expect(name);
    let (found, after) = rest.split_once("<!-- /generated -->").expect(name);
    if std::env::var_os("SCORETAP_GENERATE").is_some() {
        let updated = format!("{before}<!-- generated: {name} -->\n{expected}<!-- /generated -->{after}");
        return fs::write(workspace::root().join(file), updated).unwrap();
    }
    assert_eq!(found, expected, "{file}, section {name}: `cargo xtask generate` writes it");
}

#[test]
fn generated_sections_are_current() {
    let rows = PRESETS.iter().map(|preset| {
        let paths: Vec<_> = preset.paths.iter().map(|path| format!("`{path}`")).collect();
        format!("| `{}` | {} |\n", preset.name, paths.join(" "))
    });
    let table: String = rows.collect();
    check_generated(
        "docs/configuration.md",
        "presets",
        &format!("| preset | paths, all by POST |\n|---|---|\n{table}"),
    );
    let help = Command::new(workspace::exporter()).arg("--help").output().unwrap();
    let flags = format!("```\n{}```\n", String::from_utf8(help.stdout).unwrap());
    check_generated("docs/exporter.md", "flags", &flags);
}

#[test]
fn table_of_outcomes_has_every_outcome() {
    let page = document("docs/metrics.md");
    for outcome in Outcome::ALL {
        let error_type =
            outcome.error_type().map(|error_type| format!(" `{error_type}`")).unwrap_or_default();
        let row = format!("\n| `{}` |{error_type} | ", outcome.status().as_str());
        assert_eq!(page.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn table_of_the_configuration_has_every_field() {
    let faults = Config::parse(b"{\"?\": 1}").unwrap_err();
    let (_, fields) = faults[0].problem.split_once("allowed here are ").unwrap();
    let page = document("docs/configuration.md");
    for field in fields.split(", ") {
        assert!(page.contains(&format!("\n| `{field}` | ")), "{field} is not explained");
    }
}

#[test]
fn shown_configurations_and_faults_are_real() {
    let page = document("docs/configuration.md");
    let shown = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let configurations: Vec<_> = shown.collect();
    assert!(!configurations.is_empty());
    for json in configurations {
        assert!(Config::parse(json.as_bytes()).is_ok(), "{json}");
    }
    let faulty = r#"{"routes": [{"preset": "score"}, {"preset": "predict"},
        {"name": "r", "method": "POST", "path": "score"}]}"#;
    let fault = Config::parse(faulty.as_bytes()).unwrap_err()[0].to_string();
    assert!(page.contains(&format!("\nscoretap configuration: {fault}\n")), "{fault}");
}

/// Words in backticks that look like paths of ours, and targets of links but for those elsewhere.
fn named_paths(text: &str) -> Vec<&str> {
    let folders = ["dialect", "envoy", "exporter", "filter", "fuzz", "k8s", "tests", "xtask"];
    let ours = |word: &&str| {
        let first = word.split('/').next().unwrap();
        let is_path = word.contains('/') && folders.contains(&first);
        (is_path || word.ends_with(".md")) && !word.contains([' ', '*', '…'])
    };
    let ticked = text.split('`').skip(1).step_by(2).filter(ours);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    ticked.chain(linked.filter(|target| !target.is_empty() && !target.contains("://"))).collect()
}

#[test]
fn named_paths_exist() {
    let documents = workspace::documents();
    assert!(documents.len() > 5, "{documents:?}");
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for path in named_paths(&text) {
            let from = [workspace::root(), document.with_file_name("")];
            let is_there = from.iter().any(|folder| folder.join(path).exists());
            assert!(is_there, "{} names {path}, which does not exist", document.display());
        }
    }
}

#[test]
fn book_builds_with_every_page() {
    let (docs, book) = (workspace::root().join("docs"), workspace::target().join("tmp/book"));
    let mut build = Command::new(tools::mdbook().unwrap());
    let built = build.arg("build").arg(&docs).arg("--dest-dir").arg(&book).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for page in fs::read_dir(&docs).unwrap().map(|entry| entry.unwrap().path()) {
        let is_page =
            page.extension().is_some_and(|extension| extension == "md") && !page.ends_with("SUMMARY.md");
        let html = book.join(page.file_name().unwrap()).with_extension("html");
        assert!(!is_page || html.exists(), "docs/SUMMARY.md does not list {}", page.display());
    }
}

#[test]
fn readme_is_short() {
    assert!(document("README.md").lines().count() <= 150);
}

#[test]
fn documents_name_the_tested_envoys() {
    for file in ["README.md", "docs/limits.md"] {
        let text = document(file);
        for version in EnvoyVersion::ALL.map(EnvoyVersion::as_str) {
            assert!(text.contains(version), "{file} does not name Envoy {version}");
        }
    }
}

#[test]
fn invariants_name_existing_tests() {
    let architecture = document("ARCHITECTURE.md");
    let (_, invariants) = architecture.split_once("| never | test |").unwrap();
    let sources = sources();
    let named: Vec<_> = invariants.split('`').skip(1).step_by(2).filter(|word| word.contains('_')).collect();
    assert!(named.len() > 10);
    for test in named {
        let is_there = sources.iter().any(|source| source.contains(&format!("fn {test}(")));
        assert!(is_there, "ARCHITECTURE.md names the test {test}, which does not exist");
    }
    assert!(architecture.lines().count() < 200, "ARCHITECTURE.md is too long to be read in one go");
}

#[test]
fn table_of_faults_names_each_fault_and_test() {
    let (page, suite) =
        (document("docs/failure-modes.md"), workspace::root().join("tests/tests/faults/main.rs"));
    let (_, rest) =
        page.split_once("| fault | what happens | what is lost | test |\n|---|---|---|---|\n").unwrap();
    let rows: Vec<_> = rest.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), FAULTS.len());
    let suite = fs::read_to_string(suite).unwrap();
    for fault in FAULTS {
        let named: Vec<_> =
            rows.iter().filter(|row| row.starts_with(&format!("| {} |", fault.name))).collect();
        assert_eq!(named.len(), 1, "{}", fault.name);
        let test = named[0].split('`').nth_back(1).unwrap();
        let (_, body) = suite.split_once(&format!("\nfn {test}() {{\n")).expect(test);
        let body = body.split("\n}\n").next().unwrap();
        assert!(body.contains(&format!("check(\"{}\", ", fault.name)), "{test} does not cause it");
    }
}

fn sources() -> Vec<String> {
    let mut find = Command::new("find");
    find.args(["filter", "exporter", "tests", "k8s", "-name", "*.rs"]).current_dir(workspace::root());
    let listed = String::from_utf8(find.output().unwrap().stdout).unwrap();
    listed.lines().map(|path| fs::read_to_string(workspace::root().join(path)).unwrap()).collect()
}
