use scoretap_core::series::{Admission, Evidence, SeriesTable};

use scoretap_test_support::host::Shared;

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use Admission::{Admitted, Never, NotYet};
use Evidence::{Refused, Shown, Unclear};

fn table(limit: u32) -> SeriesTable<u32> {
    SeriesTable::new(limit)
}

#[test]
fn limit_admits_each_series_once() {
    let (data, mut table) = (Shared::default(), table(2));
    let admitted = ["a", "b", "a", "c", "c", "b"].map(|name| table.admit(name, Shown, &data));
    // The first call beyond the limit finds it reached. Later calls know.
    assert_eq!(admitted, [Admitted, Admitted, Admitted, NotYet, Never, Admitted]);
}

#[test]
fn tables_with_shared_data_agree() {
    let data = Shared::default();
    let (mut one, mut other) = (table(3), table(3));
    assert_eq!(one.admit("a", Shown, &data), Admitted);
    assert_eq!(other.admit("b", Shown, &data), Admitted);
    assert_eq!(one.admit("c", Shown, &data), Admitted);
    for table in [&mut one, &mut other, &mut table(3)] {
        let admitted = ["c", "b", "a", "d"].map(|name| table.admit(name, Shown, &data));
        assert_eq!(admitted, [Admitted, Admitted, Admitted, NotYet]);
    }
}

#[test]
fn refused_names_take_no_place() {
    let (data, mut table) = (Shared::default(), table(1));
    for number in 0..100 {
        assert_eq!(table.admit(&format!("made-up-{number}"), Refused, &data), NotYet);
    }
    assert_eq!(table.admit("a", Shown, &data), Admitted);
    assert_eq!(SeriesTable::<u32>::new(1).admit("a", Refused, &data), Admitted, "another VM knows it");
}

#[test]
fn unclear_names_take_a_quarter_of_limit() {
    let (data, mut table) = (Shared::default(), table(8));
    let admitted = ["a", "b", "c", "d"].map(|name| table.admit(name, Unclear, &data));
    assert_eq!(admitted, [Admitted, Admitted, NotYet, NotYet]);
    let shown = ["c", "1", "2", "3", "4", "5"].map(|name| table.admit(name, Shown, &data));
    assert_eq!(shown, [Admitted; 6]);
    assert_eq!(table.admit("6", Shown, &data), NotYet);
}

#[test]
fn concurrent_admission_counts_series_once() {
    let data = Shared::default();
    data.overtaken.replace(Some("scoretap.series.a".to_owned()));
    let mut table = table(2);
    assert_eq!(table.admit("a", Shown, &data), Admitted);
    // The other VM has counted "a" too; in this test it never did.
    assert_eq!(["b", "c"].map(|name| table.admit(name, Shown, &data)), [Admitted, Admitted]);
    assert_eq!(table.admit("d", Shown, &data), NotYet);
}

#[test]
fn unknown_name_costs_few_host_calls() {
    let data = Shared::default();
    let mut old = table(10_000);
    (0..10_000).for_each(|number| assert_eq!(old.admit(&number.to_string(), Shown, &data), Admitted));
    let mut reloaded = table(10_000);
    for (name, evidence) in [("9999", Shown), ("new", Shown), ("new", Refused)] {
        data.calls.set(0);
        reloaded.admit(name, evidence, &data);
        assert!(data.calls.get() <= 4, "{name}: {}", data.calls.get());
    }
}

#[test]
fn values_of_series_are_kept() {
    let (data, mut table) = (Shared::default(), table(1));
    table.admit("a", Shown, &data);
    *table.get("a") = 7;
    assert_eq!(table.admit("a", Shown, &data), Admitted);
    assert_eq!((*table.get("a"), *table.get("beyond the limit")), (7, 0));
}

#[test]
fn failing_host_admits_nothing() {
    let data = Shared { fails: true, ..Shared::default() };
    assert_eq!(table(9).admit("a", Shown, &data), NotYet);
}

#[test]
fn foreign_tally_admits_nothing() {
    let data = Shared::default();
    data.values.borrow_mut().insert("scoretap.series".to_owned(), (b"odd".to_vec(), 1));
    assert_eq!(table(9).admit("a", Shown, &data), NotYet);
}
