//! Reads dashboards, rules, Kubernetes objects and expositions from files, folders and standard input.
//!
//! The content decides what a file is, not its name. A file that cannot be read is a fault; the others are still read.

mod documents;
mod exposition;
mod grafana;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::model::{Content, Input, Query};
use super::query::{Invalid, understand};
use super::variables::Variables;

/// Larger files are rejected. The largest published dashboards have about 1 MB.
const LARGEST: u64 = 32 * 1024 * 1024;
/// Files with these extensions are read from a folder.
const EXTENSIONS: [&str; 8] = ["json", "yaml", "yml", "rules", "rule", "txt", "prom", "metrics"];
/// Folders within folders, at most.
const DEEPEST_FOLDER: usize = 16;
/// Objects within objects, at most. `serde_json` has the same limit.
const DEEPEST_OBJECT: usize = 128;

/// Reads everything.
pub(super) fn read(from: &[PathBuf]) -> Input {
    let mut reader = Reader::default();
    for path in from {
        if path == Path::new("-") {
            let mut text = Vec::new();
            match std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut text) {
                Ok(_) => reader.bytes("-", text),
                Err(error) => reader.fault("-", &format!("cannot read standard input: {error}")),
            }
        } else if path.is_dir() {
            reader.whole_folder(path);
        } else {
            reader.file(path);
        }
    }
    reader.input
}

#[derive(Default)]
struct Reader {
    input: Input,
    /// Files that were looked at, so that none counts twice.
    files: BTreeSet<PathBuf>,
    /// Whether the file was found in a folder, where other files are expected.
    in_folder: bool,
}

impl Reader {
    fn fault(&mut self, place: &str, reason: &str) {
        self.input.faults.push(format!("{place}: {reason}"));
    }

    fn whole_folder(&mut self, folder: &Path) {
        let found = |reader: &Self| {
            let Input { queries, exposed, faults } = &reader.input;
            (reader.files.len(), queries.len() + exposed.len() + faults.len())
        };
        let (files, contents) = found(self);
        self.in_folder = true;
        self.folder(folder, 0);
        self.in_folder = false;
        let shown = folder.display().to_string();
        if found(self).0 == files {
            self.fault(&shown, &format!("holds no other file with one of .{}", EXTENSIONS.join(", .")));
        } else if found(self).1 == contents {
            self.fault(
                &shown,
                "holds no query; expected Grafana dashboards, rule files or Kubernetes objects",
            );
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        let shown = folder.display().to_string();
        let entries = match fs::read_dir(folder) {
            Ok(entries) if depth < DEEPEST_FOLDER => entries,
            Ok(_) => return self.fault(&shown, "is nested more than 16 folders deep; name it itself"),
            Err(error) => return self.fault(&shown, &format!("cannot list the folder: {error}")),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
            if is_hidden || path.is_symlink() && path.is_dir() {
                continue;
            } else if path.is_dir() {
                self.folder(&path, depth + 1);
            } else if extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
                // Reading a pipe would wait for its writer.
                && fs::metadata(&path).map_or(true, |metadata| metadata.is_file())
            {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        if !self.files.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) {
            return;
        }
        let read = fs::File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(LARGEST + 1).read_to_end(&mut bytes).map(|_| bytes)
        });
        match read {
            Ok(bytes) => self.bytes(&shown, bytes),
            Err(error) => self.fault(&shown, &format!("cannot read the file: {error}")),
        }
    }

    fn bytes(&mut self, file: &str, bytes: Vec<u8>) {
        if bytes.len() as u64 > LARGEST {
            return self.fault(file, "is larger than 32 MB; split it, or leave it out");
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.text(file, "", &text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                self.fault(file, &format!("byte {at} is not UTF-8; save the file as UTF-8"));
            }
        }
    }

    /// Reads a text of any kind. `within` is its place in the file, if it is embedded in another document.
    fn text(&mut self, file: &str, within: &str, text: &str) {
        let text = text.trim_start_matches('\u{feff}');
        let start = text.trim_start();
        if start.is_empty() {
            self.fault(&place(file, within), "is empty");
        } else if start.starts_with(['{', '[']) && exposition::read(file, text).is_none() {
            self.json(file, within, text);
        } else if let Some(exposed) = exposition::read(file, text) {
            self.input.exposed.extend(exposed);
        } else {
            self.yaml(file, within, text);
        }
    }

    fn json(&mut self, file: &str, within: &str, text: &str) {
        match serde_json::from_str(text) {
            Ok(value) => self.document(file, within, &value),
            Err(error) => {
                let advice = "export the dashboard again, or leave the file out";
                self.fault(&place(file, within), &format!("is no valid JSON: {error}; {advice}"));
            }
        }
    }

    fn yaml(&mut self, file: &str, within: &str, text: &str) {
        let mut is_empty = true;
        for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
            let value = yaml::strict(document).or_else(|error| {
                let lenient = yaml::lenient(text, index).ok_or_else(|| error.clone())?;
                let advice = "the last value counts; leave one out";
                self.fault(&place(file, within), &format!("is no valid YAML: {error}; {advice}"));
                Ok(lenient)
            });
            match value {
                Ok(Value::Null) => {}
                Ok(value) => {
                    is_empty = false;
                    self.document(file, within, &value);
                }
                Err(error) => {
                    let error: String = error;
                    let expected = "a dashboard, rules, a Kubernetes object or an exposition";
                    let template = if text.contains("{{") { "; render Helm templates first" } else { "" };
                    let reason = format!(
                        "is neither JSON, YAML nor an exposition: {error}; expected {expected}{template}"
                    );
                    return self.fault(&place(file, within), &reason);
                }
            }
        }
        if is_empty {
            self.no_query(file, within, "is empty");
        }
    }

    /// A fault of a file that the user named. A folder can hold others.
    fn no_query(&mut self, file: &str, within: &str, reason: &str) {
        if !self.in_folder {
            self.fault(&place(file, within), reason);
        }
    }

    /// Adds a query, or a fault if it is no PromQL.
    fn query(&mut self, found: Found<'_>, variables: &Variables) {
        let Found { file, place, expr, .. } = &found;
        let content = match understand(expr, variables) {
            Ok(content) => content,
            Err(Invalid { column, reason }) => {
                let column = column.map(|column| format!(", column {column}")).unwrap_or_default();
                self.input
                    .faults
                    .push(format!("{file}: {place}{column}: no valid PromQL: {reason}: {}", cut(expr)));
                Content::Other(format!("it is no valid PromQL: {reason}"))
            }
        };
        self.push(found, content);
    }

    /// Adds a query of another language.
    fn other(&mut self, found: Found<'_>, reason: &str) {
        self.push(found, Content::Other(reason.to_owned()));
    }

    fn push(&mut self, found: Found<'_>, content: Content) {
        let Found { file, place, expr, records, adds, legend } = found;
        let (file, expr, records) = (file.to_owned(), expr.to_owned(), records.map(str::to_owned));
        let query = Query { file, place, expr, records, adds, legend, content };
        self.input.queries.push(query);
    }
}

/// A query as it was found.
struct Found<'a> {
    file: &'a str,
    place: String,
    expr: &'a str,
    records: Option<&'a str>,
    adds: BTreeSet<String>,
    legend: BTreeSet<String>,
}

impl<'a> Found<'a> {
    fn new(file: &'a str, place: String, expr: &'a str) -> Self {
        Self { file, place, expr, records: None, adds: BTreeSet::new(), legend: BTreeSet::new() }
    }
}

/// A place within a file, for people.
fn place(file: &str, within: &str) -> String {
    if within.is_empty() { file.to_owned() } else { format!("{file}: {within}") }
}

/// Joins two parts of a place.
fn join(within: &str, part: &str) -> String {
    if within.is_empty() { part.to_owned() } else { format!("{within}, {part}") }
}

fn cut(expr: &str) -> String {
    const LONGEST: usize = 120;
    let one_line = expr.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list_of<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
