//! Quantities: `250m`, `64Mi`, `1e3`.

use anyhow::{Context, Result};

const SUFFIXES: [(&str, f64); 13] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("", 1.0),
];

/// Parses a quantity to cores or bytes.
pub(super) fn parse(text: &str) -> Result<f64> {
    let split = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)));
    let number = split.and_then(|(number, factor)| Some(number.parse::<f64>().ok()? * factor));
    number.with_context(|| format!("{text} is no quantity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_suffixes() {
        for (text, expected) in
            [("250m", 0.25), ("2", 2.0), ("64Mi", 67_108_864.0), ("1e3", 1000.0), ("1.5k", 1500.0)]
        {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert!(parse("much").is_err());
    }
}
