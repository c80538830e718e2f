//! A finished call, read from Envoy.

use elsa::FrozenVec;
use scoretap_core::histogram::Histogram;
use scoretap_core::observe::Call;
use scoretap_host as host;
use scoretap_scan::record::{PROPERTY as RECORD, Record};

/// The call whose log callback is running.
#[derive(Default)]
pub(crate) struct HostCall {
    /// The texts that the host returned for the call so far.
    answers: FrozenVec<Vec<u8>>,
}

impl HostCall {
    /// Ends the call, but keeps the list's memory for the next one.
    pub(crate) fn clear(&mut self) {
        self.answers.as_mut().clear();
    }

    fn keep(&self, answer: Option<Vec<u8>>) -> Option<&[u8]> {
        answer.map(|answer| self.answers.push_get(answer))
    }
}

fn number(property: &str) -> Option<u64> {
    host::property(property)?.try_into().ok().map(u64::from_le_bytes)
}

impl Call for HostCall {
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.keep(host::request_header(name))
    }

    fn response_type(&self) -> Option<&[u8]> {
        self.keep(host::response_header("content-type"))
    }

    fn code(&self) -> Option<u64> {
        number("response\0code")
    }

    fn flags(&self) -> Option<u64> {
        number("response\0flags")
    }

    fn code_details(&self) -> Option<&[u8]> {
        self.keep(host::property("response\0code_details"))
    }

    fn grpc_status(&self) -> Option<u64> {
        number("response\0grpc_status")
    }

    fn measure(&self, histogram: Histogram) -> Option<u64> {
        match histogram {
            Histogram::Duration => number("request\0duration"),
            Histogram::BackendDuration => number("response\0backend_latency"),
            // `size` is the Content-Length that the caller declared; `total_size` is what arrived, headers included.
            Histogram::RequestBytes => Some(number("request\0size")?.min(number("request\0total_size")?)),
            Histogram::ResponseBytes => number("response\0size"),
        }
    }

    fn record(&self) -> Option<Record> {
        Record::decode(&host::property(RECORD)?)
    }
}
