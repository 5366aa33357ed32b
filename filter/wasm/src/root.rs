//! The root context of one worker: configuration, tick, and the calls that outlive streams.

use crate::blocks::Blocks;
use crate::host::{self, Buffer};
use crate::http::Http;
use crate::poll::Poll;
use crate::worker::Worker;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use rateguard_filter::config::Config;
use rateguard_filter::event::{Event, Now};
use std::rc::Rc;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(50);
/// How long a root context that is going away tries to get rid of what it holds.
const DRAIN_NS: u64 = 10_000_000_000;

pub(crate) struct Root {
    id: u32,
    running: Option<Running>,
}

struct Running {
    worker: Rc<Worker>,
    poll: Poll,
    blocks: Blocks,
    /// Set once Envoy asked this context to end.
    drain_until: Option<u64>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, running: None }
    }

    fn on_call(&mut self, act: impl FnOnce(&mut Running)) {
        if let Some(running) = &mut self.running {
            act(running);
        }
    }
}

impl Running {
    fn send(&self) {
        let worker = &self.worker;
        worker
            .outboxes
            .borrow_mut()
            .send(&worker.config.limits_cluster, &worker.authorization, host::now());
    }

    /// Answers for upstreams that were too slow with answers that are held.
    fn end_holds(&self, root: u32, now: Now) {
        let due = self.worker.held.borrow_mut().take_due(now);
        if due.is_empty() {
            return;
        }
        for stream in due {
            if host::act_for(stream.id()) {
                stream.step(&self.worker, Event::HoldExpired, now);
            }
        }
        host::act_for(root);
    }

    fn is_drained(&self) -> bool {
        let worker = &self.worker;
        self.drain_until.is_some_and(|until| {
            worker.outboxes.borrow().is_empty() && worker.desk.is_idle() || host::now().0 > until
        })
    }
}

impl Context for Root {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        self.on_call(|running| {
            let message = if status == 0 {
                host::buffer(Buffer::GrpcMessage, size).unwrap_or_default()
            } else {
                Vec::new()
            };
            let worker = &running.worker;
            let jitter = worker.random.borrow_mut().number();
            let known = worker.outboxes.borrow_mut().answered(
                token,
                status,
                &message,
                jitter,
                host::now(),
                &worker.metrics,
            );
            // A full batch may be waiting behind the one that just arrived.
            if known && status == 0 {
                running.send();
            }
            if running.is_drained() {
                host::finish_root();
            }
        });
    }

    fn on_http_call_response(
        &mut self,
        token: u32,
        header_count: usize,
        body_size: usize,
        _trailer_count: usize,
    ) {
        let root = self.id;
        self.on_call(|running| {
            let now = host::now();
            let worker = &running.worker;
            if worker.desk.answered(worker, token, body_size, root, now) {
                return;
            }
            if running.blocks.answered(&running.worker, token, body_size, now) {
                return;
            }
            running
                .poll
                .answered(&running.worker, token, header_count, body_size, now);
        });
    }

    fn on_done(&mut self) -> bool {
        let Some(running) = &mut self.running else {
            return true;
        };
        let now = host::now();
        running.drain_until = Some(now.0.saturating_add(DRAIN_NS));
        running.blocks.tick(&running.worker, now, true);
        running.send();
        running.is_drained()
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = host::buffer(Buffer::PluginConfiguration, size).unwrap_or_default();
        let config = match Config::parse(&json) {
            Ok(config) => config,
            Err(error) => {
                log::error!("the plugin configuration is refused: {error}");
                return false;
            }
        };
        let node_id = host::property("xds\0node\0id").map(|id| String::from_utf8_lossy(&id).into_owned());
        let Some(node_id) = node_id.filter(|id| !id.is_empty()) else {
            log::error!("Envoy has no node.id, which names this data plane");
            return false;
        };
        let worker = Rc::new(Worker::new(config, node_id));
        let poll = Poll::start(&worker, host::now());
        self.running = Some(Running {
            worker,
            poll,
            blocks: Blocks::default(),
            drain_until: None,
        });
        host::set_tick_period(TICK);
        true
    }

    fn on_tick(&mut self) {
        let Some(running) = &mut self.running else { return };
        let now = host::now();
        let draining = running.drain_until.is_some();
        running.blocks.tick(&running.worker, now, draining);
        running.send();
        running.end_holds(self.id, now);
        let worker = &running.worker;
        worker.desk.tick(worker, self.id, now);
        if !draining {
            running.poll.tick(worker, now);
        }
        worker.outboxes.borrow_mut().count_dropped(&worker.metrics);
        let snapshot = worker.snapshot.borrow();
        worker.metrics.set_gauges(
            snapshot.age_ms(now.unix_ms()),
            snapshot.key_count(),
            worker.outboxes.borrow().open_count(),
        );
        worker.metrics.flush();
        if running.is_drained() {
            host::finish_root();
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        let root = self.id;
        self.on_call(|running| {
            let worker = &running.worker;
            worker.desk.rang(worker, queue, root, host::now());
        });
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let running = self.running.as_ref()?;
        Some(Box::new(Http::new(id, Rc::clone(&running.worker))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
