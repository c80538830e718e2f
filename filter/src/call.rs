//! A finished call, as Envoy tells of it.

use scoretap_core::histogram::Histogram;
use scoretap_core::observe::Call;

use crate::arena::Callback;
use crate::host;

/// The call whose log callback is running. Its headers are fetched at once: all together cost what one would.
pub(crate) struct HostCall<'c> {
    callback: &'c Callback,
    headers: &'c [u8],
}

impl<'c> HostCall<'c> {
    pub(crate) fn fetch(callback: &'c Callback) -> Self {
        Self { callback, headers: host::request_headers(callback).unwrap_or_default() }
    }

    fn number(&self, property: &str) -> Option<u64> {
        let bytes = host::property(property, self.callback)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

impl Call for HostCall<'_> {
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        value(self.headers, name.as_bytes())
    }

    fn response_type(&self) -> Option<&[u8]> {
        host::response_header("content-type", self.callback)
    }

    fn code(&self) -> Option<u64> {
        self.number("response\0code")
    }

    fn flags(&self) -> Option<u64> {
        self.number("response\0flags")
    }

    fn code_details(&self) -> Option<&[u8]> {
        host::property("response\0code_details", self.callback)
    }

    fn grpc_status(&self) -> Option<u64> {
        self.number("response\0grpc_status")
    }

    fn measure(&self, histogram: Histogram) -> Option<u64> {
        self.number(match histogram {
            Histogram::Duration => "request\0duration",
            Histogram::BackendLatency => "response\0backend_latency",
            Histogram::RequestBytes => "request\0size",
            Histogram::ResponseBytes => "response\0size",
        })
    }
}

/// A value of a serialized header map: a count, the sizes of each key and value, then each with a NUL behind it.
/// `None` where the bytes are not what they should be. Only keys of the right length are looked at.
fn value<'m>(map: &'m [u8], name: &[u8]) -> Option<&'m [u8]> {
    let (count, rest) = map.split_first_chunk()?;
    let (sizes, texts) = rest.split_at_checked(number(*count)?.checked_mul(8)?)?;
    let mut start: usize = 0;
    for pair in sizes.chunks_exact(8) {
        let (key_size, value_size) = pair.split_first_chunk()?;
        let (key_size, value_size) = (number(*key_size)?, number(*value_size.first_chunk()?)?);
        let end = start.checked_add(key_size)?;
        if key_size == name.len() && texts.get(start..end)? == name {
            let value = end.checked_add(1)?;
            return texts.get(value..value.checked_add(value_size)?);
        }
        start = end.checked_add(value_size)?.checked_add(2)?;
    }
    None
}

fn number(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}
