//! CPU and memory: validates and compares quantities from annotations and settings.

use crate::annotations::{CPU_LIMIT, CPU_REQUEST, MEMORY_LIMIT, MEMORY_REQUEST};

/// A limit that is not set.
pub const NONE: &str = "none";

/// A resource of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Cores.
    Cpu,
    /// Bytes.
    Memory,
}

/// The meaning of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// The scheduler reserves it.
    Request,
    /// The kernel enforces it.
    Limit,
}

impl Resource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];

    /// The name in Kubernetes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// The regular expression of its quantities, for CEL. [`Self::parse`] accepts the same. Both accept a subset of
    /// Kubernetes' quantities: `100m`, `0.5`, `2`; `64Mi`, `1G`.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Cpu => "[0-9]{1,6}m|[0-9]{1,4}([.][0-9]{1,3})?",
            Self::Memory => "[0-9]{1,15}([kMGT]|[KMGT]i)?",
        }
    }

    /// The quantity, in thousandths of a core or in bytes. `None` if it is not one.
    pub fn parse(self, text: &str) -> Option<u128> {
        match self {
            Self::Cpu => text.strip_suffix('m').map_or_else(|| cores(text), |milli| digits(milli, 6)),
            Self::Memory => {
                let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
                let (number, unit) = text.split_at(end);
                Some(digits(number, 15)? * bytes(unit)?)
            }
        }
    }
}

impl Bound {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Request, Self::Limit];

    /// The name in slots and annotations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Limit => "limit",
        }
    }

    /// The field of a container's `resources`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Limit => "limits",
        }
    }

    /// The annotation that sets it for each container of the sidecar.
    pub const fn annotation(self, resource: Resource) -> &'static str {
        match (self, resource) {
            (Self::Request, Resource::Cpu) => CPU_REQUEST,
            (Self::Request, Resource::Memory) => MEMORY_REQUEST,
            (Self::Limit, Resource::Cpu) => CPU_LIMIT,
            (Self::Limit, Resource::Memory) => MEMORY_LIMIT,
        }
    }

    /// Whether an annotation or a setting may have this value. Only a limit may be `none`.
    pub fn accepts(self, resource: Resource, text: &str) -> bool {
        resource.parse(text).is_some() || (self == Self::Limit && text == NONE)
    }
}

fn cores(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let milli = digits(&format!("{fraction:0<3}"), 3).filter(|_| !fraction.is_empty())?;
    Some(digits(whole, 4)? * 1000 + milli)
}

fn bytes(unit: &str) -> Option<u128> {
    match unit {
        "" => Some(1),
        "k" => Some(1000),
        "M" => Some(1000_u128.pow(2)),
        "G" => Some(1000_u128.pow(3)),
        "T" => Some(1000_u128.pow(4)),
        "Ki" => Some(1 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        "Ti" => Some(1 << 40),
        _ => None,
    }
}

fn digits(text: &str, most: usize) -> Option<u128> {
    let is_number = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resource: Resource, text: &str, expected: Option<u128>) {
        assert_eq!(resource.parse(text), expected, "{text}");
    }

    #[test]
    fn parses_cpu_in_cores_and_thousandths() {
        for (text, milli) in [("100m", 100), ("2", 2000), ("0.5", 500), ("1.25", 1250), ("0", 0)] {
            check(Resource::Cpu, text, Some(milli));
        }
        for text in ["", "m", "-1", "1.", ".5", "1.0001", "0.5m", "1k", "1 ", "+1", "١", "none"] {
            check(Resource::Cpu, text, None);
        }
    }

    #[test]
    fn parses_memory_in_both_kinds_of_units() {
        for (text, bytes) in [("64Mi", 64 << 20), ("1G", 1_000_000_000), ("1k", 1000), ("7", 7)] {
            check(Resource::Memory, text, Some(bytes));
        }
        for text in ["", "Mi", "64m", "64MB", "1.5Gi", "-1", "64 Mi", "1e3", "ki", "1K"] {
            check(Resource::Memory, text, None);
        }
    }
}
