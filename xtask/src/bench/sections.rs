//! Generated sections of documents, between `<!-- generated: NAME -->` and `<!-- /generated -->`.

use std::fs;

use anyhow::{Context, Result};
use scoretap_tests::workspace;

const END: &str = "<!-- /generated -->";

/// Replaces a section of a file, which is named from the root of the sources.
pub(super) fn write(file: &str, name: &str, text: &str) -> Result<()> {
    let path = workspace::root().join(file);
    let document = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
    let replaced = replace(&document, name, text).with_context(|| format!("{file} has no section {name}"))?;
    fs::write(&path, replaced).with_context(|| format!("cannot write {file}"))
}

fn replace(document: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_named_section_only() {
        let document = "a\n<!-- generated: x -->\nold\n<!-- /generated -->\nb\n";
        let replaced = "a\n<!-- generated: x -->\nnew\n<!-- /generated -->\nb\n";
        assert_eq!(replace(document, "x", "new\n").as_deref(), Some(replaced));
        assert_eq!(replace(document, "y", "new\n"), None);
    }
}
