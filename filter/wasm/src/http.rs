//! One HTTP stream: callbacks become events.

use crate::host::{self, Buffer, Headers};
use crate::stream::Stream;
use crate::worker::Worker;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use rateguard_filter::event::{Event, Now};
use std::rc::Rc;

/// Envoy's router puts this on every response of an upstream, and no upstream can: it is overwritten.
const FROM_UPSTREAM: &[u8] = b"x-envoy-upstream-service-time";

pub(crate) struct Http {
    worker: Rc<Worker>,
    stream: Rc<Stream>,
}

impl Http {
    pub(crate) fn new(id: u32, worker: Rc<Worker>) -> Self {
        Self {
            worker,
            stream: Rc::new(Stream::new(id)),
        }
    }

    fn step(&self, event: Event<'_>, now: Now) -> Action {
        self.stream.step(&self.worker, event, now)
    }

    /// Of the request's end, be it in its body or its trailers.
    fn request_body(&self, size: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let wants = self.stream.exchange().wants_request_body(end_of_stream);
        let body = wants.then(|| host::buffer(Buffer::RequestBody, size).unwrap_or_default());
        self.step(
            Event::RequestBody {
                size,
                body: body.as_deref(),
                end_of_stream,
            },
            now,
        )
    }

    fn wants_response_body(&self, size: usize, end_of_stream: bool) -> bool {
        self.stream
            .exchange()
            .wants_response_body(size, end_of_stream, &self.worker.config)
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let headers = host::headers(Headers::Request).unwrap_or_default();
        #[cfg(feature = "fault-injection")]
        assert!(
            headers.get(b"x-rateguard-test-panic").is_none(),
            "asked to panic by x-rateguard-test-panic"
        );
        let Some(id) = self.worker.random.borrow_mut().request_id(now) else {
            host::reply(500, &[], "");
            return Action::Pause;
        };
        let peer = self
            .worker
            .needs_peer()
            .then(|| host::property("source\0address"))
            .flatten();
        let event = Event::RequestHeaders {
            headers,
            end_of_stream,
            id,
            peer: peer.as_deref(),
        };
        self.step(event, now)
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.request_body(size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.request_body(self.worker.config.listener_buffer_bytes as usize, true)
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let headers = host::headers(Headers::Response).unwrap_or_default();
        let details = headers
            .get(FROM_UPSTREAM)
            .is_none()
            .then(|| host::property("response\0code_details"))
            .flatten();
        self.step(
            Event::ResponseHeaders {
                headers,
                end_of_stream,
                details: details.as_deref(),
            },
            now,
        )
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let wants = self.wants_response_body(size, end_of_stream);
        let body = wants.then(|| host::buffer(Buffer::ResponseBody, size).unwrap_or_default());
        self.step(
            Event::ResponseBody {
                size,
                body: body.as_deref(),
                end_of_stream,
            },
            now,
        )
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        let now = host::now();
        let wants = self.wants_response_body(0, true);
        let body = wants.then(|| host::buffer(Buffer::ResponseBody, usize::MAX).unwrap_or_default());
        self.step(
            Event::ResponseTrailers {
                body: body.as_deref(),
            },
            now,
        )
    }

    fn on_log(&mut self) {
        self.stream.let_go(&self.worker);
        let is_unfinished = self.stream.exchange().is_unfinished();
        let details = is_unfinished
            .then(|| host::property("response\0code_details"))
            .flatten();
        self.step(
            Event::Ended {
                details: details.as_deref(),
            },
            host::now(),
        );
    }
}
