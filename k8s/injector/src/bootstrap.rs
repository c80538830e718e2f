//! `scoretap-sidecar setup`: Envoy's bootstrap for this pod, from the files that are shipped in `envoy/`.
//!
//! It is read and written as data, so that no configuration of a tenant's can break out of its place in it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Where the three containers of the sidecar meet.
pub const FOLDER: &str = "/run/scoretap";

const HTTP: &str = include_str!("../../../envoy/sidecar.yaml");
const HTTP2: &str = include_str!("../../../envoy/grpc.yaml");

const LISTENER: &str = "/static_resources/listeners/0/address/socket_address";
const APP: &str = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
const APP_PORT: &str = "/address/socket_address/port_value";
const PLUGIN: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/config";

/// What differs from pod to pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where the app listens.
    pub app_port: u16,
    /// Whether it speaks HTTP/2, gRPC most often.
    pub http2: bool,
    /// Whether the pod has an address of IPv6: callers may then come over either, and the app listen on either.
    pub ipv6: bool,
    /// The filter's configuration, as it came. The filter itself says what is wrong with it.
    pub config: String,
}

impl Wanted {
    /// Reads `SCORETAP_APP_PORT`, `SCORETAP_APP_PORT_NAME` and `SCORETAP_CONFIG`; `addresses` is what the kernel says
    /// of the pod's addresses in `/proc/net/if_inet6`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>, addresses: &str) -> Result<Self> {
        let port = variable("SCORETAP_APP_PORT").unwrap_or_default();
        let app_port = port.parse().ok().filter(|port| *port > 0).with_context(|| {
            format!("SCORETAP_APP_PORT is {port:?}; the number of the app's port, 1 to 65535, belongs there")
        })?;
        let name = variable("SCORETAP_APP_PORT_NAME").unwrap_or_default();
        let config = variable("SCORETAP_CONFIG").unwrap_or_default();
        Ok(Self { app_port, http2: is_http2(&name), ipv6: addresses.lines().any(is_global), config })
    }
}

/// Address, number and prefix length of the interface, scope, flags and the interface's name: scope 0 is the world's, and
/// loopback's and link-local addresses have others.
fn is_global(address: &str) -> bool {
    address.split_whitespace().nth(3) == Some("00")
}

/// By the names that Kubernetes, Istio and KServe give to such ports.
fn is_http2(port_name: &str) -> bool {
    let protocol = port_name.split('-').next().unwrap_or_default();
    ["grpc", "grpc1", "h2c", "http2"].contains(&protocol)
}

/// The bootstrap, with the module and the admin socket in `folder`.
pub fn render(wanted: &Wanted, folder: &Path) -> Result<Value> {
    let shipped = if wanted.http2 { HTTP2 } else { HTTP };
    let mut bootstrap: Value = serde_norway::from_str(shipped).context("the shipped bootstrap is no YAML")?;
    let app = at(&mut bootstrap, APP)?;
    *at(app, APP_PORT)? = wanted.app_port.into();
    if wanted.ipv6 {
        // Tried where nobody listens on 127.0.0.1.
        app["additional_addresses"] =
            json!([{"address": {"socket_address": {"address": "::1", "port_value": wanted.app_port}}}]);
        let listener = at(&mut bootstrap, LISTENER)?;
        listener["address"] = "::".into();
        listener["ipv4_compat"] = true.into();
    }
    *at(&mut bootstrap, "/admin/address/pipe/path")? = path(folder, "admin.sock");
    // How `drain` tells Envoy that the pod is about to end.
    let allowed =
        at(&mut bootstrap, "/admin/allow_paths")?.as_array_mut().context("allow_paths is a list")?;
    allowed.push(json!({"exact": "/healthcheck/fail"}));
    let plugin = at(&mut bootstrap, PLUGIN)?;
    *at(plugin, "/vm_config/code/local/filename")? = path(folder, "scoretap.wasm");
    *at(plugin, "/configuration/value")? = wanted.config.as_str().into();
    Ok(bootstrap)
}

/// Writes the bootstrap, the module and this very program into the folder.
pub fn set_up(wanted: &Wanted, module: &Path, program: &Path, folder: &Path) -> Result<()> {
    ensure!(
        folder.is_dir(),
        "{} is no folder; mount the volume that the sidecar shares there",
        folder.display()
    );
    let bootstrap = render(wanted, folder)?;
    copy(module, &folder.join("scoretap.wasm"))?;
    copy(program, &folder.join("scoretap-sidecar"))?;
    let file = folder.join("envoy.json");
    std::fs::write(&file, bootstrap.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// The app's port, as an earlier [`set_up`] wrote it.
pub fn app_port_of(file: &Path) -> Result<u16> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut bootstrap: Value =
        serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let port = at(at(&mut bootstrap, APP)?, APP_PORT)?.as_u64().and_then(|port| u16::try_from(port).ok());
    port.with_context(|| format!("{} names no port of the app", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // A container that is started again finds its own earlier work, which Envoy may be running.
    if to.exists() {
        std::fs::remove_file(to).with_context(|| format!("cannot replace {}", to.display()))?;
    }
    std::fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
        .map(drop)
}

fn path(folder: &Path, file: &str) -> Value {
    folder.join(file).display().to_string().into()
}

fn at<'a>(value: &'a mut Value, pointer: &str) -> Result<&'a mut Value> {
    value.pointer_mut(pointer).with_context(|| format!("the shipped bootstrap has nothing at {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_stays_in_its_place_whatever_it_holds() {
        let config = "\"}, \"admin\": {'\n---\n$(A) ${B} \u{1F600} \u{7}";
        let wanted = Wanted { app_port: 5001, http2: false, ipv6: true, config: config.into() };
        let written = render(&wanted, Path::new(FOLDER)).unwrap().to_string();
        let read: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read.pointer(&format!("{PLUGIN}/configuration/value")).unwrap(), config);
        assert_eq!(read.pointer(&format!("{APP}{APP_PORT}")).unwrap(), 5001);
    }

    #[test]
    fn the_name_of_the_port_decides_the_protocol() {
        for (name, http2) in
            [("", false), ("http", false), ("grpc", true), ("grpc-web2", true), ("h2c", true)]
        {
            assert_eq!(is_http2(name), http2, "{name}");
        }
    }

    #[test]
    fn a_pod_has_ipv6_if_others_can_reach_it_there() {
        let ipv6 = |addresses: &str| Wanted::from_env(|_| Some("80".to_owned()), addresses).unwrap().ipv6;
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe800000000000000c5d34fffe6a0d1b 02 40 20 80     eth0\n";
        let global = "fd000000000000000000000000000002 02 40 00 82     eth0\n";
        assert!(!ipv6(""));
        assert!(!ipv6(&[loopback, link].concat()));
        assert!(ipv6(&[loopback, link, global].concat()));
    }

    #[test]
    fn a_port_that_is_none_is_said_to_be() {
        for port in ["", "0", "65536", "http"] {
            let variable = |name: &str| (name == "SCORETAP_APP_PORT").then(|| port.to_owned());
            let error = Wanted::from_env(variable, "").unwrap_err();
            assert!(error.to_string().contains("SCORETAP_APP_PORT"), "{error}");
        }
    }
}
