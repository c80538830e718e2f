//! The dialects that an annotation can name.

use std::sync::LazyLock;

use scoretap_dialect::{BUILT_IN, Dialect, merge};

/// The dialect of a pod without the annotation.
pub(crate) const DEFAULT: &str = "prediction";

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// Pairs of dialects that define the same metric differently. An exporter with both would not start.
pub(crate) static CONFLICTS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let parsed: Vec<(&str, Dialect)> =
        names().filter_map(|name| Some((name, Dialect::built_in(name)?.ok()?))).collect();
    let mut conflicts = Vec::new();
    for (position, (one, first)) in parsed.iter().enumerate() {
        for (other, second) in parsed.iter().skip(position + 1) {
            if merge(&[first.clone(), second.clone()]).is_err() {
                conflicts.push((*one, *other));
            }
        }
    }
    conflicts
});

/// Whether all names of a list are known.
pub(crate) fn are_known(list: &str) -> bool {
    list.split(',').all(|name| names().any(|known| known == name))
}

/// Whether a ConfigMap can have this name. The API server rejects a pod with an impossible one.
pub(crate) fn is_config_map(name: &str) -> bool {
    const LONGEST: usize = 253;
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part = |part: &str| {
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(is_inner)
    };
    name.len() <= LONGEST && name.split('.').all(is_part)
}

/// Whether two dialects of a list exclude each other.
pub(crate) fn conflict(list: &str) -> bool {
    let has = |wanted: &str| list.split(',').any(|name| name == wanted);
    CONFLICTS.iter().any(|(one, other)| has(one) && has(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_built_in_dialects_parse() {
        for name in names() {
            assert!(matches!(Dialect::built_in(name), Some(Ok(_))), "{name}");
        }
        assert!(are_known(DEFAULT));
    }

    #[test]
    fn conflicting_pairs_are_found() {
        assert!(!conflict("prediction,mlflow,fastapi"));
        assert!(conflict("prediction,model"), "both have model_info");
        assert!(!conflict("model"));
    }

    #[test]
    fn names_of_config_maps_are_domain_names() {
        assert!(["churn", "churn-2.v1", "0"].into_iter().all(is_config_map));
        for name in ["", "-churn", "churn-", "a..b", "Churn", "a_b", "a/b", "ä", &"a".repeat(254)] {
            assert!(!is_config_map(name), "{name}");
        }
    }

    #[test]
    fn lists_have_no_blanks() {
        assert!(are_known("prediction,fastapi"));
        for list in ["", "prediction,", "prediction, fastapi", "predictions"] {
            assert!(!are_known(list), "{list}");
        }
    }
}
