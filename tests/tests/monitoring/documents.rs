//! The targets of links in annotations exist.

use std::fs;

use scoretap_tests::workspace;

use crate::dashboards;
use crate::rules::{self, FILES};

/// GitHub makes an anchor of a heading by lower case, for headings of one word.
fn anchors() -> Vec<String> {
    let text = fs::read_to_string(workspace::root().join("docs/runbooks.md")).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect()
}

#[test]
fn alerts_and_runbooks_match() {
    let mut linked = Vec::new();
    for (name, rule) in rules::alerts(&FILES) {
        let url = &rule.annotations["runbook_url"];
        let anchor = url.strip_prefix("https://runbooks.example.com/scoretap/runbooks.md#").expect(url);
        assert!(anchors().iter().any(|found| found == anchor), "{name}: docs/runbooks.md has no {anchor}");
        linked.push(anchor.to_owned());
    }
    for anchor in anchors() {
        assert!(linked.contains(&anchor), "docs/runbooks.md: no alert links to {anchor}");
    }
}

#[test]
fn panels_link_to_existing_runbooks() {
    let mut count = 0;
    for dashboard in dashboards::with_insight() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for link in panel["links"].as_array().into_iter().flatten() {
                let url = link["url"].as_str().unwrap();
                let anchor =
                    url.strip_prefix("https://runbooks.example.com/scoretap/runbooks.md#").expect(url);
                assert!(anchors().iter().any(|found| found == anchor), "{}: {anchor}", panel["title"]);
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count}");
}

/// On call, nobody reads further.
#[test]
fn runbooks_begin_with_effect_evidence_and_action() {
    let text = fs::read_to_string(workspace::root().join("docs/runbooks.md")).unwrap();
    for section in text.split("\n## ").skip(1) {
        let mut lines = section.lines().filter(|line| !line.is_empty());
        let name = lines.next().unwrap();
        for start in ["- **Callers notice**: ", "- **Look at**: ", "- **Do**: "] {
            let line = lines.next().unwrap_or_default();
            assert!(line.starts_with(start) && line.ends_with('.'), "{name}: {line}");
        }
    }
}

/// Recorded series that a runbook tells to query.
#[test]
fn queries_in_runbooks_are_recorded() {
    let text = fs::read_to_string(workspace::root().join("docs/runbooks.md")).unwrap();
    let recorded: Vec<_> = FILES.iter().flat_map(|file| rules::recorded(file)).collect();
    let is_word = |char: char| char.is_ascii_alphanumeric() || "_:".contains(char);
    let words = text.split(|char| !is_word(char)).filter(|word| word.starts_with("namespace_"));
    let mut count = 0;
    for word in words {
        assert!(recorded.iter().any(|name| name == word), "docs/runbooks.md: no rule records {word}");
        count += 1;
    }
    assert!(count > 10, "{count} queries");
}

#[test]
fn links_within_the_runbooks_lead_somewhere() {
    let text = fs::read_to_string(workspace::root().join("docs/runbooks.md")).unwrap();
    for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors().iter().any(|anchor| anchor == link), "docs/runbooks.md: #{link} leads nowhere");
    }
}

#[test]
fn alert_links_name_existing_dashboards_and_variables() {
    let dashboards = dashboards::all();
    for (name, rule) in rules::alerts(&FILES) {
        let url = &rule.annotations["dashboard_url"];
        let link = url.strip_prefix("https://grafana.example.com/d/").expect(url);
        let (uid, variables) = link.split_once('?').expect(url);
        let dashboard = dashboards.iter().find(|dashboard| dashboard["uid"] == uid);
        let dashboard = dashboard.unwrap_or_else(|| panic!("{name}: no dashboard has the uid {uid}"));
        let known = dashboards::variables(dashboard);
        for pair in variables.split('&') {
            let variable = pair.split('=').next().and_then(|key| key.strip_prefix("var-")).expect(url);
            assert!(known.contains(&variable), "{name}: {uid} has no variable {variable}");
        }
    }
}
