//! Asks a Prometheus whether selectors have series.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::{Answer, Series};
use crate::text::clean;
use crate::usage;

/// A Prometheus, or something with the same interface.
pub(in crate::dialect) struct Prometheus {
    url: String,
    /// The start and end of the time that is looked at, in seconds since 1970.
    span: (u64, u64),
    agent: ureq::Agent,
    /// Dashboards repeat selectors, so each is asked once.
    known: RefCell<BTreeMap<String, Answer>>,
}

/// A host that accepts no connection for so long cannot be asked at all.
const CONNECT: Duration = Duration::from_secs(5);

impl Prometheus {
    /// Looks back for `seconds`, and waits for each answer no longer than `timeout`.
    pub(in crate::dialect) fn new(url: &str, seconds: u64, timeout: Duration) -> Result<Self> {
        if !url.starts_with("http://") {
            let advice = "write http://HOST:PORT; use kubectl port-forward for one with TLS";
            return Err(usage(format!("--prometheus {}: {advice}", clean(url))));
        }
        let now =
            std::time::SystemTime::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).unwrap_or_default();
        let agent = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = agent.timeout_connect(Some(CONNECT)).timeout_global(Some(timeout));
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            span: (now.saturating_sub(seconds), now + 60),
            agent: agent.build().into(),
            known: RefCell::default(),
        })
    }

    fn ask(&self, selector: &str) -> Result<Answer> {
        let text = match self.text(selector) {
            Ok(text) => text,
            Err(error) if is_late(&error) => return Ok(Answer::Late),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot ask Prometheus at {}", self.url));
            }
        };
        let answer: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} answers without JSON; is it a Prometheus?", self.url))?;
        match (answer["status"].as_str(), answer["errorType"].as_str()) {
            (Some("success"), _) => {
                let has_series = answer["data"].as_array().is_some_and(|series| !series.is_empty());
                Ok(if has_series { Answer::Series } else { Answer::Nothing })
            }
            // The limit of Prometheus itself, --query.timeout.
            (_, Some("timeout" | "canceled")) => Ok(Answer::Late),
            _ => {
                let error = answer["error"].as_str().unwrap_or("no reason");
                Err(anyhow!("Prometheus rejects {}: {}", clean(selector), clean(error)))
            }
        }
    }

    fn text(&self, selector: &str) -> Result<String, ureq::Error> {
        let (start, end) = self.span;
        let request = self.agent.get(format!("{}/api/v1/series", self.url)).query("match[]", selector);
        let request =
            request.query("start", start.to_string()).query("end", end.to_string()).query("limit", "1");
        request.call()?.body_mut().read_to_string()
    }
}

fn is_late(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Timeout(at) => !matches!(at, ureq::Timeout::Connect | ureq::Timeout::Resolve),
        _ => false,
    }
}

impl Series for Prometheus {
    fn find(&self, selector: &str) -> Result<Answer> {
        if let Some(known) = self.known.borrow().get(selector) {
            return Ok(*known);
        }
        let answer = self.ask(selector)?;
        self.known.borrow_mut().insert(selector.to_owned(), answer);
        Ok(answer)
    }
}
