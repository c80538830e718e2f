//! Finished calls to be told of.

use std::collections::HashMap;

/// A call as the host tells of it: request headers and properties.
#[derive(Clone, Default)]
pub(crate) struct FakeCall {
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) properties: HashMap<&'static str, Vec<u8>>,
    /// The response's content type.
    pub(crate) response_type: Option<Vec<u8>>,
}

pub(crate) const MILLISECOND: u64 = 1_000_000;

/// A POST that the app answered with 200 after 3 ms.
pub(crate) fn post(path: &str) -> FakeCall {
    FakeCall::default()
        .header(":method", "POST")
        .header(":path", path)
        .code(200)
        .number("response.flags", 0)
        .details("via_upstream")
        .number("request.duration", 3 * MILLISECOND)
}

impl FakeCall {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.retain(|(own, _)| own != name.as_bytes());
        self.headers.push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn property(mut self, path: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.properties.insert(path, value.into());
        self
    }

    pub(crate) fn number(self, path: &'static str, value: u64) -> Self {
        self.property(path, value.to_le_bytes())
    }

    pub(crate) fn without(mut self, path: &'static str) -> Self {
        self.properties.remove(path);
        self
    }

    pub(crate) fn method(self, method: &str) -> Self {
        self.header(":method", method)
    }

    pub(crate) fn code(self, code: u64) -> Self {
        self.number("response.code", code)
    }

    /// Envoy's response flags, by the number of the bit.
    pub(crate) fn flag(self, bit: u32) -> Self {
        self.number("response.flags", 1 << bit)
    }

    pub(crate) fn details(self, details: &str) -> Self {
        self.property("response.code_details", details)
    }

    pub(crate) fn took(self, nanoseconds: u64) -> Self {
        self.number("request.duration", nanoseconds)
    }

    pub(crate) fn response_type(mut self, content_type: &str) -> Self {
        self.response_type = Some(content_type.as_bytes().to_vec());
        self
    }

    pub(crate) fn grpc(self, status: u64) -> Self {
        let call = self.header("content-type", "application/grpc").response_type("application/grpc");
        call.number("response.grpc_status", status)
    }
}
