//! Which model a call counts under, and whether it is one of gRPC. The module's own tests have more cases.

use scoretap_test_support::host::Ended;

use crate::bodies::{COMPLETE, call, counters, observed};

#[test]
fn version_in_a_header_is_read_each_time() {
    let route = r#"{"routes": [{"name": "a", "method": "POST", "path": "/{model}", "version": {"header": "x-version"}}]}"#;
    let calls = ["1", "2", "1"].map(|version| {
        let mut ended = call("/iris", COMPLETE, None);
        ended.headers.push(("x-version", version.into()));
        ended
    });
    let counted = counters(&observed(route, &calls), "call");
    assert_eq!(counted, ["a.iris.1.POST./{model}.200.success 2", "a.iris.2.POST./{model}.200.success 1"]);
}

#[test]
fn redirects_admit_a_quarter_of_the_models() {
    let redirects: Vec<Ended> = (0..8)
        .map(|model| Ended {
            code: Some(302),
            ..call(&format!("/v1/models/{model}:predict"), COMPLETE, None)
        })
        .collect();
    let host = observed(r#"{"max_series": 8}"#, &redirects);
    let named = counters(&host, "call").iter().filter(|counter| !counter.contains("*")).count();
    assert_eq!(named, 2, "{:?}", counters(&host, "call"));
}

#[test]
fn only_answers_of_grpc_have_its_status() {
    let grpc = Some("application/grpc");
    for (asked, answered, code, outcome) in [
        (grpc, grpc, 200, "not_found"),
        (Some("application/grpc+proto"), Some("application/grpc; a=b"), 200, "not_found"),
        (grpc, Some("application/grpc-web"), 200, "success"),
        (grpc, Some("application/json"), 200, "success"),
        (grpc, None, 200, "success"),
        (None, grpc, 200, "success"),
        (grpc, grpc, 503, "model_error"),
    ] {
        let ended = call("/inference.GRPCInferenceService/ModelInfer", COMPLETE, None);
        let asked = asked.map(|asked: &str| ("content-type", asked.as_bytes().to_vec()));
        let ended = Ended {
            headers: ended.headers.iter().cloned().chain(asked).collect(),
            response_type: answered.map(|answered| answered.as_bytes().to_vec()),
            code: Some(code),
            grpc: Some(5),
            ..ended
        };
        let counted = counters(&observed("{}", &[ended]), "call");
        assert!(counted[0].ends_with(&format!(".{code}.{outcome} 1")), "{counted:?}");
    }
}
