//! An injected pod's access to its service account.

use serde_json::{Value, json};

use crate::cases::pods;
use crate::pods::Way;

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The names of the volumes that a container mounts at the token's path.
fn mounted_at_token(container: &Value) -> Vec<&str> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let there = mounts.filter(|mount| mount["mountPath"] == TOKEN);
    there.filter_map(|mount| mount["name"].as_str()).collect()
}

#[test]
fn only_the_app_has_a_token() {
    for way in Way::ALL {
        let (pod, _) = way.create(&way.namespace("restricted"), &pods().remove(0).pod).unwrap();
        let sidecar = pod["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(sidecar.len(), 3, "{way:?}");
        for container in sidecar {
            assert_eq!(mounted_at_token(container), ["scoretap-no-token"], "{way:?}: {}", container["name"]);
            let mounts = container["volumeMounts"].to_string();
            assert!(!mounts.contains("kube-api-access"), "{way:?}: {mounts}");
        }
        let app = mounted_at_token(&pod["spec"]["containers"][0]);
        assert!(matches!(app[..], [name] if name.starts_with("kube-api-access")), "{way:?}: {app:?}");
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let empty = volumes.iter().find(|volume| volume["name"] == "scoretap-no-token").unwrap();
        assert!(empty.get("emptyDir").is_some(), "{way:?}: {empty}");
    }
}

/// A list of pull secrets in the pod would replace the account's list, so the injector writes none.
#[test]
fn pod_keeps_the_pull_secrets_of_its_account() {
    let own = json!([{"name": "own"}]);
    let account = json!([{"name": "registry"}]);
    for way in Way::ALL {
        let namespace = way.namespace("restricted");
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        way.cluster().api().patch(&path, &json!({"imagePullSecrets": account})).unwrap();
        let mut pod = pods().remove(0).pod;
        // The API server reads accounts from a cache.
        scoretap_tests::wait::wait_until("the account's secrets are known", crate::support::DEADLINE, || {
            let (stored, _) = way.create(&namespace, &pod).unwrap();
            stored["spec"]["imagePullSecrets"] == account
        });
        pod["spec"]["imagePullSecrets"] = own.clone();
        let (stored, _) = way.create(&namespace, &pod).unwrap();
        assert_eq!(stored["spec"]["imagePullSecrets"], own, "{way:?}");
    }
}
