//! The host's functions: the only module that calls `proxy_wasm::hostcalls` or the host itself.
//!
//! Everything is bytes in and `Result` or `Option` out. The SDK's own helpers panic on bytes that are not UTF-8 and on
//! any status that they do not expect, and a panic ends every request of the worker; so the calls of the request path
//! are declared here. Header lists cross as the one block that the host makes anyway.

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use rateguard_filter::edits::{HeaderEdits, Op};
use rateguard_filter::event::Now;
use rateguard_filter::headers::HeaderBlock;
use std::time::Duration;

/// The host would not do it: the stream is going, or the call came at the wrong time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host refused with status {0}")]
pub(crate) struct Refused(u32);

/// Header lists, as the proxy-wasm ABI numbers them.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(crate) enum Headers {
    Request = 0,
    Response = 2,
    ResponseTrailers = 3,
    HttpCallResponse = 6,
}

/// Buffers, as the proxy-wasm ABI numbers them.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    HttpCallResponseBody = 4,
    GrpcMessage = 5,
    PluginConfiguration = 7,
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;

#[expect(
    unsafe_code,
    reason = "the host's functions, as the proxy-wasm ABI 0.2.1 declares them"
)]
mod raw {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_add_header_map_value(
            map: i32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: i32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: i32, name: *const u8, name_size: usize) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: i32,
            start: usize,
            max_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_buffer_bytes(
            buffer: i32,
            start: usize,
            size: usize,
            data: *const u8,
            data_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            argument: *const u8,
            argument_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_continue_stream(stream: i32) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn random_get(data: *mut u8, size: usize) -> i32;
    }
}

/// Takes over what the host allocated with the module's own allocator.
#[expect(
    unsafe_code,
    reason = "the host hands over memory that it got from this module's allocator"
)]
#[expect(
    clippy::same_length_and_capacity,
    reason = "the host allocates exactly what it fills"
)]
fn owned(status: u32, data: *mut u8, size: usize) -> Result<Option<Vec<u8>>, Refused> {
    match status {
        OK if data.is_null() => Ok(None),
        // SAFETY: the host allocated `size` bytes at `data` through `proxy_on_memory_allocate` and keeps no pointer.
        OK => Ok(Some(unsafe { Vec::from_raw_parts(data, size, size) })),
        NOT_FOUND => Ok(None),
        status => Err(Refused(status)),
    }
}

fn done(status: u32) -> Result<(), Refused> {
    if status == OK {
        Ok(())
    } else {
        Err(Refused(status))
    }
}

/// All headers of a list at once.
#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn headers(list: Headers) -> Result<HeaderBlock, Refused> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both pointers are valid for the call.
    let status = unsafe { raw::proxy_get_header_map_pairs(list as i32, &raw mut data, &raw mut size) };
    Ok(HeaderBlock::from_bytes(
        owned(status, data, size)?.unwrap_or_default(),
    ))
}

/// Applies changes to a list, in order.
#[expect(unsafe_code, reason = "host functions")]
pub(crate) fn edit_headers(list: Headers, edits: &HeaderEdits) -> Result<(), Refused> {
    let map = list as i32;
    for (op, name, value) in edits.iter() {
        let (name, name_size) = (name.as_ptr(), name.len());
        let (value, value_size) = (value.as_ptr(), value.len());
        // SAFETY: the host only reads name and value, during the call.
        done(unsafe {
            match op {
                Op::Add => raw::proxy_add_header_map_value(map, name, name_size, value, value_size),
                Op::Replace => raw::proxy_replace_header_map_value(map, name, name_size, value, value_size),
                Op::Remove => raw::proxy_remove_header_map_value(map, name, name_size),
            }
        })?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn add_header(list: Headers, name: &str, value: &str) -> Result<(), Refused> {
    // SAFETY: the host only reads both, during the call.
    done(unsafe {
        raw::proxy_add_header_map_value(
            list as i32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Up to `max_size` bytes of a buffer.
#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn buffer(buffer: Buffer, max_size: usize) -> Result<Vec<u8>, Refused> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both pointers are valid for the call.
    let status =
        unsafe { raw::proxy_get_buffer_bytes(buffer as i32, 0, max_size, &raw mut data, &raw mut size) };
    Ok(owned(status, data, size)?.unwrap_or_default())
}

/// Replaces all of a buffer.
pub(crate) fn replace_buffer(buffer: Buffer, bytes: &[u8]) -> Result<(), Refused> {
    write_buffer(buffer, 0, usize::MAX, bytes)
}

/// Adds at the end of a buffer.
pub(crate) fn append_buffer(buffer: Buffer, bytes: &[u8]) -> Result<(), Refused> {
    write_buffer(buffer, usize::MAX, 0, bytes)
}

#[expect(unsafe_code, reason = "a host function")]
fn write_buffer(buffer: Buffer, start: usize, size: usize, bytes: &[u8]) -> Result<(), Refused> {
    // SAFETY: the host only reads `bytes`, during the call.
    done(unsafe { raw::proxy_set_buffer_bytes(buffer as i32, start, size, bytes.as_ptr(), bytes.len()) })
}

/// A property of the stream; `path` has its parts separated by zero bytes.
#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `path` is only read; both other pointers are valid for the call.
    let status = unsafe { raw::proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) };
    owned(status, data, size).ok().flatten()
}

#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn now() -> Now {
    let mut time = 0;
    // SAFETY: the pointer is valid for the call. A failure leaves 0, which every difference survives.
    let _ = unsafe { raw::proxy_get_current_time_nanoseconds(&raw mut time) };
    Now(time)
}

/// Fills `bytes` from the operating system's source. `false`: the host has none.
#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn random(bytes: &mut [u8]) -> bool {
    // SAFETY: the host writes `bytes.len()` bytes.
    unsafe { raw::random_get(bytes.as_mut_ptr(), bytes.len()) == 0 }
}

#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn resume_request() -> Result<(), Refused> {
    // SAFETY: no pointers. 0 is the request's direction.
    done(unsafe { raw::proxy_continue_stream(0) })
}

/// Since Envoy 1.33 a changed header no longer makes Envoy choose the route anew; older ones do not know this function.
#[expect(unsafe_code, reason = "a host function")]
pub(crate) fn clear_route_cache() -> Result<(), Refused> {
    const NAME: &str = "clear_route_cache";
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the name is only read; there is no argument; both other pointers are valid for the call.
    let status = unsafe {
        raw::proxy_call_foreign_function(
            NAME.as_ptr(),
            NAME.len(),
            std::ptr::null(),
            0,
            &raw mut data,
            &raw mut size,
        )
    };
    owned(status, data, size).map(drop)
}

pub(crate) fn reply(status: u16, headers: &[(&'static str, String)], body: &str) {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    // Refused only when the stream is gone, and then nobody waits for an answer.
    let _ = hostcalls::send_http_response(u32::from(status), headers, Some(body.as_bytes()));
}

/// A unary call of the limit service. The answer comes to the context that calls.
pub(crate) fn call_grpc(
    cluster: &str,
    method: &str,
    authorization: &str,
    message: &[u8],
    timeout: Duration,
) -> Option<u32> {
    let metadata = vec![("authorization", authorization.as_bytes())];
    hostcalls::dispatch_grpc_call(
        cluster,
        "rateguard.v1.LimitService",
        method,
        metadata,
        Some(message),
        timeout,
    )
    .ok()
}

pub(crate) fn call_http(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: &[u8],
    timeout: Duration,
) -> Option<u32> {
    hostcalls::dispatch_http_call(cluster, headers, Some(body), Vec::new(), timeout).ok()
}

/// A queue whose first entry makes the host call `on_queue_ready` of the root context that registers it, on its thread.
/// All workers share names: it must be unique.
pub(crate) fn register_queue(name: &str) -> Option<u32> {
    hostcalls::register_shared_queue(name).ok()
}

/// Adds an empty entry. `false`: there is no such queue.
pub(crate) fn enqueue(queue: u32) -> bool {
    hostcalls::enqueue_shared_queue(queue, None).is_ok()
}

/// Takes an entry away, if there is one.
pub(crate) fn dequeue(queue: u32) {
    let _ = hostcalls::dequeue_shared_queue(queue);
}

/// Makes the calls that follow in this callback concern another context. `false`: there is no such context any more.
pub(crate) fn act_for(context: u32) -> bool {
    hostcalls::set_effective_context(context).is_ok()
}

pub(crate) fn set_tick_period(period: Duration) {
    // The host never refuses a period.
    let _ = hostcalls::set_tick_period(period);
}

/// A value that all workers share and that outlives the VM, with its change number.
pub(crate) fn shared_data(key: &str) -> (Option<Vec<u8>>, Option<u32>) {
    hostcalls::get_shared_data(key).unwrap_or((None, None))
}

/// `false`: somebody else changed it since `cas`.
pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: Option<u32>) -> bool {
    hostcalls::set_shared_data(key, Some(value), cas).is_ok()
}

/// Linear memory of this VM, which never shrinks.
pub(crate) fn memory_bytes() -> u64 {
    const PAGE_BYTES: u64 = 64 * 1024;
    #[cfg(target_arch = "wasm32")]
    let pages = core::arch::wasm32::memory_size(0) as u64;
    #[cfg(not(target_arch = "wasm32"))]
    let pages = 0;
    pages * PAGE_BYTES
}

pub(crate) fn define_counter(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Counter, name).ok()
}

pub(crate) fn define_gauge(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Gauge, name).ok()
}

pub(crate) fn add_metric(metric: u32, by: u64) {
    let _ = hostcalls::increment_metric(metric, i64::try_from(by).unwrap_or(i64::MAX));
}

pub(crate) fn set_metric(metric: u32, value: u64) {
    let _ = hostcalls::record_metric(metric, value);
}

/// Ends a root context whose `on_done` said "not yet".
pub(crate) fn finish_root() {
    let _ = hostcalls::done();
}
