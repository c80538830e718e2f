//! Access control, TLS, and limits for clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::envoy::{self, Fake};
use crate::exporter::{Exporter, program, run};
use crate::{REQUESTS, STATS, healthy_envoy};

/// htpasswd -nbBC 4 alice secret
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

/// A temporary folder, removed with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("scoretap-web-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn wrong_password_gets_401_on_every_path() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let file = folder.write("web.yaml", &format!("basic_auth_users: {{alice: {}}}\n", hash("secret")));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    for path in ["/metrics", "/", "/-/healthy", "/nothing"] {
        let answer = exporter.get(path, &[]);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic")), "{path}");
    }
    // alice:wrong, bob:secret, alice:secret
    for (credentials, status) in
        [("YWxpY2U6d3Jvbmc=", 401), ("Ym9iOnNlY3JldA==", 401), ("YWxpY2U6c2VjcmV0", 200)]
    {
        let header = format!("Authorization: Basic {credentials}");
        for _ in 0..2 {
            assert_eq!(exporter.get("/metrics", &[&header]).status, status, "{credentials}");
        }
    }
}

#[test]
fn password_guesses_do_not_block_the_scraper() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    // The usual cost.
    let hash = bcrypt::hash("secret", 10).unwrap();
    let file = folder.write("web.yaml", &format!("basic_auth_users: {{alice: {hash}}}\n"));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    let right = ["Authorization: Basic YWxpY2U6c2VjcmV0"];
    assert_eq!(exporter.get("/metrics", &right).status, 200);
    let guess = |number| format!("Authorization: Basic YWxpY2U6{number:04}");
    let mut guesses: Vec<TcpStream> =
        (1000..1060).map(|number| exporter.send("GET", "/metrics", &[&guess(number)])).collect();
    // The last ones are rejected at once.
    let mut answer = String::new();
    guesses.pop().unwrap().read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.to_lowercase().contains("\r\nretry-after: "),
        "{answer}"
    );
    let begun = Instant::now();
    assert_eq!(exporter.get("/metrics", &right).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn changed_file_applies_unless_invalid() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let file = folder.write("web.yaml", "");
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    assert_eq!(exporter.get("/metrics", &[]).status, 200);
    folder.write("web.yaml", &format!("basic_auth_users: {{alice: {}}}\n", hash("secret")));
    assert_eq!(exporter.get("/metrics", &[]).status, 401);
    folder.write("web.yaml", "basic_auth_users: {alice: secret}");
    let answer = exporter.get("/metrics", &["Authorization: Basic YWxpY2U6c2VjcmV0"]);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\nscoretap_web_config_last_reload_successful 0\n"), "{}", answer.body);
    assert_eq!(exporter.get("/metrics", &[]).status, 401);
}

#[test]
fn rate_limit_rejects_until_raised() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let users = format!("basic_auth_users: {{alice: {}}}\n", hash("secret"));
    let file = folder.write("web.yaml", &format!("{users}rate_limit: {{interval: 1h, burst: 3}}\n"));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    let alice = ["Authorization: Basic YWxpY2U6c2VjcmV0"];
    // Applies to every client and path.
    assert_eq!(exporter.get("/metrics", &alice).status, 200);
    assert_eq!(exporter.get("/metrics", &[]).status, 401);
    assert_eq!(exporter.get("/-/healthy", &alice).status, 200);
    for _ in 0..2 {
        assert_eq!(exporter.get("/metrics", &alice).status, 429);
    }
    folder.write("web.yaml", &users);
    assert_eq!(exporter.get("/metrics", &alice).status, 200);
}

#[test]
fn file_faults_are_reported_before_serving() {
    let folder = Folder::new();
    let file = folder.write("web.yaml", "basic_auth_users: {a: b}\nnonsense: 1\n");
    for (flags, code) in [(vec!["--check-config"], 1), (vec![], 2)] {
        let (found, said) = run(&[&flags[..], &["--web.config.file", &file]].concat(), &[]);
        assert_eq!(found, Some(code), "{said}");
        assert!(
            said.contains("not a bcrypt hash") && said.contains("nonsense: there is no such key"),
            "{said}"
        );
    }
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, as PEM.
    pub(crate) fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// The status of a scrape over TLS; `None` without an answer.
pub(crate) fn scrape(
    exporter: &Exporter,
    authority: &Authority,
    client: Option<&(String, String)>,
) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("exporter.test").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(exporter.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

pub(crate) fn tls(folder: &Folder, authority: &Authority, more: &str) -> String {
    let (chain, key) = authority.sign("exporter.test", ExtendedKeyUsagePurpose::ServerAuth);
    folder.write("server.pem", &chain);
    folder.write("server.key", &key);
    folder.write("ca.pem", &authority.pem());
    folder.write("web.yaml", &format!("{TLS}{more}"))
}

#[test]
fn renewed_certificate_is_served() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let (before, after) = (Authority::new(), Authority::new());
    let file = tls(&folder, &before, "");
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    assert_eq!(scrape(&exporter, &before, None), Some(200));
    assert_eq!(scrape(&exporter, &after, None), None);
    tls(&folder, &after, "");
    assert_eq!(scrape(&exporter, &after, None), Some(200));
}

#[test]
fn certificate_may_appear_after_its_configuration() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let (before, after) = (Authority::new(), Authority::new());
    let file = tls(&folder, &before, "");
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    let (chain, key) = after.sign("exporter.test", ExtendedKeyUsagePurpose::ServerAuth);
    folder.write("web.yaml", "tls_server_config: {cert_file: new.pem, key_file: new.key}\n");
    assert_eq!(scrape(&exporter, &before, None), Some(200));
    folder.write("new.pem", &chain);
    assert_eq!(scrape(&exporter, &before, None), Some(200));
    folder.write("new.key", &key);
    assert_eq!(scrape(&exporter, &after, None), Some(200));
}

#[test]
fn certificate_replaced_during_read_is_served() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let (before, after) = (Authority::new(), Authority::new());
    let file = tls(&folder, &before, "");
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    // The key is a pipe, so its reader waits for a writer. By then it has read the certificate.
    let [key, pipe] = ["server.key", "pipe"].map(|name| folder.0.join(name));
    let old_key = std::fs::read_to_string(&key).unwrap();
    let (new_chain, new_key) = after.sign("exporter.test", ExtendedKeyUsagePurpose::ServerAuth);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &key).unwrap();
    std::thread::scope(|scope| {
        let scraped = scope.spawn(|| scrape(&exporter, &before, None));
        let mut writer = std::fs::File::options().write(true).open(&key).unwrap();
        std::fs::remove_file(&key).unwrap();
        folder.write("server.pem", &new_chain);
        folder.write("server.key", &new_key);
        writer.write_all(old_key.as_bytes()).unwrap();
        drop(writer);
        scraped.join().unwrap();
    });
    assert_eq!(scrape(&exporter, &after, None), Some(200));
}

#[test]
fn client_without_allowed_certificate_gets_no_answer() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let (authority, stranger) = (Authority::new(), Authority::new());
    let more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
                client_allowed_sans: [prometheus.test, prom.example.com]\n";
    let file = tls(&folder, &authority, more);
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    let signed = |by: &Authority, name| by.sign(name, ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(scrape(&exporter, &authority, Some(&signed(&authority, "prometheus.test"))), Some(200));
    assert_eq!(scrape(&exporter, &authority, Some(&signed(&authority, "other.test"))), None);
    // A wildcard matches no listed name.
    assert_eq!(scrape(&exporter, &authority, Some(&signed(&authority, "*.example.com"))), None);
    assert_eq!(scrape(&exporter, &authority, Some(&signed(&stranger, "prometheus.test"))), None);
    assert_eq!(scrape(&exporter, &authority, None), None);
}

#[test]
fn simultaneous_scrapes_share_one_read() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let envoy = Fake::unix(move |stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        envoy::head(stream);
        // Long enough for all to arrive, and shorter than the time in which a read can be joined.
        std::thread::sleep(Duration::from_millis(600));
        envoy::say(stream, "200 OK", STATS.as_bytes());
    });
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let scrapes: Vec<TcpStream> = (0..8).map(|_| exporter.send("GET", "/metrics", &[])).collect();
    for mut scrape in scrapes {
        let mut answer = String::new();
        scrape.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\nscoretap_up 1\n"), "{answer}");
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert!(exporter.get("/metrics", &[]).body.contains("\nscoretap_up 1\n"));
    assert_eq!(reads.load(Ordering::Relaxed), 2, "a finished read is never joined");
}

#[test]
fn scrape_beyond_the_limit_gets_retry_after() {
    let envoy = Fake::unix(|_| std::thread::sleep(Duration::from_secs(60)));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let _waiting: Vec<TcpStream> = (0..16).map(|_| exporter.send("GET", "/metrics", &[])).collect();
    let begun = Instant::now();
    while exporter.get("/metrics", &["X-Prometheus-Scrape-Timeout-Seconds: 0.01"]).status != 503 {
        assert!(begun.elapsed() < Duration::from_secs(5), "all scrapes are admitted");
    }
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
}

#[test]
fn waiting_pages_do_not_block_scrapes() {
    let envoy = Fake::unix(|_| std::thread::sleep(Duration::from_secs(60)));
    for path in ["/-/ready", "/"] {
        let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
        let waiting: Vec<TcpStream> = (0..200)
            .map(|_| exporter.send("GET", path, &["X-Prometheus-Scrape-Timeout-Seconds: 60"]))
            .collect();
        let begun = Instant::now();
        assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
        let scrape = exporter.get("/metrics", &["X-Prometheus-Scrape-Timeout-Seconds: 0.2"]);
        assert_eq!(scrape.status, 200);
        assert!(begun.elapsed() < Duration::from_secs(2), "{path}: {:?}", begun.elapsed());
        let mut answer = String::new();
        waiting.last().unwrap().read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("in progress"), "{path}: {answer}");
    }
}

#[test]
fn silent_and_slow_clients_block_nobody() {
    let envoy = healthy_envoy();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let _silent: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(exporter.address()).unwrap();
            stream.write_all(if number % 2 == 0 { b"" } else { b"GET /metr" }).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(exporter.get("/metrics", &[]).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn body_is_compressed_if_accepted() {
    let envoy = healthy_envoy();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let mut answer = Vec::new();
    exporter.send("GET", "/metrics", &["Accept-Encoding: gzip"]).read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(
        head.contains("content-encoding: gzip") && head.contains("vary: accept, accept-encoding"),
        "{head}"
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer[end..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("\nscoretap_up 1\n"), "{text}");
}

#[test]
fn several_addresses_are_served() {
    let envoy = healthy_envoy();
    let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.listen-address", &second]);
    let mut stream = TcpStream::connect(&second).unwrap();
    stream.write_all(b"GET /-/healthy HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("healthy\n"), "{answer}");
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
}

#[test]
fn conflicting_dialects_are_rejected_equal_families_merged() {
    let (code, said) = run(&["--check-config", "--dialect", "prediction,model,api"], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("--dialect: model_info of").count(), 2, "{said}");
    assert!(said.contains("serve one of the two dialects"), "{said}");
    let (code, said) = run(&["--check-config", "--dialect", "prediction,fastapi,mlflow"], &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn dialect_file_faults_name_their_place() {
    let folder = Folder::new();
    let text = "dialect: mine\nfamilies:\n- {name: scoretap_x_total, help: X., measure: calls}\n\
                - {name: y z, help: Y., measure: calls, label: []}\n- {name: z_seconds, measure: duration, bounds_seconds: [2, 1],\n   \
                labels: [{name: le, value: model}, {name: a, value: error_type}]}\n- {name: c_total, help: C., measure: calls,\n   \
                labels: [{name: c, value: code, from_the_start: [200, 200]}]}\n";
    let file = folder.write("mine.yaml", text);
    let (code, said) = run(&["--check-config", "--dialect-file", &file], &[]);
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "families[0].name: found",
        "families[1].label: there is no such key",
        "families[1].name: found",
        "families[2]: has no help",
        "families[2].bounds_seconds[1]",
        "families[2].labels[0].name",
        "families[2].labels[1].value",
        "families[3].labels[0].from_the_start[1]: found 200; write each code once",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
}

#[test]
fn invalid_dialect_of_the_environment_never_stops_serving() {
    let (envoy, folder) = (healthy_envoy(), Folder::new());
    let file =
        folder.write("dialect.yaml", "{dialect: mine, families: [{name: mine_total, measure: calls}]}");
    let flags = ["--envoy.admin", envoy.url(), "--web.listen-address", "127.0.0.1:0"];
    let start = || Exporter::start_as(program(&flags).env("DIALECT_FILE", &file));
    let exporter = start();
    exporter.wait_for_log("dialect.yaml: families[0]: has no help");
    let body = exporter.get("/metrics", &[]).body;
    assert!(body.contains("\nscoretap_dialect_valid 0\n") && body.contains(REQUESTS), "{body}");
    assert!(exporter.get("/", &[]).body.contains("A file of the pod"));
    let (code, said) = run(&["--check-config"], &[("DIALECT_FILE", &file)]);
    assert!(code == Some(1) && said.contains("has no help"), "{said}");
    folder.write("dialect.yaml", "{dialect: mine, families: [{name: mine_total, help: M., measure: calls}]}");
    let body = start().get("/metrics", &[]).body;
    for line in ["\nscoretap_dialect_valid 1\n", "\nmine_total 12\n", REQUESTS] {
        assert!(body.contains(line), "{body}");
    }
}

#[test]
fn json_log_format_writes_json_lines() {
    let folder = Folder::new();
    let missing = Path::new(&folder.0).join("none.yaml").display().to_string();
    let (_, said) = run(&["--check-config", "--log.format", "json", "--dialect-file", &missing], &[]);
    assert!(
        said.starts_with("{\"time\":\"") && said.contains("\"level\":\"ERROR\",\"source\":\"main.rs:"),
        "{said}"
    );
}
