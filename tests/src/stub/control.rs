//! How a request chooses the stub's behaviour: `x-stub-*` headers.
//!
//! | header | meaning |
//! |---|---|
//! | `x-stub-usage` | `prompt=12,completion=7,cached=2,reasoning=3,cache_write_5m=0,cache_write_1h=0`; `none` leaves usage out |
//! | `x-stub-delay-ms` | wait before the first byte of the answer |
//! | `x-stub-status` | answer this status with the provider's error body |
//! | `x-stub-fault` | `reset`, `close` (before any byte), `truncate`, `reset-mid`, `chunk-error` (in the body), `hang` |
//! | `x-stub-encoding` | `gzip` |
//! | `x-stub-chunk-bytes` | write the body in pieces of n bytes, each its own HTTP chunk |
//! | `x-stub-chunk-delay-ms` | wait between pieces; without `x-stub-chunk-bytes` a piece is one SSE event |
//! | `x-stub-words` | words of the answer's text (default 6) |
//! | `x-stub-pad-bytes` | lengthen the answer's text by n bytes |
//! | `x-stub-fixture` | answer the bytes of `tests/fixtures/providers/<value>`, `.sse` as a stream |
//! | `x-stub-content-type` | replaces the content type |
//! | `x-stub-location` | answer 302 with this `location`, or the status of `x-stub-status` |
//! | `x-stub-chunked` | send a JSON answer chunked, without content-length |

use std::time::Duration;

/// A request's wishes; the default is a well-behaved answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    pub usage: Option<UsageWish>,
    pub delay: Duration,
    pub status: Option<u16>,
    pub fault: Option<Fault>,
    pub gzip: bool,
    pub chunk_bytes: Option<usize>,
    pub chunk_delay: Duration,
    pub words: Option<usize>,
    pub pad_bytes: usize,
    pub fixture: Option<String>,
    pub content_type: Option<String>,
    pub chunked: bool,
    pub location: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Reset,
    Close,
    Truncate,
    ResetMid,
    ChunkError,
    Hang,
}

/// The usage to report, in OpenAI's terms: `prompt` includes `cached`, `completion` includes `reasoning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageWish {
    None,
    Tokens(Usage),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    pub cached: u64,
    pub reasoning: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            prompt: 19,
            completion: 10,
            cached: 0,
            reasoning: 0,
            cache_write_5m: 0,
            cache_write_1h: 0,
        }
    }
}

impl Control {
    pub fn of(headers: &[(String, Vec<u8>)]) -> Self {
        let mut control = Self::default();
        for (name, value) in headers {
            let Some(name) = name.strip_prefix("x-stub-") else {
                continue;
            };
            control.set(name, std::str::from_utf8(value).unwrap_or_default());
        }
        control
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "usage" => self.usage = Some(UsageWish::parse(value)),
            "delay-ms" => self.delay = Duration::from_millis(value.parse().unwrap_or_default()),
            "status" => self.status = value.parse().ok(),
            "fault" => self.fault = Fault::parse(value),
            "encoding" => self.gzip = value == "gzip",
            "chunk-bytes" => self.chunk_bytes = value.parse().ok().filter(|n| *n > 0),
            "chunk-delay-ms" => self.chunk_delay = Duration::from_millis(value.parse().unwrap_or_default()),
            "words" => self.words = value.parse().ok(),
            "pad-bytes" => self.pad_bytes = value.parse().unwrap_or_default(),
            "fixture" => self.fixture = Some(value.to_owned()),
            "content-type" => self.content_type = Some(value.to_owned()),
            "chunked" => self.chunked = true,
            "location" => self.location = Some(value.to_owned()),
            _ => {}
        }
    }

    /// The figures to report; `None` when the answer shall have none.
    pub fn tokens(&self) -> Option<Usage> {
        match self.usage {
            Some(UsageWish::None) => None,
            Some(UsageWish::Tokens(usage)) => Some(usage),
            None => Some(Usage::default()),
        }
    }
}

impl Fault {
    fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "reset" => Self::Reset,
            "close" => Self::Close,
            "truncate" => Self::Truncate,
            "reset-mid" => Self::ResetMid,
            "chunk-error" => Self::ChunkError,
            "hang" => Self::Hang,
            _ => return None,
        })
    }
}

impl UsageWish {
    fn parse(value: &str) -> Self {
        if value == "none" {
            return Self::None;
        }
        let mut usage = Usage {
            prompt: 0,
            completion: 0,
            ..Usage::default()
        };
        for pair in value.split(',') {
            let Some((name, count)) = pair.split_once('=') else {
                continue;
            };
            let count = count.trim().parse().unwrap_or_default();
            match name.trim() {
                "prompt" => usage.prompt = count,
                "completion" => usage.completion = count,
                "cached" => usage.cached = count,
                "reasoning" => usage.reasoning = count,
                "cache_write_5m" => usage.cache_write_5m = count,
                "cache_write_1h" => usage.cache_write_1h = count,
                _ => {}
            }
        }
        Self::Tokens(usage)
    }
}
