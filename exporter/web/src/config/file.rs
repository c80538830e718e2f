//! Parses the web configuration: YAML to a valid [`WebConfig`], or to all its faults.

use std::path::Path;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::limit::{self, RateLimit};
use super::tls::{self, ClientAuth, San, Settings};
use super::{Seen, WebConfig};
use scoretap_yaml::{Faults, Field, Table};

const KEYS: [&str; 4] = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
const TLS_KEYS: [&str; 13] = [
    "cert_file",
    "key_file",
    "cert",
    "key",
    "client_auth_type",
    "client_ca_file",
    "client_ca",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];
const HTTP_KEYS: [&str; 2] = ["http2", "headers"];
const LIMIT_KEYS: [&str; 2] = ["interval", "burst"];

/// The headers that exporter-toolkit allows, and their allowed values. An empty list allows any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The highest bcrypt cost. Checking a hash of this cost takes seconds, and each step doubles the time.
const HIGHEST_COST: u32 = 15;

/// Parses the configuration. Relative paths are relative to `folder`.
pub fn parse(file: &str, text: &str, folder: &Path) -> Result<WebConfig, Vec<String>> {
    read(file, text, folder, &mut Vec::new())
}

/// Parses the configuration. Adds every file that it tries to read to `seen`, even if there are faults.
pub(super) fn read(
    file: &str,
    text: &str,
    folder: &Path,
    seen: &mut Vec<Seen>,
) -> Result<WebConfig, Vec<String>> {
    let mut faults = Faults::new(file);
    let config = document(text, folder, seen, &mut faults);
    faults.conclude(config)
}

/// TLS with one certificate, for HTTP/1 and HTTP/2.
#[cfg(feature = "http2")]
pub(super) fn certificate(
    certificate: &Path,
    key: &Path,
    seen: &mut Vec<Seen>,
) -> Result<WebConfig, Vec<String>> {
    let mut faults = Faults::new("TLS");
    let mut reader = Reader { folder: Path::new(""), seen, faults: &mut faults };
    let at = |path: &Path| path.display().to_string();
    let chain = reader.bytes(&at(certificate), certificate);
    let chain = chain.and_then(|pem| reader.certificates(&at(certificate), &pem));
    let private = reader.bytes(&at(key), key).and_then(|pem| reader.key(&at(key), &pem));
    let tls = chain.zip(private).and_then(|(chain, key)| {
        let built = Settings::with_certificate(chain, key).build();
        built.map_err(|cause| faults.add(&at(certificate), cause)).ok()
    });
    let config = tls.map(|tls| WebConfig { tls: Some(tls), ..WebConfig::default() });
    faults.conclude(config)
}

fn document(text: &str, folder: &Path, seen: &mut Vec<Seen>, faults: &mut Faults<'_>) -> Option<WebConfig> {
    let value = faults.parse(text)?;
    let mut config = WebConfig::default();
    // An empty file is valid.
    if value.is_null() {
        return Some(config);
    }
    let table = faults.table(&Field { at: String::new(), value: &value }, &KEYS)?;
    if let Some(field) = table.get("tls_server_config") {
        let mut reader = Reader { folder, seen, faults };
        config.tls = reader.tls(&field);
    }
    if let Some(field) = table.get("http_server_config") {
        config.headers = http(&field, faults);
    }
    if let Some(field) = table.get("basic_auth_users") {
        config.users = users(&field, faults);
    }
    if let Some(field) = table.get("rate_limit") {
        config.rate_limit = rate_limit(&field, faults);
    }
    Some(config)
}

fn users(field: &Field<'_>, faults: &mut Faults<'_>) -> Vec<(String, String)> {
    let mut users = Vec::new();
    for (name, hash) in faults.pairs(field) {
        let Some(text) = hash.value.as_str() else {
            faults.expected(&hash, "a bcrypt hash, as `htpasswd -nBC 10 \"\"` prints it");
            continue;
        };
        if name.is_empty() || name.contains(':') {
            faults
                .add(&hash.at, "is not a user name; write a name without \":\", which ends it in a request");
        } else {
            match text.parse::<bcrypt::HashParts>().map(|parts| parts.get_cost()) {
                Ok(cost) if cost <= HIGHEST_COST => users.push((name.to_owned(), text.to_owned())),
                Ok(cost) => faults.add(
                    &hash.at,
                    format!("has cost {cost}, with which each check takes many seconds; use at most {HIGHEST_COST}"),
                ),
                // The text may be a password, so it is not logged.
                Err(_) => {
                    faults.add(&hash.at, "is not a bcrypt hash; write one as `htpasswd -nBC 10 \"\"` prints it");
                }
            }
        }
    }
    users
}

fn http(field: &Field<'_>, faults: &mut Faults<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(table) = faults.table(field, &HTTP_KEYS) else { return Vec::new() };
    // Has no effect: HTTP/2 is not offered, and clients do not depend on it.
    if let Some(field) = table.get("http2") {
        faults.flag(&field);
    }
    let pairs = table.get("headers").map(|field| faults.pairs(&field)).unwrap_or_default();
    let mut headers = Vec::new();
    for (name, value) in pairs {
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            let names = HEADERS.map(|(name, _)| name).join(", ");
            faults.add(&value.at, format!("this header cannot be set; write {names}"));
            continue;
        };
        let Some(text) = faults.scalar(&value) else { continue };
        if !allowed.is_empty() && !allowed.contains(&text.as_str()) {
            faults.expected(&value, &format!("one of {}", allowed.join(", ")));
            continue;
        }
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text)) {
            (Ok(name), Ok(text)) => headers.push((name, text)),
            _ => faults.expected(&value, "visible ASCII on one line"),
        }
    }
    headers
}

/// `None` if the interval is 0.
fn rate_limit(field: &Field<'_>, faults: &mut Faults<'_>) -> Option<RateLimit> {
    let table = faults.table(field, &LIMIT_KEYS)?;
    let interval = table.get("interval").and_then(|field| interval(&field, faults));
    let burst = table.get("burst").and_then(|field| {
        let burst = field.value.as_u64().and_then(|burst| u32::try_from(burst).ok());
        if burst.is_none() {
            faults.expected(&field, "how many requests may come at once, as 10");
        }
        burst
    });
    let interval = interval.filter(|interval| !interval.is_zero())?;
    match burst {
        Some(burst) if burst > 0 => Some(RateLimit { interval, burst }),
        _ => {
            faults.add(&field.at, "lets no request through; write `burst: 1` or more, or `interval: 0`");
            None
        }
    }
}

fn interval(field: &Field<'_>, faults: &mut Faults<'_>) -> Option<Duration> {
    // Go takes a number as nanoseconds.
    let interval = match field.value.as_u64() {
        Some(nanoseconds) => Some(Duration::from_nanos(nanoseconds)),
        None => field.value.as_str().and_then(limit::duration),
    };
    if interval.is_none() {
        faults.expected(field, "a duration, as 500ms, 1s or 1m30s, or 0 for no limit");
    }
    interval
}

/// Reads the TLS section and the files that it names.
struct Reader<'a, 'f, 'n> {
    folder: &'a Path,
    seen: &'a mut Vec<Seen>,
    faults: &'f mut Faults<'n>,
}

impl Reader<'_, '_, '_> {
    fn tls(&mut self, field: &Field<'_>) -> Option<tls::Tls> {
        let table = self.faults.table(field, &TLS_KEYS)?;
        // An empty section means plain HTTP, as in exporter-toolkit.
        if table.is_empty() {
            return None;
        }
        let chain = self.pem(&table, "cert").and_then(|(at, pem)| self.certificates(&at, &pem));
        let key = self.pem(&table, "key").and_then(|(at, pem)| self.key(&at, &pem));
        for (what, is_there) in [("cert_file", chain.is_some()), ("key_file", key.is_some())] {
            let inline = what.trim_end_matches("_file");
            if !is_there && table.get(what).is_none() && table.get(inline).is_none() {
                self.faults.add(&field.at, format!("has no {what}; add `{what}: …`"));
            }
        }
        let roots = self.pem(&table, "client_ca").and_then(|(at, pem)| self.certificates(&at, &pem));
        let settings = Settings {
            client_auth: self.client_auth(&table, roots.is_some()),
            sans: self.sans(&table),
            versions: self.versions(&table),
            suites: self.known(&table, "cipher_suites", &tls::suites()),
            curves: self.known(&table, "curve_preferences", &tls::curves()),
            chain: chain?,
            key: key?,
            roots: roots.unwrap_or_default(),
            http2: false,
        };
        if let Some(field) = table.get("prefer_server_cipher_suites") {
            self.faults.flag(&field);
        }
        if !settings.sans.is_empty() && settings.client_auth != ClientAuth::Required {
            self.faults.add(
                &format!("{}.client_allowed_sans", field.at),
                "needs certificates that are verified; add `client_auth_type: RequireAndVerifyClientCert`",
            );
        }
        settings.build().map_err(|cause| self.faults.add(&field.at, cause)).ok()
    }

    /// The PEM of the file `NAME_file`, or inline under `NAME`.
    fn pem(&mut self, table: &Table<'_>, name: &str) -> Option<(String, Vec<u8>)> {
        let in_place = table.get(name);
        let Some(field) = table.get(&format!("{name}_file")) else {
            let field = in_place?;
            let text = self.faults.text(&field)?;
            return Some((field.at, text.as_bytes().to_vec()));
        };
        if in_place.is_some() {
            self.faults.add(&field.at, format!("{name} is also given; remove one of them"));
        }
        let path = self.folder.join(self.faults.text(&field)?);
        let pem = self.bytes(&field.at, &path)?;
        Some((field.at, pem))
    }

    fn bytes(&mut self, at: &str, path: &Path) -> Option<Vec<u8>> {
        self.seen.push(Seen::now(path));
        match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(cause) => {
                let path = path.display();
                self.faults.add(at, format!("{path} cannot be read: {cause}; give the path of a PEM file"));
                None
            }
        }
    }

    fn certificates(&mut self, at: &str, pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match found {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            Ok(_) => {
                self.faults.add(at, "holds no certificate; give PEM with a section `BEGIN CERTIFICATE`");
                None
            }
            Err(cause) => {
                self.faults.add(at, format!("is not PEM: {cause}"));
                None
            }
        }
    }

    fn key(&mut self, at: &str, pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
        let key = PrivateKeyDer::from_pem_slice(pem);
        if key.is_err() {
            self.faults.add(at, "holds no private key; give PEM with a section `BEGIN PRIVATE KEY`");
        }
        key.ok()
    }

    fn client_auth(&mut self, table: &Table<'_>, has_roots: bool) -> ClientAuth {
        let Some(field) = table.get("client_auth_type") else {
            if has_roots {
                let at = format!("{}client_ca_file", table.at());
                let advice = "has no effect; add `client_auth_type: RequireAndVerifyClientCert`";
                self.faults.add(&at, advice);
            }
            return ClientAuth::None;
        };
        if field.value.as_str() == Some("RequireAnyClientCert") {
            self.faults.add(
                &field.at,
                "RequireAnyClientCert admits every self-made certificate; write RequireAndVerifyClientCert",
            );
            return ClientAuth::None;
        }
        let chosen = self.faults.choice(&field, &ClientAuth::ALL, ClientAuth::as_str);
        let chosen = chosen.unwrap_or(ClientAuth::None);
        let is_given = ["client_ca", "client_ca_file"].iter().any(|key| table.get(key).is_some());
        if chosen.verifies() && !has_roots && !is_given {
            self.faults.add(&field.at, "needs the CA that signs client certificates, because system roots are not used; add `client_ca_file: …`");
        }
        chosen
    }

    fn versions(&mut self, table: &Table<'_>) -> (tls::Version, tls::Version) {
        let mut of = |key: &str, default| {
            let field = table.get(key);
            let chosen =
                field.and_then(|field| self.faults.choice(&field, &tls::Version::ALL, tls::Version::as_str));
            chosen.unwrap_or(default)
        };
        let (min, max) = (of("min_version", tls::Version::Tls12), of("max_version", tls::Version::Tls13));
        if min > max {
            let at = format!("{}min_version", table.at());
            self.faults.add(&at, "is above max_version; lower it or raise max_version");
        }
        (min, max)
    }

    fn sans(&mut self, table: &Table<'_>) -> Vec<San> {
        let items =
            table.get("client_allowed_sans").map(|field| self.faults.items(&field)).unwrap_or_default();
        let mut sans = Vec::new();
        for item in items {
            match item.value.as_str().and_then(San::parse) {
                Some(san) => sans.push(san),
                None => self.faults.expected(
                    &item,
                    "a DNS name, an IP address or a URI of the client's certificate; e-mail addresses are not \
                     supported",
                ),
            }
        }
        sans
    }

    /// The items of a list of known names.
    fn known(&mut self, table: &Table<'_>, key: &str, known: &[String]) -> Vec<String> {
        let items = table.get(key).map(|field| self.faults.items(&field)).unwrap_or_default();
        let mut chosen = Vec::new();
        for item in items {
            match item.value.as_str() {
                Some(name) if known.iter().any(|known| known == name) => chosen.push(name.to_owned()),
                _ => self.faults.expected(&item, &format!("one of {}", known.join(", "))),
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    /// Checks that each fault has the place and the words.
    #[track_caller]
    fn check_faults(text: &str, expected: &[(&str, &str)]) {
        let faults = parse("web.yaml", text, Path::new("/nonexistent")).expect_err("must be refused");
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, (at, words)) in faults.iter().zip(expected) {
            assert!(fault.starts_with(&format!("web.yaml: {at}")) && fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn empty_file_is_valid() {
        let config = parse("web.yaml", "# nothing\n", Path::new("")).unwrap();
        assert!(config.tls.is_none() && config.users.is_empty() && config.headers.is_empty());
    }

    #[test]
    fn users_and_headers_are_read() {
        let text = format!(
            "basic_auth_users: {{alice: {HASH}, bob: {HASH}}}\n\
             http_server_config: {{http2: true, headers: {{X-Frame-Options: deny}}}}\n"
        );
        let config = parse("web.yaml", &text, Path::new("")).unwrap();
        assert_eq!(
            config.users,
            [("alice".to_owned(), HASH.to_owned()), ("bob".to_owned(), HASH.to_owned())]
        );
        assert_eq!(config.headers[0].0, "x-frame-options");
    }

    #[track_caller]
    fn check_header(text: &str, name: &str, expected: &str) {
        let text = format!("http_server_config: {{headers: {{{text}}}}}\n");
        let config = parse("web.yaml", &text, Path::new("")).unwrap_or_else(|faults| panic!("{faults:?}"));
        let headers: Vec<(&str, &str)> =
            config.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, [(name, expected)]);
    }

    #[test]
    fn header_values_may_be_numbers_and_blank() {
        check_header("X-XSS-Protection: 1", "x-xss-protection", "1");
        check_header("X-XSS-Protection: true", "x-xss-protection", "true");
        check_header("Content-Security-Policy: \"\"", "content-security-policy", "");
        check_header("Content-Security-Policy: ~", "content-security-policy", "");
        check_header("X-Frame-Options: sameorigin", "x-frame-options", "sameorigin");
        let bad = "http_server_config: {headers: {X-Frame-Options: never, X-Content-Type-Options: 1, X-XSS-Protection: []}}";
        check_faults(
            bad,
            &[
                ("http_server_config.headers.X-Frame-Options: ", "write one of deny, sameorigin"),
                ("http_server_config.headers.X-Content-Type-Options: ", "write one of nosniff"),
                ("http_server_config.headers.X-XSS-Protection: ", "found a list; write text"),
            ],
        );
    }

    #[test]
    fn empty_tls_section_means_plain_http() {
        for text in ["tls_server_config: {}", "tls_server_config:"] {
            assert!(parse("web.yaml", text, Path::new("")).unwrap().tls.is_none(), "{text}");
        }
        check_faults(
            "tls_server_config: {min_version: TLS12}",
            &[("tls_server_config: ", "has no cert_file"), ("tls_server_config: ", "has no key_file")],
        );
    }

    #[track_caller]
    fn check_limit(text: &str, expected: Option<(Duration, u32)>) {
        let limit = parse("web.yaml", &format!("rate_limit: {text}"), Path::new("")).unwrap().rate_limit;
        assert_eq!(limit, expected.map(|(interval, burst)| RateLimit { interval, burst }), "{text}");
    }

    #[test]
    fn rate_limit_is_read() {
        check_limit("{interval: 1m30s, burst: 20}", Some((Duration::from_secs(90), 20)));
        check_limit("{interval: 5000000, burst: 1}", Some((Duration::from_millis(5), 1)));
        for none in ["", "{}", "{interval: 0, burst: 20}", "{interval: 0s}", "{burst: 20}"] {
            check_limit(none, None);
        }
        for nothing in ["{interval: 1s}", "{interval: 1s, burst: 0}"] {
            check_faults(&format!("rate_limit: {nothing}"), &[("rate_limit: ", "lets no request through")]);
        }
    }

    #[test]
    fn every_fault_has_its_place() {
        check_faults(
            "tls_server_config: {cert_file: a.pem, key_fil: b, client_auth_type: Sometimes, min_version: SSL3}\n\
             http_server_config: {headers: {X-Mine: a}}\n\
             basic_auth_users: {alice: secret, \"b:c\": x, dave: 7}\n\
             rate_limit: {interval: soon, burst: -1, per: client}\n\
             rate_limits: 1\n",
            &[
                (
                    "rate_limits: ",
                    "write tls_server_config, http_server_config, basic_auth_users, rate_limit",
                ),
                ("tls_server_config.key_fil: ", "write cert_file"),
                ("tls_server_config.cert_file: ", "/nonexistent/a.pem cannot be read"),
                ("tls_server_config: ", "has no key_file"),
                ("tls_server_config.client_auth_type: ", "one of NoClientCert"),
                ("tls_server_config.min_version: ", "one of TLS12, TLS13"),
                ("http_server_config.headers.", "cannot be set; write Content-Security-Policy"),
                ("basic_auth_users.", "not a bcrypt hash"),
                ("basic_auth_users.", "without \":\""),
                ("basic_auth_users.", "found 7"),
                ("rate_limit.per: ", "write interval, burst"),
                ("rate_limit.interval: ", "found \"soon\"; write a duration, as 500ms"),
                ("rate_limit.burst: ", "found -1; write how many requests"),
            ],
        );
    }

    #[test]
    fn names_that_no_certificate_has_are_rejected() {
        check_faults(
            "tls_server_config:\n  cert: a\n  key: b\n  client_auth_type: RequireAndVerifyClientCert\n  \
             client_ca: c\n  client_allowed_sans: [ops@example.com, spiffe://a/b, 7, prom.example.com]\n",
            &[
                ("tls_server_config.cert: ", "holds no certificate"),
                ("tls_server_config.key: ", "holds no private key"),
                ("tls_server_config.client_ca: ", "holds no certificate"),
                ("tls_server_config.client_allowed_sans[0]: ", "found \"ops@example.com\"; write a DNS name"),
                ("tls_server_config.client_allowed_sans[2]: ", "found 7; write a DNS name"),
            ],
        );
    }

    #[test]
    fn password_in_place_of_a_hash_is_hidden() {
        let faults = parse("web.yaml", "basic_auth_users: {a: hunter2}", Path::new("")).expect_err("refused");
        assert!(!faults[0].contains("hunter2"), "{faults:?}");
    }

    #[test]
    fn costly_hash_is_rejected() {
        let text = format!("basic_auth_users: {{a: {}}}", HASH.replace("$10$", "$20$"));
        check_faults(&text, &[("basic_auth_users.", "has cost 20")]);
    }

    #[test]
    fn text_that_is_no_mapping_is_rejected() {
        check_faults("a: [", &[("", "is not YAML")]);
        check_faults("[]", &[("", "found a list; write a mapping")]);
    }
}
