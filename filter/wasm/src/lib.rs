//! The filter as a proxy-wasm module.
//!
//! Callbacks become events for the exchange machine of `rateguard-filter`, its effects become host calls. No decision
//! about policy, money or providers is made here.

mod blocks;
mod desk;
mod encode;
mod held;
mod host;
mod http;
mod metrics;
mod outbox;
mod poll;
mod random;
mod root;
mod stored;
mod stream;
mod worker;

use proxy_wasm::types::LogLevel;

/// Called by Envoy once per VM.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the ABI's entry point has a fixed name")]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}
