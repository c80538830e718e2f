//! The query for Envoy's statistics: one anchored regular expression.

use scoretap_core::name::{ENVOY_PREFIX, PREFIX};

/// The path and query that read everything a scrape needs.
///
/// The user's patterns may contain `|`, so each is in a group.
pub fn everything(stat_prefix: &str, app_cluster: &str) -> String {
    let ours = regex_lite::escape(&format!("{ENVOY_PREFIX}{PREFIX}"));
    stats(&format!(
        "^(?:{ours}|http\\.(?:{stat_prefix})\\.downstream_rq_(?:total|active)$\
         |cluster\\.(?:{app_cluster})\\.upstream_rq_active$\
         |server\\.uptime$\
         |wasm\\..*scoretap.*\\.vm_reload_(?:success|failure|backoff)$)"
    ))
}

/// The path and query of the smallest read, which shows whether Envoy can be read.
pub fn anything() -> String {
    stats(&format!("^{}$", regex_lite::escape(&format!("{ENVOY_PREFIX}{PREFIX}config"))))
}

fn stats(filter: &str) -> String {
    let mut path = String::from("/stats?filter=");
    for byte in filter.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The regular expression that Envoy decodes from the path.
    fn filter(path: &str) -> regex_lite::Regex {
        let encoded = path.strip_prefix("/stats?filter=").unwrap();
        assert!(
            encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)),
            "{path}"
        );
        let mut bytes = encoded.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(if byte == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            } else {
                byte
            });
        }
        regex_lite::Regex::new(std::str::from_utf8(&decoded).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(name: &str, expected: bool) {
        let filter = filter(&everything("inbound.*", r"app|inbound\|.*"));
        assert_eq!(filter.is_match(name), expected, "{name}");
    }

    #[test]
    fn scoretap_statistics_are_read() {
        check("wasmcustom.scoretap.call.score.~.~.POST./score.200.success", true);
        check("wasmcustom.scoretap.config", true);
        check("wasm.scoretap.vm_reload_success", true);
        check("wasm.ml.scoretap-7.vm_reload_backoff", true);
        check("wasm.scoretap.vm_reload", false);
        check("wasm.other.vm_reload_success", false);
        check("wasmcustom.scoretapped", false);
        check("wasmcustom.other", false);
        check("x.wasmcustom.scoretap.config", false);
    }

    #[test]
    fn only_requests_of_the_listener_are_read() {
        check("http.inbound.downstream_rq_total", true);
        check("http.inbound_0.0.0.0_8080.downstream_rq_active", true);
        check("http.inbound.downstream_rq_active_x", false);
        check("http.inbound.downstream_rq_2xx", false);
        check("http.admin.downstream_rq_total", false);
        check("xhttp.inbound.downstream_rq_total", false);
    }

    #[test]
    fn only_active_calls_of_the_app_are_read() {
        check("cluster.app.upstream_rq_active", true);
        check("cluster.inbound|8080||.upstream_rq_active", true);
        check("cluster.app.upstream_rq_total", false);
        check("cluster.app.upstream_rq_active_x", false);
        check("cluster.apple.upstream_rq_active", false);
        check("cluster.app", false);
    }

    #[test]
    fn alternatives_in_patterns_stay_in_their_group() {
        let filter = filter(&everything("a|b", "c"));
        assert!(filter.is_match("http.b.downstream_rq_total"));
        assert!(!filter.is_match("b"));
        assert!(!filter.is_match("http.a"));
    }

    #[test]
    fn readiness_reads_one_gauge() {
        let filter = filter(&anything());
        assert!(filter.is_match("wasmcustom.scoretap.config"));
        assert!(!filter.is_match("wasmcustom.scoretap.call.score.~.~.POST./score.200.success"));
    }
}
