//! Faults that only a VM can have: traps, leaks, trust in its host, disagreement with other VMs.

use crate::call::{FakeCall, post};
use crate::engine::Engine;
use crate::vm::Vm;
use crate::world::World;

const HOST_FUNCTIONS: [&str; 10] = [
    "proxy_log",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_property",
    "proxy_get_header_map_value",
    "proxy_get_buffer_bytes",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
];

/// Every status of the ABI but "ok", and two that it does not have.
const STATUSES: [u32; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, u32::MAX];

const SECOND: u64 = 1_000_000_000;

fn model(name: &str) -> FakeCall {
    post(&format!("/v1/models/{name}:predict"))
}

#[test]
fn only_the_callbacks_in_use_are_exported() {
    let mut exports = Vm::exports();
    exports.sort();
    let expected = [
        "_initialize",
        "malloc",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_log",
    ];
    assert_eq!(exports, expected);
}

#[test]
fn failing_host_function_never_traps() {
    for function in HOST_FUNCTIONS {
        for status in STATUSES {
            let world = World::default();
            world.fail(function, status);
            let mut vm = Vm::start(&world, "{}");
            for configuration in ["{", "{}"] {
                vm.configure(1, configuration);
                for call in
                    [post("/score"), model("a"), model("%FF"), post("/x"), post("/score").grpc(2).flag(6)]
                {
                    vm.log(&call);
                }
            }
            world.lock().failing.clear();
            vm.configure(1, "{}");
            let before = world.sum("scoretap.call.predict.");
            vm.log(&post("/predict"));
            assert_eq!(
                world.sum("scoretap.call.predict."),
                before + 1,
                "after {function} had failed with {status}"
            );
        }
    }
}

#[test]
fn properties_of_wrong_size_count_as_absent() {
    let properties = [
        "response.code",
        "response.flags",
        "request.duration",
        "response.grpc_status",
        "response.code_details",
    ];
    for property in properties {
        for value in [vec![], vec![1], vec![0xff; 7], vec![0xff; 9], vec![0xff; 70_000]] {
            let world = World::default();
            let mut vm = Vm::start(&world, "{}");
            vm.log(&post("/score").grpc(2).property(property, value));
            assert_eq!(world.sum("scoretap.call.score."), 1, "{property}");
        }
    }
}

#[test]
fn extreme_numbers_are_counted() {
    let world = World::default();
    let mut vm = Vm::start(&world, r#"{"latency_resolution": "native"}"#);
    for number in [0, 1, 99, 1000, 65_535, 65_536, u64::MAX / 2, u64::MAX] {
        vm.log(&post("/score").code(number).number("response.flags", number));
        vm.log(&post("/score").grpc(number));
        // Envoy's counters take i64; a sum over the 292 years of one is beyond this test's host too.
        vm.log(&post("/predict").took(number.min(1 << 40)));
    }
    assert_eq!(world.sum("scoretap.call."), 24);
}

#[test]
fn call_before_configuration_is_not_counted() {
    let world = World::default();
    let mut vm = Vm::new(&world);
    vm.create(1, 0);
    vm.create(2, 1);
    for context in [1, 2] {
        vm.log_in(context, &post("/score"));
    }
    assert_eq!(world.sum("scoretap."), 0);
    vm.configure(1, "");
    for context in [1, 2] {
        vm.log_in(context, &post("/score"));
    }
    assert_eq!(world.sum("scoretap.call.score."), 2);
}

#[test]
fn plugins_in_one_vm_keep_their_configurations() {
    let world = World::default();
    let mut vm = Vm::new(&world);
    vm.configure(1, r#"{"routes": [{"preset": "score"}]}"#);
    vm.configure(2, r#"{"routes": [{"preset": "predict"}]}"#);
    vm.create(10, 1);
    vm.create(11, 2);
    for context in [1, 2, 10, 11] {
        for path in ["/score", "/predict"] {
            vm.log_in(context, &post(path));
        }
    }
    assert_eq!(world.sum("scoretap.call.score."), 2);
    assert_eq!(world.sum("scoretap.call.predict."), 2);
    assert_eq!(world.stat("scoretap.unmatched"), 4);
}

#[test]
fn deleted_plugin_leaves_others_counting() {
    let world = World::default();
    let mut vm = Vm::start(&world, r#"{"routes": [{"preset": "score"}]}"#);
    vm.configure(2, r#"{"routes": [{"preset": "predict"}]}"#);
    vm.create(10, 1);
    vm.log_in(10, &post("/score"));
    vm.delete(10);
    vm.delete(1);
    vm.log_in(2, &post("/predict"));
    vm.log_in(2, &post("/score"));
    assert_eq!((world.sum("scoretap.call.score."), world.sum("scoretap.call.predict.")), (1, 1));
    assert_eq!(world.stat("scoretap.unmatched"), 1);
    // Envoy creates the plugin again if the configuration returns, under another id.
    vm.configure(3, r#"{"routes": [{"preset": "score"}]}"#);
    vm.log_in(3, &post("/score"));
    assert_eq!(world.sum("scoretap.call.score."), 2);
}

/// Envoy does not tell the module when it returns to a listener that it was still draining.
#[test]
fn announced_configuration_is_the_one_counting() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    vm.configure(2, "{");
    assert_eq!(world.stat("scoretap.config"), 0);
    world.lock().time += SECOND;
    vm.log_in(1, &post("/score"));
    assert_eq!(world.stat("scoretap.config"), 1);
    assert_eq!(world.sum("scoretap.call.score."), 1);
    vm.log_in(2, &post("/score"));
    assert_eq!(world.stat("scoretap.config"), 1, "at most once a second");
    world.lock().time += SECOND;
    vm.log_in(2, &post("/score"));
    assert_eq!((world.stat("scoretap.config"), world.stat("scoretap.unmatched")), (0, 2));
}

#[test]
fn deleted_plugin_leaves_its_survivor_announced() {
    let world = World::default();
    let mut vm = Vm::start(&world, r#"{"bounds_seconds": [1]}"#);
    vm.configure(2, r#"{"bounds_seconds": [2]}"#);
    world.lock().time += SECOND;
    vm.log_in(1, &post("/score"));
    vm.configure(3, "{");
    assert_eq!(world.stat("scoretap.config"), 0);
    vm.delete(3);
    assert_eq!(world.stat("scoretap.config"), 1);
    let [one, two] = ["1000000000", "2000000000"].map(|bound| format!("scoretap.bounds.duration.{bound}"));
    assert!(world.stat(&one) > world.stat(&two), "the one announced before");
    let before = world.lock().calls["proxy_record_metric"];
    vm.delete(2);
    assert_eq!(world.lock().calls["proxy_record_metric"], before, "nothing has changed");
    vm.delete(1);
}

#[test]
fn deleted_contexts_free_their_memory() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    let reconfigure = |vm: &mut Vm, plugins: std::ops::Range<u32>| {
        for plugin in plugins {
            let stream = plugin + 10_000;
            vm.configure(plugin, "{}");
            vm.create(stream, plugin);
            vm.log_in(stream, &post("/score"));
            vm.delete(stream);
            vm.delete(plugin);
        }
    };
    reconfigure(&mut vm, 2..300);
    let settled = vm.memory_bytes();
    reconfigure(&mut vm, 300..1_000);
    assert_eq!(vm.memory_bytes(), settled);
    assert_eq!(world.sum("scoretap.call.score."), 998);
}

#[test]
fn calls_correct_a_rejected_configurations_announcement() {
    let world = World::default();
    let own = r#"{"bounds_seconds": [1]}"#;
    let mut worker = Vm::start(&world, own);
    // Envoy tries a configuration in a VM of its own, and may then refuse the listener for another reason.
    Vm::start(&world, r#"{"bounds_seconds": [2]}"#);
    Vm::start(&world, r#"{"bounds_seconds": 2}"#);
    assert_eq!(world.stat("scoretap.config"), 0);
    (0..1_000).for_each(|_| worker.log(&post("/score")));
    assert_eq!(world.stat("scoretap.config"), 1);
    let [own, other] = ["1000000000", "2000000000"].map(|bound| format!("scoretap.bounds.duration.{bound}"));
    assert!(world.stat(&own) > world.stat(&other));
}

#[test]
fn faults_are_logged_in_at_most_100_lines() {
    let world = World::default();
    let fields: Vec<String> = (0..500).map(|number| format!("\"f{number}\": 1")).collect();
    Vm::start(&world, &format!("{{{}}}", fields.join(",")));
    let log = &world.lock().log;
    assert_eq!(log.len(), 101);
    assert_eq!(log[100], "scoretap configuration: and 400 faults more");
}

#[test]
fn faults_are_logged_once_for_all_workers() {
    let world = World::default();
    let mut workers: Vec<Vm> = (0..3).map(|_| Vm::start(&world, r#"{"max_series": 0}"#)).collect();
    assert_eq!(world.lock().log.len(), 1);
    for configuration in ["{}", r#"{"max_series": 0}"#] {
        workers.iter_mut().for_each(|vm| vm.configure(1, configuration));
    }
    assert_eq!(world.lock().log.len(), 2, "once more after the fault came back");
}

#[test]
fn faults_beside_a_valid_plugin_are_logged_once() {
    let world = World::default();
    for _ in 0..4 {
        let mut worker = Vm::start(&world, r#"{"max_series": 0}"#);
        worker.configure(2, "{}");
        worker.configure(3, r#"{"extra": 1}"#);
    }
    assert_eq!(world.lock().log.len(), 2, "one line for each fault");
}

#[test]
fn returned_faults_are_logged_again_in_fresh_vms() {
    let world = World::default();
    let faulty = r#"{"max_series": 0}"#;
    let lines = || world.lock().log.len();
    // Envoy tries a configuration in a VM of its own, which it drops without deleting the plugin.
    let mut workers: Vec<Vm> = (0..3).map(|_| Vm::start(&world, faulty)).skip(1).collect();
    Vm::start(&world, faulty);
    assert_eq!(lines(), 1, "a reloaded VM logs nothing");
    for vm in &mut workers {
        vm.configure(2, "{}");
        vm.delete(1);
    }
    let mut fresh: Vec<Vm> = (0..3).map(|_| Vm::start(&world, faulty)).collect();
    assert_eq!(lines(), 2);
    // One worker has replaced the plugin already when the other one deletes it.
    fresh[0].delete(1);
    fresh[0].configure(3, faulty);
    fresh[1].delete(1);
    fresh[1].configure(3, faulty);
    assert_eq!(lines(), 3);
}

/// Envoy keeps a new handle for each definition of a gauge, for as long as the VM runs.
#[test]
fn gauge_definitions_do_not_grow_with_calls() {
    for contexts in [vec![1], vec![1, 2]] {
        let world = World::default();
        let mut vm = Vm::start(&world, "{}");
        vm.configure(2, r#"{"bounds_seconds": [1]}"#);
        let announced = |world: &World| world.lock().calls["proxy_record_metric"];
        let before = announced(&world);
        vm.log(&post("/score"));
        // A call without a path takes the fewest host calls, so 100,000 of them take seconds.
        vm.log(&FakeCall::default());
        for number in 0..100_000 {
            world.lock().time += SECOND / 10_000;
            vm.log_again(contexts[number % contexts.len()]);
        }
        let defined = world.lock().calls["proxy_define_metric"];
        // Two gauges and a counter of unmatched calls for each configuration, and three counters of `/score`.
        assert!(defined <= 10, "{defined} definitions for plugins {contexts:?}");
        let announcements = (announced(&world) - before) / 2;
        assert!((5..=101).contains(&announcements), "{announcements} for plugins {contexts:?}");
    }
}

#[test]
fn configuration_announces_bounds_and_time() {
    let world = World::default();
    world.lock().time = 5;
    let mut vm = Vm::start(&world, r#"{"bounds_seconds": [0.5, 1]}"#);
    world.lock().time = 6;
    vm.configure(2, r#"{"bounds_seconds": [2]}"#);
    assert_eq!(world.stat("scoretap.bounds.duration.500000000_1000000000"), 5);
    assert_eq!(world.stat("scoretap.bounds.duration.2000000000"), 6);
    assert_eq!(world.stat("scoretap.config"), 1);
}

#[test]
fn clock_set_back_keeps_the_latest_bounds() {
    let world = World::default();
    world.lock().time = 50;
    let mut vm = Vm::start(&world, r#"{"bounds_seconds": [1]}"#);
    world.lock().time = 6;
    Vm::start(&world, r#"{"bounds_seconds": [2]}"#);
    assert_eq!(world.stat("scoretap.bounds.duration.2000000000"), 51);
    vm.configure(1, r#"{"bounds_seconds": [1]}"#);
    assert_eq!(world.stat("scoretap.bounds.duration.1000000000"), 52);
}

#[test]
fn simultaneous_announcements_get_different_numbers() {
    let world = World::default();
    world.lock().time = 50;
    Vm::start(&world, r#"{"bounds_seconds": [1]}"#);
    world.lock().overtaken = Some((b"scoretap.announced".to_vec(), 60_u64.to_le_bytes().to_vec()));
    Vm::start(&world, r#"{"bounds_seconds": [2]}"#);
    assert_eq!(world.stat("scoretap.bounds.duration.2000000000"), 61);
}

#[test]
fn memory_is_flat_over_names_and_headers() {
    let world = World::default();
    let own = r#"{"name": "own", "path": "/own", "method": "POST", "model": {"header": "x-model"}}"#;
    let mut vm = Vm::start(&world, &format!(r#"{{"routes": [{own}, {{"preset": "kserve-v1"}}]}}"#));
    let megabyte = "x".repeat(1 << 20);
    let hostile = |vm: &mut Vm, round: usize| {
        for number in 0..2_000 {
            vm.log(&model(&format!("{round}-{number}-{}", "x".repeat(200))));
        }
        vm.log(&model(&megabyte));
        vm.log(&post("/own").header("x-model", &megabyte));
    };
    hostile(&mut vm, 0);
    let settled = vm.memory_bytes();
    (1..4).for_each(|round| hostile(&mut vm, round));
    assert_eq!(vm.memory_bytes(), settled);
    assert_eq!(world.sum("scoretap.call."), 8_008);
}

#[test]
fn known_series_takes_five_reads_three_additions() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    vm.log(&model("a"));
    world.lock().calls.clear();
    vm.log(&model("a"));
    let calls = std::mem::take(&mut world.lock().calls);
    let expected =
        [("proxy_get_header_map_value", 2), ("proxy_get_property", 3), ("proxy_increment_metric", 3)];
    assert_eq!(calls.into_iter().collect::<Vec<_>>(), expected);
    vm.log(&post("/x"));
    world.lock().calls.clear();
    vm.log(&post("/never/asked/for/before"));
    let calls = std::mem::take(&mut world.lock().calls);
    assert_eq!(
        calls.into_iter().collect::<Vec<_>>(),
        [("proxy_get_header_map_value", 1), ("proxy_increment_metric", 1)]
    );
}
