//! Where Insight reads the bodies of calls.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use scoretap_injector::annotations::{CONTAINERS, INSIGHT_PERCENT};
use scoretap_injector::faults::is_percent;
use serde_json::{Value, json};

use super::findings::View;
use super::object::{annotation, at, containers, name, text};
use crate::text::{clean, count};

/// Pods of one workload in which Insight reads the same share of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The workload.
    place: String,
    /// How many calls in a hundred; 0 means switched off. `None` if the annotation is wrong, and Envoy may ignore it.
    percent: Option<u8>,
    /// Names of the pods.
    pods: Vec<String>,
}

/// All pods with Insight, by workload and share, the largest share first.
pub(crate) fn readings(view: &View<'_>) -> Vec<Reading> {
    let mut pods = BTreeMap::<_, Vec<_>>::new();
    for subject in &view.subjects {
        for pod in subject.pods.iter().filter(|pod| has_insight(pod)) {
            pods.entry((subject.place(), Reverse(percent(pod)))).or_default().push(name(pod).to_owned());
        }
    }
    pods.into_iter().map(|((place, Reverse(percent)), pods)| Reading { place, percent, pods }).collect()
}

/// Whether the sidecar of a pod was set up with Insight. The annotation may have changed since.
fn has_insight(pod: &Value) -> bool {
    let [setup, ..] = CONTAINERS;
    let setup = containers(pod).filter(|container| text(container, "name") == Some(setup));
    setup.flat_map(|container| at(container, "/env")).any(|variable| {
        text(variable, "name") == Some("SCORETAP_INSIGHT") && text(variable, "value") == Some("true")
    })
}

fn percent(pod: &Value) -> Option<u8> {
    let text = annotation(pod, INSIGHT_PERCENT).unwrap_or("100");
    text.parse().ok().filter(|_| is_percent(text))
}

impl Reading {
    /// `-o json`
    pub(crate) fn json(&self) -> Value {
        let pods: Vec<_> = self.pods.iter().map(|pod| clean(pod)).collect();
        json!({"where": clean(&self.place), "percent": self.percent, "pods": pods})
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let (calls, why) = match self.percent {
            Some(0) => ("is switched off".to_owned(), String::new()),
            Some(100) => ("reads all calls".to_owned(), String::new()),
            Some(percent) => (format!("reads {percent} % of the calls"), String::new()),
            None => {
                let why = format!(": {INSIGHT_PERCENT} is no whole number from 0 to 100");
                ("may read all calls".to_owned(), why)
            }
        };
        format!("Insight {calls} in {} of {}{why}", count(self.pods.len(), "pod"), clean(&self.place))
    }
}
