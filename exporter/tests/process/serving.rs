//! Limits of the server and of access, each tried over real sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::ExtendedKeyUsagePurpose;
use socket2::{Domain, Socket, Type};

use crate::envoy::Fake;
use crate::exporter::{Exporter, program, run};
use crate::healthy_envoy;
use crate::web::{Authority, Folder, scrape, tls};

/// A request for the metrics with a wrong password, from this address.
fn guess(exporter: &Exporter, from: Ipv4Addr, number: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&exporter.address().parse::<SocketAddr>().unwrap().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Basic YWxpY2U6{number:04}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn guesses_from_one_address_let_others_in() {
    let (folder, envoy) = (Folder::new(), healthy_envoy());
    let hash = bcrypt::hash("secret", 11).unwrap();
    let file = folder.write("web.yaml", &format!("basic_auth_users: {{alice: {hash}}}\n"));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    let guesses: Vec<TcpStream> =
        (1000..1060).map(|number| guess(&exporter, Ipv4Addr::new(127, 0, 0, 2), number)).collect();
    // The last guess is rejected: the checks that one address may have are taken.
    let mut answer = String::new();
    guesses.last().unwrap().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // No right password was checked before.
    let first = exporter.get("/metrics", &["Authorization: Basic YWxpY2U6c2VjcmV0"]);
    assert_eq!(first.status, 200, "{}", first.body);
}

/// Scrapes with a certificate of this name, or without one, and waits for the log.
#[track_caller]
fn check_refused(client: Option<&str>, logged: &str) {
    let (folder, envoy, authority) = (Folder::new(), healthy_envoy(), Authority::new());
    let more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
                client_allowed_sans: [prometheus.test]\n";
    let file = tls(&folder, &authority, more);
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    let client = client.map(|name| authority.sign(name, ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(scrape(&exporter, &authority, client.as_ref()), None);
    exporter.wait_for_log("peer=127.0.0.1");
    exporter.wait_for_log(logged);
}

#[test]
fn failed_handshakes_and_refused_certificates_are_logged() {
    check_refused(None, "TLS handshake failed: peer sent no certificates");
    check_refused(Some("other.test"), "the client's certificate has no name of client_allowed_sans");
}

#[test]
fn hanging_key_file_delays_no_scrape_for_long() {
    let (folder, envoy, authority) = (Folder::new(), healthy_envoy(), Authority::new());
    let file = tls(&folder, &authority, "");
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &file]);
    // Reading a pipe without a writer never returns, like a file system that hangs.
    let [key, pipe] = ["server.key", "pipe"].map(|name| folder.0.join(name));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &key).unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(scrape(&exporter, &authority, None), Some(200));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn socket_from_systemd_is_served() {
    let (envoy, socket) = (healthy_envoy(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = socket.local_addr().unwrap().to_string();
    let exporter = program(&["--web.systemd-socket", "--envoy.admin", envoy.url()]);
    // systemd passes sockets from descriptor 3 on, and the id of the process in LISTEN_PID.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3<&0; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\""]);
    shell.arg(exporter.get_program()).args(exporter.get_args()).stdin(Stdio::from(OwnedFd::from(socket)));
    let exporter = Exporter::start_as(&mut shell);
    assert_eq!(exporter.address(), address);
    assert_eq!(exporter.get("/metrics", &[]).status, 200);
    let (code, said) = run(&["--web.systemd-socket"], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("systemd passed no socket"), "{said}");
}

#[test]
fn max_requests_limits_concurrent_scrapes() {
    let envoy = Fake::unix(|_| std::thread::sleep(Duration::from_secs(60)));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.max-requests", "1"]);
    let _waiting = exporter.send("GET", "/metrics", &[]);
    let begun = Instant::now();
    while exporter.get("/metrics", &["X-Prometheus-Scrape-Timeout-Seconds: 0.01"]).status != 503 {
        assert!(begun.elapsed() < Duration::from_secs(5), "two scrapes at once");
    }
}

#[test]
fn host_name_can_be_listened_on() {
    let envoy = healthy_envoy();
    let mut command = program(&["--web.listen-address", "localhost:0", "--envoy.admin", envoy.url()]);
    let exporter = Exporter::start_as(&mut command);
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
}

/// Whether `--check-config` accepts a web configuration, and what it says otherwise.
#[track_caller]
fn check_config(folder: &Folder, text: &str, fault: Option<&str>) {
    let file = folder.write("shape.yaml", text);
    let (code, said) = run(&["--check-config", "--web.config.file", &file], &[]);
    assert_eq!(code, Some(i32::from(fault.is_some())), "{text}{said}");
    assert!(said.contains(fault.unwrap_or("the configuration is valid")), "{text}{said}");
}

const CERTIFICATE: &str = "cert_file: server.pem, key_file: server.key";

/// The shapes in the test data of exporter-toolkit.
#[test]
fn shapes_of_exporter_toolkit_are_accepted_or_explained() {
    let (folder, authority) = (Folder::new(), Authority::new());
    tls(&folder, &authority, "");
    let tls = |more: &str| format!("tls_server_config: {{{CERTIFICATE}{more}}}\n");
    let accepted = [
        String::new(),
        "tls_server_config: {}\n".to_owned(),
        tls(""),
        tls(", client_auth_type: NoClientCert"),
        tls(", client_auth_type: RequestClientCert"),
        tls(", client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem"),
        tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"),
        tls(", cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]"),
        tls(", prefer_server_cipher_suites: false, curve_preferences: [CurveP256, CurveP384, X25519]"),
        tls(", min_version: TLS12, max_version: TLS13") + "http_server_config: {http2: false}\n",
        "http_server_config: {headers: {X-XSS-Protection: 1, X-Frame-Options: deny}}\n".to_owned(),
    ];
    for text in accepted {
        check_config(&folder, &text, None);
    }
    let rejected = [
        (tls(", client_auth_type: VerifyClientCertIfGiven"), "system roots are not used"),
        (tls(", client_auth_type: RequireAnyClientCert"), "admits every self-made certificate"),
        (tls(", cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"), "write one of TLS_AES_256"),
        (tls(", curve_preferences: [CurveP521]"), "write one of X25519, CurveP256, CurveP384"),
        (tls(", min_version: TLS11"), "write one of TLS12, TLS13"),
        (tls(", cert_filse: a"), "cert_filse: there is no such key"),
        ("tls_server_config: {cert_file: server.pem}\n".to_owned(), "has no key_file"),
        ("basic_auth_users: {john: doe}\n".to_owned(), "is not a bcrypt hash"),
        ("http_server_config: {headers: {Content-Type: a}}\n".to_owned(), "this header cannot be set"),
        ("http_server_config: {headers: {X-Frame-Options: a}}\n".to_owned(), "write one of deny, sameorigin"),
        ("just a string\n".to_owned(), "write a mapping with the keys"),
    ];
    for (text, fault) in rejected {
        check_config(&folder, &text, Some(fault));
    }
}
