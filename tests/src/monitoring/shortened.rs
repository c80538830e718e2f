//! The shipped rules and routes with every duration replaced by a short one, by one table and nothing else:
//! expressions, thresholds and order stay. What is minutes in a cluster is seconds here.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde_norway::Value;

/// Longer stays longer or becomes as long, so windows keep their order. A day has to be longer than what fires in it.
const DURATIONS: [(&str, &str); 14] = [
    ("30s", "500ms"),
    ("1m", "1s"),
    ("2m", "1s"),
    ("5m", "8s"),
    ("10m", "10s"),
    ("15m", "10s"),
    ("30m", "10s"),
    ("1h", "12s"),
    ("2h", "12s"),
    ("6h", "14s"),
    ("1d", "24s"),
    ("3d", "26s"),
    ("1w", "30s"),
    ("30d", "60s"),
];

/// The short form of a duration; one that the table lacks is an error.
pub fn duration(long: &str) -> Result<&'static str> {
    let found = DURATIONS.iter().find(|(from, _)| *from == long);
    found.map(|(_, to)| *to).with_context(|| format!("no short form of {long}: add it to DURATIONS"))
}

/// A rule file with short windows, delays and intervals.
pub fn rules(text: &str) -> Result<String> {
    let mut file: Value = serde_norway::from_str(text)?;
    for group in file["groups"].as_sequence_mut().context("no groups")? {
        // Long windows are read seldom in a cluster; here everything is evaluated twice a second.
        group["interval"] = "500ms".into();
        for rule in group["rules"].as_sequence_mut().context("no rules")? {
            if let Some(wait) = rule.get("for").and_then(Value::as_str) {
                rule["for"] = duration(wait)?.into();
            }
            let expr = rule["expr"].as_str().context("no expr")?;
            rule["expr"] = expression(expr)?.into();
        }
    }
    Ok(serde_norway::to_string(&file)?)
}

/// Durations stand in brackets or behind `offset`.
fn expression(expr: &str) -> Result<String> {
    let mut short = String::new();
    let mut rest = expr;
    while let Some((at, mark)) = next_mark(rest) {
        let (before, after) = rest.split_at(at + mark.len());
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        short.push_str(before);
        short.push_str(duration(&after[..end])?);
        rest = &after[end..];
    }
    Ok(short + rest)
}

fn next_mark(text: &str) -> Option<(usize, &'static str)> {
    ["[", "offset "].into_iter().filter_map(|mark| Some((range_at(text, mark)?, mark))).min()
}

/// A bracket may also belong to a regular expression: a duration begins with a digit and no class follows.
fn range_at(text: &str, mark: &str) -> Option<usize> {
    let mut matches = text.match_indices(mark).map(|(at, _)| at);
    matches.find(|at| text[at + mark.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// The shipped routes with short waits and this webhook in place of every pager and chat, one path for each receiver.
pub fn alertmanager_config(text: &str, webhook: SocketAddr) -> Result<String> {
    let mut config: Value = serde_norway::from_str(text)?;
    for (wait, short) in [("group_wait", "200ms"), ("group_interval", "500ms")] {
        if config["route"].get(wait).is_none() {
            bail!("route has no {wait}");
        }
        config["route"][wait] = short.into();
    }
    for receiver in config["receivers"].as_sequence_mut().context("no receivers")? {
        let name = receiver["name"].as_str().context("a receiver without a name")?.to_owned();
        let silent = receiver.get("slack_configs").is_none() && receiver.get("pagerduty_configs").is_none();
        let hook = format!("{{url: 'http://{webhook}/{name}', send_resolved: true}}");
        let hooks = if silent { String::new() } else { format!(", webhook_configs: [{hook}]") };
        *receiver = serde_norway::from_str(&format!("{{name: {name}{hooks}}}"))?;
    }
    Ok(serde_norway::to_string(&config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_short_and_nothing_else_changes() {
        let long = "rate(a{job=~\"x[/-]\"}[5m]) > 5 * b:rate5m offset 1w and c[30d]";
        let short = "rate(a{job=~\"x[/-]\"}[8s]) > 5 * b:rate5m offset 30s and c[60s]";
        assert_eq!(expression(long).unwrap(), short);
    }

    #[test]
    fn unknown_duration_is_an_error() {
        assert!(expression("rate(a[7m])").unwrap_err().to_string().contains("7m"));
    }
}
