//! One admission review. The answer is always "allowed".

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_core::DynamicObject;
use kube_core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use serde_json::Value;

use crate::inject::{self, Decision};
use crate::manifest;
use crate::settings::Settings;

/// A response, with the object's kind and the decision for the metrics.
#[derive(Debug)]
pub struct Answer {
    /// The review, as JSON.
    pub body: Vec<u8>,
    /// The kind of the object.
    pub kind: Kind,
    /// The decision on it.
    pub decision: &'static str,
}

/// The kinds of objects that metrics distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pod.
    Pod,
    /// An object with a pod template. It never changes, and its warnings are those of its pods.
    Workload,
    /// A kind that our webhook configuration does not select.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pod, Self::Workload, Self::Other];

    /// The kind's name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Workload => "workload",
            Self::Other => "other",
        }
    }

    fn of(kind: &str) -> Self {
        match kind {
            "Pod" => Self::Pod,
            other if manifest::pod_at(other).is_some() => Self::Workload,
            _ => Self::Other,
        }
    }
}

/// The decision on an object.
#[derive(Debug, Default)]
struct Verdict {
    decision: &'static str,
    changed: Option<Value>,
    warnings: Vec<String>,
}

/// Namespaces in which nothing changes, even if the webhook configuration selects them.
#[derive(Clone, Debug)]
pub struct Exempt(pub Vec<String>);

impl Exempt {
    /// `kube-system`, and the injector's own.
    pub fn with_own(own: Option<String>) -> Self {
        Self([Some("kube-system".to_owned()), own].into_iter().flatten().collect())
    }
}

/// Answers a review. An error means that the request is not a review; the API server then applies `failurePolicy`.
pub fn answer(body: &[u8], settings: &Settings, exempt: &Exempt) -> Result<Answer> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).context("the body is not an admission.k8s.io/v1 AdmissionReview")?;
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|_| anyhow::anyhow!("the AdmissionReview has no request"))?;
    let kind = Kind::of(&request.kind.kind);
    // Use the raw object, because kube's types drop unknown fields.
    let raw: Value = serde_json::from_slice(body).context("the body is not JSON")?;
    let object = raw.pointer("/request/object").filter(|object| !object.is_null());
    let is_exempt = request.namespace.as_ref().is_some_and(|namespace| exempt.0.contains(namespace));
    let verdict = match object.filter(|_| !is_exempt) {
        Some(object) => judge(object, kind, &request.kind.kind, settings),
        None => Verdict { decision: "exempt", ..Verdict::default() },
    };
    let patch =
        object.zip(verdict.changed.as_ref()).map(|(object, changed)| json_patch::diff(object, changed));
    let mut response = AdmissionResponse::from(&request);
    if !verdict.warnings.is_empty() {
        response.warnings = Some(verdict.warnings);
    }
    let body = written(response, patch)?;
    Ok(Answer { body, kind, decision: verdict.decision })
}

/// kube writes the patch as a list of numbers, but the API expects base64.
fn written(response: AdmissionResponse, patch: Option<json_patch::Patch>) -> Result<Vec<u8>> {
    let response = match patch.clone() {
        Some(patch) => response.with_patch(patch).context("the patch")?,
        None => response,
    };
    let mut review = serde_json::to_value(response.into_review()).context("the answer")?;
    if let Some((field, patch)) = review.pointer_mut("/response/patch").zip(patch) {
        *field = STANDARD.encode(serde_json::to_vec(&patch)?).into();
    }
    serde_json::to_vec(&review).context("the answer")
}

fn judge(object: &Value, kind: Kind, name: &str, settings: &Settings) -> Verdict {
    match kind {
        Kind::Pod => pod(object, settings),
        Kind::Workload => {
            let advice = manifest::advice(object, name, settings);
            let decision = if advice.faults.is_empty() { "unchanged" } else { "refused" };
            Verdict { decision, changed: None, warnings: [advice.faults, advice.notices].concat() }
        }
        Kind::Other => Verdict { decision: "unchanged", ..Verdict::default() },
    }
}

fn pod(object: &Value, settings: &Settings) -> Verdict {
    let decision = inject::decide(object, None, settings);
    let notices = inject::notices(object, &decision, settings);
    let verdict = Verdict { decision: decision.as_str(), ..Verdict::default() };
    match decision {
        Decision::NotAsked | Decision::Already => Verdict { warnings: notices, ..verdict },
        Decision::Refused(warnings) => Verdict { warnings, ..verdict },
        Decision::Injected(pod) => Verdict { changed: Some(*pod), warnings: notices, ..verdict },
    }
}
