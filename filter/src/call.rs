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
        pairs(self.headers).find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
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

/// The pairs of a serialized header map: a count, the sizes of each key and value, then each with a NUL behind it.
/// Ends early where the bytes are not what they should be.
fn pairs(map: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (count, rest) = number(map).unwrap_or_default();
    let (mut sizes, mut texts) = rest.split_at_checked(count.saturating_mul(8)).unwrap_or_default();
    std::iter::from_fn(move || {
        let (key_size, rest) = number(sizes)?;
        let (value_size, rest) = number(rest)?;
        let (key, after) = text(texts, key_size)?;
        let (value, after) = text(after, value_size)?;
        (sizes, texts) = (rest, after);
        Some((key, value))
    })
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn text(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(size)?;
    Some((text, rest.split_first()?.1))
}
