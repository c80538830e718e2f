//! The names that a metric or a label can have.
//!
//! <https://prometheus.io/docs/concepts/data_model/>

/// Label names that Prometheus reserves for histograms and summaries.
pub const RESERVED_LABELS: [&str; 2] = ["le", "quantile"];

/// Whether `name` can name a metric. Only these names can have a colon, as vLLM's do.
pub fn is_name(name: &str) -> bool {
    is_word(&name.replace(':', "_"))
}

/// Whether `name` can name a label.
pub fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// Whether a dialect can have a label of this name.
pub fn is_label(name: &str) -> bool {
    is_word(name) && !name.starts_with("__") && !RESERVED_LABELS.contains(&name)
}
