//! The stub upstream: speaks OpenAI Chat Completions and Anthropic Messages byte for byte, misbehaves on request,
//! and remembers what reached it.
//!
//! A request chooses its own answer by `x-stub-*` headers (see [`control`]), so that tests run side by side on one
//! stub and share no script. The server is written on raw TCP: a real HTTP library would repair the very faults that
//! the tests need (a truncated body, a wrong chunk size, a reset in mid-stream).

mod anthropic;
pub mod control;
mod http1;
mod openai;
mod respond;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A running stub; stops listening when dropped.
pub struct Stub {
    addr: SocketAddr,
    log: RequestLog,
    accept: JoinHandle<()>,
}

/// What reached the stub, in order of arrival.
#[derive(Clone, Default)]
pub struct RequestLog(Arc<Mutex<Vec<Received>>>);

/// One request as the upstream saw it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Counts connections; two requests with one number shared a connection.
    pub connection: u64,
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Names in lower case, values as they came, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// When the peer went away before the answer was complete.
    pub aborted_at: Option<Instant>,
    /// When the last byte of the answer was written.
    pub answered_at: Option<Instant>,
}

impl Received {
    /// The first value of a header, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, v)| std::str::from_utf8(v).ok())
    }

    /// The value of `x-request-id`: RateGuard's request id.
    pub fn request_id(&self) -> Option<&str> {
        self.header("x-request-id")
    }
}

impl RequestLog {
    pub fn all(&self) -> Vec<Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests that carry this value in `x-test-id`: how a test finds its own among others'.
    pub fn of_test(&self, id: &str) -> Vec<Received> {
        self.all()
            .into_iter()
            .filter(|r| r.header("x-test-id") == Some(id))
            .collect()
    }

    /// Waits until a request of this test arrived, at most `deadline`.
    pub async fn wait_for_test(&self, id: &str, deadline: Duration) -> Option<Received> {
        self.wait(deadline, |log| {
            log.iter().rfind(|r| r.header("x-test-id") == Some(id)).cloned()
        })
        .await
    }

    /// Waits until `found` finds something in the log, at most `deadline`.
    pub async fn wait<T>(&self, deadline: Duration, found: impl Fn(&[Received]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(hit) = found(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
                return Some(hit);
            }
            if Instant::now() > end {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Forgets everything: long runs would otherwise keep every body.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn push(&self, received: Received) -> usize {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(received);
        log.len() - 1
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Received)) {
        if let Some(entry) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(index)
        {
            change(entry);
        }
    }
}

impl Stub {
    /// Listens on `addr` (port 0: any free one).
    #[expect(
        clippy::unused_async,
        reason = "listening needs a runtime: an async signature asks for one"
    )]
    pub async fn start(addr: SocketAddr) -> std::io::Result<Self> {
        Self::with_log(addr, true)
    }

    /// As [`Stub::start`], without remembering requests: for benchmarks and `./dev up`.
    #[expect(clippy::unused_async, reason = "as `start`")]
    pub async fn start_without_log(addr: SocketAddr) -> std::io::Result<Self> {
        Self::with_log(addr, false)
    }

    fn with_log(addr: SocketAddr, keep: bool) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A restarted stub takes its old port although old connections linger.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(4096)?;
        let addr = listener.local_addr()?;
        let log = RequestLog::default();
        let accept = tokio::spawn(accept(listener, keep.then(|| log.clone())));
        Ok(Self { addr, log, accept })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn log(&self) -> &RequestLog {
        &self.log
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, log: Option<RequestLog>) {
    // Connections end with the accept loop: a stopped stub answers nobody.
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let log = log.clone();
        connections.spawn(async move {
            // A peer that goes away in mid-request is what many tests do.
            let _ = serve(stream, number, log).await;
        });
    }
}

async fn serve(stream: TcpStream, connection: u64, log: Option<RequestLog>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut http = http1::Connection::new(stream);
    while let Some(request) = http.read_request().await? {
        let control = control::Control::of(&request.headers);
        let index = log.as_ref().map(|log| {
            log.push(Received {
                connection,
                method: request.method.clone(),
                target: request.target.clone(),
                headers: request.headers.clone(),
                body: request.body.clone(),
                at: Instant::now(),
                aborted_at: None,
                answered_at: None,
            })
        });
        let outcome = respond::respond(&mut http, &request, &control).await;
        if let (Some(log), Some(index)) = (&log, index) {
            log.update(index, |entry| match outcome {
                Ok(_) => entry.answered_at = Some(Instant::now()),
                Err(_) => entry.aborted_at = Some(Instant::now()),
            });
        }
        match outcome? {
            respond::After::KeepAlive => {}
            respond::After::Close => return Ok(()),
            respond::After::Reset => return http.reset(),
        }
    }
    Ok(())
}
