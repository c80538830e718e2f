//! The packaged injector, as an API server meets it: over TLS, with reviews.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::STARTUP;
use scoretap_tests::{apps, ports, workspace};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "scoretap-injector.scoretap-system.svc";

/// Shared by the tests that only ask.
pub(crate) static WEBHOOK: LazyLock<Webhook> = LazyLock::new(|| Webhook::start("webhook", &[]));

/// A certificate that signs itself, and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
    roots: RootCertStore,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), roots }
    }
}

/// A running webhook.
pub(crate) struct Webhook {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Endpoint,
    pub(crate) folder: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) child: Child,
    _folders: Folders,
}

/// What a review was answered with.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) patched: Value,
    pub(crate) patch: Option<Value>,
    pub(crate) warnings: Vec<String>,
}

impl Webhook {
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let folders = Folders::create(name).unwrap();
        let identity = Identity::new();
        let folder = folders.run.clone();
        fs::write(folder.join("tls.crt"), &identity.certificate).unwrap();
        fs::write(folder.join("tls.key"), &identity.key).unwrap();
        let (address, metrics) = (apps::local(ports::free()), apps::local(ports::free()));
        let mut command = Command::new(workspace::injector());
        command.args(["serve", "--listen-address", &address.to_string()]);
        command.args(["--metrics-address", &metrics.to_string()]).args(args);
        command.arg("--tls-cert").arg(folder.join("tls.crt")).arg("--tls-key").arg(folder.join("tls.key"));
        command.env("POD_NAMESPACE", "scoretap-system");
        let mut child = Child::spawn("the injector", &command, &folders.logs.join("injector.log")).unwrap();
        let metrics = Endpoint::Tcp(metrics);
        child.wait_ready(STARTUP, || http::get(&metrics, "/-/ready").is_ok()).unwrap();
        Self { address, metrics, folder, identity, child, _folders: folders }
    }

    /// Sends a review of the creation of this object, and applies what comes back.
    #[track_caller]
    pub(crate) fn review(&self, object: &Value) -> Answer {
        self.review_as(object, &json!({}))
    }

    /// As [`Self::review`], with these fields of the request changed.
    #[track_caller]
    pub(crate) fn review_as(&self, object: &Value, request: &Value) -> Answer {
        let mut review = review(object);
        review["request"].as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let (status, body) = self.post(&self.identity, review.to_string()).unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        let response = &answer["response"];
        assert_eq!(response["uid"], "12ab");
        assert_eq!(response["allowed"], true);
        let patch = response["patch"].as_str().map(|text| serde_json::from_slice(&base64(text)).unwrap());
        assert_eq!(response["patchType"], patch.as_ref().map_or(Value::Null, |_| json!("JSONPatch")));
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        let warnings = warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect();
        Answer { patched: applied(object, patch.as_ref()), patch, warnings }
    }

    /// POST /mutate over TLS, trusting this identity alone.
    pub(crate) fn post(&self, trusted: &Identity, body: String) -> Result<(StatusCode, String), String> {
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

fn review(object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap();
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap_or(("", "v1"));
    let resource = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "12ab",
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": group, "version": version, "resource": resource},
            "name": object["metadata"]["name"],
            "namespace": "tenant-a",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// The object after a JSON patch.
pub(crate) fn applied(object: &Value, patch: Option<&Value>) -> Value {
    let mut patched = object.clone();
    if let Some(patch) = patch {
        let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
    }
    patched
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == byte).unwrap();
        bits = (bits << 6) | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
