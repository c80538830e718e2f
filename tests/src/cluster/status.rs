//! A pod's status as the kubelet writes it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::container::{Container, Role, State};
use super::network::NODE;
use super::sandbox::Sandbox;

/// The status of a pod with these containers.
pub(super) fn of(pod: &Value, sandbox: Option<&Sandbox>, containers: &[Container], phase: &str) -> Value {
    let statuses = |init: bool| -> Vec<Value> {
        containers.iter().filter(|one| (one.role != Role::Main) == init).map(container).collect()
    };
    let initialized = containers.iter().filter(|one| one.role != Role::Main).all(Container::lets_next_start);
    let long_lived = |one: &&Container| one.role != Role::Init;
    let ready = phase == "Running" && containers.iter().filter(long_lived).all(Container::is_ready);
    let troubles: Vec<String> =
        containers.iter().map(Container::trouble).filter(|text| !text.is_empty()).collect();
    let gates = pod["spec"]["readinessGates"].as_array().is_none_or(Vec::is_empty);
    let address = sandbox.map(|sandbox| sandbox.address.to_string());
    json!({
        "phase": phase,
        "hostIP": NODE.to_string(),
        "hostIPs": [{"ip": NODE.to_string()}],
        "podIP": address,
        "podIPs": address.as_ref().map(|ip| json!([{"ip": ip}])),
        "conditions": [
            condition(pod, "PodScheduled", true, ""),
            condition(pod, "PodReadyToStartContainers", sandbox.is_some(), ""),
            condition(pod, "Initialized", initialized, ""),
            condition(pod, "ContainersReady", ready, &troubles.join("; ")),
            condition(pod, "Ready", ready && gates, &troubles.join("; ")),
        ],
        "containerStatuses": statuses(false),
        "initContainerStatuses": statuses(true),
    })
}

/// Keeps the time of the last change.
fn condition(pod: &Value, kind: &str, holds: bool, message: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = pod["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == kind);
    let same = before.filter(|before| before["status"] == status);
    let since = same.map_or_else(|| json!(now()), |same| same["lastTransitionTime"].clone());
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": since});
    if !holds {
        condition["message"] = json!(message);
        condition["reason"] = json!("ContainersNotReady");
    }
    condition
}

fn container(container: &Container) -> Value {
    let state = match &container.state {
        State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        State::Running(running) => json!({"running": {"startedAt": running.since}}),
        State::Terminated(end) => json!({"terminated": end}),
    };
    let started = matches!(&container.state, State::Running(running) if running.started);
    let mut status = json!({
        "name": container.spec["name"],
        "image": container.spec["image"],
        "imageID": container.spec["image"],
        "ready": container.is_ready(),
        "restartCount": container.restarts,
        "started": started,
        "state": state,
    });
    if let Some(last) = &container.last {
        status["lastState"] = json!({"terminated": last});
    }
    status
}

/// The current time in the API's format.
pub(super) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    written(since)
}

/// Converts seconds since 1970 to a date. The usual arithmetic lets years begin in March.
fn written(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_878_245, "2026-11-28T15:04:05Z"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(written(seconds), expected);
        }
    }
}
