//! Names of workloads on the command line: `deployment/scorer`.

use anyhow::Result;

use crate::usage;

/// The supported kinds and their spellings.
const KINDS: [(&str, &[&str]); 4] = [
    ("deployment", &["deployment", "deployments", "deploy"]),
    ("statefulset", &["statefulset", "statefulsets", "sts"]),
    ("daemonset", &["daemonset", "daemonsets", "ds"]),
    ("pod", &["pod", "pods", "po"]),
];

/// The kind as `kubectl get` writes it for one object, and the name.
pub(crate) fn parse(text: &str) -> Result<(&'static str, &str)> {
    let (written, name) = text.split_once('/').unwrap_or_default();
    let written = written.to_ascii_lowercase();
    let known = KINDS.iter().find(|(_, names)| names.contains(&written.as_str()));
    match known.filter(|_| !name.is_empty() && !name.contains('/')) {
        Some((kind, _)) => Ok((kind, name)),
        None => {
            let kinds: Vec<_> = KINDS.iter().map(|(kind, _)| format!("{kind}/NAME")).collect();
            Err(usage(format!("\"{text}\" is not a workload; write {}", kinds.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        assert_eq!(parse(text).ok(), expected, "{text}");
    }

    #[test]
    fn workloads_are_parsed_with_kubectls_short_names() {
        check("deployment/scorer", Some(("deployment", "scorer")));
        check("Deploy/scorer", Some(("deployment", "scorer")));
        check("sts/db", Some(("statefulset", "db")));
        check("po/a", Some(("pod", "a")));
        check("service/a", None);
        check("scorer", None);
        check("deployment/", None);
        check("deployment/a/b", None);
    }
}
