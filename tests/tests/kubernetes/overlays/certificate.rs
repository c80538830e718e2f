//! The webhook's certificate. What the API server trusts must not change with it: for a minute the kubelet still shows
//! the pods the old one.

use serde_json::Value;

use super::{one, shipped};

#[track_caller]
fn named<'a>(objects: &'a [Value], kind: &str, name: &Value) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == *name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

#[test]
fn a_renewed_certificate_is_signed_by_whom_the_api_server_trusts_already() {
    let objects = shipped("webhook");
    let webhook = one(&objects, "MutatingWebhookConfiguration");
    let source = webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"].as_str().unwrap();
    let certificate = &named(&objects, "Certificate", &source.split('/').next_back().unwrap().into())["spec"];
    assert_eq!(certificate.get("isCA"), None);
    let mounted = &one(&objects, "Deployment")["spec"]["template"]["spec"]["volumes"][0]["secret"];
    assert_eq!(mounted["secretName"], certificate["secretName"]);

    let issuer = &named(&objects, "Issuer", &certificate["issuerRef"]["name"])["spec"];
    let authorities = objects.iter().filter(|object| object["spec"]["isCA"] == true);
    let authorities: Vec<_> = authorities.map(|object| &object["spec"]).collect();
    assert_eq!(authorities.len(), 1);
    let authority = authorities[0];
    assert_eq!(issuer["ca"]["secretName"], authority["secretName"]);
    let hours = authority["duration"].as_str().unwrap().strip_suffix('h').unwrap();
    assert!(hours.parse::<u32>().unwrap() >= 5 * 365 * 24, "{hours} hours");
    assert_eq!(authority["privateKey"]["rotationPolicy"], "Never", "what it has signed stays signed by it");
    assert!(named(&objects, "Issuer", &authority["issuerRef"]["name"])["spec"].get("selfSigned").is_some());
}
