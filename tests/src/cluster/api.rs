//! A JSON client of the API server. It connects through `kubectl proxy`, which handles credentials and TLS.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hyper::HeaderMap;
use serde_json::{Value, json};

use crate::http::{self, Call, Endpoint, Protocol};

/// The API with an administrator's rights.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    address: SocketAddr,
}

impl Api {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// GET of a path such as `/api/v1/namespaces/tenant-a/pods`.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.send(Call::get(path))
    }

    /// POST.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.send(Call::post(path, object.to_string()))
    }

    /// POST, with the warnings of the response.
    pub fn create_with_warnings(&self, path: &str, object: &Value) -> Result<(Value, Vec<String>)> {
        let (body, headers) = self.exchange(Call::post(path, object.to_string()))?;
        let warnings = headers.get_all("warning").iter();
        // `299 - "TEXT"`
        let text = |header: String| -> Option<String> {
            let (_, quoted) = header.split_once('"')?;
            Some(quoted.strip_suffix('"')?.replace("\\\"", "\"").replace("\\\\", "\\"))
        };
        let warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok((body, warnings.filter_map(text).collect()))
    }

    /// PATCH with a merge patch.
    pub fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        let call = Call { method: "PATCH".into(), body: patch.to_string().into(), ..Call::get(path) };
        self.send(call.header("content-type", "application/merge-patch+json"))
    }

    /// DELETE.
    pub fn delete(&self, path: &str, options: &Value) -> Result<Value> {
        let call = Call { method: "DELETE".into(), body: options.to_string().into(), ..Call::get(path) };
        self.send(call.header("content-type", "application/json"))
    }

    /// The items of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        match self.get(path)?.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => bail!("GET {path} did not answer with a list"),
        }
    }

    /// Calls `changed` with (type, object) for each existing object and for each later change. Returns when the API
    /// server ends the watch.
    pub(super) fn watch(&self, path: &str, mut changed: impl FnMut(&str, Value)) -> Result<()> {
        let list = self.get(path)?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        for item in list["items"].as_array().into_iter().flatten() {
            changed("ADDED", item.clone());
        }
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(600)))?;
        // HTTP/1.0 has no chunks, so each line is one event.
        write!(stream, "GET {path}?watch=1&resourceVersion={version} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        for line in
            BufReader::new(stream).lines().skip_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
        {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let mut event: Value = serde_json::from_str(&line).with_context(|| format!("event {line}"))?;
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            ensure!(kind != "ERROR", "the watch of {path} failed: {line}");
            changed(&kind, event["object"].take());
        }
        Ok(())
    }

    fn send(&self, call: Call) -> Result<Value> {
        self.exchange(call).map(|(body, _)| body)
    }

    fn exchange(&self, call: Call) -> Result<(Value, HeaderMap)> {
        let what = format!("{} {}", call.method, call.path);
        let answer =
            http::call(&Endpoint::Tcp(self.address), Protocol::Http1, call).with_context(|| what.clone())?;
        let body: Value =
            serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!({"message": answer.text()}));
        ensure!(
            answer.status < 300,
            "{what} answered {}: {}",
            answer.status,
            body["message"].as_str().unwrap_or_default()
        );
        Ok((body, answer.headers))
    }
}
