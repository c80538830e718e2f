//! The bootstraps that tests run are the shipped files of `envoy/`, with other ports and paths and, where a test asks
//! for it, one knob turned. There is no second copy.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// Where the shipped files expect things.
const SHIPPED_FOLDER: &str = "/etc/scoretap";
const SHIPPED_SOCKET: &str = "/run/scoretap/admin.sock";
const SHIPPED_LISTENER_PORT: u16 = 15_100;
const SHIPPED_APP_PORT: u16 = 8_080;
const SHIPPED_ADMIN_PORT: u16 = 9_901;

/// The name of the filter that reads bodies.
const INSIGHT: &str = "scoretap-insight";

const LISTENER: &str = "/static_resources/listeners/0";
const CLUSTER: &str = "/static_resources/clusters/0";
const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";

/// The differences between a pod and a test.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The listener's port.
    pub listener: u16,
    /// The app's port.
    pub app: u16,
    /// The admin interface's port, where it is on loopback.
    pub admin_port: u16,
    /// The admin interface's socket, where it is one.
    pub admin_socket: &'a Path,
    /// The module.
    pub module: &'a Path,
    /// The folder that stands for `/etc/scoretap`.
    pub folder: &'a Path,
}

/// A file of `envoy/`, read.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    content: Value,
}

impl Bootstrap {
    /// Reads a shipped file.
    pub fn shipped(name: &str) -> Result<Self> {
        let path = workspace::bootstrap(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let content =
            serde_norway::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))?;
        Ok(Self { content })
    }

    /// Moves it from a pod to this machine.
    pub fn place(&mut self, places: &Places) {
        replace(&mut self.content, places);
    }

    /// Writes it as JSON, which is YAML too. By renaming, so that an Envoy that watches the file sees all or nothing.
    pub fn write(&self, path: &Path) -> Result<()> {
        let draft = path.with_extension("draft");
        fs::write(&draft, serde_json::to_string_pretty(&self.content)?)?;
        fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The value at a JSON pointer.
    #[track_caller]
    pub fn at(&mut self, pointer: &str) -> &mut Value {
        match self.content.pointer_mut(pointer) {
            Some(value) => value,
            None => panic!("the bootstrap has nothing at {pointer}"),
        }
    }

    /// The listener, in a bootstrap or in a file of listeners.
    #[track_caller]
    pub fn listener(&mut self) -> &mut Value {
        let pointer = if self.content.pointer(LISTENER).is_some() { LISTENER } else { "/resources/0" };
        self.at(pointer)
    }

    /// The connection manager of the listener.
    #[track_caller]
    pub fn manager(&mut self) -> &mut Value {
        match self.listener().pointer_mut(MANAGER) {
            Some(manager) => manager,
            None => panic!("the listener has nothing at {MANAGER}"),
        }
    }

    /// The one route's action: `timeout`, …
    #[track_caller]
    pub fn route(&mut self) -> &mut Value {
        &mut self.manager()["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    }

    /// The app's cluster.
    #[track_caller]
    pub fn cluster(&mut self) -> &mut Value {
        self.at(CLUSTER)
    }

    /// Has Envoy use each connection to the app for one call only, as `docs/limits.md` advises for apps that close
    /// connections without notice.
    #[track_caller]
    pub fn use_connections_once(&mut self) {
        const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let options = &mut self.cluster()["typed_extension_protocol_options"][OPTIONS];
        options["common_http_protocol_options"]["max_requests_per_connection"] = 1.into();
    }

    /// The plugin configuration of the module, whichever way it is installed.
    #[track_caller]
    pub fn plugin(&mut self) -> &mut Value {
        let manager = self.manager();
        if manager.get("access_log").is_some() {
            return &mut manager["access_log"][0]["typed_config"]["config"];
        }
        match filter(manager, "scoretap") {
            Some(filter) => &mut filter["typed_config"]["config"],
            None => panic!("the module is not among the filters"),
        }
    }

    /// The modules' configuration, the same for both.
    #[track_caller]
    pub fn set_filter_config(&mut self, json: &str) {
        self.plugin()["configuration"]["value"] = json.into();
        if let Some(insight) = filter(self.manager(), INSIGHT) {
            insight["typed_config"]["config"]["configuration"]["value"] = json.into();
        }
    }

    /// Adds the module that reads bodies and the routes that skip it, as `insight.yaml` has them.
    #[track_caller]
    pub fn add_insight(&mut self) {
        let shipped = Self::shipped("insight.yaml").and_then(|mut shipped| {
            let filter = filter(shipped.manager(), INSIGHT).map(Value::take);
            let routes = shipped.manager()["route_config"].take();
            Ok((filter.context("insight.yaml has no such filter")?, routes))
        });
        let manager = self.manager();
        match (shipped, manager["http_filters"].as_array_mut()) {
            (Ok((insight, routes)), Some(filters)) => {
                filters.insert(0, insight);
                manager["route_config"] = routes;
            }
            (shipped, _) => panic!("{shipped:?}"),
        }
    }

    /// Takes the filter chain (and with it the way in) of another shipped file.
    pub fn take_filter_chain(&mut self, other: &mut Self) {
        let chains = other.listener()["filter_chains"].take();
        self.listener()["filter_chains"] = chains;
    }

    /// Has Envoy itself count what no route can match, as `other-paths.yaml` has it.
    #[track_caller]
    pub fn spare_other_paths(&mut self) {
        let mut shipped = match Self::shipped("other-paths.yaml") {
            Ok(shipped) => shipped,
            Err(error) => panic!("{error:#}"),
        };
        let mut loggers = shipped.manager()["access_log"].take();
        // The module's own configuration is that of this bootstrap.
        loggers[0]["typed_config"] = self.manager()["access_log"][0]["typed_config"].take();
        self.manager()["access_log"] = loggers;
    }

    /// Takes a value at a JSON pointer from another shipped file.
    pub fn take(&mut self, pointer: &str, other: &mut Self) {
        *self.at(pointer) = other.at(pointer).take();
    }
}

/// The HTTP filter of this name.
fn filter<'v>(manager: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    manager["http_filters"].as_array_mut()?.iter_mut().find(|filter| filter["name"] == name)
}

fn replace(value: &mut Value, places: &Places) {
    match value {
        Value::Object(fields) => {
            if let Some(port) = fields.get_mut("port_value") {
                *port = place_port(port.as_u64(), places).into();
            }
            fields.values_mut().for_each(|field| replace(field, places));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, places)),
        Value::String(text) => *text = place_path(text, places),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn place_port(port: Option<u64>, places: &Places) -> u16 {
    match port.and_then(|port| u16::try_from(port).ok()) {
        Some(SHIPPED_LISTENER_PORT) => places.listener,
        Some(SHIPPED_APP_PORT) => places.app,
        Some(SHIPPED_ADMIN_PORT) => places.admin_port,
        other => {
            panic!("a shipped bootstrap uses port {other:?}, which the harness does not know how to replace")
        }
    }
}

fn place_path(text: &str, places: &Places) -> String {
    match text.strip_prefix(SHIPPED_FOLDER) {
        _ if text == SHIPPED_SOCKET => places.admin_socket.display().to_string(),
        Some("/scoretap.wasm") => places.module.display().to_string(),
        Some("/scoretap-insight.wasm") => workspace::insight_module().display().to_string(),
        Some(rest) => format!("{}{rest}", places.folder.display()),
        None => text.to_owned(),
    }
}
