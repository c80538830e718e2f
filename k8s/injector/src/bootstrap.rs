//! `scoretap-sidecar setup`: Envoy's bootstrap for this pod, from the files in `envoy/`.
//!
//! It is read and written as data, so that a tenant's configuration cannot change other parts of it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::annotations::ENVOY;

/// The folder that the sidecar's containers share.
pub const FOLDER: &str = "/run/scoretap";
/// Where Envoy's container has annotations of the pod as files, below that folder.
const ANNOTATIONS: &str = "pod";
const MODULE: &str = "scoretap.wasm";
const INSIGHT_MODULE: &str = "scoretap-insight.wasm";

const HTTP: &str = include_str!("../../../envoy/sidecar.yaml");
const HTTP2: &str = include_str!("../../../envoy/grpc.yaml");
const INSIGHT: &str = include_str!("../../../envoy/insight.yaml");

const LISTENER: &str = "/static_resources/listeners/0";
const ADDRESS: &str = "/address/socket_address";
const APP: &str = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
const APP_PORT: &str = "/address/socket_address/port_value";
const HTTP_FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
const ROUTES: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config";
const RUNTIME: &str = "/layered_runtime";
const PLUGIN: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/config";

/// The parts of the bootstrap that differ from pod to pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The port on which Envoy listens.
    pub listen_port: u16,
    /// The port on which the app listens.
    pub app_port: u16,
    /// Whether the app speaks HTTP/2, such as gRPC.
    pub http2: bool,
    /// Whether the pod has an IPv6 address. Callers and the app may then use either version.
    pub ipv6: bool,
    /// The filter's configuration as the tenant wrote it. The filter reports its faults.
    pub config: String,
    /// Whether the second module reads bodies.
    pub insight: bool,
}

impl Wanted {
    /// Reads `SCORETAP_LISTEN_PORT`, `SCORETAP_APP_PORT`, `SCORETAP_APP_PORT_NAME`, `SCORETAP_CONFIG` and
    /// `SCORETAP_INSIGHT`. `addresses` is the kernel's `/proc/net/if_inet6`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>, addresses: &str) -> Result<Self> {
        let app_port = port("SCORETAP_APP_PORT", &variable("SCORETAP_APP_PORT").unwrap_or_default())?;
        let listen_port = variable("SCORETAP_LISTEN_PORT");
        let listen_port = listen_port.map_or(Ok(ENVOY), |text| port("SCORETAP_LISTEN_PORT", &text))?;
        let name = variable("SCORETAP_APP_PORT_NAME").unwrap_or_default();
        let config = variable("SCORETAP_CONFIG").unwrap_or_default();
        let ipv6 = addresses.lines().any(is_global);
        let insight = variable("SCORETAP_INSIGHT").is_some_and(|value| value == "true");
        Ok(Self { listen_port, app_port, http2: is_http2(&name), ipv6, config, insight })
    }
}

fn port(variable: &str, text: &str) -> Result<u16> {
    let number = text.parse().ok().filter(|port| *port > 0);
    number.with_context(|| format!("{variable} is {text:?}; write a port number, 1 to 65535"))
}

/// The fields are the address, the interface's number, the prefix length, the scope, flags and the interface's name.
/// Scope 0 is global; loopback and link-local addresses have other scopes.
fn is_global(address: &str) -> bool {
    address.split_whitespace().nth(3) == Some("00")
}

/// The port names that Kubernetes, Istio and KServe use for HTTP/2.
fn is_http2(port_name: &str) -> bool {
    let protocol = port_name.split('-').next().unwrap_or_default();
    ["grpc", "grpc1", "h2c", "http2"].contains(&protocol)
}

/// The bootstrap, with the module and the admin socket in `folder`.
pub fn render(wanted: &Wanted, folder: &Path) -> Result<Value> {
    let shipped = if wanted.http2 { HTTP2 } else { HTTP };
    let mut bootstrap: Value =
        serde_norway::from_str(shipped).context("the shipped bootstrap is not YAML")?;
    *at(at(&mut bootstrap, APP)?, APP_PORT)? = wanted.app_port.into();
    let listener = at(&mut bootstrap, LISTENER)?;
    *at(listener, &format!("{ADDRESS}/port_value"))? = wanted.listen_port.into();
    if wanted.listen_port != ENVOY {
        // This is the app's own port. An app that did not move must fail to bind it, even with SO_REUSEPORT.
        listener["enable_reuse_port"] = false.into();
    }
    if wanted.ipv6 {
        let address = at(listener, ADDRESS)?;
        address["address"] = "::".into();
        address["ipv4_compat"] = true.into();
        let app = at(&mut bootstrap, APP)?;
        // Used if the app does not listen on 127.0.0.1.
        app["additional_addresses"] =
            json!([{"address": {"socket_address": {"address": "::1", "port_value": wanted.app_port}}}]);
    }
    *at(&mut bootstrap, "/admin/address/pipe/path")? = path(folder, "admin.sock");
    // `drain` uses it to tell Envoy that the pod terminates.
    let allowed =
        at(&mut bootstrap, "/admin/allow_paths")?.as_array_mut().context("allow_paths is not a list")?;
    allowed.push(json!({"exact": "/healthcheck/fail"}));
    let config = if wanted.insight { with_insight(&wanted.config) } else { wanted.config.clone() };
    if wanted.insight {
        add_insight(&mut bootstrap, &config, folder)?;
    }
    configure(at(&mut bootstrap, PLUGIN)?, &config, path(folder, MODULE))?;
    Ok(bootstrap)
}

fn configure(plugin: &mut Value, config: &str, module: Value) -> Result<()> {
    *at(plugin, "/vm_config/code/local/filename")? = module;
    *at(plugin, "/configuration/value")? = config.into();
    Ok(())
}

/// Adds the filter that reads bodies and its switch, from the shipped example.
fn add_insight(bootstrap: &mut Value, config: &str, folder: &Path) -> Result<()> {
    let mut shipped: Value = serde_norway::from_str(INSIGHT).context("insight.yaml is not YAML")?;
    let mut filter = at(&mut shipped, &format!("{HTTP_FILTERS}/0"))?.take();
    configure(at(&mut filter, "/typed_config/config")?, config, path(folder, INSIGHT_MODULE))?;
    let filters = at(bootstrap, HTTP_FILTERS)?.as_array_mut().context("http_filters is not a list")?;
    // It must come before a filter that counts calls.
    filters.insert(0, filter);
    *at(bootstrap, ROUTES)? = at(&mut shipped, ROUTES)?.take();
    let mut runtime = at(&mut shipped, RUNTIME)?.take();
    // The kubelet replaces the files of a volume by renaming this link.
    *at(&mut runtime, "/layers/0/disk_layer/symlink_root")? = path(&folder.join(ANNOTATIONS), "..data");
    bootstrap["layered_runtime"] = runtime;
    Ok(())
}

/// The configuration with the field `insight`. If it is no JSON object, it stays as it is: the filter reports that.
fn with_insight(config: &str) -> String {
    let text = if config.trim().is_empty() { "{}" } else { config };
    match serde_json::from_str(text) {
        Ok(Value::Object(mut fields)) => {
            fields.entry("insight").or_insert_with(|| json!({}));
            Value::Object(fields).to_string()
        }
        _ => config.to_owned(),
    }
}

/// Writes the bootstrap, the module and this program into the folder.
pub fn set_up(wanted: &Wanted, module: &Path, program: &Path, folder: &Path) -> Result<()> {
    ensure!(folder.is_dir(), "{} is not a folder; mount the sidecar's shared volume there", folder.display());
    let bootstrap = render(wanted, folder)?;
    copy(module, &folder.join(MODULE))?;
    if wanted.insight {
        copy(&module.with_file_name(INSIGHT_MODULE), &folder.join(INSIGHT_MODULE))?;
        // Envoy does not start without it. An older injector mounted nothing there.
        let annotations = folder.join(ANNOTATIONS);
        std::fs::create_dir_all(&annotations)
            .with_context(|| format!("cannot create {}", annotations.display()))?;
    }
    copy(program, &folder.join("scoretap-sidecar"))?;
    let file = folder.join("envoy.json");
    std::fs::write(&file, bootstrap.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// Reads the app's port that [`set_up`] wrote.
pub fn app_port_of(file: &Path) -> Result<u16> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut bootstrap: Value =
        serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let port = at(at(&mut bootstrap, APP)?, APP_PORT)?.as_u64().and_then(|port| u16::try_from(port).ok());
    port.with_context(|| format!("{} names no port of the app", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // After a restart, the program of the first run still exists, and Envoy's hook may be executing it.
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
    use crate::annotations::VOLUMES;
    use crate::sidecar::TEMPLATE;

    fn wanted(listen_port: u16, config: &str) -> Wanted {
        Wanted {
            listen_port,
            app_port: 5001,
            http2: false,
            ipv6: true,
            config: config.into(),
            insight: false,
        }
    }

    #[test]
    fn configuration_cannot_change_the_rest_of_the_bootstrap() {
        let config = "\"}, \"admin\": {'\n---\n$(A) ${B} \u{1F600} \u{7}";
        let written = render(&wanted(ENVOY, config), Path::new(FOLDER)).unwrap().to_string();
        let read: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read.pointer(&format!("{PLUGIN}/configuration/value")).unwrap(), config);
        assert_eq!(read.pointer(&format!("{APP}{APP_PORT}")).unwrap(), 5001);
    }

    #[test]
    fn insight_adds_its_filter_and_its_field() {
        let filters = |insight, config: &str| {
            let wanted = Wanted { insight, ..wanted(ENVOY, config) };
            let bootstrap = render(&wanted, Path::new(FOLDER)).unwrap();
            let filters = bootstrap.pointer(HTTP_FILTERS).unwrap().as_array().unwrap();
            let names: Vec<_> =
                filters.iter().map(|filter| filter["name"].as_str().unwrap().to_owned()).collect();
            let first = filters[0].pointer("/typed_config/config/configuration/value").cloned();
            (names, bootstrap.pointer(&format!("{PLUGIN}/configuration/value")).unwrap().clone(), first)
        };
        let (without, plain, _) = filters(false, "{}");
        assert_eq!(plain, "{}");
        for (config, expected) in [
            ("", r#"{"insight":{}}"#),
            (r#"{"max_series":5}"#, r#"{"insight":{},"max_series":5}"#),
            (r#"{"insight":{"llm":false}}"#, r#"{"insight":{"llm":false}}"#),
            ("[1]", "[1]"),
        ] {
            let (with, main, first) = filters(true, config);
            assert_eq!(with, [&["scoretap-insight".to_owned()], without.as_slice()].concat());
            assert_eq!(main, expected);
            assert_eq!(first, Some(expected.into()));
        }
    }

    #[test]
    fn envoy_watches_the_mounted_annotations() {
        let mount = &TEMPLATE.init_containers[1]["volumeMounts"][1];
        assert_eq!(mount["name"], VOLUMES[2]);
        for http2 in [false, true] {
            let wanted = Wanted { insight: true, http2, ..wanted(ENVOY, "") };
            let bootstrap = render(&wanted, Path::new(FOLDER)).unwrap();
            let link = bootstrap.pointer("/layered_runtime/layers/0/disk_layer/symlink_root").unwrap();
            assert_eq!(*link, format!("{}/..data", mount["mountPath"].as_str().unwrap()));
            let routes = bootstrap.pointer(&format!("{ROUTES}/virtual_hosts/0/routes")).unwrap();
            let key = &routes[0]["match"]["runtime_fraction"]["runtime_key"];
            assert_eq!(*key, TEMPLATE.volumes[2]["downwardAPI"]["items"][0]["path"]);
            assert_eq!(routes[0]["route"], routes[1]["route"]);
        }
    }

    #[test]
    fn only_envoys_own_port_allows_reuse() {
        for (port, reuse) in [(ENVOY, None), (8080, Some(&json!(false)))] {
            let bootstrap = render(&wanted(port, ""), Path::new(FOLDER)).unwrap();
            let listener = bootstrap.pointer(LISTENER).unwrap();
            assert_eq!(listener.pointer(&format!("{ADDRESS}/port_value")).unwrap(), port);
            assert_eq!(listener.get("enable_reuse_port"), reuse);
        }
    }

    #[test]
    fn port_name_decides_the_protocol() {
        for (name, http2) in
            [("", false), ("http", false), ("grpc", true), ("grpc-web2", true), ("h2c", true)]
        {
            assert_eq!(is_http2(name), http2, "{name}");
        }
    }

    #[test]
    fn pod_has_ipv6_with_a_global_address() {
        let ipv6 = |addresses: &str| Wanted::from_env(|_| Some("80".to_owned()), addresses).unwrap().ipv6;
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe800000000000000c5d34fffe6a0d1b 02 40 20 80     eth0\n";
        let global = "fd000000000000000000000000000002 02 40 00 82     eth0\n";
        assert!(!ipv6(""));
        assert!(!ipv6(&[loopback, link].concat()));
        assert!(ipv6(&[loopback, link, global].concat()));
    }

    #[test]
    fn wrong_port_error_names_the_variable() {
        for name in ["SCORETAP_APP_PORT", "SCORETAP_LISTEN_PORT"] {
            for port in ["", "0", "65536", "http"] {
                let variable = |asked: &str| Some(if asked == name { port } else { "80" }.to_owned());
                let error = Wanted::from_env(variable, "").unwrap_err();
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
}
