//! Writes a dialect's file, and keeps what a user edited in an earlier one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, MOST_BOUNDS};
use scoretap_core::route::PRESETS;
use scoretap_dialect::{Dialect, Dimension, Family, Label, Unit};
use serde_json::{Value, json};

use super::model::{Needs, Plan, Planned};

/// Begins a line that the next run replaces.
const OURS: &str = "#:";

/// How many queries are named for each family.
const NAMED: usize = 8;

/// An earlier version of the file.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) dialect: Dialect,
    /// Families that the user commented out.
    pub(super) declined: BTreeSet<String>,
    /// The lines up to `families:`.
    head: Vec<String>,
    blocks: Vec<Block>,
    tail: Vec<String>,
    indent: String,
}

/// The lines of a family, and the comments before it.
#[derive(Debug, Default)]
struct Block {
    before: Vec<String>,
    lines: Vec<String>,
}

impl Earlier {
    /// Reads a file, or reports all its faults.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Vec<String>> {
        let dialect = Dialect::parse(file, text)?;
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with(OURS)).map(str::to_owned);
        let mut head = Vec::new();
        for line in lines.by_ref() {
            let is_last = line.starts_with("families:");
            head.push(line);
            if is_last {
                break;
            }
        }
        let mut earlier = Self {
            dialect,
            declined: BTreeSet::new(),
            head,
            blocks: Vec::new(),
            tail: Vec::new(),
            indent: String::new(),
        };
        lines.for_each(|line| earlier.line(line));
        if earlier.blocks.len() != earlier.dialect.families.len() {
            return Err(vec![format!(
                "{file}: the families cannot be told apart; write each as a list item that begins with \"- name:\""
            )]);
        }
        Ok(earlier)
    }

    fn line(&mut self, line: String) {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let is_item = trimmed.starts_with("- ") && (self.blocks.is_empty() || indent == self.indent.len());
        if let Some(name) = commented(trimmed) {
            self.declined.insert(name);
        }
        if is_item {
            self.indent = line.get(..indent).unwrap_or_default().to_owned();
            self.blocks.push(Block { before: std::mem::take(&mut self.tail), lines: vec![line] });
        } else if trimmed.is_empty() || trimmed.starts_with('#') || self.blocks.is_empty() {
            self.tail.push(line);
        } else if let Some(block) = self.blocks.last_mut() {
            block.lines.append(&mut self.tail);
            block.lines.push(line);
        }
    }
}

/// The name in `# - name: x`.
fn commented(line: &str) -> Option<String> {
    let item = line.strip_prefix('#')?.trim_start().strip_prefix("- name:")?;
    Some(item.trim().trim_matches(['"', '\'']).to_owned())
}

/// The file's text.
pub(super) fn write(plan: &Plan, dialect: &str, earlier: Option<&Earlier>) -> String {
    let mut text = format!(
        "{OURS} Made by `scoretap dialect make`. The next run replaces lines that begin with \"{OURS}\" and keeps all others.\n"
    );
    for line in needs(&plan.needs) {
        push(&mut text, "", &line);
    }
    let indent = earlier.map(|earlier| earlier.indent.as_str()).unwrap_or_default();
    match earlier {
        Some(earlier) => earlier.head.iter().for_each(|line| line_to(&mut text, line)),
        None => {
            let _ = write!(
                text,
                "dialect: {dialect}\nabout: The names in the dashboards and alerts of {dialect}.\n\nfamilies:\n"
            );
        }
    }
    let mut kept = BTreeSet::new();
    let by_name: BTreeMap<&str, &Planned> =
        plan.families.iter().map(|planned| (planned.family.name.as_str(), planned)).collect();
    if let Some(earlier) = earlier {
        for (block, family) in earlier.blocks.iter().zip(&earlier.dialect.families) {
            kept.insert(family.name.as_str());
            block.before.iter().for_each(|line| line_to(&mut text, line));
            if let Some(planned) = by_name.get(family.name.as_str()) {
                comments(&mut text, indent, planned);
            }
            block.lines.iter().for_each(|line| line_to(&mut text, line));
        }
    }
    let new = plan.families.iter().filter(|planned| !kept.contains(planned.family.name.as_str()));
    let (choices, new): (Vec<&Planned>, Vec<&Planned>) = new.partition(|planned| planned.is_choice);
    for planned in new {
        separate(&mut text);
        comments(&mut text, indent, planned);
        for line in lines(&planned.family) {
            line_to(&mut text, &format!("{indent}{line}"));
        }
    }
    for planned in choices {
        separate(&mut text);
        comments(&mut text, indent, planned);
        for line in lines(&planned.family) {
            push(&mut text, indent, &line);
        }
    }
    if let Some(earlier) = earlier {
        earlier.tail.iter().for_each(|line| line_to(&mut text, line));
    }
    let end = text.trim_end().len();
    text.truncate(end);
    text.push('\n');
    if plan.families.iter().all(|planned| planned.is_choice) && kept.is_empty() {
        text = text.replace("families:\n", "families: []\n");
    }
    text
}

/// Ends a family with an empty line.
fn separate(text: &mut String) {
    if !text.ends_with("families:\n") && !text.ends_with("\n\n") {
        text.push('\n');
    }
}

fn line_to(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn push(text: &mut String, indent: &str, line: &str) {
    let one = line.replace(['\n', '\r'], " ");
    let _ = writeln!(text, "{indent}{OURS} {one}");
}

fn comments(text: &mut String, indent: &str, planned: &Planned) {
    for by in planned.wanted_by.iter().take(NAMED) {
        push(text, indent, by);
    }
    if planned.wanted_by.len() > NAMED {
        push(text, indent, &format!("and {} more", planned.wanted_by.len() - NAMED));
    }
    for question in &planned.questions {
        push(text, indent, &format!("CHOOSE: {question}"));
    }
}

fn lines(family: &Family) -> Vec<String> {
    let mut lines = vec![
        format!("- name: {}", scalar(&family.name)),
        format!("  help: {}", scalar(&family.help)),
        format!("  measure: {}", family.measure.as_str()),
    ];
    if family.measure.kinds().first() != Some(&family.kind) {
        lines.push(format!("  type: {}", family.kind.as_str()));
    }
    if family.unit != Unit::Seconds {
        lines.push(format!("  unit: {}", family.unit.as_str()));
    }
    if !family.only.is_empty() {
        let only: Vec<&str> = family.only.iter().map(|status| status.as_str()).collect();
        lines.push(format!("  only: [{}]", only.join(", ")));
    }
    if !family.templates.is_empty() {
        let templates: Vec<String> = family.templates.iter().map(|template| scalar(template)).collect();
        lines.push(format!("  templates: [{}]", templates.join(", ")));
    }
    if !family.values.is_empty() {
        lines.push(format!("  values: [{}]", family.values.join(", ")));
    }
    if let Some(bounds) = &family.bounds {
        let bounds: Vec<String> = bounds.iter().map(|bound| seconds(*bound).to_string()).collect();
        lines.push(format!("  bounds_seconds: [{}]", bounds.join(", ")));
    }
    if !family.labels.is_empty() {
        lines.push("  labels:".to_owned());
        lines.extend(family.labels.iter().map(label));
    }
    lines
}

fn label(label: &Label) -> String {
    let mut text = format!("  - {{name: {}, value: {}", scalar(&label.name), label.value.as_str());
    if label.value == Dimension::Fixed {
        let _ = write!(text, ", text: {}", scalar(&label.text));
    }
    if !label.rename.is_empty() {
        let pairs: Vec<String> =
            label.rename.iter().map(|(from, to)| format!("{}: {}", scalar(from), scalar(to))).collect();
        let _ = write!(text, ", rename: {{{}}}", pairs.join(", "));
    }
    if !label.from_the_start.is_empty() {
        let codes: Vec<String> = label.from_the_start.iter().map(u16::to_string).collect();
        let _ = write!(text, ", from_the_start: [{}]", codes.join(", "));
    }
    text + "}"
}

/// A YAML scalar that is text.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == '/')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "_-./ '".contains(char))
        && !text.ends_with(' ');
    let is_reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    if is_word && !is_reserved { text.to_owned() } else { Value::from(text).to_string() }
}

#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn needs(needs: &Needs) -> Vec<String> {
    let mut lines = Vec::new();
    let filter = filter(needs);
    if filter != json!({}) {
        lines.push(format!("Configuration of the filter: {filter}"));
    }
    if needs.insight {
        lines.push("Needs Insight, which reads bodies.".to_owned());
    }
    if !needs.labels.is_empty() {
        let labels: Vec<&str> = needs.labels.iter().map(String::as_str).collect();
        lines.push(format!("Queries want these labels: {}", labels.join(", ")));
    }
    if !needs.environment.is_empty() {
        let variables: Vec<&str> = needs.environment.iter().map(String::as_str).collect();
        lines.push(format!("Environment of the exporter: {}", variables.join(", ")));
    }
    lines
}

/// The filter's configuration, without what is the default.
pub(super) fn filter(needs: &Needs) -> Value {
    let mut fields = serde_json::Map::new();
    if !needs.bounds_seconds.is_empty() {
        let mut bounds: Vec<f64> = DEFAULT_TIME_BOUNDS.iter().map(|bound| seconds(*bound)).collect();
        bounds.extend(&needs.bounds_seconds);
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        if bounds.len() > MOST_BOUNDS {
            bounds.clone_from(&needs.bounds_seconds);
            bounds.truncate(MOST_BOUNDS);
        }
        fields.insert("bounds_seconds".to_owned(), json!(bounds));
    }
    if !needs.routes.is_empty() {
        let presets = PRESETS.iter().map(|preset| json!({"preset": preset.name}));
        fields.insert(
            "routes".to_owned(),
            presets.chain(needs.routes.iter().map(|text| route(text))).collect(),
        );
    }
    if !needs.extra.is_empty() {
        fields.insert("extra".to_owned(), json!(needs.extra));
    }
    if needs.duration_codes {
        fields.insert("duration_codes".to_owned(), json!(true));
    }
    if needs.insight {
        fields.insert("insight".to_owned(), json!({}));
    }
    Value::Object(fields)
}

/// A route from `METHOD /path` or `METHOD /path as name`.
fn route(text: &str) -> Value {
    let (route, name) = text.split_once(" as ").map_or((text, None), |(route, name)| (route, Some(name)));
    let (method, path) = route.split_once(' ').unwrap_or(("POST", route));
    let slug: String =
        path.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
    let slug = format!(
        "{}{}",
        slug.trim_matches('-'),
        if method == "POST" { String::new() } else { format!("-{}", method.to_ascii_lowercase()) }
    );
    let slug = slug.trim_matches('-');
    let slug = if slug.is_empty() { "root" } else { slug };
    json!({"name": name.unwrap_or(slug), "method": method, "path": path})
}
