//! The packaged injector over TLS: what an API server never sends, and a certificate that changes.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{apps, ports, workspace};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::injected::bare;

const HOST: &str = "scoretap-injector.scoretap-system.svc";

/// A certificate that signs itself, and its key, as PEM.
struct Identity {
    certificate: String,
    key: String,
    roots: RootCertStore,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), roots }
    }
}

/// A running webhook.
struct Webhook {
    address: SocketAddr,
    metrics: Endpoint,
    folder: PathBuf,
    identity: Identity,
    child: Child,
    _folders: Folders,
}

impl Webhook {
    fn start(name: &str) -> Self {
        let folders = Folders::create(name).unwrap();
        let identity = Identity::new();
        let folder = folders.run.clone();
        fs::write(folder.join("tls.crt"), &identity.certificate).unwrap();
        fs::write(folder.join("tls.key"), &identity.key).unwrap();
        let (address, metrics) = (apps::local(ports::free()), apps::local(ports::free()));
        let mut command = Command::new(workspace::injector());
        command.args(["serve", "--listen-address", &address.to_string()]);
        command.args(["--metrics-address", &metrics.to_string()]);
        command.arg("--tls-cert").arg(folder.join("tls.crt")).arg("--tls-key").arg(folder.join("tls.key"));
        command.env("POD_NAMESPACE", "scoretap-system");
        let mut child = Child::spawn("the injector", &command, &folders.logs.join("injector.log")).unwrap();
        let metrics = Endpoint::Tcp(metrics);
        child.wait_ready(STARTUP, || http::get(&metrics, "/-/ready").is_ok()).unwrap();
        Self { address, metrics, folder, identity, child, _folders: folders }
    }

    /// The response to a review of the creation of [`bare`] in this namespace.
    fn review(&self, namespace: &str) -> Value {
        let (status, body) = self.post(&self.identity, review(namespace).to_string()).unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["response"].take()
    }

    /// POST /mutate over TLS, trusting this identity alone.
    fn post(&self, trusted: &Identity, body: String) -> Result<(StatusCode, String), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(post(self.address, trusted, body))
    }
}

async fn post(address: SocketAddr, trusted: &Identity, body: String) -> Result<(StatusCode, String), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted.roots.clone())
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let tls = TlsConnector::from(Arc::new(config));
    let stream =
        tls.connect(ServerName::try_from(HOST).unwrap(), stream).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/mutate").header("host", HOST).header("content-type", "application/json");
    let response = sender.send_request(request.body(Full::new(bytes::Bytes::from(body))).unwrap()).await;
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn review(namespace: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "12ab",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "scorer",
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": bare(),
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// The webhook's own protection, whatever namespaces its configuration selects.
#[test]
fn own_namespace_and_kube_system_stay_unchanged() {
    let webhook = Webhook::start("webhook-exempt");
    for (namespace, patched) in [("tenant-a", true), ("kube-system", false), ("scoretap-system", false)] {
        let response = webhook.review(namespace);
        assert_eq!(response["allowed"], true);
        assert_eq!(response.get("patch").is_some(), patched, "{namespace}");
    }
}

#[test]
fn malformed_request_is_rejected_and_counted() {
    let webhook = Webhook::start("webhook-metrics");
    for body in ["", "{", "[]", "{\"kind\": \"AdmissionReview\"}"] {
        let (status, _) = webhook.post(&webhook.identity, body.into()).unwrap();
        assert_eq!(status, 400, "{body}");
    }
    webhook.review("tenant-a");
    let metrics = http::get(&webhook.metrics, "/metrics").unwrap();
    assert!(metrics.contains("scoretap_injector_malformed_requests_total 4\n"), "{metrics}");
    assert!(metrics.contains("reviews_total{kind=\"pod\",decision=\"injected\"} 1\n"), "{metrics}");
}

#[test]
fn certificate_is_replaced_only_by_a_valid_one() {
    let webhook = Webhook::start("webhook-certificate");
    let fresh = Identity::new();
    assert!(webhook.post(&fresh, String::new()).is_err(), "trusted before it was there");
    fs::write(webhook.folder.join("tls.crt"), "no certificate").unwrap();
    wait_until("the broken file is seen", STARTUP, || reloads(&webhook, "failure") > 0);
    assert!(webhook.post(&webhook.identity, String::new()).is_ok());
    fs::write(webhook.folder.join("tls.key"), &fresh.key).unwrap();
    fs::write(webhook.folder.join("tls.crt"), &fresh.certificate).unwrap();
    wait_until("the new certificate is in use", STARTUP, || webhook.post(&fresh, String::new()).is_ok());
    assert!(webhook.post(&webhook.identity, String::new()).is_err());
    assert_eq!(reloads(&webhook, "success"), 1, "{}", webhook.child.diagnosis());
}

fn reloads(webhook: &Webhook, result: &str) -> u64 {
    let metrics = http::get(&webhook.metrics, "/metrics").unwrap();
    let name = format!("certificate_reloads_total{{result=\"{result}\"}} ");
    let (_, after) = metrics.split_once(&name).unwrap();
    after.lines().next().unwrap().parse().unwrap()
}
