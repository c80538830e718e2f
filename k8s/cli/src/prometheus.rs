//! Queries Prometheus through the API server's proxy.

use std::fmt::Write;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::check::object::{name, namespace, text_at};
use crate::kubectl::{Cluster, json};
use crate::text::clean;

/// The address of a Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// For messages: `NAMESPACE/NAME`.
    pub(crate) title: String,
    path: String,
}

impl Server {
    /// A Prometheus of the prometheus-operator, whose Service always has the same name.
    pub(crate) fn of_operator(prometheus: &Value) -> Self {
        let scheme = if prometheus.pointer("/spec/web/tlsConfig").is_some() { "https:" } else { "" };
        let prefix = text_at(prometheus, "/spec/routePrefix").trim_end_matches('/');
        let namespace = namespace(prometheus);
        let service = format!("{scheme}prometheus-operated:9090");
        Self {
            title: format!("{namespace}/{}", name(prometheus)),
            path: format!("/api/v1/namespaces/{namespace}/services/{service}/proxy{prefix}"),
        }
    }

    /// The server that has our metrics. Tries the operator's first.
    pub(crate) fn find(cluster: &Cluster) -> Option<Self> {
        let all = cluster.get(&["prometheuses.monitoring.coreos.com", "--all-namespaces"]).ok()?;
        all.iter().map(Self::of_operator).find(|server| server.query(cluster, "vector(1)").is_ok())
    }

    /// The `data` of a response.
    pub(crate) fn get(&self, cluster: &Cluster, path: &str) -> Result<Value> {
        let text = cluster.raw(&format!("{}{path}", self.path)).map_err(|refused| {
            anyhow!(
                "cannot ask Prometheus {}: {refused}; it has to run, and you need the right to `get services/proxy` in \
                 its namespace",
                self.title
            )
        })?;
        let mut answer = json(&text, "Prometheus")?;
        if answer["status"] != "success" {
            bail!("Prometheus {} refuses: {}", self.title, clean(text_at(&answer, "/error")));
        }
        Ok(answer["data"].take())
    }

    /// The series of an instant query.
    pub(crate) fn query(&self, cluster: &Cluster, query: &str) -> Result<Vec<Value>> {
        let mut data = self.get(cluster, &format!("/api/v1/query?query={}", encode(query)))?;
        match data["result"].take() {
            Value::Array(series) => Ok(series),
            _ => bail!("Prometheus {} answered without a result", self.title),
        }
    }
}

/// Percent-encodes all characters that are not safe in a query.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn path_has_scheme_and_prefix() {
        let plain =
            json!({"metadata": {"name": "k8s", "namespace": "monitoring"}, "spec": {"routePrefix": "/"}});
        let server = Server::of_operator(&plain);
        assert_eq!(server.path, "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy");
        let other = json!({"metadata": {"name": "k8s", "namespace": "m"},
            "spec": {"routePrefix": "/prom/", "web": {"tlsConfig": {}}}});
        let server = Server::of_operator(&other);
        assert_eq!(server.path, "/api/v1/namespaces/m/services/https:prometheus-operated:9090/proxy/prom");
    }

    #[test]
    fn queries_are_percent_encoded() {
        assert_eq!(encode("up{a=\"é\"}"), "up%7Ba%3D%22%C3%A9%22%7D");
    }
}
