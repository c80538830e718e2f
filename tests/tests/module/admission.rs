//! Which names get counters of their own, over all VMs of an Envoy.

use crate::call::{FakeCall, post};
use crate::engine::{Engine, Native};
use crate::vm::Vm;
use crate::world::World;

fn model(name: &str) -> FakeCall {
    post(&format!("/v1/models/{name}:predict"))
}

fn counted(world: &World, name: &str) -> u64 {
    world.sum(&format!("scoretap.call.kserve-v1.{name}."))
}

#[test]
fn refused_names_leave_room_for_models() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    for number in 0..300 {
        vm.log(&model(&format!("made-up-{number}")).code([404, 400][number % 2]));
    }
    vm.log(&model("real"));
    assert_eq!((counted(&world, "*.*"), counted(&world, "real")), (300, 1));
}

#[test]
fn refused_call_of_known_model_keeps_its_name() {
    let world = World::default();
    let mut one = Vm::start(&world, "{}");
    one.log(&model("real"));
    for mut vm in [one, Vm::start(&world, "{}")] {
        vm.log(&model("real").code(400));
    }
    assert_eq!((counted(&world, "*.*"), counted(&world, "real")), (0, 3));
}

#[test]
fn model_that_fails_first_keeps_its_name() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    (0..3).for_each(|_| vm.log(&model("broken").code(500)));
    assert_eq!((counted(&world, "*.*"), counted(&world, "broken")), (0, 3));
}

#[test]
fn failing_names_take_a_quarter_of_limit() {
    let world = World::default();
    let limit = r#"{"max_series": 200}"#;
    let mut vms = [Vm::start(&world, limit), Vm::start(&world, limit)];
    for number in 0..10_000 {
        vms[number % 2].log(&model(&format!("made-up-{number}")).code(500));
    }
    assert_eq!(counted(&world, "*.*"), 10_000 - 50);
    for number in 0..151 {
        vms[number % 2].log(&model(&format!("real-{number}")));
    }
    assert_eq!(world.sum("scoretap.call.kserve-v1.real-"), 150);
    assert_eq!(counted(&world, "*.*"), 10_000 - 50 + 1);
}

#[test]
fn model_is_named_once_it_succeeds() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    for code in [404, 429, 401, 200, 404] {
        vm.log(&model("late").code(code));
    }
    assert_eq!((counted(&world, "*.*"), counted(&world, "late")), (3, 2));
}

#[test]
fn unknown_name_after_reload_costs_few_host_calls() {
    let world = World::default();
    let limit = r#"{"max_series": 10000}"#;
    let mut vm = Vm::start(&world, limit);
    (0..10_000).for_each(|number| vm.log(&model(&format!("m-{number}"))));
    let mut reloaded = Vm::start(&world, limit);
    for name in ["unknown", "m-9999", "another"] {
        world.lock().calls.clear();
        reloaded.log(&model(name));
        let calls: u32 = world.lock().calls.values().sum();
        assert!(calls <= 20, "{name}: {calls} host calls");
    }
    assert_eq!((counted(&world, "m-9999"), counted(&world, "*.*")), (2, 2));
}

#[test]
fn workers_and_reloaded_vms_share_one_limit() {
    let world = World::default();
    let limit = r#"{"max_series": 5}"#;
    let (mut one, mut other) = (Vm::start(&world, limit), Vm::start(&world, limit));
    for (number, name) in ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().enumerate() {
        let vm = if number % 2 == 0 { &mut one } else { &mut other };
        vm.log(&model(name));
    }
    let mut reloaded = Vm::start(&world, limit);
    for vm in [&mut one, &mut other, &mut reloaded] {
        for name in ["a", "b", "c", "d", "e", "f", "i"] {
            vm.log(&model(name));
        }
    }
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(world.sum(&format!("scoretap.call.kserve-v1.{name}.")), 4, "{name}");
    }
    assert_eq!(world.sum("scoretap.call.kserve-v1.*.*."), 3 + 6);
    assert_eq!(world.sum("scoretap.call."), 29);
}

#[test]
fn own_model_keeps_its_counters_at_the_limit() {
    let world = World::default();
    let mut vm = Vm::start(&world, r#"{"max_series": 2}"#);
    for call in [model("a"), model("b"), model("c"), post("/score"), post("/score")] {
        vm.log(&call);
    }
    assert_eq!(world.sum("scoretap.call.score.~.~."), 2);
    assert_eq!(world.sum("scoretap.call.kserve-v1.*.*."), 1);
}

#[test]
fn model_is_admitted_once_the_host_answers() {
    let world = World::default();
    let mut vm = Vm::start(&world, "{}");
    world.fail("proxy_set_shared_data", 10);
    vm.log(&model("a"));
    vm.log(&model("a"));
    world.lock().failing.clear();
    vm.log(&model("a"));
    assert_eq!(world.sum("scoretap.call.kserve-v1.*.*."), 2);
    assert_eq!(world.sum("scoretap.call.kserve-v1.a.~."), 1);
}

#[test]
fn calls_without_a_model_take_no_place() {
    fn counts<E: Engine>() -> (u64, u64, u64) {
        let world = World::default();
        let mut engine = E::start(&world, r#"{"max_series": 2}"#);
        for call in
            [post("/score"), post("/predict"), model("a"), model("b"), model("c"), post("/invocations")]
        {
            engine.log(&call);
        }
        let unnamed = world.sum("scoretap.call.") - world.sum("scoretap.call.kserve-v1.");
        (unnamed, counted(&world, "a") + counted(&world, "b"), counted(&world, "*.*"))
    }
    assert_eq!(counts::<Native>(), (3, 2, 1), "as compiled here");
    assert_eq!(counts::<Vm>(), (3, 2, 1), "as packaged");
}
