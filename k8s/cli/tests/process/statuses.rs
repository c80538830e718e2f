//! The exit statuses of commands are those that their help lists.

use crate::folder::{Folder, Ran};

/// Runs a command in a folder with some files. Its status must be this one, and its help must list it.
#[track_caller]
fn check(words: &str, expected: i32, message: &str) {
    let folder = Folder::new();
    folder.write_rules("strange.yml", &["zebras"]);
    folder.write("invalid.yaml", "dialect: 1\n");
    let Ran { status, shown, said } = folder.run(words);
    assert_eq!(status, Some(expected), "{words}: {shown}{said}");
    assert!(format!("{shown}{said}").contains(message), "{words}: {shown}{said}");
    let command: Vec<&str> = words.split(' ').take(2).collect();
    let help = folder.run(&format!("{} --help", command.join(" "))).shown;
    assert!(help.contains(&format!("\n  {expected}  ")), "{words}: {expected} is not in {help}");
}

#[test]
fn dialect_make_ends_with_documented_statuses() {
    let make = |rest: &str| format!("dialect make --name a {rest}");
    check(&make("rules.yml"), 0, "a_requests_total");
    check(&make("rules.yml none.yml"), 1, "error: none.yml: cannot read the file");
    check(&make("strange.yml --strict"), 1, "empty");
    check("dialect make --name 1a rules.yml", 2, "--name");
    check(&make("none.yml --output earlier.yaml"), 3, "so nothing is written");
    check(&make("rules.yml --output none/a.yaml"), 3, "error: cannot write none/a.yaml");
    check(&make("rules.yml --report none/a.json"), 3, "error: cannot write none/a.json");
    check(&make("rules.yml --output invalid.yaml"), 3, "correct it, or move it away");
}

#[test]
fn dialect_check_ends_with_documented_statuses() {
    check("dialect check none.yaml rules.yml", 2, "there is no such file");
    check(
        "dialect check a.yaml rules.yml --prometheus http://127.0.0.1:1",
        3,
        "error: cannot ask Prometheus",
    );
    check("dialect check invalid.yaml rules.yml", 3, "correct it");
}

#[test]
fn input_without_a_query_leaves_the_earlier_dialect() {
    let folder = Folder::new();
    folder.write("earlier.yaml", "dialect: 1\n");
    folder.run("dialect make --name a none.yml --output earlier.yaml");
    assert_eq!(std::fs::read_to_string(folder.path("earlier.yaml")).unwrap(), "dialect: 1\n");
}

#[test]
fn inject_ends_with_documented_statuses() {
    let folder = Folder::new();
    folder.write("broken.yaml", "a: [\n");
    for (file, expected) in [("none.yaml", 3), ("broken.yaml", 2)] {
        let Ran { status, said, .. } = folder.run(&format!("inject -f {file}"));
        assert_eq!(status, Some(expected), "{file}: {said}");
    }
}

#[test]
fn inject_warns_of_a_misspelt_annotation() {
    let folder = Folder::new();
    folder.write(
        "pod.json",
        r#"{"kind": "Pod", "metadata": {"annotations": {"scoretap.dev/insigt": "true"}}}"#,
    );
    let said = folder.run("inject -f pod.json").said;
    assert!(said.contains("scoretap.dev/insigt has no effect; allowed are scoretap.dev/inject, "), "{said}");
}

#[test]
fn baseline_make_ends_with_documented_statuses() {
    let make = |rest: &str| format!("baseline make {rest} --column p --route score");
    check(&make("predictions.csv"), 0, "models:");
    check(&make("none.csv"), 3, "error: cannot read none.csv");
    check(&make("predictions.csv --output none/b.yaml"), 3, "error: cannot write none/b.yaml");
}
