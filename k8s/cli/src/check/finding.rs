//! The findings of checks.

use serde_json::{Value, json};

use crate::text::clean;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The check that found it.
    pub(crate) check: &'static str,
    /// The object.
    pub(crate) place: String,
    /// The problem and its consequence.
    pub(crate) why: String,
    /// The command that fixes it. If only a person can fix it, a command that shows more.
    pub(crate) command: String,
    /// How many other objects the same command fixes.
    pub(crate) others: usize,
}

impl Finding {
    /// The table of checks adds the check's name.
    pub(crate) fn new(place: impl Into<String>, why: impl Into<String>, command: impl Into<String>) -> Self {
        Self { check: "", place: place.into(), why: why.into(), command: command.into(), others: 0 }
    }

    /// `-o json`
    pub(crate) fn json(&self) -> Value {
        json!({
            "check": self.check,
            "where": clean(&self.place),
            "why": clean(&self.why),
            "command": self.command,
            "others": self.others,
        })
    }
}

/// Merges the findings of one check that the same command fixes.
pub(crate) fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |other: &&mut Finding| other.check == finding.check && other.command == finding.command;
        match merged.iter_mut().find(same) {
            Some(other) => other.others += 1,
            None => merged.push(finding),
        }
    }
    merged
}

/// Findings as text: one numbered block each, wrapped to the terminal's width. Commands stay on one line.
pub(crate) fn blocks(findings: &[Finding], width: usize) -> String {
    let block = |(index, finding): (usize, &Finding)| {
        let others = match finding.others {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let text = format!("{}. {}{others}: {}", index + 1, clean(&finding.place), clean(&finding.why));
        format!("{}\n   {}\n", wrap(&text, width, "   "), finding.command)
    };
    findings.iter().enumerate().map(block).collect::<Vec<_>>().join("\n")
}

/// Breaks a text at spaces. Lines after the first begin with `indent`.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let chars = word.chars().count();
        if length > 0 && length + 1 + chars > width {
            lines.push('\n');
            lines.push_str(indent);
            length = indent.len();
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += chars;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_command_makes_one_finding() {
        let finding = |place: &str, command: &str| Finding::new(place, "is wrong", command);
        let merged = merged(vec![
            finding("a", "mend"),
            finding("b", "mend"),
            finding("c", "other"),
            finding("d", "mend"),
        ]);
        let summary: Vec<_> = merged.iter().map(|found| (found.place.as_str(), found.others)).collect();
        assert_eq!(summary, [("a", 2), ("c", 0)]);
    }

    #[test]
    fn blocks_wrap_text_and_keep_commands_whole() {
        let mut finding = Finding::new("t/pod/a", "one two three four", "kubectl get pod a -n t -o yaml");
        finding.others = 1;
        let expected =
            "1. t/pod/a and 1\n   more: one two\n   three four\n   kubectl get pod a -n t -o yaml\n";
        assert_eq!(blocks(&[finding], 17), expected);
    }
}
