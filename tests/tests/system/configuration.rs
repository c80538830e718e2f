//! Configurations: faults are reported and hurt no call, and a new configuration loses no count.

use std::time::Duration;

use serde_json::{Value, json};

use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::stack::Stack;
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::wait::wait_until;

use crate::{ROW, by_envoy, in_both_ways, responses, score, seen};

#[test]
fn each_fault_is_logged_while_calls_pass() {
    for envoy in EnvoyVersion::ALL {
        in_both_ways(&format!("invalid-{}", envoy.as_str()), |name, way_in| {
            let configuration = r#"{"max_series": 0, "routes": [{"preset": "flask"}], "bounds_seconds": [1, 0.5],
                "error_types": {"404": "fine"}, "extra": ["x"], "latency_resolution": "fine", "maxSeries": 1}"#;
            let stack = Stack::builder(name)
                .envoy(envoy)
                .way_in(way_in)
                .filter_config(configuration)
                .start()
                .unwrap();
            for _ in 0..10 {
                assert_eq!(stack.call(score()).unwrap().status, 200);
            }
            stack.settle();
            let metrics = stack.metrics();
            assert_eq!(metrics.get("scoretap_config_valid", &[]), Some(0.0));
            assert_eq!(metrics.get("scoretap_calls_seen_total", &[("result", "unmatched")]), Some(10.0));
            assert_eq!(by_envoy(&metrics), 10.0);
            let output = stack.envoy_output();
            let said = output.lines().filter(|line| line.contains("scoretap configuration: "));
            assert_eq!(said.count(), 7, "{output}");
            assert!(output.contains("max_series: is 0; write a whole number from 1 to 10000"), "{output}");
        });
    }
}

#[test]
fn what_is_no_json_is_said_too() {
    let stack = Stack::builder("no-json").filter_config("{\"routes\": [").start().unwrap();
    assert_eq!(stack.call(score()).unwrap().status, 200);
    assert_eq!(stack.metrics().get("scoretap_config_valid", &[]), Some(0.0));
    assert!(stack.envoy_output().contains("scoretap configuration: configuration: is not JSON: "));
}

/// Calls flow all the while: good, bad and good again.
#[test]
fn corrected_configuration_takes_effect_without_losing_counts() {
    in_both_ways("swap", |name, way_in| {
        let mut stack = Stack::builder(name).way_in(way_in).dynamic().start().unwrap();
        let load = stack.load(Protocol::Http1, 4);
        let calls = 3_000;
        let traffic = std::thread::spawn(move || load.run(vec![score(); calls]));
        for (configuration, valid) in
            [("{\"max_series\": 0}", 0.0), (r#"{"bounds_seconds": [0.5, 30]}"#, 1.0)]
        {
            stack.reconfigure(configuration).unwrap();
            let said = || stack.metrics().get("scoretap_config_valid", &[]);
            wait_until("the filter has its new configuration", Duration::from_secs(5), || {
                said() == Some(valid)
            });
        }
        let answers = traffic.join().unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)));
        stack.settle();
        let metrics = stack.metrics();
        assert_eq!((seen(&metrics), by_envoy(&metrics)), (calls as f64, calls as f64));
        let before = metrics.sum("prediction_requests_total", &[("status", "success")]);
        assert!(before < calls as f64, "the invalid configuration was never in force");
        stack.call(score()).unwrap();
        stack.settle();
        let metrics = stack.metrics();
        assert_eq!(metrics.sum("prediction_requests_total", &[("status", "success")]), before + 1.0);
        let buckets = metrics.select("prediction_duration_seconds_bucket", &[("status", "success")]);
        let bounds: Vec<_> = buckets.map(|(labels, _)| labels["le"].clone()).collect();
        assert_eq!(bounds, ["+Inf", "0.5", "30.0"]);
    });
}

/// Envoy goes back to a listener that it is still draining without configuring the plugin anew.
#[test]
fn rollback_during_drain_takes_effect() {
    in_both_ways("rollback", |name, way_in| {
        let mut stack = Stack::builder(name).way_in(way_in).dynamic().drain_seconds(60).start().unwrap();
        stack.call(score()).unwrap();
        stack.push("{\"max_series\": 0}").unwrap();
        let valid = |stack: &Stack| stack.metrics().get("scoretap_config_valid", &[]);
        wait_until("the faulty one is in force", Duration::from_secs(5), || valid(&stack) == Some(0.0));
        stack.push("{}").unwrap();
        wait_until("calls are matched again", Duration::from_secs(5), || {
            let before = responses(&stack, &[("route", "score")]);
            stack.call(score()).unwrap();
            responses(&stack, &[("route", "score")]) > before
        });
        // A VM announces another configuration at most once a second.
        wait_until("it is announced", Duration::from_secs(10), || {
            stack.call(score()).unwrap();
            valid(&stack) == Some(1.0)
        });
        stack.settle();
        let metrics = stack.metrics();
        assert_eq!(seen(&metrics), by_envoy(&metrics));
    });
}

/// Adds a listener on `second.sock` whose plugin is `edit`ed.
fn add_listener(bootstrap: &mut Bootstrap, edit: impl FnOnce(&mut Value)) {
    let mut second = bootstrap.listener().clone();
    second["name"] = "second".into();
    second["address"] = json!({"pipe": {"path": "/etc/scoretap/second.sock"}});
    second["socket_options"] = json!([]);
    let manager = second.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
    edit(match manager.get("access_log") {
        Some(_) => &mut manager["access_log"][0]["typed_config"]["config"],
        None => &mut manager["http_filters"][0]["typed_config"]["config"],
    });
    bootstrap.at("/static_resources/listeners").as_array_mut().unwrap().push(second);
}

#[test]
fn faulty_plugin_beside_valid_one_logs_once() {
    in_both_ways("one-faulty", |name, way_in| {
        let builder = Stack::builder(name).way_in(way_in).concurrency(4).edit_listener(|bootstrap| {
            bootstrap.set_filter_config("{}");
            add_listener(bootstrap, |plugin| {
                plugin["configuration"]["value"] = r#"{"max_series": 0}"#.into();
            });
        });
        let stack = builder.start().unwrap();
        (0..20).for_each(|_| assert_eq!(stack.call(score()).unwrap().status, 200));
        stack.settle();
        let output = stack.envoy_output();
        assert_eq!(output.matches("scoretap configuration: ").count(), 1, "{output}");
    });
}

/// Envoy shares data between VMs of one `vm_id` only.
#[test]
fn max_series_holds_for_each_vm_id() {
    in_both_ways("vm-ids", |name, way_in| {
        let builder = Stack::builder(name).way_in(way_in).edit_listener(|bootstrap| {
            bootstrap.set_filter_config(r#"{"max_series": 2}"#);
            add_listener(bootstrap, |plugin| plugin["vm_config"]["vm_id"] = "another".into());
        });
        let stack = builder.start().unwrap();
        let second = Endpoint::Unix(stack.folders.run.join("second.sock"));
        let model = |name: &str| Call::post(&format!("/v1/models/{name}:predict"), ROW);
        for name in ["a", "b", "c"] {
            stack.call(model(name)).unwrap();
        }
        for name in ["d", "e", "f"] {
            http::call(&second, Protocol::Http1, model(name)).unwrap();
        }
        stack.settle();
        let metrics = stack.metrics();
        let calls = |model: &str| metrics.sum("prediction_requests_total", &[("model_name", model)]);
        assert_eq!(["a", "b", "d", "e", "other"].map(calls), [1.0, 1.0, 1.0, 1.0, 2.0]);
    });
}

#[test]
fn listeners_in_one_vm_keep_their_routes() {
    in_both_ways("two-listeners", |name, way_in| {
        let builder = Stack::builder(name).way_in(way_in).edit_listener(|bootstrap| {
            bootstrap.set_filter_config(r#"{"routes": [{"preset": "score"}]}"#);
            add_listener(bootstrap, |plugin| {
                plugin["configuration"]["value"] = r#"{"routes": [{"preset": "predict"}]}"#.into();
            });
        });
        let stack = builder.start().unwrap();
        let second = Endpoint::Unix(stack.folders.run.join("second.sock"));
        for _ in 0..5 {
            for path in ["/score", "/predict"] {
                stack.call(Call::post(path, ROW)).unwrap();
                http::call(&second, Protocol::Http1, Call::post(path, ROW)).unwrap();
            }
        }
        stack.settle();
        let metrics = stack.metrics();
        for route in ["score", "predict"] {
            assert_eq!(metrics.sum("prediction_responses_total", &[("route", route)]), 5.0, "{route}");
        }
        assert_eq!(metrics.get("scoretap_calls_seen_total", &[("result", "unmatched")]), Some(10.0));
    });
}

#[test]
fn custom_routes_take_model_from_path_or_header() {
    let configuration = r#"{"routes": [
        {"name": "rank", "method": "PUT", "path": "/rank/{version}", "model": {"header": "X-Model"}},
        {"preset": "score"}], "error_types": {"404": "success"}, "extra": ["request_bytes", "backend_duration"]}"#;
    in_both_ways("own-routes", |name, way_in| {
        let stack = Stack::builder(name).way_in(way_in).filter_config(configuration).start().unwrap();
        let mut call = Call::post("/rank/3?x=1", ROW).header("x-model", "iris");
        call.method = "PUT".into();
        assert_eq!(stack.call(call).unwrap().status, 404);
        stack.call(score()).unwrap();
        stack.call(Call::post("/predict", ROW)).unwrap();
        let labels = [("route", "rank"), ("model_name", "iris"), ("model_version", "3"), ("method", "PUT")];
        assert_eq!(responses(&stack, &labels), 1.0);
        let metrics = stack.metrics();
        assert_eq!(
            metrics.sum("prediction_requests_total", &[("route", "rank"), ("status", "success")]),
            1.0
        );
        assert_eq!(metrics.get("scoretap_calls_seen_total", &[("result", "unmatched")]), Some(1.0));
        assert_eq!(metrics.sum("prediction_request_bytes_sum", &[("route", "score")]), ROW.len() as f64);
        assert_eq!(metrics.sum("prediction_backend_duration_seconds_count", &[("route", "score")]), 1.0);
    });
}
