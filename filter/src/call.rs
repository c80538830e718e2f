//! A finished call, as Envoy tells of it.

use scoretap_core::histogram::Histogram;
use scoretap_core::observe::Call;

use crate::arena::Callback;
use crate::host;

/// The call whose log callback is running.
pub(crate) struct HostCall<'c>(pub(crate) &'c Callback);

impl HostCall<'_> {
    fn number(&self, property: &str) -> Option<u64> {
        let bytes = host::property(property, self.0)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

impl Call for HostCall<'_> {
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        host::request_header(name, self.0)
    }

    fn response_type(&self) -> Option<&[u8]> {
        host::response_header("content-type", self.0)
    }

    fn code(&self) -> Option<u64> {
        self.number("response\0code")
    }

    fn flags(&self) -> Option<u64> {
        self.number("response\0flags")
    }

    fn code_details(&self) -> Option<&[u8]> {
        host::property("response\0code_details", self.0)
    }

    fn grpc_status(&self) -> Option<u64> {
        self.number("response\0grpc_status")
    }

    fn measure(&self, histogram: Histogram) -> Option<u64> {
        match histogram {
            Histogram::Duration => self.number("request\0duration"),
            Histogram::BackendDuration => self.number("response\0backend_latency"),
            // The first is the Content-Length that the caller declared, the second what arrived, headers included.
            Histogram::RequestBytes => {
                Some(self.number("request\0size")?.min(self.number("request\0total_size")?))
            }
            Histogram::ResponseBytes => self.number("response\0size"),
        }
    }
}
