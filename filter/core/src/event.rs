//! Everything that can come in.

use crate::fallback::Shares;
use crate::headers::HeaderBlock;
use rateguard_model::id::RequestId;

/// Nanoseconds of the Unix clock. Differences saturate: clocks step back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

impl Now {
    pub fn unix_ms(self) -> i64 {
        i64::try_from(self.0 / 1_000_000).unwrap_or(i64::MAX)
    }

    #[must_use]
    pub fn plus_ms(self, ms: u32) -> Self {
        Self(self.0.saturating_add(u64::from(ms) * 1_000_000))
    }

    pub fn ms_since(self, earlier: Self) -> u32 {
        u32::try_from(self.0.saturating_sub(earlier.0) / 1_000_000).unwrap_or(u32::MAX)
    }
}

/// One thing that happened to an exchange.
#[derive(Debug)]
pub enum Event<'a> {
    RequestHeaders {
        headers: HeaderBlock,
        end_of_stream: bool,
        /// Fresh: request id, reservation id and event id are one.
        id: RequestId,
        /// Address of the connection's other end, with or without its port, where it had to be asked for.
        peer: Option<&'a [u8]>,
    },
    RequestBody {
        /// While pausing, all that is buffered; while continuing, the chunk.
        size: usize,
        /// Given where [`crate::exchange::Exchange::wants_request_body`] says so.
        body: Option<&'a [u8]>,
        end_of_stream: bool,
    },
    /// The limit service answered.
    ReserveAnswered(Reserved),
    /// It admitted this request together with others: what it would have said to this one alone.
    ReservedJointly(Reserved),
    /// It did not, not in time, or not in words that make sense.
    ReserveFailed { shares: &'a Shares },
    ResponseHeaders {
        headers: HeaderBlock,
        end_of_stream: bool,
        /// Envoy's `response.code_details`, asked for where the response does not look like an upstream's.
        details: Option<&'a [u8]>,
    },
    ResponseBody {
        size: usize,
        /// Given where [`crate::exchange::Exchange::wants_response_body`] says so.
        body: Option<&'a [u8]>,
        end_of_stream: bool,
    },
    /// An answer that is held for its headers is not whole at the time that [`crate::effect::Effect::Hold`] said.
    HoldExpired,
    /// The upstream sent trailers: no body callback said that the body ended.
    ResponseTrailers { body: Option<&'a [u8]> },
    /// The exchange is over, however it ended.
    Ended {
        /// Envoy's `response.code_details`, given where [`crate::exchange::Exchange::is_unfinished`].
        details: Option<&'a [u8]>,
    },
}

/// The ledger's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    pub admitted: bool,
    /// Answered from memory because Redis was away.
    pub degraded: bool,
    pub live_workers: u32,
    /// One per quota, in order.
    pub results: Vec<QuotaResult>,
}

/// Fields as in `QuotaResult` of limits.proto.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaResult {
    pub admitted: bool,
    pub remaining: i64,
    pub reset_ms: i64,
    /// `None`: admitted, or never admittable.
    pub retry_after_ms: Option<i64>,
    pub spent: i64,
    pub reserved: i64,
    pub window_start_ms: i64,
}
