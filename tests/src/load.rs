//! A closed-loop load generator over raw HTTP/1.1: so many connections, each with one request outstanding.

use anyhow::{Context as _, Result, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One request, sent over and over.
#[derive(Debug, Clone)]
pub struct Shot {
    bytes: Arc<[u8]>,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub elapsed: Duration,
    /// Answers by status.
    pub statuses: std::collections::BTreeMap<u16, u64>,
    /// Sorted.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    pub fn total(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// The latency that this share (0..=1) of the answers did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        percentile(&self.latencies, share)
    }
}

/// The value that this share (0..=1) of sorted `values` does not exceed.
pub fn percentile<T: Copy + Default>(values: &[T], share: f64) -> T {
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}

impl Shot {
    /// A POST with these headers and this body.
    pub fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text.push_str(body);
        Self {
            bytes: text.into_bytes().into(),
        }
    }

    /// Sends `requests` of it over `connections`, as fast as they are answered.
    pub async fn fire(&self, target: SocketAddr, connections: usize, requests: u64) -> Result<Outcome> {
        self.send(target, connections, requests, None).await
    }

    /// The same at `per_second`, as far as the answers come in time.
    pub async fn fire_at(
        &self,
        target: SocketAddr,
        connections: usize,
        requests: u64,
        per_second: u32,
    ) -> Result<Outcome> {
        let every = Duration::from_secs(1) * u32::try_from(connections)? / per_second;
        self.send(target, connections, requests, Some(every)).await
    }

    /// `every`: the least time from one request to the next on a connection.
    async fn send(
        &self,
        target: SocketAddr,
        connections: usize,
        requests: u64,
        every: Option<Duration>,
    ) -> Result<Outcome> {
        let left = Arc::new(AtomicU64::new(requests));
        let mut workers = JoinSet::new();
        let start = Instant::now();
        for _ in 0..connections {
            workers.spawn(worker(target, self.bytes.clone(), left.clone(), every));
        }
        let mut outcome = Outcome {
            elapsed: Duration::ZERO,
            statuses: std::collections::BTreeMap::default(),
            latencies: Vec::new(),
        };
        while let Some(answers) = workers.join_next().await {
            for (status, latency) in answers?? {
                *outcome.statuses.entry(status).or_default() += 1;
                outcome.latencies.push(latency);
            }
        }
        outcome.elapsed = start.elapsed();
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }
}

async fn worker(
    target: SocketAddr,
    request: Arc<[u8]>,
    left: Arc<AtomicU64>,
    every: Option<Duration>,
) -> Result<Vec<(u16, Duration)>> {
    let mut stream = TcpStream::connect(target).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut answers = Vec::new();
    let mut pace = every.map(tokio::time::interval);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
        .is_ok()
    {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let start = Instant::now();
        stream.write_all(&request).await?;
        let answer = read_answer(&mut stream, &mut buffer).await?;
        answers.push((answer.status, start.elapsed()));
        if answer.close {
            stream = TcpStream::connect(target).await.context("connecting again")?;
            stream.set_nodelay(true)?;
        }
    }
    Ok(answers)
}

struct Answer {
    status: u16,
    close: bool,
}

/// Reads one answer that has a content-length, and leaves nothing behind.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Answer> {
    buffer.clear();
    loop {
        if let Some((answer, len)) = parse(buffer)? {
            while buffer.len() < len {
                if stream.read_buf(buffer).await? == 0 {
                    bail!("the answer ended early");
                }
            }
            return Ok(answer);
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection ended before an answer");
        }
    }
}

fn parse(buffer: &[u8]) -> Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(buffer)? else {
        return Ok(None);
    };
    let value = |name: &str| {
        response
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))
            .map(|h| String::from_utf8_lossy(h.value))
    };
    let length: usize = value("content-length")
        .context("an answer without content-length")?
        .parse()?;
    let close = value("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    Ok(Some((
        Answer {
            status: response.code.unwrap_or_default(),
            close,
        },
        head + length,
    )))
}
