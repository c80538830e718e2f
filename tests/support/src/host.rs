//! A fake Envoy in memory, with finished calls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use scoretap_core::histogram::Histogram;
use scoretap_core::observe::{Call, CounterId, GaugeId, Stats};
use scoretap_core::series::{Expected, Read, SharedData, Write};
use scoretap_scan::record::Record;

/// Counters, gauges and the shared data of all workers.
#[derive(Debug, Default)]
pub struct Host {
    statistics: RefCell<Statistics>,
    shared: Shared,
}

#[derive(Debug, Default)]
struct Statistics {
    counters: Vec<(String, u64)>,
    gauges: Vec<(String, u64)>,
}

/// The data that VMs share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Values with their versions.
    pub values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// Whether every read and write fails.
    pub fails: bool,
    /// Reads and writes so far.
    pub calls: Cell<u32>,
    /// Another VM writes this key just before the next write.
    pub overtaken: RefCell<Option<String>>,
}

impl Host {
    /// The value of every counter and gauge.
    pub fn statistics(&self) -> Vec<(String, u64)> {
        let Statistics { counters, gauges } = &*self.statistics.borrow();
        counters.iter().cloned().chain(gauges.clone()).collect()
    }
}

impl SharedData for Shared {
    fn get(&self, key: &str) -> Read {
        self.calls.set(self.calls.get() + 1);
        if self.fails {
            return Read::Failed;
        }
        let found = self.values.borrow().get(key).cloned();
        found.map_or(Read::Absent, |(value, version)| Read::Found { value, version })
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Write {
        self.calls.set(self.calls.get() + 1);
        let mut values = self.values.borrow_mut();
        if let Some(other) = self.overtaken.borrow_mut().take_if(|other| other == key) {
            values.insert(other, (b"1".to_vec(), 1));
        }
        let version = values.get(key).map(|(_, version)| *version);
        let is_expected = match expected {
            Expected::Absent => version.is_none(),
            Expected::Version(expected) => version == Some(expected),
        };
        if !is_expected {
            return Write::Conflict;
        }
        values.insert(key.to_owned(), (value.to_vec(), version.unwrap_or(0) + 1));
        Write::Done
    }
}

impl SharedData for Host {
    fn get(&self, key: &str) -> Read {
        self.shared.get(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Write {
        self.shared.set(key, value, expected)
    }
}

impl Stats for Host {
    fn counter(&self, name: &str) -> Option<CounterId> {
        let counters = &mut self.statistics.borrow_mut().counters;
        let known = counters.iter().position(|(known, _)| known == name);
        let position = known.unwrap_or_else(|| {
            counters.push((name.to_owned(), 0));
            counters.len() - 1
        });
        Some(CounterId(u32::try_from(position).unwrap()))
    }

    fn add(&self, counter: CounterId, amount: u64) {
        let counter = usize::try_from(counter.0).unwrap();
        self.statistics.borrow_mut().counters[counter].1 += amount;
    }

    fn gauge(&self, name: &str) -> Option<GaugeId> {
        let gauges = &mut self.statistics.borrow_mut().gauges;
        gauges.push((name.to_owned(), 0));
        Some(GaugeId(u32::try_from(gauges.len() - 1).unwrap()))
    }

    fn set_gauge(&self, gauge: GaugeId, value: u64) {
        let gauge = usize::try_from(gauge.0).unwrap();
        self.statistics.borrow_mut().gauges[gauge].1 = value;
    }
}

/// A finished call, as Envoy describes it.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The request's headers and pseudo-headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The response's content type.
    pub response_type: Option<Vec<u8>>,
    /// The status.
    pub code: Option<u64>,
    /// Envoy's response flags.
    pub flags: u64,
    /// Envoy's response code details.
    pub details: Option<Vec<u8>>,
    /// The status of gRPC.
    pub grpc: Option<u64>,
    /// The duration.
    pub nanoseconds: u64,
    /// The record of its bodies.
    pub record: Option<Record>,
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

    fn record(&self) -> Option<Record> {
        self.record.clone()
    }
}
