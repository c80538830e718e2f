//! The labels of every series: the tenant, and those that the operator adds.

use std::collections::BTreeSet;

use crate::render::self_metrics;
use scoretap_dialect::Family;
use scoretap_dialect::names::{RESERVED_LABELS, is_word};

/// The label for the environment variable `TENANT`.
const TENANT: &str = "tenant";

/// Names and values, the tenant first, or all faults. Names that `families` use are rejected.
pub fn constants(
    flags: &[String],
    tenant: Option<&str>,
    families: &[Family],
) -> Result<Vec<(String, String)>, Vec<String>> {
    let taken = taken(families);
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut faults = Vec::new();
    match tenant {
        Some(tenant) if taken.contains(TENANT) => faults.push(format!(
            "environment TENANT={tenant:?}: a dialect has a label {TENANT:?} of its own; rename that one, or set no \
             TENANT"
        )),
        Some(tenant) => labels.push((TENANT.to_owned(), tenant.to_owned())),
        None => {}
    }
    for flag in flags {
        match parse(flag, &labels, &taken) {
            Ok(label) => labels.push(label),
            Err(fault) => faults.push(format!("--label {flag:?}: {fault}")),
        }
    }
    if faults.is_empty() { Ok(labels) } else { Err(faults) }
}

fn parse(
    flag: &str,
    so_far: &[(String, String)],
    taken: &BTreeSet<&str>,
) -> Result<(String, String), String> {
    let Some((name, value)) = flag.split_once('=') else {
        return Err("has no \"=\"; write KEY=VALUE".to_owned());
    };
    if !is_word(name) {
        return Err(format!(
            "{name:?} is no label name; use letters, digits and \"_\", not starting with a digit"
        ));
    }
    if name.starts_with("__") {
        return Err(format!("{name:?} is one of Prometheus' internal labels; leave out the leading \"__\""));
    }
    if taken.contains(name) {
        let taken: Vec<&str> = taken.iter().copied().collect();
        return Err(format!("{name:?} has a meaning already; choose a name other than {}", taken.join(", ")));
    }
    if so_far.iter().any(|(other, _)| other == name) {
        let hint = if name == TENANT { "TENANT is set in the environment, too; " } else { "" };
        return Err(format!("{name:?} is given twice; {hint}keep one of them"));
    }
    if value.is_empty() {
        return Err(
            "has no value, and an empty label is no label; leave it out or give it a value".to_owned()
        );
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The label names that are already in use.
fn taken(families: &[Family]) -> BTreeSet<&str> {
    let of_calls = families.iter().flat_map(|family| &family.labels).map(|label| label.name.as_str());
    of_calls.chain(self_metrics::LABELS).chain(RESERVED_LABELS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scoretap_dialect::Dialect;

    fn parsed(flags: &[&str], tenant: Option<&str>) -> Result<Vec<(String, String)>, Vec<String>> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let prediction = Dialect::built_in("prediction").unwrap().unwrap();
        constants(&flags, tenant, &prediction.families)
    }

    #[track_caller]
    fn check(flags: &[&str], tenant: Option<&str>, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parsed(flags, tenant), Ok(expected));
    }

    /// The fault of each flag must contain its `words`.
    #[track_caller]
    fn check_faults(flags: &[&str], tenant: Option<&str>, words: &[&str]) {
        let faults = parsed(flags, tenant).expect_err("must be refused");
        assert_eq!(faults.len(), words.len(), "{faults:?}");
        for (fault, words) in faults.iter().zip(words) {
            assert!(fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn labels_keep_their_order_after_the_tenant() {
        check(&[], None, &[]);
        check(&["b=1", "a=x=y z"], Some("acme"), &[("tenant", "acme"), ("b", "1"), ("a", "x=y z")]);
        check(&["tenant=acme"], None, &[("tenant", "acme")]);
    }

    #[test]
    fn invalid_labels_are_rejected() {
        check_faults(&["a"], None, &["--label \"a\": has no \"=\""]);
        check_faults(&["=1"], None, &["is no label name"]);
        check_faults(&["1a=1"], None, &["is no label name"]);
        check_faults(&["a-b=1"], None, &["\"a-b\" is no label name"]);
        check_faults(&["ä=1"], None, &["is no label name"]);
        check_faults(&["a="], None, &["has no value"]);
    }

    #[test]
    fn label_names_in_use_are_rejected() {
        for name in ["le", "quantile", "route", "status", "model_name", "version", "result", "code"] {
            check_faults(&[&format!("{name}=x")], None, &["has a meaning already"]);
        }
        check_faults(&["__name__=x"], None, &["internal"]);
    }

    #[test]
    fn repeated_label_is_rejected() {
        check_faults(&["a=1", "a=1"], None, &["\"a\" is given twice; keep"]);
        check_faults(&["tenant=x"], Some("y"), &["TENANT is set in the environment, too"]);
    }

    #[test]
    fn tenant_label_of_a_dialect_is_rejected() {
        let text = "{dialect: d, families: [{name: a_total, help: A., measure: calls, labels: \
                    [{name: tenant, value: model}]}]}";
        let families = Dialect::parse("d.yaml", text).unwrap().families;
        assert_eq!(constants(&[], None, &families), Ok(Vec::new()));
        let faults = constants(&[], Some("acme"), &families).expect_err("must be refused");
        assert!(faults.len() == 1 && faults[0].starts_with("environment TENANT=\"acme\": "), "{faults:?}");
    }

    #[test]
    fn all_faults_are_reported() {
        check_faults(&["a", "b=2", "le=3"], None, &["no \"=\"", "meaning"]);
    }
}
