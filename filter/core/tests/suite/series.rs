use std::cell::RefCell;

use scoretap_core::series::{Claim, Ledger, SeriesTable};

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Default)]
struct List(RefCell<Vec<String>>, bool);

impl Ledger for List {
    fn claim(&self, position: u32, entry: &str) -> Claim {
        if self.1 {
            return Claim::Failed;
        }
        let mut entries = self.0.borrow_mut();
        let position = usize::try_from(position).unwrap();
        assert!(position <= entries.len(), "a gap in the list");
        if let Some(taken) = entries.get(position) {
            return Claim::Taken(taken.clone());
        }
        entries.push(entry.to_owned());
        Claim::Written
    }
}

#[test]
fn as_many_as_the_limit_are_admitted_once_each() {
    let (list, mut table) = (List::default(), SeriesTable::<u32>::new(2));
    let admitted = ["a", "b", "a", "c", "b", "c"].map(|name| table.admit(name, &list));
    assert_eq!(admitted, [true, true, true, false, true, false]);
    assert_eq!(*list.0.borrow(), ["a", "b"]);
}

#[test]
fn tables_with_one_list_agree_whoever_comes_first() {
    let list = List::default();
    let (mut one, mut other) = (SeriesTable::<u32>::new(3), SeriesTable::<u32>::new(3));
    assert!(one.admit("a", &list) && other.admit("b", &list) && one.admit("c", &list));
    for table in [&mut one, &mut other, &mut SeriesTable::<u32>::new(3)] {
        assert_eq!(["c", "b", "a", "d"].map(|name| table.admit(name, &list)), [true, true, true, false]);
    }
}

#[test]
fn what_is_kept_for_a_series_stays() {
    let (list, mut table) = (List::default(), SeriesTable::<u32>::new(1));
    table.admit("a", &list);
    *table.get("a") = 7;
    assert!(table.admit("a", &list));
    assert_eq!((*table.get("a"), *table.get("beyond the limit")), (7, 0));
}

#[test]
fn a_host_that_fails_admits_nothing() {
    let (list, mut table) = (List(RefCell::default(), true), SeriesTable::<u32>::new(9));
    assert!(!table.admit("a", &list));
}
