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
    fn lists_have_no_blanks() {
        assert!(are_known("prediction,fastapi"));
        for list in ["", "prediction,", "prediction, fastapi", "predictions"] {
            assert!(!are_known(list), "{list}");
        }
    }
}
