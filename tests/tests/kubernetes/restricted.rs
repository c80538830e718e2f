//! Pod Security's `restricted`, by the standard's own table, with what 1.34 added to `baseline`.

use serde_json::Value;

/// What `restricted` has against a pod.
pub(crate) fn violations(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut found = Vec::new();
    let mut refuse = |at: String, problem: &str| found.push(format!("{at}: {problem}"));
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[host] == true {
            refuse(host.into(), "shares with the node");
        }
    }
    const VOLUMES: [&str; 8] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        if !VOLUMES.iter().any(|kind| volume.get(*kind).is_some()) {
            refuse(volume["name"].to_string(), "a kind of volume that is not allowed");
        }
    }
    let lists =
        ["initContainers", "containers"].map(|list| spec[list].as_array().cloned().unwrap_or_default());
    for container in lists.iter().flatten() {
        container_violations(container, &spec["securityContext"], &mut refuse);
    }
    found
}

fn container_violations(container: &Value, pod: &Value, refuse: &mut impl FnMut(String, &str)) {
    let at = |field: &str| format!("{}.{field}", container["name"].as_str().unwrap_or_default());
    let own = &container["securityContext"];
    let inherited = |field: &str| if own[field].is_null() { &pod[field] } else { &own[field] };
    if own["privileged"] == true {
        refuse(at("privileged"), "is true");
    }
    if own["allowPrivilegeEscalation"] != false {
        refuse(at("allowPrivilegeEscalation"), "is not false");
    }
    if own["capabilities"]["drop"].as_array().is_none_or(|drop| !drop.contains(&"ALL".into())) {
        refuse(at("capabilities.drop"), "has no ALL");
    }
    let added = own["capabilities"]["add"].as_array().into_iter().flatten();
    if added.into_iter().any(|capability| capability != "NET_BIND_SERVICE") {
        refuse(at("capabilities.add"), "adds more than NET_BIND_SERVICE");
    }
    if inherited("runAsNonRoot") != true {
        refuse(at("runAsNonRoot"), "is not true");
    }
    if inherited("runAsUser") == 0 {
        refuse(at("runAsUser"), "is root");
    }
    if !["RuntimeDefault", "Localhost"].iter().any(|kind| inherited("seccompProfile")["type"] == *kind) {
        refuse(at("seccompProfile"), "is neither RuntimeDefault nor Localhost");
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        if port["hostPort"].as_u64().unwrap_or_default() != 0 {
            refuse(at("ports"), "a hostPort");
        }
    }
    let handlers = ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| &container[probe]);
    let hooks = ["preStop", "postStart"].map(|hook| &container["lifecycle"][hook]);
    for handler in handlers.iter().chain(&hooks) {
        if ["httpGet", "tcpSocket"].iter().any(|kind| handler[*kind].get("host").is_some()) {
            refuse(at("probes"), "a host, forbidden by baseline from 1.34");
        }
    }
}
