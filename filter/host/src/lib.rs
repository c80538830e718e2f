//! The host's functions, proxy-wasm ABI 0.2.1. Any status other than "ok" means that there is no answer.
//!
//! The `proxy-wasm` crate has them too. But it reads statuses into an enum, so an unlisted value is undefined
//! behaviour, and it panics on most of the listed values.

#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "the one place that calls the host")]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod logger;

use std::ptr::null_mut;

use scoretap_core::observe::{CounterId, GaugeId, Stats};
use scoretap_core::series::{Expected, Read, SharedData, Write};

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
        pub(super) fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            value: *const u8,
            value_size: usize,
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

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    }
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const PLUGIN_CONFIGURATION: u32 = 7;
/// WASI's name for the clock that is never set.
const MONOTONIC_CLOCK: u32 = 1;

/// The severity of a line in Envoy's log.
#[derive(Clone, Copy, Debug)]
pub enum LogLevel {
    /// `trace`.
    Trace = 0,
    /// `debug`.
    Debug = 1,
    /// `info`.
    Info = 2,
    /// `warning`.
    Warn = 3,
    /// `error`.
    Error = 4,
}

/// Writes one line to Envoy's log.
pub fn log(level: LogLevel, line: &str) {
    // SAFETY: the host reads `line.len()` bytes and keeps none.
    unsafe { abi::proxy_log(level as u32, line.as_ptr(), line.len()) };
}

/// Nanoseconds since 1970; 0 if the host does not answer.
pub fn time() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes.
    unsafe { abi::proxy_get_current_time_nanoseconds(&raw mut time) };
    time
}

/// Nanoseconds on a clock that is never set; 0 if the host does not answer.
pub fn monotonic_time() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes.
    unsafe { abi::clock_time_get(MONOTONIC_CLOCK, 0, &raw mut time) };
    time
}

/// A property of the call. NUL separates the words of its path.
pub fn property(path: &str) -> Option<Vec<u8>> {
    returned(|value, size| {
        // SAFETY: the host reads the path and writes a pointer and a size.
        unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), value, size) }
    })
}

/// Sets a property of the call, which other modules can read. Returns whether the host took it.
pub fn set_property(path: &str, value: &[u8]) -> bool {
    // SAFETY: the host reads path and value and keeps copies.
    let status = unsafe { abi::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
    status == OK
}

/// One request header, or pseudo-header.
pub fn request_header(name: &str) -> Option<Vec<u8>> {
    header(REQUEST_HEADERS, name)
}

/// One response header.
pub fn response_header(name: &str) -> Option<Vec<u8>> {
    header(RESPONSE_HEADERS, name)
}

fn header(map: u32, name: &str) -> Option<Vec<u8>> {
    returned(|value, size| {
        // SAFETY: the host reads the name and writes a pointer and a size.
        unsafe { abi::proxy_get_header_map_value(map, name.as_ptr(), name.len(), value, size) }
    })
}

/// The configuration of the plugin that is being configured.
pub fn plugin_configuration(length: usize) -> Option<Vec<u8>> {
    buffer(PLUGIN_CONFIGURATION, 0, length)
}

/// At most `length` bytes of the piece of the request's body that the running callback is for.
pub fn request_body(start: usize, length: usize) -> Option<Vec<u8>> {
    buffer(REQUEST_BODY, start, length)
}

/// At most `length` bytes of the piece of the response's body that the running callback is for.
pub fn response_body(start: usize, length: usize) -> Option<Vec<u8>> {
    buffer(RESPONSE_BODY, start, length)
}

fn buffer(buffer: u32, start: usize, length: usize) -> Option<Vec<u8>> {
    returned(|bytes, size| {
        // SAFETY: the host writes a pointer and a size.
        unsafe { abi::proxy_get_buffer_bytes(buffer, start, length, bytes, size) }
    })
}

/// Envoy compares versions only if the key exists, and counts them up from 1. A write with this version therefore
/// creates a key, and never replaces a value.
const NO_VERSION: u32 = u32::MAX;

/// Takes over the memory that the host filled with its answer.
fn returned(ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut start = null_mut::<u8>();
    let mut size = 0;
    if ask(&raw mut start, &raw mut size) != OK {
        return None;
    }
    if start.is_null() || size == 0 {
        return Some(Vec::new());
    }
    // SAFETY: the host allocated `size` bytes through the crate's `proxy_on_memory_allocate`, which makes them a `Vec`
    // of this capacity and forgets it.
    Some(unsafe { Vec::from_raw_parts(start, size, size) })
}

fn define(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the host reads the name and writes four bytes.
    let status = unsafe { abi::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// Envoy's stat store and shared data.
#[derive(Clone, Copy, Debug)]
pub struct Host;

impl Stats for Host {
    fn counter(&self, name: &str) -> Option<CounterId> {
        define(COUNTER, name).map(CounterId)
    }

    fn add(&self, counter: CounterId, amount: u64) {
        // SAFETY: takes two numbers.
        unsafe { abi::proxy_increment_metric(counter.0, i64::try_from(amount).unwrap_or(i64::MAX)) };
    }

    fn gauge(&self, name: &str) -> Option<GaugeId> {
        define(GAUGE, name).map(GaugeId)
    }

    fn set_gauge(&self, gauge: GaugeId, value: u64) {
        // SAFETY: takes two numbers.
        unsafe { abi::proxy_record_metric(gauge.0, value) };
    }
}

impl SharedData for Host {
    fn get(&self, key: &str) -> Read {
        let mut version = 0;
        let mut status = OK;
        let value = returned(|value, size| {
            // SAFETY: the host reads the key and writes a pointer, a size and a version.
            status =
                unsafe { abi::proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &raw mut version) };
            status
        });
        match (value, status) {
            (Some(value), _) => Read::Found { value, version },
            (None, NOT_FOUND) => Read::Absent,
            (None, _) => Read::Failed,
        }
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Write {
        let version = match expected {
            Expected::Absent => NO_VERSION,
            Expected::Version(version) => version,
        };
        // SAFETY: the host reads key and value and keeps copies.
        let status = unsafe {
            abi::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
        };
        match status {
            OK => Write::Done,
            CAS_MISMATCH => Write::Conflict,
            _ => Write::Failed,
        }
    }
}
