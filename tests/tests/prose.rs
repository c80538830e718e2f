//! The parts of the language rules that a program can check, in every Rust file.

use std::fs;
use std::process::Command;

use scoretap_tests::workspace;

const LONGEST_TEST_NAME: usize = 8;
const OPENINGS: [&str; 7] = ["What", "Whatever", "Who", "Whoever", "Whose", "Of", "Those"];

#[test]
fn test_names_have_at_most_eight_words() {
    let long = every_file(|text| {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let tests = lines.split(|line| is_test_attribute(line)).skip(1);
        let names = tests.filter_map(|rest| {
            let signature = rest.iter().find_map(|line| line.split_once("fn "))?;
            signature.1.split(['(', '<']).next()
        });
        names.filter(|name| name.split('_').count() > LONGEST_TEST_NAME).map(str::to_owned).collect()
    });
    assert!(long.is_empty(), "shorten these names to {LONGEST_TEST_NAME} words: {long:#?}");
}

#[test]
fn comments_do_not_open_with_relative_clauses() {
    let odd = every_file(|text| {
        let mut before = "";
        let opened = text.lines().filter(|line| {
            let opens = comment(line).is_some_and(opens_oddly) && comment(before).is_none_or(str::is_empty);
            before = line;
            opens
        });
        opened.map(|line| line.trim().to_owned()).collect()
    });
    assert!(odd.is_empty(), "name the subject first: {odd:#?}");
}

fn is_test_attribute(line: &str) -> bool {
    ["#[test]", "#[tokio::test", "#[wasm_bindgen_test"].iter().any(|attribute| line.starts_with(attribute))
}

fn opens_oddly(comment: &str) -> bool {
    OPENINGS.contains(&comment.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default())
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

/// The findings in every Rust file, each with its file.
fn every_file(find: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let mut list = Command::new("find");
    list.args(["dialect", "exporter", "filter", "fuzz", "k8s", "tests", "xtask", "-name", "*.rs"]);
    list.args(["-not", "-path", "*/target/*"]).current_dir(workspace::root());
    let listed = String::from_utf8(list.output().unwrap().stdout).unwrap();
    assert!(listed.lines().count() > 100, "{listed}");
    let findings = listed.lines().flat_map(|path| {
        let text = fs::read_to_string(workspace::root().join(path)).unwrap();
        find(&text).into_iter().map(|finding| format!("{path}: {finding}")).collect::<Vec<_>>()
    });
    findings.collect()
}

#[test]
fn odd_openings_are_recognized() {
    assert!(opens_oddly("Whose time counts.") && !opens_oddly("Offers both."));
    assert_eq!(comment("  //! Two words"), Some("Two words"));
}
