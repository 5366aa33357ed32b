//! A client that keeps asking while parts die, and remembers exactly what it was told.

use crate::suite::nanos;
use rateguard_tests::scene::{Key, chat_body};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longer than any answer takes while nothing is broken.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two requests of a client: enough of them, and not a machine's worth.
const PAUSE: Duration = Duration::from_millis(10);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A flat-priced thing that takes so many milliseconds.
    Flat(u32),
    Chat,
    /// A streamed chat completion, whose cost is in the trailer.
    Stream,
}

/// An answer as far as it came.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) status: u16,
    /// It came to its end.
    pub(crate) is_complete: bool,
    pub(crate) cost_nanos: Option<i64>,
}

/// Clients that ask until they are told to stop.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Told>>,
}

impl Clients {
    /// So many clients, each asking for all of these in turn, a connection per request.
    pub(crate) fn start(gateway: SocketAddr, key: &Key, count: usize, asks: &'static [Ask]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (stop, key) = (stop.clone(), key.clone());
            tasks.spawn(async move {
                let mut told = Vec::new();
                for ask in asks.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    told.extend(put(gateway, &key, *ask).await);
                    tokio::time::sleep(PAUSE).await;
                }
                told
            });
        }
        Self { stop, tasks }
    }

    /// All that they were told.
    pub(crate) async fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.concat()
    }
}

/// One request; `None` when there was no answer with an id.
async fn put(gateway: SocketAddr, key: &Key, ask: Ask) -> Option<Told> {
    let mut answer = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(gateway).await?;
        stream.write_all(text(key, ask).as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    // However it ends, what came counts.
    let _ = tokio::time::timeout(PATIENCE, exchange).await;
    told(&answer)
}

fn text(key: &Key, ask: Ask) -> String {
    let head = format!(
        "HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\nte: trailers\r\nconnection: close\r\n",
        key.secret
    );
    let body = match ask {
        Ask::Flat(ms) => return format!("GET /proxy/flat/things {head}x-stub-delay-ms: {ms}\r\n\r\n"),
        Ask::Chat => chat_body(false),
        Ask::Stream => chat_body(true),
    };
    let body = body.to_string();
    format!(
        "POST /proxy/openai/v1/chat/completions {head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn told(answer: &[u8]) -> Option<Told> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer).ok()? else {
        return None;
    };
    let body = &answer[head..];
    let trailer = chunked_end(body);
    let is_complete = match value(response.headers, "content-length") {
        Some(length) => length.parse() == Ok(body.len()),
        None => trailer.is_some(),
    };
    let cost = value(response.headers, COST).or(trailer.filter(|cents| !cents.is_empty()));
    Some(Told {
        id: value(response.headers, "x-rateguard-request-id")?,
        status: response.code?,
        is_complete,
        cost_nanos: cost.filter(|_| is_complete).and_then(|cents| nanos(&cents)),
    })
}

const COST: &str = "x-rateguard-cost-cents";

fn value(headers: &[httparse::Header<'_>], name: &str) -> Option<String> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))?;
    String::from_utf8(header.value.to_vec()).ok()
}

/// `Some` when the last chunk and the trailers are there: the cost that they tell, or nothing.
fn chunked_end(mut body: &[u8]) -> Option<String> {
    loop {
        let httparse::Status::Complete((begin, size)) = httparse::parse_chunk_size(body).ok()? else {
            return None;
        };
        if size == 0 {
            let mut trailers = [httparse::EMPTY_HEADER; 16];
            let httparse::Status::Complete((_, trailers)) =
                httparse::parse_headers(&body[begin..], &mut trailers).ok()?
            else {
                return None;
            };
            return Some(value(trailers, COST).unwrap_or_default());
        }
        // The chunk and its line break.
        body = body.get(begin + usize::try_from(size).ok()? + 2..)?;
    }
}

#[test]
fn an_answer_is_complete_with_its_last_byte() {
    let head = "HTTP/1.1 200 OK\r\nx-rateguard-request-id: a\r\n";
    let held = format!("{head}content-length: 2\r\nx-rateguard-cost-cents: 1.5\r\n\r\n{{}}");
    let streamed =
        format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n0\r\nx-rateguard-cost-cents: 2\r\n\r\n");
    for (answer, cost) in [(held, 15_000_000), (streamed, 20_000_000)] {
        let all = told(answer.as_bytes()).unwrap();
        assert_eq!((all.is_complete, all.cost_nanos), (true, Some(cost)), "{answer}");
        let cut = told(&answer.as_bytes()[..answer.len() - 1]).unwrap();
        assert_eq!((cut.is_complete, cut.cost_nanos), (false, None), "{answer}");
    }
}
