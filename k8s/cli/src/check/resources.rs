//! Whether the sidecar fits a namespace's LimitRanges and ResourceQuotas, and the annotations that make it fit.

use scoretap_injector::annotations::CONTAINERS;
use scoretap_injector::inject::Decision;
use scoretap_injector::quantity::{Bound, NONE, Resource};
use scoretap_injector::settings::Settings;
use scoretap_injector::slots::Part;
use serde_json::Value;

use super::object::{at, name, text, text_at};
use super::quantity::{parse, write};
use super::snapshot::{Kind, Snapshot};
use super::subject::Subject;

/// The annotations that set the sidecar's resources. Each applies to all its containers.
pub(crate) const ANNOTATIONS: [&str; 4] = [CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST, MEMORY_LIMIT];
const CPU_REQUEST: &str = "scoretap.dev/cpu-request";
const CPU_LIMIT: &str = "scoretap.dev/cpu-limit";
const MEMORY_REQUEST: &str = "scoretap.dev/memory-request";
pub(crate) const MEMORY_LIMIT: &str = "scoretap.dev/memory-limit";

const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// A rule that the sidecar violates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The LimitRange or ResourceQuota.
    pub(crate) object: String,
    pub(crate) what: String,
}

fn is_ours(container: &Value) -> bool {
    text(container, "name").is_some_and(|name| name.starts_with("scoretap-"))
}

fn all<'a>(pod: &'a Value) -> impl Iterator<Item = &'a Value> + use<'a> {
    super::object::containers(pod)
}

/// The resources that the sidecar's containers of a pod have, as settings. A pod without the sidecar gives the defaults.
pub(crate) fn settings(pod: &Value) -> Settings {
    let mut settings = Settings::default();
    for (part, name) in Part::ALL.into_iter().zip(CONTAINERS) {
        let Some(container) = all(pod).find(|container| text(container, "name") == Some(name)) else {
            continue;
        };
        for (bound, side) in Bound::ALL.into_iter().zip(["requests", "limits"]) {
            for resource in Resource::ALL {
                let found = container.pointer(&format!("/resources/{side}/{}", resource.as_str()));
                let found = found.and_then(Value::as_str).unwrap_or(NONE);
                // The API server has accepted the quantity. A request cannot be missing.
                let _ = settings.set_quantity(part, resource, bound, found);
            }
        }
    }
    settings
}

/// A container's request or limit of a resource.
fn amount(container: &Value, side: &str, resource: &str) -> Option<i128> {
    parse(text(container.get("resources")?.get(side)?, resource)?)
}

/// The defaults and bounds of a namespace's LimitRanges.
fn limits<'a>(snapshot: &'a Snapshot, namespace: &'a str) -> Vec<(&'a Value, &'a Value)> {
    let ranges = snapshot.within(Kind::LimitRanges, namespace);
    ranges.flat_map(|range| at(range, "/spec/limits").map(move |limit| (range, limit))).collect()
}

fn bound(limit: &Value, field: &str, resource: &str) -> Option<i128> {
    parse(text(limit.get(field)?, resource)?)
}

/// Violations of the namespace's LimitRanges by the sidecar's containers. `pod` has the sidecar.
pub(crate) fn against_ranges(pod: &Value, snapshot: &Snapshot, namespace: &str) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (range, limit) in limits(snapshot, namespace) {
        let mut add = |what: String| {
            conflicts.push(Conflict { object: format!("{namespace}/limitrange/{}", name(range)), what });
        };
        match text(limit, "type") {
            Some("Container") => {
                for container in all(pod).filter(|container| is_ours(container)) {
                    RESOURCES
                        .iter()
                        .filter_map(|resource| breaks(container, limit, resource))
                        .for_each(&mut add);
                }
            }
            Some("Pod") => {
                RESOURCES.iter().filter_map(|resource| pod_breaks(pod, limit, resource)).for_each(add);
            }
            _ => {}
        }
    }
    conflicts
}

/// Violations by one container, after the LimitRange has filled in its defaults.
fn breaks(container: &Value, limit: &Value, resource: &str) -> Option<String> {
    let capped = amount(container, "limits", resource).or_else(|| bound(limit, "default", resource));
    let requested = amount(container, "requests", resource);
    let requested = requested.or(capped).or_else(|| bound(limit, "defaultRequest", resource));
    let who = text(container, "name").unwrap_or_default();
    let exceeds = |found: Option<i128>, side: &str| {
        let (found, maximum) = (found?, bound(limit, "max", resource)?);
        let (text, most) = (write(found), write(maximum));
        (found > maximum).then(|| format!("{who}'s {resource} {side} is {text}, at most {most} is allowed"))
    };
    if let Some(what) = exceeds(capped, "limit").or_else(|| exceeds(requested, "request")) {
        return Some(what);
    }
    if capped.is_none() && bound(limit, "max", resource).is_some() {
        return Some(format!("{who} has no {resource} limit, and the LimitRange demands one"));
    }
    let minimum = bound(limit, "min", resource);
    if let (Some(minimum), Some(requested)) = (minimum, requested)
        && requested < minimum
    {
        let (requested, minimum) = (write(requested), write(minimum));
        return Some(format!("{who}'s {resource} request is {requested}, at least {minimum} is demanded"));
    }
    let ratio = bound(limit, "maxLimitRequestRatio", resource)?;
    let (capped, requested) = (capped?, requested?);
    (capped * 1000 > requested * ratio).then(|| {
        format!(
            "{who}'s {resource} limit {} is more than {} times its request {}",
            write(capped),
            write(ratio),
            write(requested)
        )
    })
}

/// Violations by the whole pod that it does not have without the sidecar.
fn pod_breaks(pod: &Value, limit: &Value, resource: &str) -> Option<String> {
    let maximum = bound(limit, "max", resource)?;
    let with = total(pod, "limits", resource, true);
    let without = total(pod, "limits", resource, false);
    (with > maximum && without <= maximum).then(|| {
        format!("the pod's {resource} limits would be {}, at most {} is allowed", write(with), write(maximum))
    })
}

/// A pod's total as the API server computes it: the sum of the containers that stay, or the largest init container.
fn total(pod: &Value, side: &str, resource: &str, with_sidecar: bool) -> i128 {
    let of = |container: &Value| {
        let side = amount(container, side, resource);
        let otherwise = || (side.is_none()).then(|| amount(container, "limits", resource)).flatten();
        side.or_else(otherwise).unwrap_or_default()
    };
    let counts = |container: &&Value| with_sidecar || !is_ours(container);
    let (mut staying, mut peak) = (0, 0);
    for container in at(pod, "/spec/initContainers").filter(counts) {
        if text(container, "restartPolicy") == Some("Always") {
            staying += of(container);
            peak = peak.max(staying);
        } else {
            peak = peak.max(staying + of(container));
        }
    }
    let running = staying + at(pod, "/spec/containers").filter(counts).map(of).sum::<i128>();
    running.max(peak)
}

/// Quotas of the namespace that lack room for the roll-out with the sidecar. `pod` has the sidecar.
pub(crate) fn against_quotas(pod: &Value, subject: &Subject<'_>, snapshot: &Snapshot) -> Vec<Conflict> {
    let quotas = snapshot.within(Kind::Quotas, subject.namespace()).filter(|quota| applies(quota));
    quotas.flat_map(|quota| exceeded(pod, subject, quota)).collect()
}

/// Ignores quotas for other classes of pods, such as pods that never have requests or pods that end.
fn applies(quota: &Value) -> bool {
    let scopes = at(quota, "/spec/scopes").filter_map(Value::as_str);
    quota.pointer("/spec/scopeSelector").is_none()
        && scopes.into_iter().all(|scope| ["NotTerminating", "NotBestEffort"].contains(&scope))
}

fn exceeded(pod: &Value, subject: &Subject<'_>, quota: &Value) -> Vec<Conflict> {
    let hard =
        quota.pointer("/status/hard").or_else(|| quota.pointer("/spec/hard")).and_then(Value::as_object);
    let place = format!("{}/resourcequota/{}", subject.namespace(), name(quota));
    let mut conflicts = Vec::new();
    for (key, hard) in hard.into_iter().flatten() {
        let Some((side, resource)) = counted(key) else { continue };
        if let Some(container) = all(pod).find(|c| is_ours(c) && amount(c, side, resource).is_none()) {
            let who = text(container, "name").unwrap_or_default();
            let what = format!("{who} has no {resource} in {side}, and the quota counts {key}");
            conflicts.push(Conflict { object: place.clone(), what });
            continue;
        }
        let Some(hard) = hard.as_str().and_then(parse) else { continue };
        let used = quota.pointer("/status/used").and_then(|used| used.get(key)).and_then(Value::as_str);
        let used = used.and_then(parse).unwrap_or_default();
        let needed = needed(pod, subject, side, resource);
        if used + needed > hard {
            let (used, hard, needed) = (write(used), write(hard), write(needed));
            let what = format!(
                "{used} of {hard} {key} are used, and rolling the sidecar out to its pods needs {needed} more"
            );
            conflicts.push(Conflict { object: place.clone(), what });
        }
    }
    conflicts
}

/// The quantity that a quota's key counts.
fn counted(key: &str) -> Option<(&'static str, &'static str)> {
    match key {
        "cpu" | "requests.cpu" => Some(("requests", "cpu")),
        "memory" | "requests.memory" => Some(("requests", "memory")),
        "limits.cpu" => Some(("limits", "cpu")),
        "limits.memory" => Some(("limits", "memory")),
        _ => None,
    }
}

/// The peak of a roll-out: the sidecar for each pod that lacks it, and one additional whole pod.
fn needed(pod: &Value, subject: &Subject<'_>, side: &str, resource: &str) -> i128 {
    let lacking = subject.pods.iter().filter(|pod| !super::subject::is_injected(pod)).count();
    if lacking == 0 {
        return 0;
    }
    let whole = total(pod, side, resource, true);
    let sidecar = whole - total(pod, side, resource, false);
    let surges =
        subject.kind() == "deployment" && text_at(subject.object, "/spec/strategy/type") != "Recreate";
    let lacking = i128::try_from(lacking).unwrap_or(i128::MAX / 2);
    lacking.saturating_mul(sidecar) + if surges { whole - sidecar } else { 0 }
}

/// All rules of its namespace that the sidecar violates.
pub(crate) fn conflicts(pod: &Value, subject: &Subject<'_>, snapshot: &Snapshot) -> Vec<Conflict> {
    let ranges = against_ranges(pod, snapshot, subject.namespace());
    ranges.into_iter().chain(against_quotas(pod, subject, snapshot)).collect()
}

type Annotations = Vec<(&'static str, Option<String>)>;

/// Annotations with which the sidecar fits. Empty if it fits without any, `None` if none helps.
pub(crate) fn fitting(subject: &Subject<'_>, snapshot: &Snapshot) -> Option<Annotations> {
    let fits = |annotations: &Annotations| {
        let Decision::Injected(pod) = subject.decide(&subject.template_with(annotations)) else {
            return false;
        };
        conflicts(&pod, subject, snapshot).is_empty()
    };
    candidates(subject, snapshot).into_iter().find(fits)
}

/// Candidates from the smallest change to the largest: a request or limit of one resource, then of both.
fn candidates(subject: &Subject<'_>, snapshot: &Snapshot) -> Vec<Annotations> {
    let limits = limits(snapshot, subject.namespace());
    let mut candidates = vec![Vec::new()];
    let mut of_both: Vec<Annotations> = vec![Vec::new()];
    for (resource, request, limit) in
        [("cpu", CPU_REQUEST, CPU_LIMIT), ("memory", MEMORY_REQUEST, MEMORY_LIMIT)]
    {
        let singles = singles(&limits, resource, request, limit);
        let joined = |left: &Annotations| {
            singles.iter().map(|right| [left.clone(), right.clone()].concat()).collect::<Vec<_>>()
        };
        of_both = of_both.iter().flat_map(joined).collect();
        candidates.extend(singles);
    }
    candidates.extend(of_both);
    candidates
}

/// Candidates for one resource: its limit, its request, or both, with values from the LimitRanges.
fn singles(
    limits: &[(&Value, &Value)],
    resource: &str,
    request: &'static str,
    limit: &'static str,
) -> Vec<Annotations> {
    let named = |field: &str| -> Vec<i128> {
        let of_containers = limits.iter().filter(|(_, limit)| text(limit, "type") == Some("Container"));
        of_containers.filter_map(|(_, limit)| bound(limit, field, resource)).collect()
    };
    let (minimum, maximum) = (named("min").into_iter().max(), named("max").into_iter().min());
    let ratio = named("maxLimitRequestRatio").into_iter().min();
    // The measured minimum of the sidecar.
    let least = parse(if resource == "cpu" { "50m" } else { "128Mi" }).unwrap_or_default();
    let set = |name: &'static str, value: i128| vec![(name, Some(write(value)))];
    let both = |first: i128, second: i128| [set(request, first), set(limit, second)].concat();
    let mut singles = Vec::new();
    singles.extend(maximum.map(|maximum| set(limit, maximum)));
    singles.extend(minimum.map(|minimum| set(request, minimum)));
    if let Some(minimum) = minimum {
        singles.extend(maximum.map(|maximum| both(minimum, maximum)));
        singles.extend(ratio.map(|ratio| both(minimum, minimum * ratio / 1000)));
        singles.push(both(minimum, minimum.max(least)));
    }
    singles.push(set(limit, least));
    singles.push(both(least, least));
    singles.push(set(limit, maximum.unwrap_or(least)));
    singles
}

/// The sidecar's share of a pod: requests and limits, as text.
pub(crate) fn share(pod: &Value) -> String {
    let of = |side: &str, resource: &str| {
        let share = total(pod, side, resource, true) - total(pod, side, resource, false);
        format!("{} {resource}", write(share))
    };
    format!(
        "{} and {} requested, {} and {} at most",
        of("requests", "cpu"),
        of("requests", "memory"),
        of("limits", "cpu"),
        of("limits", "memory")
    )
}
