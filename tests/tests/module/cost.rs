//! The cost of a call inside the VM, in figures that are the same on every machine. The cost in Envoy is measured
//! by `cargo xtask bench filter`.

use crate::call::{FakeCall, post};
use crate::engine::Engine;
use crate::vm::Vm;
use crate::world::World;

type Make = fn() -> FakeCall;

/// Calls as they come to a model server, and how many instructions each may take once its series is known: a tenth
/// more than it took when this was written. Host functions are not in it: see
/// `known_series_takes_five_reads_three_additions`.
const FUEL: [(&str, Make, u64); 6] = [
    ("the first route", || typical("/score"), 4_470),
    ("a model in the path", || typical("/v1/models/churn:predict"), 4_560),
    ("a model and a version in the path", || typical("/v2/models/fraud/versions/3/infer"), 4_740),
    ("the last route", || typical("/inference.GRPCInferenceService/ModelInfer").grpc(0), 6_180),
    ("no route", || typical("/v2/health/ready"), 1_320),
    ("no route, by its method", || typical("/score").method("GET"), 1_880),
];

/// With the headers that a common client sends and that Envoy adds.
fn typical(path: &str) -> FakeCall {
    let headers = [
        ("user-agent", "python-requests/2.32.3"),
        ("accept-encoding", "gzip, deflate"),
        ("accept", "*/*"),
        ("content-length", "1024"),
        ("content-type", "application/json"),
        ("x-forwarded-proto", "http"),
    ];
    headers.into_iter().fold(post(path).header(":authority", "127.0.0.1:15100"), |call, (name, value)| {
        call.header(name, value)
    })
}

#[test]
fn known_series_takes_no_more_instructions_than_before() {
    let measured = FUEL.map(|(name, call, allowed)| {
        let mut vm = Vm::start(&World::default(), "{}");
        vm.log(&call());
        (name, vm.fuel_of(|vm| vm.log(&call())), allowed)
    });
    println!("(call, instructions, allowed): {measured:#?}");
    // Less is a reason to write down less.
    let strays = |(_, took, allowed): &(_, u64, u64)| took > allowed || *took < allowed * 8 / 10;
    assert!(!measured.iter().any(strays), "one is above what is allowed, or far below");
}

/// A path may be as long as Envoy lets it be, which is a megabyte. It must not keep a worker from other calls.
#[test]
fn path_costs_few_instructions_per_byte() {
    const LONG: usize = 1 << 20;
    let paths = [
        format!("/v1/models/{}", "%61".repeat(LONG / 3)),
        format!("/v1/models/{}:predict", "%61".repeat(LONG / 3)),
        format!("/v1/models/{}/versions/%61:predict", "%2F".repeat(LONG / 3)),
        format!("/v1/models/{}:predict", "a".repeat(LONG)),
        format!("/v1/models{}", "/".repeat(LONG)),
        format!("/{}", "%".repeat(LONG)),
        format!("/score{}", "a".repeat(LONG)),
    ];
    let measured = paths.map(|path| {
        let mut vm = Vm::start(&World::default(), "{}");
        vm.log(&post(&path));
        let fuel = vm.fuel_of(|vm| vm.log(&post(&path)));
        (path.chars().take(20).collect::<String>(), fuel / LONG as u64)
    });
    println!("(path, instructions for a byte): {measured:#?}");
    assert!(measured.iter().all(|(_, instructions)| *instructions <= 25));
}

#[test]
fn known_series_allocates_only_for_answers() {
    let encoded = || typical("/v1/models/na%C3%AFve:predict");
    let beyond_the_limit = || typical("/v1/models/late:predict");
    for (name, call) in FUEL
        .map(|(name, call, _)| (name, call))
        .into_iter()
        .chain([("an encoded name", encoded as Make), ("beyond the limit", beyond_the_limit)])
    {
        let world = World::default();
        let mut vm = Vm::counting_allocations(&world);
        vm.configure(1, r#"{"max_series": 1}"#);
        vm.log(&typical("/v1/models/na%C3%AFve:predict"));
        (0..3).for_each(|_| vm.log(&call()));
        let before = vm.allocations();
        world.lock().calls.clear();
        // Every thousandth call announces the configuration.
        (0..900).for_each(|_| vm.log(&call()));
        let calls = &world.lock().calls;
        let answers: u32 = ["proxy_get_header_map_value", "proxy_get_property"]
            .into_iter()
            .filter_map(|function| calls.get(function))
            .sum();
        assert_eq!(vm.allocations() - before, answers.cast_signed(), "{name}");
    }
}

#[test]
fn memory_is_flat_over_fifty_thousand_calls() {
    let mut vm = Vm::start(&World::default(), "{}");
    let calls = FUEL.map(|(_, call, _)| call());
    calls.iter().for_each(|call| vm.log(call));
    let settled = vm.memory_bytes();
    (0..50_000 / calls.len()).for_each(|_| calls.iter().for_each(|call| vm.log(call)));
    assert_eq!(vm.memory_bytes(), settled);
}
