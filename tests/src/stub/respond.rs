//! From request and wishes to bytes on the wire.

use super::control::{Control, Fault};
use super::http1::{Connection, Request};
use super::{anthropic, openai};
use serde_json::Value;
use std::io::{Result, Write as _};
use std::path::Path;
use std::time::Duration;

/// What happens to the connection after the answer.
pub(super) enum After {
    KeepAlive,
    Close,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    OpenAi,
    Anthropic,
    /// Not an LLM path: echoes.
    Other,
}

struct Answer {
    status: u16,
    content_type: String,
    /// Pieces that a stream would flush one by one; a JSON body is one piece.
    pieces: Vec<Vec<u8>>,
    chunked: bool,
    extra_headers: String,
}

pub(super) async fn respond(http: &mut Connection, request: &Request, control: &Control) -> Result<After> {
    http.pause(control.delay).await?;
    match control.fault {
        Some(Fault::Reset) => return Ok(After::Reset),
        Some(Fault::Close) => return Ok(After::Close),
        // Until the peer gives up.
        Some(Fault::Hang) => http.pause(Duration::from_secs(3600)).await?,
        _ => {}
    }
    let answer = answer(request, control)?;
    let head_only = request.method == "HEAD" || matches!(answer.status, 204 | 304);
    write_answer(http, &answer, control, head_only).await
}

fn answer(request: &Request, control: &Control) -> Result<Answer> {
    let provider = provider(&request.target);
    if let Some(fixture) = &control.fixture {
        return from_fixture(fixture, control);
    }
    // A provider would not know our keys: one that arrives here is a leak, and must be seen as one.
    let leaked = request
        .headers
        .iter()
        .any(|(_, value)| value.windows(8).any(|w| w == b"rg_live_" || w == b"rg_test_"));
    let status = if leaked { Some(401) } else { control.status };
    if let Some(status) = status.filter(|s| *s >= 400) {
        return Ok(json(status, &error(provider, status), control));
    }
    if let Some(location) = &control.location {
        let mut answer = json(control.status.unwrap_or(302), "{}", control);
        answer.extra_headers = format!("location: {location}\r\n");
        return Ok(answer);
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let words = words(control);
    let text = words.concat();
    let streamed = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let mut answer = match (provider, streamed) {
        (Provider::OpenAi, false) => json(200, &openai::completion(&body, &text, control), control),
        (Provider::OpenAi, true) => sse(openai::stream(&body, &words, control), control),
        (Provider::Anthropic, false) => json(200, &anthropic::message(&body, &text, control), control),
        (Provider::Anthropic, true) => sse(anthropic::stream(&body, &words, control), control),
        (Provider::Other, _) => json(200, &echo(request), control),
    };
    answer.status = control.status.unwrap_or(answer.status);
    if control.gzip {
        gzip(&mut answer)?;
    }
    Ok(answer)
}

fn provider(target: &str) -> Provider {
    let path = target.split('?').next().unwrap_or_default();
    if path.ends_with("/chat/completions") {
        Provider::OpenAi
    } else if path.ends_with("/messages") {
        Provider::Anthropic
    } else {
        Provider::Other
    }
}

fn error(provider: Provider, status: u16) -> String {
    match provider {
        Provider::Anthropic => anthropic::error(status),
        Provider::OpenAi | Provider::Other => openai::error(status),
    }
}

fn echo(request: &Request) -> String {
    serde_json::json!({"method": request.method, "target": request.target, "bodyBytes": request.body.len()})
        .to_string()
}

fn words(control: &Control) -> Vec<String> {
    const TEXT: [&str; 6] = ["Hello", "!", " How", " can", " I", " assist"];
    let count = control.words.unwrap_or(TEXT.len());
    let mut words: Vec<String> = TEXT.iter().cycle().take(count).map(|w| (*w).to_owned()).collect();
    if control.pad_bytes > 0 {
        words.push("x".repeat(control.pad_bytes));
    }
    words
}

fn from_fixture(name: &str, control: &Control) -> Result<Answer> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/providers");
    let bytes = std::fs::read(root.join(name))?;
    let stream = Path::new(name).extension().is_some_and(|e| e == "sse");
    Ok(Answer {
        status: control.status.unwrap_or(200),
        content_type: control
            .content_type
            .clone()
            .unwrap_or_else(|| content_type(stream).to_owned()),
        pieces: vec![bytes],
        chunked: stream || control.chunked,
        extra_headers: String::new(),
    })
}

fn content_type(stream: bool) -> &'static str {
    if stream {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    }
}

fn json(status: u16, body: &str, control: &Control) -> Answer {
    let retry_after = if status == 429 { "retry-after: 7\r\n" } else { "" };
    Answer {
        status,
        content_type: control
            .content_type
            .clone()
            .unwrap_or_else(|| content_type(false).to_owned()),
        pieces: vec![body.as_bytes().to_vec()],
        chunked: control.chunked,
        extra_headers: retry_after.to_owned(),
    }
}

fn sse(events: Vec<String>, control: &Control) -> Answer {
    Answer {
        status: 200,
        content_type: control
            .content_type
            .clone()
            .unwrap_or_else(|| content_type(true).to_owned()),
        pieces: events.into_iter().map(String::into_bytes).collect(),
        chunked: true,
        extra_headers: "cache-control: no-cache\r\n".to_owned(),
    }
}

fn gzip(answer: &mut Answer) -> Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for piece in &answer.pieces {
        encoder.write_all(piece)?;
    }
    answer.pieces = vec![encoder.finish()?];
    answer.extra_headers.push_str("content-encoding: gzip\r\n");
    Ok(())
}

async fn write_answer(
    http: &mut Connection,
    answer: &Answer,
    control: &Control,
    head_only: bool,
) -> Result<After> {
    let length: usize = answer.pieces.iter().map(Vec::len).sum();
    let chunked = answer.chunked || control.chunk_bytes.is_some();
    // RFC 9110, 8.6: no content-length with a 204.
    let framing = if answer.status == 204 {
        "x-stub: empty".to_owned()
    } else if chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {length}")
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\ndate: Sun, 22 Nov 2026 06:00:00 GMT\r\ncontent-type: {}\r\n{framing}\r\nopenai-processing-ms: 12\r\n{}\r\n",
        answer.status,
        reason(answer.status),
        answer.content_type,
        answer.extra_headers
    );
    http.write(head.as_bytes()).await?;
    if head_only {
        return Ok(After::KeepAlive);
    }
    let whole: Vec<u8>;
    let pieces: Vec<&[u8]> = match control.chunk_bytes {
        Some(size) => {
            whole = answer.pieces.concat();
            whole.chunks(size).collect()
        }
        None => answer.pieces.iter().map(Vec::as_slice).collect(),
    };
    // A fault in the body comes after half of it.
    let stop_at = pieces.len().div_ceil(2);
    for (i, piece) in pieces.iter().enumerate() {
        let faulty = control.fault.is_some() && (i + 1 == stop_at);
        let piece = if faulty && pieces.len() == 1 {
            &piece[..piece.len() / 2]
        } else {
            piece
        };
        if i > 0 {
            http.pause(control.chunk_delay).await?;
        }
        if chunked {
            http.write(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            http.write(piece).await?;
            http.write(b"\r\n").await?;
        } else {
            http.write(piece).await?;
        }
        match control.fault {
            Some(Fault::Truncate) if faulty => return Ok(After::Close),
            Some(Fault::ResetMid) if faulty => return Ok(After::Reset),
            Some(Fault::ChunkError) if faulty => {
                http.write(b"zz\r\nnot a chunk\r\n").await?;
                return Ok(After::Close);
            }
            _ => {}
        }
    }
    if chunked {
        http.write(b"0\r\n\r\n").await?;
    }
    Ok(After::KeepAlive)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
