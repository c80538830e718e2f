//! A Service as its callers see it, through the EndpointSlices that the real controller writes.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::api::Api;
use crate::http::{self, Call, CallResult, Endpoint, Protocol};

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The pod's name.
    pub pod: String,
    /// The pod's address.
    pub address: IpAddr,
    /// The number of the target port in this pod. None if the name did not resolve: the endpoint gets no calls.
    pub port: Option<u16>,
    /// Whether it is ready, so that callers use it.
    pub ready: bool,
}

impl Backend {
    /// The address for calls. None if the backend is not ready or has no port.
    pub fn socket(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from((self.address, self.port.filter(|_| self.ready)?)))
    }
}

/// All backends of a Service with one port.
pub(super) fn backends(api: Api, namespace: &str, service: &str) -> Result<Vec<Backend>> {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let selector = format!("{path}?labelSelector=kubernetes.io/service-name%3D{service}");
    let mut backends = Vec::new();
    for slice in api.list(&selector)? {
        let port = slice["ports"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            backends.push(backend(endpoint, port)?);
        }
    }
    Ok(backends)
}

fn backend(endpoint: &Value, port: Option<u16>) -> Result<Backend> {
    let address = endpoint["addresses"][0].as_str().unwrap_or_default();
    Ok(Backend {
        pod: endpoint["targetRef"]["name"].as_str().unwrap_or_default().to_owned(),
        address: address.parse().with_context(|| format!("an endpoint has the address {address}"))?,
        port,
        ready: endpoint["conditions"]["ready"] == true,
    })
}

/// Calls a Service continuously until [`Callers::stop`]. Each call uses the next backend and a new connection.
#[derive(Debug)]
pub struct Callers {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

/// The results of the callers.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// The number of calls with status 200.
    pub answered: usize,
    /// The failures of all other calls.
    pub failed: Vec<String>,
    /// The least number of usable backends at any time.
    pub fewest_backends: Option<usize>,
}

impl Callers {
    pub(super) fn start(api: Api, namespace: &str, service: &str, call: Call) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        let thread = std::thread::spawn({
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let result = backends(api, &namespace, &service);
                    let usable: Vec<SocketAddr> =
                        result.unwrap_or_default().iter().filter_map(Backend::socket).collect();
                    note(&seen, |seen| {
                        let fewest =
                            seen.fewest_backends.map_or(usable.len(), |fewest| fewest.min(usable.len()));
                        seen.fewest_backends = Some(fewest);
                    });
                    for address in &usable {
                        let result = one(*address, call.clone());
                        note(&seen, |seen| match result {
                            Ok(()) => seen.answered += 1,
                            Err(error) => seen.failed.push(error),
                        });
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// The results so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the calls and returns the results.
    pub fn stop(mut self) -> Seen {
        self.end();
        self.seen()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.end();
    }
}

fn note(seen: &Mutex<Seen>, change: impl FnOnce(&mut Seen)) {
    change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
}

fn one(address: SocketAddr, call: Call) -> Result<(), String> {
    match http::call(&Endpoint::Tcp(address), Protocol::Http1, call) {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("{address} answered {}: {}", answer.status, answer.text())),
        Err(error) => Err(format!("{address}: {error}")),
    }
}

/// Calls the next usable backend once.
pub(super) fn call(api: Api, namespace: &str, service: &str, call: Call) -> Result<CallResult> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let usable: Vec<SocketAddr> =
        backends(api, namespace, service)?.iter().filter_map(Backend::socket).collect();
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % usable.len().max(1);
    let address = usable.get(next).with_context(|| format!("{service} has no usable backend"))?;
    Ok(http::call(&Endpoint::Tcp(*address), Protocol::Http1, call))
}
