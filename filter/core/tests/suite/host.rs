//! An Envoy in memory: calls that are over, and what they add up to.

use std::cell::RefCell;
use std::collections::BTreeMap;

use scoretap_core::histogram::Histogram;
use scoretap_core::observe::{Call, CounterId, Stats};
use scoretap_core::series::{Claim, Ledger};

/// Counters, gauges and the list that all workers share.
#[derive(Default)]
pub(crate) struct Host(RefCell<State>);

#[derive(Default)]
struct State {
    counters: Vec<(String, u64)>,
    gauges: BTreeMap<String, u64>,
    ledger: Vec<String>,
}

impl Host {
    /// Every counter and gauge with its value.
    pub(crate) fn statistics(&self) -> Vec<(String, u64)> {
        let State { counters, gauges, .. } = &*self.0.borrow();
        counters.iter().cloned().chain(gauges.clone()).collect()
    }
}

impl Ledger for Host {
    fn claim(&self, position: u32, entry: &str) -> Claim {
        let ledger = &mut self.0.borrow_mut().ledger;
        let position = usize::try_from(position).unwrap();
        assert!(position <= ledger.len(), "a gap in the list");
        if let Some(taken) = ledger.get(position) {
            return Claim::Taken(taken.clone());
        }
        ledger.push(entry.to_owned());
        Claim::Written
    }
}

impl Stats for Host {
    fn counter(&self, name: &str) -> Option<CounterId> {
        let counters = &mut self.0.borrow_mut().counters;
        let known = counters.iter().position(|(known, _)| known == name);
        let position = known.unwrap_or_else(|| {
            counters.push((name.to_owned(), 0));
            counters.len() - 1
        });
        Some(CounterId(u32::try_from(position).unwrap()))
    }

    fn add(&self, counter: CounterId, amount: u64) {
        let counter = usize::try_from(counter.0).unwrap();
        self.0.borrow_mut().counters[counter].1 += amount;
    }

    fn set_gauge(&self, name: &str, value: u64) {
        self.0.borrow_mut().gauges.insert(name.to_owned(), value);
    }
}

/// A call that is over, as Envoy tells of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// Of the request, the pseudo-headers too.
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) response_type: Option<Vec<u8>>,
    pub(crate) code: Option<u64>,
    pub(crate) flags: u64,
    pub(crate) details: Option<Vec<u8>>,
    pub(crate) grpc: Option<u64>,
    pub(crate) nanoseconds: u64,
}

impl Call for Ended {
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }

    fn response_type(&self) -> Option<&[u8]> {
        self.response_type.as_deref()
    }

    fn code(&self) -> Option<u64> {
        self.code
    }

    fn flags(&self) -> Option<u64> {
        Some(self.flags)
    }

    fn code_details(&self) -> Option<&[u8]> {
        self.details.as_deref()
    }

    fn grpc_status(&self) -> Option<u64> {
        self.grpc
    }

    fn measure(&self, histogram: Histogram) -> Option<u64> {
        (histogram == Histogram::Duration).then_some(self.nanoseconds)
    }
}
