//! Quantities of CPU and memory.

/// A quantity in thousandths. Every quantity of CPU and memory is a whole number of them. `None` if the text is not a
/// quantity.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let digits =
        text.find(|char: char| !(char.is_ascii_digit() || char == '.' || char == '+' || char == '-'));
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse::<i32>().ok()) {
        return scaled(number, 10_f64.powi(exponent));
    }
    let (_, factor) = SUFFIXES.iter().find(|(name, _)| *name == suffix)?;
    scaled(number, *factor)
}

const SUFFIXES: [(&str, f64); 15] = [
    ("", 1.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
];

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded up, as the API server does; beyond 2^53 nothing is exact"
)]
fn scaled(number: &str, factor: f64) -> Option<i128> {
    let number: f64 = number.parse().ok()?;
    Some((number * factor * 1000.0 - 1e-6).ceil() as i128)
}

/// Writes a number of thousandths in the shortest common form.
pub(crate) fn write(thousandths: i128) -> String {
    if thousandths % 1000 != 0 {
        return format!("{thousandths}m");
    }
    let whole = thousandths / 1000;
    for (suffix, factor) in [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if whole != 0 && whole % factor == 0 {
            return format!("{}{suffix}", whole / factor);
        }
    }
    whole.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_parse_as_in_the_api_server() {
        let check = |text: &str, expected: Option<i128>| assert_eq!(parse(text), expected, "{text}");
        check("1", Some(1000));
        check("100m", Some(100));
        check("0.5", Some(500));
        check("1e3", Some(1_000_000));
        check("64Mi", Some(67_108_864_000));
        check("1.5Gi", Some(1_610_612_736_000));
        check("128M", Some(128_000_000_000));
        check("1500u", Some(2));
        check("none", None);
        check("", None);
    }

    #[test]
    fn quantities_are_written_in_their_usual_unit() {
        for text in ["100m", "2", "64Mi", "3Gi", "1500m"] {
            assert_eq!(write(parse(text).unwrap()), text);
        }
    }
}
