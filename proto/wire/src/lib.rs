//! RateGuard's protobuf messages as Rust types, and their conversions to the model.
//!
//! The code under `src/gen` is generated from `proto/schema` by `tests/generated.rs`, which also fails when the two
//! differ. Messages need nothing but prost and build for wasm32; clients and servers are behind the feature `grpc`.

pub mod bus;
pub mod convert;
mod redacted;
pub mod write;

/// Package `rateguard.v1`.
#[expect(clippy::all, clippy::pedantic, reason = "generated code")]
#[cfg_attr(feature = "grpc", expect(clippy::allow_attributes, reason = "generated code"))]
pub mod v1 {
    include!("gen/rateguard.v1.rs");
}

/// Envoy's own messages, as far as its rate limit service needs them.
#[cfg(feature = "grpc")]
#[expect(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated code"
)]
pub mod envoy_api {
    include!("gen/envoy/mod.rs");
}

/// `envoy.service.ratelimit.v3`: the service that Envoy's ratelimit filter calls.
#[cfg(feature = "grpc")]
pub use envoy_api::envoy::service::ratelimit::v3 as rls;

/// Descriptors of `rateguard.v1` as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/rateguard.bin");
