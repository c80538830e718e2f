//! The host's functions, proxy-wasm ABI 0.2.1: safe to call, and any status but "ok" is an answer of nothing.

#![expect(unsafe_code, reason = "the one place that calls the host")]

use std::ptr::null_mut;

use scoretap_core::observe::{CounterId, Stats};
use scoretap_core::series::{Claim, Ledger};

use crate::arena::Callback;

mod abi {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            length: usize,
            bytes: *mut *mut u8,
            bytes_size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, amount: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            value: *mut *mut u8,
            value_size: *mut usize,
            version: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            version: u32,
        ) -> u32;
    }
}

const OK: u32 = 0;
const CAS_MISMATCH: u32 = 8;
const LOG_ERROR: u32 = 4;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const PLUGIN_CONFIGURATION: u32 = 7;

/// Writes one line of Envoy's log, as an error.
pub(crate) fn log_error(line: &str) {
    // SAFETY: the host reads `line.len()` bytes and keeps none.
    unsafe { abi::proxy_log(LOG_ERROR, line.as_ptr(), line.len()) };
}

/// Nanoseconds since 1970; 0 where the host does not say.
pub(crate) fn time() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes.
    unsafe { abi::proxy_get_current_time_nanoseconds(&raw mut time) };
    time
}

/// A property of the call, the plugin or the node; the words of its path are separated by NUL.
pub(crate) fn property<'c>(path: &str, callback: &'c Callback) -> Option<&'c [u8]> {
    returned(callback, |value, size| {
        // SAFETY: the host reads the path and writes a pointer and a size.
        unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), value, size) }
    })
}

/// One request header, or pseudo-header.
pub(crate) fn request_header<'c>(name: &str, callback: &'c Callback) -> Option<&'c [u8]> {
    header(REQUEST_HEADERS, name, callback)
}

/// One response header.
pub(crate) fn response_header<'c>(name: &str, callback: &'c Callback) -> Option<&'c [u8]> {
    header(RESPONSE_HEADERS, name, callback)
}

fn header<'c>(map: u32, name: &str, callback: &'c Callback) -> Option<&'c [u8]> {
    returned(callback, |value, size| {
        // SAFETY: the host reads the name and writes a pointer and a size.
        unsafe { abi::proxy_get_header_map_value(map, name.as_ptr(), name.len(), value, size) }
    })
}

/// The configuration of the plugin that is being configured.
pub(crate) fn plugin_configuration(length: usize, callback: &Callback) -> Option<&[u8]> {
    returned(callback, |bytes, size| {
        // SAFETY: the host writes a pointer and a size.
        unsafe { abi::proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, length, bytes, size) }
    })
}

/// A value that all VMs of the process share.
pub(crate) fn shared<'c>(key: &str, callback: &'c Callback) -> Option<&'c [u8]> {
    let mut version = 0;
    returned(callback, |value, size| {
        // SAFETY: the host reads the key and writes a pointer, a size and a version.
        unsafe { abi::proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &raw mut version) }
    })
}

/// Shares a value with all VMs of the process.
pub(crate) fn share(key: &str, value: &[u8]) {
    share_at_version(key, value, ANY_VERSION);
}

const ANY_VERSION: u32 = 0;
/// The host compares versions only where the key exists, and counts them up from 1: so this one creates, and never
/// replaces.
const NO_VERSION: u32 = u32::MAX;

fn share_at_version(key: &str, value: &[u8], version: u32) -> u32 {
    // SAFETY: the host reads key and value and keeps copies.
    unsafe { abi::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) }
}

/// What the host put into memory that it had the arena allocate.
fn returned(_: &Callback, ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<&[u8]> {
    let mut start = null_mut::<u8>();
    let mut size = 0;
    if ask(&raw mut start, &raw mut size) != OK {
        return None;
    }
    if start.is_null() || size == 0 {
        return Some(&[]);
    }
    // SAFETY: the host had `size` bytes allocated by the arena, which keeps them until the callback is over.
    Some(unsafe { std::slice::from_raw_parts(start, size) })
}

fn define(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the host reads the name and writes four bytes.
    let status = unsafe { abi::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// Envoy's stat store and shared data.
pub(crate) struct Host<'c>(pub(crate) &'c Callback);

impl Stats for Host<'_> {
    fn counter(&self, name: &str) -> Option<CounterId> {
        define(COUNTER, name).map(CounterId)
    }

    fn add(&self, counter: CounterId, amount: u64) {
        // SAFETY: takes two numbers.
        unsafe { abi::proxy_increment_metric(counter.0, i64::try_from(amount).unwrap_or(i64::MAX)) };
    }

    fn set_gauge(&self, name: &str, value: u64) {
        if let Some(id) = define(GAUGE, name) {
            // SAFETY: takes two numbers.
            unsafe { abi::proxy_record_metric(id, value) };
        }
    }
}

impl Ledger for Host<'_> {
    fn claim(&self, position: u32, entry: &str) -> Claim {
        let key = format!("scoretap.series.{position}");
        match share_at_version(&key, entry.as_bytes(), NO_VERSION) {
            OK => Claim::Written,
            CAS_MISMATCH => shared(&key, self.0)
                .and_then(|taken| String::from_utf8(taken.to_vec()).ok())
                .map_or(Claim::Failed, Claim::Taken),
            _ => Claim::Failed,
        }
    }
}
