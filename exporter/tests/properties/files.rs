//! Files and flags are accepted, or rejected with every fault. Each fault is one line with an existing place.

use std::path::Path;

use clap::Parser;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{collection, sample};
use scoretap_dialect::Dialect;
use scoretap_exporter::cli::args::Args;
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::cli::labels::constants;
use scoretap_web::config as web;
use serde_norway::Value;

use crate::cases;

/// Checks that each fault is one line that begins with the file and a place in the document.
#[track_caller]
pub(crate) fn check_faults(file: &str, text: &str, faults: &[String]) {
    assert!(!faults.is_empty(), "refused without a word: {text}");
    let document = serde_norway::from_str::<Value>(text);
    for fault in faults {
        assert!(!fault.chars().any(char::is_control) && fault.len() < 1000, "{fault:?}");
        let said = fault.strip_prefix(&format!("{file}: ")).unwrap_or_else(|| panic!("{fault}"));
        if let Ok(document) = &document {
            let place = said.split(": ").next().unwrap();
            let is_whole_document = said.starts_with("found ") || said.starts_with("has no ");
            assert!(is_whole_document || is_there(document, place), "{fault}\n{text}");
        }
    }
}

/// Whether `families[2].labels[0].name` is a place in the document.
fn is_there(document: &Value, place: &str) -> bool {
    let mut value = Some(document);
    for step in place.split('.') {
        let (key, positions) = step.split_once('[').unwrap_or((step, ""));
        let named = value.and_then(|value| value.get(key));
        // A key that is no text is described.
        let mut keys = value.and_then(Value::as_mapping).into_iter().flat_map(|mapping| mapping.keys());
        if named.is_none() && keys.any(|key| !key.is_string()) {
            return true;
        }
        value = named;
        for position in positions.split('[').filter(|position| !position.is_empty()) {
            let position: usize = position.trim_end_matches(']').parse().unwrap();
            value = value.and_then(|value| value.get(position));
        }
    }
    value.is_some()
}

/// YAML of the keys that these files know, with values of every kind.
fn yaml() -> impl Strategy<Value = String> {
    let keys = vec![
        "tls_server_config",
        "cert_file",
        "key_file",
        "cert",
        "client_ca",
        "client_auth_type",
        "client_allowed_sans",
        "min_version",
        "max_version",
        "cipher_suites",
        "curve_preferences",
        "http_server_config",
        "http2",
        "headers",
        "X-Frame-Options",
        "basic_auth_users",
        "alice",
        "rate_limit",
        "interval",
        "burst",
        "dialect",
        "families",
        "name",
        "help",
        "measure",
        "labels",
        "bounds_seconds",
        "value",
        "only",
        "rename",
        "from_the_start",
        "nonsense",
        "~",
        "7",
        "[a]",
    ];
    let scalars = vec![
        "~",
        "7",
        "true",
        "1e300",
        "1s",
        ".nan",
        "nonsense",
        "\"a\\nb\"",
        "\"\\0\"",
        "TLS12",
        "NoClientCert",
        "duration",
        "calls",
        "a_total",
        "a_seconds",
        "mine",
        "!tag x",
        "!<!a%0Ab> x",
        "\"\"",
        "$2y$04$nonsense",
        "RequireAndVerifyClientCert",
        "model",
        "code",
        "*anchor",
    ];
    let leaf = sample::select(scalars).prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let pairs = collection::btree_map(sample::select(keys.clone()), inner.clone(), 0..6);
        let mapping = pairs.prop_map(|pairs| {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        });
        let list = collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![5 => mapping, 1 => list]
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn file_is_accepted_or_rejected_with_places(text in yaml()) {
        if let Err(faults) = web::parse("web.yaml", &text, Path::new("/nonexistent")) {
            check_faults("web.yaml", &text, &faults);
        }
        if let Err(faults) = Dialect::parse("mine.yaml", &text) {
            check_faults("mine.yaml", &text, &faults);
        }
    }

    #[test]
    fn label_is_kept_exactly_or_rejected(
        flags in collection::vec(prop_oneof![4 => "[a-c_]{0,2}(=[^=]{0,3}){0,2}", 1 => any::<String>()], 0..4),
    ) {
        let written: Vec<(&str, &str)> = flags.iter().filter_map(|flag| flag.split_once('=')).collect();
        let is_once = |name: &str| written.iter().filter(|(other, _)| *other == name).count() == 1;
        let is_right = |(name, value): &(&str, &str)| is_label_name(name) && is_once(name) && !value.is_empty();
        let are_right = written.len() == flags.len() && written.iter().all(is_right);
        match constants(&flags, None, &[]) {
            Ok(labels) => {
                let taken: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
                assert!(are_right && taken == written, "{labels:?}");
            }
            Err(faults) => {
                assert!(!are_right, "{faults:?}");
                let of = |flag: &String| format!("--label {flag:?}: ");
                for fault in &faults {
                    assert!(flags.iter().any(|flag| fault.starts_with(&of(flag))), "{fault}");
                }
                // The remaining flags are valid.
                let is_good = |flag: &&String| !faults.iter().any(|fault| fault.starts_with(&of(flag)));
                let good: Vec<String> = flags.iter().filter(is_good).cloned().collect();
                assert!(constants(&good, None, &[]).is_ok(), "{good:?}");
            }
        }
    }
}

#[test]
fn tag_or_key_cannot_break_a_line() {
    for text in ["families: !<!a%0Ab> x", "{\"a\\nb\": 1, \"a\\nb\": 2}"] {
        check_faults("mine.yaml", text, &Dialect::parse("mine.yaml", text).expect_err("must be refused"));
    }
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn flags_are_accepted_or_rejected_by_name(
        values in collection::vec(prop_oneof!["[/a-z.0-9:*()|\\[-]{0,8}", any::<String>()], 6),
    ) {
        const FLAGS: [&str; 6] = [
            "--web.listen-address",
            "--web.telemetry-path",
            "--envoy.admin",
            "--envoy.stat-prefix",
            "--envoy.app-cluster",
            "--expect-route",
        ];
        let given = FLAGS.iter().zip(&values).map(|(flag, value)| format!("{flag}={value}"));
        let given: Vec<String> = std::iter::once("exporter".to_owned()).chain(given).collect();
        let args = Args::try_parse_from(&given).unwrap();
        let together = Config::new(&args, |_| None).err().unwrap_or_default();
        for (flag, given) in FLAGS.iter().zip(&given[1..]) {
            let alone = Args::try_parse_from(["exporter", given]).unwrap();
            let alone = Config::new(&alone, |_| None).err().unwrap_or_default();
            assert!(alone.iter().all(|fault| fault.starts_with(flag) && together.contains(fault)), "{alone:?}");
        }
    }
}

/// <https://prometheus.io/docs/concepts/data_model/>
fn is_label_name(name: &str) -> bool {
    regex_lite::Regex::new("^[a-zA-Z_][a-zA-Z0-9_]*$").unwrap().is_match(name) && !name.starts_with("__")
}
